"""Step ends in tokens: for any tokenizer the first token with which the step has been written whole."""
import itertools
import random

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.problems import solution_steps
from mathrl.rl.step_ends import encoded_steps, output_steps, step_ends_QGT, token_places

END, OTHER_END = 0, 1


class Pieces:
    """A tokenizer of given pieces of bytes; an id is a piece's number, behind two end tokens."""
    eos_id, stop_ids = END, (END, OTHER_END)

    def __init__(self, *pieces: str | bytes):
        self._pieces = [b'', b'', *(piece.encode() if isinstance(piece, str) else piece for piece in pieces)]

    def decode(self, ids) -> str:
        return b''.join(self._pieces[one] for one in ids).decode(errors='replace')

    def encode(self, text: str) -> list[int]:
        """Greedily the longest piece that fits."""
        left, ids = text.encode(), []
        while left:
            ids.append(max((one for one, piece in enumerate(self._pieces) if piece and left.startswith(piece)),
                           key=lambda one: len(self._pieces[one])))
            left = left[len(self._pieces[ids[-1]]):]
        return ids


class Lower(Pieces):
    """Changes texts, as a normalising tokenizer does: lower case, and '...' is one character."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text.lower().replace('...', '…'))


def output(*ids: int, width: int = 12) -> np.ndarray:
    return np.array([*ids, *[END] * (width - len(ids))], np.int32)


# ids:            2      3    4     5       6    7        8    9
SMALL = Pieces('1+1=2', ',', ' ', '.\nSo', ' 4', '.', b'\xe3\x80', b'\x82')


@pytest.mark.parametrize('ids, rule, expected', [
    ((2, 3, 4, 2, 7), 'clauses', [(6, 1), (13, 5)]),            # '1+1=2, 1+1=2.': the last step ends with the end token
    ((2, 5, 6), 'lines', [(7, 1), (11, 3)]),                    # the token '.\nSo' holds the break and goes on behind it
    ((2, 5, 6), 'sentences', [(6, 1), (11, 3)]),
    ((2, 8, 9, 6), 'sentences', [(6, 2), (8, 4)]),              # the bytes of 。 in two tokens
    ((2, 8, 9), 'sentences', [(6, 3)]),
    ((2, 3, 4, 2), '', [(12, 4)]),
    ((), 'lines', [(0, 0)]),
])
def test_steps_of_an_output(ids, rule, expected):
    assert output_steps(output(*ids), SMALL, rule) == expected


def test_several_ends_in_one_token_count_once():
    pieces = Pieces('If. So. B', 'e it. ', 'C')
    assert output_steps(output(2, 3, 4), pieces, 'sentences') == [(7, 0), (14, 1), (16, 3)]


def test_a_cut_output_ends_at_its_last_token():
    assert output_steps(np.array([2, 3, 4, 2]), SMALL, 'clauses') == [(6, 1), (12, 3)]
    assert output_steps(np.array([2, 3, 4, 2]), SMALL, '') == [(12, 3)]


def test_any_of_the_stop_tokens_ends_an_output():
    assert output_steps(np.array([2, OTHER_END, 2, 3]), SMALL, 'clauses') == [(5, 1)]


def test_places_are_those_of_the_definition_for_random_tokens():
    rng = random.Random(0)
    pieces = Pieces('a', 'b. ', '. ', 'cd\n', '好', '好。', *(bytes([one]) for one in '龘。'.encode()), b'\xff')
    for _ in range(300):
        ids = [rng.randrange(2, 15) for _ in range(rng.randint(1, 20))]
        text = pieces.decode(ids)
        ends = sorted(rng.sample(range(1, len(text) + 1), rng.randint(1, len(text))))
        holds = lambda place, end: pieces.decode(ids[:place + 1]).startswith(text[:end])
        expected = [next(place for place in range(len(ids)) if holds(place, end)) for end in ends]
        assert token_places(ids, text, ends, pieces) == expected


def test_a_long_output_is_decoded_few_times():
    calls = itertools.count()

    class Counted(Pieces):
        def decode(self, ids):
            next(calls)
            return super().decode(ids)
    counted = Counted('ab', '12=3', '\n')
    ids = [2, 3, 4] * 200
    output_steps(np.array(ids), counted, 'lines')
    assert next(calls) < 5 * 200


def test_an_encoded_text_has_the_same_steps():
    text = '1+1=2, 1+1=2。 4'
    ends = solution_steps.step_ends(text, 'clauses')
    ids, places = encoded_steps(text, ends, True, SMALL)
    assert (ids, places) == ([2, 3, 4, 2, 8, 9, 6, END], [1, 5, 7])
    assert encoded_steps(text, ends, False, SMALL) == (ids[:-1], [1, 5, 6])
    assert encoded_steps('', [0], True, SMALL) == ([END], [0])


def test_steps_are_found_where_a_tokenizer_changes_the_text():
    lower = Lower('a', 'b', 'c', '…', '\n', 'so')
    ids, places = encoded_steps('A...\nB...\nSo', [5, 10, 12], True, lower)
    assert [lower.decode(ids[:place + 1]) for place in places] == ['a…\n', 'a…\nb…\n', 'a…\nb…\nso']
    assert places[2] == len(ids) - 1


@pytest.mark.parametrize('sizes', [(1, 1, 1), (2, 2, 2)])
def test_on_the_mesh_each_row_has_its_ends(sizes):
    rows_GT = np.stack([output(2, 3, 4, 2, 7), output(2, 5, 6), output(2, 8, 9, 6), output(7)])
    tokens_QGT = np.stack([rows_GT, rows_GT[::-1], rows_GT, rows_GT])
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])
    tokens = sharding.place(mesh, tokens_QGT, 'QGT')
    ends = step_ends_QGT(tokens, SMALL, 'clauses')
    assert ends.sharding == tokens.sharding
    found = [np.flatnonzero(row).tolist() for row in np.asarray(ends)[0]]
    assert found == [[1, 5], [1, 3], [2, 4], [1]]
    np.testing.assert_array_equal(np.asarray(ends)[1], np.asarray(ends)[0][::-1])
