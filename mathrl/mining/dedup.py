"""Near-duplicate pages by MinHash (rensa) and LSH, as pure functions of one page, one bucket or one key.

page text -> `signature` -> (`bands`: shuffle keys, `sketch`: travels along) -> `edges_of_bucket` -> rounds of
`large_star` and `small_star` until `is_star` holds everywhere -> `keep_first` of each component. Only keys,
64-bit hashes and sketches are shuffled, never text. Signatures mix only of equal seed, shingle and permutations.
"""
import functools
import heapq
import unicodedata
from collections.abc import Hashable, Iterable, Iterator

import numpy as np
import rensa

# Chosen on 3,293 real pages: with 5-grams different pages (sister problems, template pages) reach Jaccard .79,
# copies of a page on other sites begin at .88; with 3-grams different pages reach .82.
PERMUTATIONS = 256
SHINGLE = 5
BANDS, ROWS = 16, 8
THRESHOLD = 0.85
MAX_COMPARISONS = 64
_POOL = 8
MAX_CHARACTERS = 1_000_000   # bounds the memory of one page, about 60 bytes a character

_RENSA_ALGORITHM = 2
_EQUAL_NIBBLES = np.array([(x >> 4 == 0) + (x & 15 == 0) for x in range(256)], np.uint8)
_PRIME = 0x9E3779B97F4A7C15           # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_PRIME, -1, 1 << 64)
_SEPARATOR, _SKIP, _ALONE = 0, 1, 1 << 31
_TABLE = 0x20000   # from here on Unicode has only Chinese characters
_UNSPACED = ((0x2e80, 0x2fdf), (0x3005, 0x3007), (0x3040, 0x30ff), (0x31f0, 0x31ff), (0x3400, 0x9fff),
             (0xf900, 0xfaff))   # Chinese characters and Japanese kana


def signature(text: str, permutations: int = PERMUTATIONS, shingle: int = SHINGLE, seed: int = 0) -> np.ndarray:
    """MinHash of the set of `shingle` consecutive tokens: uint32 [permutations].

    Tokens are runs of letters and digits (LaTeX commands, names and numbers of formulas are such runs) and
    single Chinese or Japanese characters. Case, accents, white space, punctuation and operators do not count.
    A text of fewer tokens is one shingle, so it equals only itself; one without tokens is taken by characters.
    All empty texts are equal: drop too short pages before. The same on all processes and platforms; Unicode
    tables of two Python versions differ in characters assigned between them alone.
    """
    hashes = shingle_hashes(text[:MAX_CHARACTERS], shingle)
    if rensa.RMinHash.ALGORITHM_VERSION != _RENSA_ALGORITHM:
        raise ValueError(f'rensa computes R-MinHash version {rensa.RMinHash.ALGORITHM_VERSION}; '
                         f'version {_RENSA_ALGORITHM} was wanted (rensa 0.5)')
    ends = np.array([0, len(hashes)], np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, permutations, seed)
    return np.array(matrix.to_rows()[0], np.uint32)


def shingle_hashes(text: str, shingle: int = SHINGLE) -> np.ndarray:
    """A 64-bit hash of each run of `shingle` tokens, in order: uint64 [max(1, tokens - shingle + 1)]."""
    tokens = _token_hashes(_symbols(text))
    if not len(tokens):
        tokens = _code_points(''.join(text.split()) or ' ').astype(np.uint64)
    width = min(shingle, len(tokens))
    count = len(tokens) - width + 1
    hashes = np.zeros(count, np.uint64)
    for i in range(width):
        hashes = _mix(hashes + tokens[i:i + count])
    return hashes


def bands(signature: np.ndarray, bands: int = BANDS, rows: int = ROWS) -> list[int]:
    """Signed 64-bit bucket keys, `bands` of them and one of the whole signature; each includes its index.

    Two pages share a bucket with probability 1 - (1 - J^rows)^bands: for 16 x 8 that is .24 at Jaccard J = .6,
    .61 at .7, .95 at .8, .9999 at .9. The last key holds only pages of equal shingle sets: none of them
    is lost where all other buckets of a page are hot.
    """
    if bands < 1 or rows < 1 or bands * rows > len(signature):
        raise ValueError(f'{bands} bands of {rows} rows were wanted of a signature of {len(signature)} values')
    keys = _fold(0, signature[:bands * rows].reshape(bands, rows))
    whole = _fold(bands, signature.reshape(1, -1))
    return np.concatenate([keys, whole]).view(np.int64).tolist()


def sketch(signature: np.ndarray) -> bytes:
    """4 bits of each value of the signature (an even number): 128 bytes that travel with the key."""
    if len(signature) % 2:
        raise ValueError(f'a signature of {len(signature)} values came; an even number of them was wanted')
    nibbles = (signature * np.uint32(0x9E3779B1) >> np.uint32(28)).astype(np.uint8)
    return (nibbles[::2] << np.uint8(4) | nibbles[1::2]).tobytes()


def similarity(a: bytes, b: bytes) -> float:
    """Estimated Jaccard of two sketches; the 1 in 16 unequal values that share their 4 bits are taken off.

    Its standard deviation for 256 permutations is .026 at J = .8 and .021 at .9; 256 x 4 bits are better
    than 128 x 8 (.035).
    """
    if len(a) != len(b):
        raise ValueError(f'sketches of {len(a)} and {len(b)} bytes; two of equal length were wanted')
    return float(_similarities(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)[None])[0])


def edges_of_bucket(members: Iterable[tuple[Hashable, bytes, object]], threshold: float = THRESHOLD,
                    max_comparisons: int = MAX_COMPARISONS) -> Iterator[tuple[Hashable, Hashable]]:
    """Pairs (key, key) of one bucket whose sketches agree by `threshold`; members are (key, sketch, rank).

    Up to `max_comparisons` members, all pairs are compared. Of more, every member is compared with the
    leaders alone: the first `max_comparisons` mutually unlike ones of the `_POOL` x `max_comparisons` lowest
    ranks (ties: lowest keys). Lost then are pairs that share no leader, unless another bucket has them.
    Memory is that pool, work n x max_comparisons, and the result is independent of the order. `members` is read
    twice, so an iterator is a ValueError (the values of Beam's GroupByKey can be read again).
    """
    _check_readable_twice(members)
    if max_comparisons < 1:
        raise ValueError(f'max_comparisons={max_comparisons} came; 1 or more was wanted')
    pool = heapq.nsmallest(_POOL * max_comparisons, members, key=lambda member: (member[2], member[0]))
    if len(pool) < 2:
        return
    if len(pool) <= max_comparisons:
        leaders, others = pool, pool
    else:
        leaders, others = _leaders(pool, threshold, max_comparisons), members
    keys = [key for key, _, _ in leaders]
    sketches = np.stack([np.frombuffer(sketch, np.uint8) for _, sketch, _ in leaders])
    order = {key: i for i, key in enumerate(keys)}
    for key, sketch, _ in others:
        before = order.get(key, len(keys))   # a pair of leaders comes once, and none with itself
        alike = _similarities(np.frombuffer(sketch, np.uint8), sketches[:before]) >= threshold
        for i in np.flatnonzero(alike):
            yield key, keys[i]


def _check_readable_twice(values: Iterable) -> None:
    if iter(values) is values:
        raise ValueError(f'{type(values).__name__} can be read once; an iterable to be read twice was wanted')


def _leaders(pool: list, threshold: float, count: int) -> list:
    leaders, sketches = [], np.zeros((0, len(pool[0][1])), np.uint8)
    for member in pool:
        one = np.frombuffer(member[1], np.uint8)
        if not (_similarities(one, sketches) >= threshold).any():
            leaders.append(member)
            sketches = np.concatenate([sketches, one[None]])
        if len(leaders) == count:
            break
    return leaders


def large_star(key, neighbours: Iterable) -> Iterator[tuple]:
    """Links every larger neighbour of `key` to the smallest of all of them and `key`: (larger, smaller) edges.

    `neighbours` come from grouping each edge under both its ends, and are read twice. With `small_star`, after
    Kiveris et al. 2014, "Connected Components in MapReduce and Beyond": each round keeps the components and
    adds no edge, a chain of n keys takes about log2 n rounds, and no reduction holds its neighbours in memory.
    """
    _check_readable_twice(neighbours)
    smallest = min(key, min(neighbours, default=key))
    for neighbour in neighbours:
        if neighbour > key:
            yield neighbour, smallest


def small_star(key, neighbours: Iterable) -> Iterator[tuple]:
    """Links `key` and its smaller neighbours to the least of these; each edge is grouped under its larger end."""
    _check_readable_twice(neighbours)
    smallest = min(neighbours)
    yield key, smallest
    for neighbour in neighbours:
        if neighbour != smallest:
            yield neighbour, smallest


def is_star(key, neighbours: Iterable) -> bool:
    """Whether `key` has only larger neighbours, or one alone. Grouping as for `large_star`.

    Where it holds for every key, the rounds are over: each edge is (key, label), the label being the smallest key
    of the component; a key without an edge is its own label.
    """
    _check_readable_twice(neighbours)
    smallest = min(neighbours, default=key)
    return smallest > key or all(neighbour == smallest for neighbour in neighbours)


def url_rank(date: str, record_id: str) -> tuple:
    """Among captures of one URL the lowest stands: the newest WARC-Date, then the smallest record id."""
    return _newest_first(date), record_id


def content_rank(url: str, date: str, key) -> tuple:
    """Among pages of like content the lowest stands: shortest normalised URL, the URL, newest date, key.

    The shortest URL is most often the page itself, the longer ones its previews, prints, tags and mirrors' paths.
    """
    return len(url), url, _newest_first(date), key


def keep_first(ranks: Iterable[tuple]) -> tuple:
    """The rank that stands for its cluster. A minimum of a total order: any grouping and order give the same."""
    return min(ranks)


def _newest_first(date: str) -> int:
    """'2025-12-01T00:49:53Z' -> -20251201004953000000; a date without digits is the oldest."""
    digits = ''.join(c for c in date if c in '0123456789')
    return -int(digits[:20].ljust(20, '0'))


def _similarities(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Bytes of sketches, [n] and [m, n] -> [m]"""
    equal = _EQUAL_NIBBLES[many ^ one].sum(axis=1, dtype=np.int64) / (2 * len(one))
    return np.maximum(0, (equal - 1 / 16) / (1 - 1 / 16))


def _fold(start: int, values: np.ndarray) -> np.ndarray:
    """One hash of each row, its index from `start` on included: [n, m] -> uint64 [n]"""
    rows, columns = (np.arange(n, dtype=np.uint64) for n in values.shape)
    sums = _mix(_mix(columns) + values).sum(axis=1, dtype=np.uint64)
    return _mix(sums + _mix(rows + np.uint64(start)))


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of uint64 in which every bit of the input moves the high and the low bits of the output."""
    x = (x ^ (x >> np.uint64(32))) * np.uint64(_PRIME)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(_PRIME)
    return x ^ (x >> np.uint64(32))


def _token_hashes(symbols: np.ndarray) -> np.ndarray:
    """Hash of each token: sum of c_i * PRIME^(i - start), by differences of one running sum."""
    if not len(symbols):
        return np.zeros(0, np.uint64)
    inside = symbols != _SEPARATOR
    alone = symbols >= _ALONE
    before = np.concatenate([[False], inside[:-1] & ~alone[:-1]])
    starts = np.flatnonzero(inside & (alone | ~before))
    after = np.concatenate([inside[1:] & ~alone[1:], [False]])
    ends = np.flatnonzero(inside & (alone | ~after)) + 1
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(symbols * _powers(_PRIME, len(symbols)))])
    return _mix((sums[ends] - sums[starts]) * _powers(_INVERSE, len(symbols))[starts])


def _powers(base: int, count: int) -> np.ndarray:
    return _cached_powers(base, 1 << count.bit_length())[:count]


@functools.cache
def _cached_powers(base: int, count: int) -> np.ndarray:
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))


def _symbols(text: str) -> np.ndarray:
    """What each character counts as, by `_symbol`: uint32 [characters - skipped ones]."""
    codes = _code_points(text)
    symbols = _symbol_table()[np.minimum(codes, _TABLE)]
    if len(codes) and codes.max() >= _TABLE:
        symbols = np.where(codes >= _TABLE, codes | np.uint32(_ALONE), symbols)
    return symbols[symbols != _SKIP]


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.uint32)


@functools.cache
def _symbol_table() -> np.ndarray:
    return np.array([_symbol(chr(code)) for code in range(_TABLE + 1)], np.uint32)


def _symbol(character: str) -> int:
    """A letter or digit as its lower-case base letter ('\u00c9' and bold 'e' -> 'e'), Chinese marked `_ALONE`."""
    category = unicodedata.category(character)
    if unicodedata.combining(character) or category == 'Cf':   # accents, soft hyphens, joiners
        return _SKIP
    if not character.isalnum() and category[0] != 'M':         # vowel signs of Indic scripts are M
        return _SEPARATOR
    parts = [c for c in unicodedata.normalize('NFKD', character).lower() if not unicodedata.combining(c)]
    code = ord(parts[0] if len(parts) == 1 else character)
    return code | _ALONE if any(first <= code <= last for first, last in _UNSPACED) else code
