"""The reward model's history: what stays in it, and the share of it in a batch."""
import numpy as np
import pytest

from mathrl.rl import replay


def groups(*numbers):
    return {'tokens_QGT': np.array(numbers, np.int32)[:, None, None] * np.ones((1, 2, 3), np.int32),
            'length_QG': np.array(numbers, np.int32)[:, None] * np.ones((1, 2), np.int32)}


def filled(capacity, *numbers):
    return replay.add(replay.empty(groups(0), capacity), groups(*numbers), np.random.default_rng(0))


def test_history_keeps_all_groups_until_it_is_full():
    history = filled(4, 5, 6, 7)
    assert history['length_QG'][:, 0].tolist() == [5, 6, 7, 0] and history['added'] == 3
    np.testing.assert_array_equal(history['tokens_QGT'][:, 1, 2], [5, 6, 7, 0])


def test_a_full_history_is_a_uniform_sample_of_all_that_came():
    counts = np.zeros(9)
    for seed in range(2000):
        history = replay.empty(groups(0), 3)
        rng = np.random.default_rng(seed)
        for start in (0, 3, 6):
            history = replay.add(history, groups(*range(start, start + 3)), rng)
        counts[history['length_QG'][:, 0]] += 1
    np.testing.assert_allclose(counts / 2000, 1 / 3, atol=0.04)      # 4 standard deviations


def test_adding_leaves_the_history_it_was_given_alone():
    before = filled(4, 5)
    replay.add(before, groups(6), np.random.default_rng(0))
    assert before['added'] == 1 and before['length_QG'][1, 0] == 0


@pytest.mark.parametrize('share, old', [(0.1, 1), (0.5, 5), (0.0, 0)])
def test_a_batch_holds_its_share_of_the_history(share, old):
    batch = replay.mixed(filled(4, 50, 60), groups(1, 2, 3), 10, share, np.random.default_rng(0))
    assert batch['length_QG'].shape == (10, 2) and (batch['length_QG'][:, 0] >= 50).sum() == old


def test_a_share_of_no_whole_number_of_groups_is_right_on_the_average():
    rng = np.random.default_rng(0)
    old = [(replay.mixed(filled(4, 50), groups(1, 2), 4, 0.1, rng)['length_QG'][:, 0] >= 50).sum() for _ in range(2000)]
    assert set(old) == {0, 1} and abs(np.mean(old) - 0.4) < 0.04      # 4 standard deviations


def test_a_batch_is_new_alone_while_there_is_no_history():
    batch = replay.mixed(replay.empty(groups(0), 4), groups(1, 2), 2, 0.5, np.random.default_rng(0))
    assert sorted(batch['length_QG'][:, 0]) == [1, 2]


def test_rows_of_a_batch_belong_together():
    batch = replay.mixed(filled(4, 50, 60), groups(1, 2, 3), 8, 0.3, np.random.default_rng(1))
    np.testing.assert_array_equal(batch['length_QG'][:, 0], batch['tokens_QGT'][:, 0, 0])
