"""Which words of the benchmarks make a gram: at least `ngram` words, lengthened until they are evidence of a copy.

What a gram is worth is its surprisal in an interpolated bigram model of all the benchmarks' texts: `find the value of`
is worth little, since many questions say it. What is in three texts or fewer counts as new, so that a question which
several files have, each in its own way, is not taken for a phrase.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mathrl.mining import grams

_COPIES = 3                 # occurrences that are not counted
_UNSEEN = .1                # occurrences that a word without any is taken to have
_BIGRAM_SHARE = .8          # of the interpolation
_SEEN_WORDS = 100_000       # words that the model is taken to have read where the benchmarks hold fewer
_REAL_WORD = 3              # letters


class Limits(NamedTuple):
    """See `decontaminate.build`."""
    ngram: int
    min_ngram: int
    han_ngram: int
    bits: float
    min_words: int


class _Words(NamedTuple):
    """The W words of all texts, one after the other."""
    text_W: np.ndarray      # which text
    start_W: np.ndarray     # its characters in the stream of that text, without symbols after it
    end_W: np.ndarray
    hash_W: np.ndarray
    han_W: np.ndarray       # a Chinese character
    real_W: np.ndarray      # one, or a word of three letters or more
    counted_W: np.ndarray   # its text is the first of its kind


def spans(streams: Sequence[grams.Stream], questions_T: np.ndarray, limits: Limits):
    """(text, start, end) of every gram, in characters of the text's stream, by text.

    A text without one is matched whole if it has `min_ngram` words. A question must hold a real word or be as long as a
    gram; anything else (an answer, a question without its figure) `min_words` real words and half the bits, since
    `all real numbers` is no copy.
    """
    if not (0 < limits.min_ngram <= limits.ngram and 0 < limits.han_ngram
            and 0 <= limits.bits < np.inf and 0 <= limits.min_words):
        raise ValueError(', '.join(f'{name}={value}' for name, value in limits._asdict().items())
                         + ': 0 < min_ngram <= ngram, 0 < han_ngram, 0 <= bits and 0 <= min_words were wanted')
    words = _words(streams)
    # In units of 1 / (ngram * han_ngram): a gram of Chinese is han_ngram characters.
    weights = _sums(np.where(words.han_W, limits.ngram, limits.han_ngram))
    reals = _sums(words.real_W)
    alone_W, given_W = surprisals(words)
    bits = _sums(given_W)
    starts = np.arange(len(words.text_W))
    ends = np.maximum(np.searchsorted(weights, weights[:-1] + limits.ngram * limits.han_ngram),
                      np.searchsorted(reals, reals[:-1] + limits.min_words))
    ends = np.maximum(ends, np.searchsorted(bits, limits.bits - alone_W + bits[1:]))
    firsts_T = np.searchsorted(words.text_W, np.arange(len(streams) + 1))
    fits = ends <= firsts_T[words.text_W + 1]
    weights_T, reals_T, bits_T = (np.diff(sums[firsts_T]) for sums in (weights, reals, bits))
    whole_T = _matched_whole(questions_T, weights_T, reals_T, bits_T, limits)
    whole_T[words.text_W[fits]] = False
    starts = np.concatenate([starts[fits], firsts_T[:-1][whole_T]])
    ends = np.concatenate([ends[fits], firsts_T[1:][whole_T]])
    order = np.argsort(starts, kind='stable')
    starts, ends = starts[order], ends[order]
    return words.text_W[starts], words.start_W[starts], words.end_W[ends - 1]


def _matched_whole(questions_T, weights_T, reals_T, bits_T, limits: Limits) -> np.ndarray:
    long_T = weights_T >= limits.ngram * limits.han_ngram
    telling_T = (reals_T >= limits.min_words) & (bits_T >= limits.bits / 2)
    return (weights_T >= limits.min_ngram * limits.han_ngram) & np.where(questions_T, (reals_T >= 1) | long_T, telling_T)


def surprisals(words: _Words) -> tuple[np.ndarray, np.ndarray]:
    """Bits of each word by itself, and after the word before it in its text (by itself where there is none)."""
    _, kinds_W = np.unique(words.hash_W, return_inverse=True)
    counts_W = np.bincount(kinds_W[words.counted_W], minlength=kinds_W.max(initial=0) + 1)[kinds_W]
    read = max(int(words.counted_W.sum()), _SEEN_WORDS)
    alone_W = np.maximum(counts_W - _COPIES, _UNSEEN) / read
    pairs = words.hash_W[:-1] * np.uint64(0x9e3779b97f4a7c15) + words.hash_W[1:]
    within = words.text_W[1:] == words.text_W[:-1]
    _, kinds = np.unique(pairs, return_inverse=True)
    counts = np.bincount(kinds[words.counted_W[1:] & within], minlength=kinds.max(initial=0) + 1)[kinds]
    share = np.maximum(counts - _COPIES, 0) / np.maximum(counts_W[:-1], 1)
    given_W = alone_W.copy()
    given_W[1:] = np.where(within, _BIGRAM_SHARE * share + (1 - _BIGRAM_SHARE) * alone_W[1:], alone_W[1:])
    return -np.log2(alone_W), -np.log2(given_W)


def _words(streams: Sequence[grams.Stream]) -> _Words:
    parts, seen = [], set()
    for number, stream in enumerate(streams):
        starts = np.flatnonzero(stream.starts_N)
        if not len(starts):
            continue
        symbols = _sums(stream.kinds_N == grams.SYMBOL)
        ends = np.append(starts[1:], len(stream.codes_N))
        ends -= symbols[ends] - symbols[starts]
        hash_of = grams.hasher(stream.codes_N)
        han = stream.kinds_N[starts] == grams.HAN
        real = han | (stream.kinds_N[starts] == grams.LETTER) & (ends - starts >= _REAL_WORD)
        text = int(hash_of(starts[:1], np.array([len(stream.codes_N)]))[0])
        counted = text not in seen
        seen.add(text)
        parts.append((np.full(len(starts), number), starts, ends, hash_of(starts, ends), han, real,
                      np.full(len(starts), counted)))
    if not parts:
        nothing, no = np.zeros(0, np.int64), np.zeros(0, bool)
        return _Words(nothing, nothing, nothing, np.zeros(0, np.uint64), no, no, no)
    return _Words(*map(np.concatenate, zip(*parts)))


def _sums(values: np.ndarray) -> np.ndarray:
    """[0, v0, v0 + v1, ...]"""
    return np.concatenate([[0], np.cumsum(values)])
