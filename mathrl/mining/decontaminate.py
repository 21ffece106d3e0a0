"""Pages that hold a question or an answer of a benchmark (DeepSeekMath, section 2.1.1), in English and in Chinese.

The paper drops a page that shares a 10-gram with a benchmark text, and matches texts of 3 to 9 words whole. In Chinese
a gram is 16 characters, since its words average about 1.6. Departs from the paper where its rule drops clean pages:
`1 2 3 .. 10`, or `how many positive integers less than or equal to 100`, is in many textbooks. So a gram that the
benchmarks' own words predict is lengthened, word by word, until it is worth `bits` or its text ends.
"""
import dataclasses
import functools
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from mathrl.mining import gram_evidence, grams
from mathrl.records import numbered_rows

PREFIXES = 16, 8, 3         # characters by which a place in a page is looked up before its grams are compared
_CHUNK = 1 << 18            # characters of a page that are looked at in one go
_FORMAT = 1
_FIGURE = re.compile(r'\[asy\].*?\[/asy\]', re.DOTALL)


class Hit(NamedTuple):
    """`ngram`, as the page has it (lower case, without commands), equals one of `line` of the file `benchmark`."""
    benchmark: str
    line: int
    ngram: str


@dataclasses.dataclass(frozen=True)
class Table:
    """The G grams of at least `prefix` characters, by the hash of those; a gram's text is a row of Index.lines."""
    prefix: int
    heads_G: np.ndarray       # uint64, sorted
    grams_G: np.ndarray       # uint64
    lengths_G: np.ndarray     # uint32 characters
    texts_G: np.ndarray       # uint32

    @functools.cached_property
    def seen(self) -> np.ndarray:
        """Whether any head has these upper bits: dismisses nearly all places of a page by one look."""
        seen = np.zeros(1 << self._bits, bool)
        seen[self.heads_G >> np.uint64(64 - self._bits)] = True
        return seen

    @property
    def _bits(self) -> int:
        return min(max(16, len(self.heads_G).bit_length() + 4), 27)

    def matches(self, hash_of, starts: np.ndarray, ends_N: np.ndarray) -> list[tuple[int, int, int]]:
        """(start, end, text) of every gram that a stream holds. `ends_N[i]`: a word ends before character i."""
        starts = starts[starts + self.prefix < len(ends_N)]
        heads = hash_of(starts, starts + self.prefix)
        seen = self.seen[heads >> np.uint64(64 - self._bits)]
        starts, heads = starts[seen], heads[seen]
        first = np.searchsorted(self.heads_G, heads)
        count = np.searchsorted(self.heads_G, heads, 'right') - first
        starts = np.repeat(starts, count)
        which = np.arange(len(starts)) + np.repeat(first - (np.cumsum(count) - count), count)
        ends = starts + self.lengths_G[which]
        fits = ends < len(ends_N)
        starts, ends, which = starts[fits], ends[fits], which[fits]
        same = ends_N[ends] & (hash_of(starts, ends) == self.grams_G[which])
        return list(zip(starts[same].tolist(), ends[same].tolist(), self.texts_G[which[same]].tolist()))


@dataclasses.dataclass(frozen=True)
class Index:
    """The benchmarks' grams as hashes, 24 bytes a gram. Load it once a process; never send it with an element."""
    files: tuple[str, ...]
    lines: np.ndarray         # [texts, 2]: file and line number
    tables: tuple[Table, ...]

    def save(self, path) -> None:
        """Writes one .npz file."""
        arrays = {f'{table.prefix}_{field.name}': getattr(table, field.name)
                  for table in self.tables for field in dataclasses.fields(table)}
        with epath.Path(path).open('wb') as file:
            np.savez(file, format=_FORMAT, files=np.array(self.files, str), lines=self.lines, **arrays)


def build(paths: Sequence, ngram: int = 10, min_ngram: int = 3, han_ngram: int = 16, bits: float = 80.,
          min_words: int = 3) -> Index:
    """The index of JSONL files whose lines hold `problem` and perhaps `answer` (text, a number or null).

    `ngram`, `min_ngram`: words of a gram, and of the shortest text that is matched whole. `han_ngram`: Chinese
    characters that weigh as much as `ngram` words, in mixed text too. `bits`: what a gram must be worth (see
    `gram_evidence`); 0 is the paper's rule. `min_words`: words of three letters or Chinese characters that it must
    hold: numbers alone are no copy. A text without such a gram is matched whole. ValueError for a bad file or number.
    """
    limits = gram_evidence.Limits(ngram, min_ngram, han_ngram, bits, min_words)
    files = [epath.Path(path) for path in paths]
    lines, questions, streams = [], [], []
    for number, path in enumerate(files):
        for line, text, question in _texts(path):
            lines.append((number, line))
            questions.append(question)
            streams.append(grams.stream(text))
    spans = gram_evidence.spans(streams, np.array(questions, bool), limits)
    lines = np.array(lines, np.uint32).reshape(-1, 2)
    return Index(tuple(path.stem for path in files), lines, _tables(streams, *spans))


def _texts(path):
    """(line, text, whether it is a question as it stands) of a file."""
    for line, row in numbered_rows(path, ('problem',)):
        for field, kinds in (('problem', str), ('answer', (str, int, float, type(None)))):
            if not isinstance(row.get(field), kinds):
                raise ValueError(f'{path} line {line}: field {field!r} is {row[field]!r:.50}; text was wanted')
        yield line, row['problem'], True
        # The figures of MATH are code here and images on a page. What is left may be as little as `Find $x$`.
        if (without := _FIGURE.sub(' ', row['problem'])) != row['problem']:
            yield line, without, False
        if row.get('answer') is not None:
            yield line, str(row['answer']), False


def _tables(streams, texts_G, starts_G, ends_G) -> tuple[Table, ...]:
    """The spans (G, by text) as hashes; of equal grams the first text's."""
    lengths_G = (ends_G - starts_G).astype(np.uint32)
    grams_G = np.zeros(len(texts_G), np.uint64)
    heads_PG = np.zeros((len(PREFIXES), len(texts_G)), np.uint64)
    bounds = np.searchsorted(texts_G, np.arange(len(streams) + 1))
    for stream, *bound in zip(streams, bounds[:-1].tolist(), bounds[1:].tolist()):
        part = slice(*bound)
        hash_of = grams.hasher(stream.codes_N)
        grams_G[part] = hash_of(starts_G[part], ends_G[part])
        for row, prefix in enumerate(PREFIXES):
            heads_PG[row, part] = hash_of(starts_G[part], np.minimum(starts_G[part] + prefix, len(stream.codes_N)))
    first = np.unique(grams_G, return_index=True)[1]
    row_of = np.searchsorted(-np.array(PREFIXES), -lengths_G[first].astype(np.int64))     # the longest that fits
    tables = []
    for row, prefix in enumerate(PREFIXES):
        chosen = first[row_of == row]
        chosen = chosen[np.argsort(heads_PG[row, chosen], kind='stable')]
        tables.append(Table(prefix, heads_PG[row, chosen], grams_G[chosen], lengths_G[chosen],
                            texts_G[chosen].astype(np.uint32)))
    return tuple(tables)


def load(path) -> Index:
    """What `Index.save` wrote. ValueError if the file is something else."""
    try:
        with epath.Path(path).open('rb') as file, np.load(file, allow_pickle=False) as arrays:
            if arrays['format'] != _FORMAT:
                raise ValueError(f'format {arrays["format"]}')
            names = [field.name for field in dataclasses.fields(Table)]
            tables = [Table(prefix, *(arrays[f'{prefix}_{name}'] for name in names[1:])) for prefix in PREFIXES]
            return Index(tuple(map(str, arrays['files'])), arrays['lines'], tuple(tables))
    except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path}: {error}; an index of benchmark grams, as Index.save writes, was wanted') from None


def contamination(text: str, index: Index) -> Hit | None:
    """The first gram of a page's text that a benchmark holds, or None."""
    page = grams.stream(text)
    longest = max((int(table.lengths_G.max(initial=0)) for table in index.tables), default=0)
    borders = np.append(page.starts_N | (page.kinds_N == grams.SYMBOL), True)
    for offset in range(0, len(page.codes_N), _CHUNK):
        part = slice(offset, offset + _CHUNK + longest)
        starts = np.flatnonzero(page.starts_N[part])
        hash_of = grams.hasher(page.codes_N[part])
        ends_N = borders[offset:part.stop + 1]
        found = [match for table in index.tables for match in table.matches(hash_of, starts, ends_N)]
        if found:
            start, end, number = min(found)
            file, line = index.lines[number]
            at_N = page.at_N[part]
            words = grams.normalise(text)[at_N[start]:at_N[end - 1] + 1]
            return Hit(index.files[file], int(line), ' '.join(words.split()))
    return None
