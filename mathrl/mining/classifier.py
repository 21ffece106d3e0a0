"""The fastText classifier: trained on labelled lines, and its probability that a page is mathematics.

The paper's settings are the defaults. Departs from it in three ways, each for crawls smaller than the paper's: a
small training set is gone over more often; the words of a language count only once enough of the mathematics at hand
is written in it (until then pages in it are judged by formulas and terms, see features); and within a language
mathematics and the rest get equal weight, so that being English is no evidence.
"""
import collections
import dataclasses
import functools
import math
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import fasttext
import numpy as np
from etils import epath

from mathrl.mining import stages

MATH, OTHER = '__label__math', '__label__other'
MOST_COPIES = 8      # of one example, where a language or a class has few
PARTS = 64           # the training file is shuffled in so many parts, each in memory
MOST_WORDS, LONGEST_WORD = 1_000_000, 50    # whose hashes are kept
CHUNK = 1 << 14                             # rows
ROW_AND_HASH = struct.Struct('=iI')
GRAM_FACTOR = np.uint64(116049371)
END_OF_LINE = '</s>'
LEAST_PROBABILITY = 1e-5                    # what fastText adds to each


@dataclasses.dataclass(frozen=True)
class FastText:
    """fastText's settings. buckets: rows of the hash table of n-grams, 1 kB each at dim 256 (the paper's 2,000,000
    make a model of 2 GB). threads: with more than one, two runs give two models, and no run is byte-identical.

    min_updates: a training set is gone over again until it has had so many updates (examples x epochs).
    min_language: examples of mathematics in a language from which on its words count.
    """
    dim: int = 256
    learning_rate: float = 0.1
    word_ngrams: int = 3
    min_count: int = 3
    epochs: int = 3
    buckets: int = 2_000_000
    threads: int = 1
    min_updates: int = 45_000
    min_language: int = 10
    seed: int = 0


def train(examples: Sequence, model_path, settings: FastText, scratch) -> dict:
    """Trains on files of rows [hash, label 0 or 1, language, words, marks] and saves the model.

    Returns {math, other, languages, epochs, updates}. ValueError where a class has no example.
    """
    counts = collections.Counter((label, language) for _, label, language, _, _ in _rows(examples))
    totals = [sum(count for (label, _), count in counts.items() if label == wanted) for wanted in (0, 1)]
    for label, total in zip(('pages that are no mathematics', 'pages of mathematics'), totals):
        if not total:
            raise ValueError(f'the classifier has no {label} to learn from; the other class has {max(totals)}')
    languages = sorted(language for (label, language), count in counts.items()
                       if label and language != 'unknown' and count >= settings.min_language)
    copies = _copies(counts, languages)
    with tempfile.TemporaryDirectory('.partial', dir=scratch) as folder:
        path = os.path.join(folder, 'train.txt')
        lines = _write_shuffled(_lines(examples, languages, copies, settings.seed), path, folder)
        epochs = max(settings.epochs, math.ceil(settings.min_updates / lines))
        model = fasttext.train_supervised(
            path, dim=settings.dim, lr=settings.learning_rate, wordNgrams=settings.word_ngrams,
            minCount=settings.min_count, epoch=epochs, bucket=settings.buckets, thread=settings.threads,
            loss='softmax', seed=settings.seed, verbose=0)
        made = os.path.join(folder, 'model.bin')
        model.save_model(made)
        partial = epath.Path(f'{model_path}.{os.getpid()}.partial')
        epath.Path(made).copy(partial, overwrite=True)
        partial.replace(epath.Path(model_path))
    return {'math': totals[1], 'other': totals[0], 'languages': languages, 'epochs': epochs, 'updates': epochs * lines}


def _rows(examples: Sequence) -> Iterator[list]:
    for path in examples:
        yield from stages.read_rows(path)


def _copies(counts: collections.Counter, languages: list[str]) -> dict[tuple[int, str], float]:
    """How often an example of a label and language is written, so that labels weigh the same in each language whose
    words count, and then in all."""
    copies = {}
    for label, language in counts:
        most = max(counts[0, language], counts[1, language])
        copies[label, language] = min(MOST_COPIES, most / counts[label, language]) if language in languages else 1.0
    totals = [sum(copies[key] * counts[key] for key in counts if key[0] == label) for label in (0, 1)]
    return {(label, language): factor * max(totals) / totals[label] for (label, language), factor in copies.items()}


def _lines(examples: Sequence, languages: list[str], copies: dict, seed: int) -> Iterator[tuple[int, str]]:
    """(place in the order, line) of every copy of every example."""
    for key, label, language, words, marks in _rows(examples):
        wanted = copies[label, language]
        extra = stages.stable_hash(key, seed) / 2 ** 64 < wanted % 1
        text = f'{words} {marks}' if language in languages else marks
        for copy in range(int(wanted) + extra):
            yield stages.stable_hash(key, copy, seed), f'{MATH if label else OTHER} {text}\n'


def _write_shuffled(lines: Iterable[tuple[int, str]], path: str, folder: str) -> int:
    """Lines in the order of their places; only a part of them is in memory at once."""
    parts = [open(os.path.join(folder, f'{part}.txt'), 'w+', encoding='utf-8') for part in range(PARTS)]
    for place, line in lines:
        parts[place * PARTS >> 64].write(f'{place:016x}{line}')
    count = 0
    with open(path, 'w', encoding='utf-8') as file:
        for part in parts:
            part.seek(0)
            chosen = sorted(part)
            part.close()
            os.remove(part.name)
            count += len(chosen)
            file.writelines(line[16:] for line in chosen)
    return count


class Model:
    """A trained fastText model, reduced to what tells mathematics from the rest: one number a row of its table.

    fastText means a line's rows of D numbers, multiplies by the two labels' weights and takes the softmax. The product
    with the weights' difference can be taken first, row by row: 4 bytes of each 1 kB, which stay in the cache, and the
    same probability without the rounding of float32 sums. Rows are those of fastText 0.9's Dictionary: a word's own,
    then, of its n-grams, the buckets that their 64-bit hashes fall into.
    """

    def __init__(self, model):
        labels, settings = model.labels, model.f.getArgs()
        table, weights = np.asarray(model.f.getInputMatrix()), np.asarray(model.f.getOutputMatrix(), np.float64)
        towards_math = weights[labels.index(MATH)] - weights[labels.index(OTHER)]
        logits = np.concatenate([table[start:start + CHUNK].astype(np.float64) @ towards_math
                                 for start in range(0, len(table), CHUNK)])
        words = model.words
        self.word_logits = np.append(logits[:len(words)], 0).astype(np.float32)   # the last: of words it does not know
        self.gram_logits = logits[len(words):].astype(np.float32)
        self.word_ngrams, self.buckets = settings.wordNgrams, np.uint64(settings.bucket)
        self.known = _Known(words)


class _Known(dict):
    """{word: its row and its hash, as the bytes of two int32}; other words than the model's are added as they come."""

    def __init__(self, words: list[str]):
        super().__init__()
        self.rows = {word: row for row, word in enumerate(words)}

    def __missing__(self, word: str) -> bytes:
        if len(self) > MOST_WORDS:
            self.clear()
        value = 2166136261   # FNV-1a, but that fastText's bytes are signed
        for byte in word.encode():
            value = (value ^ (byte if byte < 128 else byte | 0xffffff00)) * 16777619 & 0xffffffff
        found = ROW_AND_HASH.pack(self.rows.get(word, len(self.rows)), value)
        if len(word) <= LONGEST_WORD:
            self[word] = found
        return found


@functools.lru_cache(maxsize=1)
def load(path: str) -> Model:
    """The model, once a process; one that lies far away is copied here first."""
    if '://' not in path:
        return Model(fasttext.load_model(path))
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, 'model.bin')
        epath.Path(path).copy(local)
        return Model(fasttext.load_model(local))


def score(model: Model, line: Sequence[str]) -> float:
    """Probability that the tokens of a line (features.line) are mathematics, to 6 decimals; 0 for an empty one."""
    if not line:
        return 0.0
    packed = b''.join(map(model.known.__getitem__, [*line, END_OF_LINE]))
    rows, hashes = np.frombuffer(packed, np.int32).reshape(-1, 2).T
    total = model.word_logits.take(rows).sum(dtype=np.float64)
    count = np.count_nonzero(rows < len(model.word_logits) - 1)
    grams = hashes = hashes.astype(np.uint64)
    for more in range(1, model.word_ngrams):
        grams = grams[:-1] * GRAM_FACTOR + hashes[more:]
        total += model.gram_logits.take((grams % model.buckets).view(np.int64)).sum(dtype=np.float64)
        count += len(grams)
    if not count:
        return 0.0
    probability = (1 + math.tanh(total / count / 2)) / 2
    return round(min(probability + LEAST_PROBABILITY, 1.0), 6)
