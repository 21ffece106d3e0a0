r"""What texts are compared by: the stream of their letters, digits, + and =, and where its words begin.

Spaces, punctuation, other symbols and LaTeX's commands are left out, letters are lower-cased, and Greek is Greek
however it is written. So a text has one stream however it is wrapped or marked up: `\dfrac{1}{2}\,\pi x^{2} + 1{,}000`
and `½π x² + 1000` are both `12πx2+1000`. A word is a run of letters or of digits; in Chinese it is one character.
"""
import functools
import re
import unicodedata
from typing import NamedTuple

import numpy as np

SYMBOL, LETTER, DIGIT, HAN = 1, 2, 3, 4        # kinds of characters; 0 is left out

_GREEK = dict(zip(('alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon '
                   'phi chi psi omega').split(), 'αβγδεζηθικλμνξπρστυφχψω'))
# sin, log and the like are read as words: MathML and plain text have them without the backslash.
_WORD = r'(?:(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|log|ln|lg|exp|lim|max|min|sup|inf|gcd|lcm|det|dim|ker|deg|arg|mod)'
_COMMAND = re.compile(rf'\\(?!{_WORD}(?![a-zA-Z]))[a-zA-Z]+')
_GREEK_COMMAND = re.compile(rf'\\(?:var)?({"|".join(_GREEK)})(?![a-zA-Z])', re.IGNORECASE)
_NOT_TEXT = re.compile(r'\\(?:begin|end)\s{0,9}\{[^{}]{0,40}\}(?:\s{0,9}\{[lcr|@. ]{0,99}\})?'
                       r'|\\(?:[hv]space|label|(?:text)?color|[hv]?phantom)\*?\s{0,9}\{[^{}]{0,99}\}')
_RAISED = re.compile('[²³¹⁰-₉¼-¾⅐-⅞]+')                                # NFKC alone makes 102 of 10²


class Stream(NamedTuple):
    """The N characters of a text that count. `at_N` is where each one lies in the normalised text."""
    codes_N: np.ndarray       # uint32 code points
    kinds_N: np.ndarray       # SYMBOL, LETTER, DIGIT or HAN
    starts_N: np.ndarray      # bool: a word begins here; a symbol belongs to the word before it
    at_N: np.ndarray


def tokens(text: str) -> list[str]:
    """The words of a text: 'Find $x^2+\\dfrac{1}{2}$ 米' -> ['find', 'x', '2+', '1', '2', '米']."""
    codes_N, _, starts_N, _ = stream(text)
    pieces = np.split(codes_N, np.flatnonzero(starts_N))
    return [''.join(map(chr, piece)) for piece in pieces[1:]]     # what precedes the first word is no word


def normalise(text: str) -> str:
    """One spelling of what is written in several ways, in lower case; commands of LaTeX become spaces."""
    if not text.isascii():
        text = unicodedata.normalize('NFKC', _RAISED.sub(r' \g<0> ', text))
    if '\\' in text:
        text = _NOT_TEXT.sub(' ', text).replace('\\pmod', ' mod ').replace('\\bmod', ' mod ')
        text = _GREEK_COMMAND.sub(lambda match: _GREEK[match[1].lower()], text)
        text = _COMMAND.sub(' ', text)
    return text.lower()


def stream(text: str) -> Stream:
    """The characters of a text that count, after `normalise`. 1,000 and 3.5 and don't are one word each."""
    # A page may hold half a surrogate pair, which plain encoding refuses.
    every = np.frombuffer(normalise(text).encode('utf-32-le', 'surrogatepass'), np.uint32)
    kinds = _kinds()[every]
    at_N = np.flatnonzero(kinds)
    codes_N, kinds_N = every[at_N], kinds[at_N]
    starts_N = np.ones(len(at_N), bool)
    if len(at_N):
        before, here = kinds_N[:-1], kinds_N[1:]
        gap, mark = at_N[1:] - at_N[:-1], every[at_N[1:] - 1]
        inside = np.where(here == DIGIT, (mark == ord(',')) | (mark == ord('.')), (mark == ord("'")) | (mark == 0x2019))
        joined = (here == before) & (here != HAN) & ((gap == 1) | (gap == 2) & inside)
        starts_N[1:] = ~joined
    starts_N &= kinds_N != SYMBOL
    return Stream(codes_N, kinds_N, starts_N, at_N)


@functools.cache
def _kinds() -> np.ndarray:
    """The kind of every code point. Kana and hangul are single characters, as Chinese is."""
    kinds = np.zeros(0x110000, np.uint8)
    for code in range(0x2000):
        kinds[code] = DIGIT if chr(code).isdecimal() else LETTER if chr(code).isalpha() else 0
    for first, last in ((0x3041, 0x30ff), (0x3400, 0x4dbf), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x20000, 0x3ffff)):
        kinds[first:last + 1] = HAN
    kinds[[ord('+'), ord('=')]] = SYMBOL
    return kinds


def hasher(codes_N: np.ndarray):
    """A function (starts, ends) -> uint64 hashes of codes_N[start:end], the same in every process.

    A polynomial in an odd base modulo 2^64: with prefix sums, a window of any length costs a subtraction.
    """
    powers, inverses = _powers(1 << (len(codes_N).bit_length()))
    mixed_N = (codes_N.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9e3779b97f4a7c15)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(29))) * np.uint64(0xbf58476d1ce4e5b9)
    mixed_N ^= mixed_N >> np.uint64(32)
    sums = np.zeros(len(codes_N) + 1, np.uint64)
    np.cumsum(mixed_N * powers[:len(codes_N)], out=sums[1:])
    return lambda starts, ends: (sums[ends] - sums[starts]) * inverses[starts]


@functools.lru_cache(maxsize=24)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    base = 0xd1342543de82ef95
    return tuple(np.cumprod(np.full(count, value, np.uint64)) for value in (base, pow(base, -1, 1 << 64)))
