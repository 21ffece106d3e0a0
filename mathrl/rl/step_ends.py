"""The tokens at which an output's steps end, from its ids and the tokenizer alone; on the host."""
import bisect
import functools
from collections.abc import Callable

import jax
import numpy as np

from mathrl import sharding
from mathrl.problems import solution_steps
from mathrl.sampling.rollout import written


def output_steps(tokens_T: np.ndarray, tokenizer, rule: str) -> list[tuple[int, int]]:
    """(character behind it, place of its last token) for each step; the last one's is the end token, if there is one.

    rule: one of solution_steps.RULES, or '' where the output is one step. Steps that end in one token are one step.
    """
    ids, ended = written(tokens_T, tokenizer.stop_ids)
    text, last = tokenizer.decode(ids), len(ids) - 1 + ended
    inner = solution_steps.step_ends(text, rule)[:-1] if rule else []
    ends = {place: end for end, place in zip(inner, token_places(ids, text, inner, tokenizer)) if place < last}
    return [*((end, place) for place, end in ends.items()), (len(text), last)]


def encoded_steps(text: str, ends: list[int], ended: bool, tokenizer) -> tuple[list[int], list[int]]:
    """(ids of an output's text, its end token included if it ended; the place of the last token of each step).

    ends: characters behind which steps end, the last of them the text's end. A tokenizer may change a text: the places are
    those at which the beginnings of the text stand in its own spelling.
    """
    ids = tokenizer.encode(text)
    own, last = tokenizer.decode(ids), max(len(ids) - 1 + ended, 0)
    inner = [len(tokenizer.decode(tokenizer.encode(text[:end]))) for end in ends[:-1]] if ids else []
    places = [min(place, last) for place in token_places(ids, own, inner, tokenizer)]
    return ids + [tokenizer.eos_id] * (ended or not ids), [*places, *[last] * (len(ends) - len(places))]


def token_places(ids: list[int], text: str, ends: list[int], tokenizer) -> list[int]:
    """For each character end of text = decode(ids), in order: the first token with which all before it has been written.

    Told by decoding beginnings of ids, so that it holds for any tokenizer: a token that goes on behind an end still holds
    it, and a character whose bytes lie in several tokens is there with the last of them.
    """
    places, behind, done = [], 0, 0      # ids[:behind] hold text[:done]
    for end in ends:
        is_written = lambda place: tokenizer.decode(ids[:place + 1]).startswith(text[:end])
        guess, length = behind, _length(tokenizer, ids[behind])
        while length < end - done and guess < len(ids) - 1:
            guess += 1
            length += _length(tokenizer, ids[guess])
        places.append(_first(is_written, behind, guess, len(ids) - 1))
        behind, done = places[-1], end
    return places


def step_ends_QGT(tokens_QGT: jax.Array, tokenizer, rule: str) -> jax.Array:
    """[Q, G, T] int32, laid out as tokens_QGT: 1 at the last token of each step of each output."""
    def find(questions, tokens_QGT):
        ends_QGT = np.zeros(tokens_QGT.shape, np.int32)
        for q, g in np.ndindex(tokens_QGT.shape[:2]):
            ends_QGT[q, g, [place for _, place in output_steps(tokens_QGT[q, g], tokenizer, rule)]] = 1
        return (ends_QGT,)
    return sharding.map_rows(find, tokens_QGT)[0]


def _first(holds: Callable[[int], bool], lowest: int, guess: int, highest: int) -> int:
    """The first place from which on holds(place) is true, `highest` at the latest; asked near the guess first."""
    below, above, width = lowest - 1, highest, 1
    while below < guess < above:
        if holds(guess):
            above, guess = guess, guess - width
        else:
            below, guess = guess, guess + width
        width *= 2
    return bisect.bisect_left(range(above), True, lo=below + 1, key=holds)


@functools.lru_cache(maxsize=1 << 18)
def _length(tokenizer, token: int) -> int:
    """About how many characters a token writes."""
    return len(tokenizer.decode([token]))
