"""Packing: every example is found again whole, and nothing else is in the rows."""
import numpy as np
import pytest

from mathrl.data.packing import Counts, Example, pack


def _examples(count, longest, seed=0, prompts=True):
    rng = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        size = int(rng.integers(2, longest + 1))
        ids = rng.integers(3, 500, size).tolist()
        examples.append(Example(ids, int(rng.integers(1, size)) if prompts else 0))
    return examples


def _unpacked(rows):
    """[(ids, weights)] of every segment, read slowly; asserts what must hold of each."""
    found = []
    for tokens_T, targets_T, weights_T, segments_T, positions_T in rows:
        for segment in range(1, segments_T.max() + 1):
            places = np.flatnonzero(segments_T == segment)
            assert (np.diff(places) == 1).all() and (positions_T[places] == np.arange(len(places))).all()
            assert (tokens_T[places][1:] == targets_T[places][:-1]).all()
            found.append((tokens_T[places].tolist() + [int(targets_T[places][-1])], weights_T[places].tolist()))
        padding = segments_T == 0
        assert not weights_T[padding].any() and not positions_T[padding].any()
        assert (np.diff(padding.astype(int)) >= 0).all(), 'padding is at the end only'
    return found


@pytest.mark.parametrize('open_rows', [1, 4, 64])
def test_examples_come_back_with_the_answers_weights(open_rows):
    examples, counts = _examples(600, 40), Counts()
    rows = list(pack(examples, 64, counts, open_rows=open_rows))
    wanted = [(example.ids, [int(place >= example.untrained) for place in range(1, len(example.ids))])
              for example in examples]
    assert sorted(_unpacked(rows)) == sorted(wanted)
    assert counts == Counts(600, 0, 0, len(rows), sum(len(example.ids) - 1 for example in examples),
                            sum(sum(weights) for _, weights in wanted))


def test_the_end_token_is_trained_on_and_the_prompt_is_not():
    row, = pack([Example([7, 8, 9, 5, 6, 1], untrained=3)], 8, Counts())
    assert row.tolist() == [[7, 8, 9, 5, 6, 0, 0, 0], [8, 9, 5, 6, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0],
                            [1, 1, 1, 1, 1, 0, 0, 0], [0, 1, 2, 3, 4, 0, 0, 0]]


def test_a_text_is_trained_on_from_its_second_token():
    row, = pack([Example([7, 8, 1])], 4, Counts(), pad_id=3)
    assert row[:3].tolist() == [[7, 8, 3, 3], [8, 1, 3, 3], [1, 1, 0, 0]]


def test_long_texts_are_cut_so_that_every_target_is_trained_on_once():
    examples, counts = _examples(50, 300, prompts=False), Counts()
    found = _unpacked(pack(examples, 32, counts, open_rows=8))
    assert counts.cut == sum(len(example.ids) > 33 for example in examples) and not counts.dropped
    assert sorted(target for ids, _ in found for target in ids[1:]) == sorted(
        target for example in examples for target in example.ids[1:])
    assert all(all(weights) for _, weights in found)
    assert counts.tokens == counts.trained == sum(len(example.ids) - 1 for example in examples)


def test_long_solutions_are_dropped_and_counted():
    counts = Counts()
    kept = Example(list(range(3, 36)), 5)
    rows = list(pack([Example(list(range(3, 37)), 5), kept, Example([4], 0)], 32, counts))
    assert [ids for ids, _ in _unpacked(rows)] == [kept.ids]
    assert (counts.examples, counts.dropped, counts.cut) == (3, 2, 0)


def test_first_fit_fills_rows_better_than_one_open_row():
    used = {}
    for open_rows in (1, 64):
        used[open_rows] = len(list(pack(_examples(3000, 40), 64, Counts(), open_rows=open_rows)))
    tokens = sum(len(example.ids) - 1 for example in _examples(3000, 40))
    assert tokens / (used[64] * 64) > 0.97 and used[64] < 0.9 * used[1]


def test_open_rows_are_bounded():
    counts, taken = Counts(), 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Example(list(range(3, 24)), 1)   # 20 of 32 places: no two fit into a row
    next(pack(endless(), 32, counts, open_rows=10))
    assert taken == 11


def test_a_row_needs_room():
    with pytest.raises(ValueError, match='row_length=1 and open_rows=64; at least 2 and 1'):
        list(pack([], 1, Counts()))
