"""Group-relative advantages against examples worked by hand."""
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.advantages import all_equal, group_advantages


def outcome(rewards_QG, lengths_QG, tokens):
    """(rewards_QGT, step_ends_QGT) of one reward at the last token of each output."""
    rewards_QG, lengths_QG = np.asarray(rewards_QG, np.float32), np.asarray(lengths_QG)
    ends_QGT = (np.arange(tokens) == lengths_QG[..., None] - 1).astype(np.int32)
    return rewards_QG[..., None] * ends_QGT, ends_QGT


def test_outcome_by_hand():
    # Rewards 1, 0, 0, 0: mean 1/4, population std sqrt(3)/4, so (3/4) / (sqrt(3)/4) = sqrt(3) and -1/sqrt(3).
    rewards_QGT, ends_QGT = outcome([[1, 0, 0, 0]], [[3, 1, 2, 3]], 3)
    advantages_QGT = group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT))
    low, high = -3 ** -0.5, 3 ** 0.5
    expected_QGT = [[[high, high, high], [low, 0, 0], [low, low, 0], [low, low, low]]]
    np.testing.assert_allclose(advantages_QGT, expected_QGT, rtol=1e-6)


def test_process_sums_the_later_steps_by_hand():
    # Steps: output 0 has rewards 1 (ends at t=1) and 0 (t=3); output 1 has 0 (t=0). Mean 1/3, population variance 2/9.
    ends_QGT = jnp.asarray([[[0, 1, 0, 1], [1, 0, 0, 0]]])
    rewards_QGT = jnp.asarray([[[0.0, 1, 0, 0], [0, 0, 0, 0]]])
    std = (2 / 9) ** 0.5
    good, bad = (2 / 3) / std, (-1 / 3) / std
    expected_QGT = [[[good + bad, good + bad, bad, bad], [bad, 0, 0, 0]]]
    np.testing.assert_allclose(group_advantages(rewards_QGT, ends_QGT), expected_QGT, rtol=1e-6)


def test_process_equals_the_written_formula():
    rng = np.random.default_rng(0)
    ends_QGT = (rng.random((3, 5, 7)) < 0.4).astype(np.int32)
    rewards_QGT = rng.normal(size=ends_QGT.shape).astype(np.float32) * ends_QGT
    expected_QGT = np.zeros(ends_QGT.shape)
    for q in range(3):
        group = rewards_QGT[q][ends_QGT[q] == 1].astype(np.float64)
        for g in range(5):
            for t in range(7):
                expected_QGT[q, g, t] = sum((rewards_QGT[q, g, s] - group.mean()) / group.std()
                                            for s in range(t, 7) if ends_QGT[q, g, s])
    np.testing.assert_allclose(group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)), expected_QGT,
                               rtol=1e-4, atol=1e-5)


def test_one_step_at_the_end_is_outcome_supervision():
    rng = np.random.default_rng(1)
    rewards_QG, lengths_QG = rng.normal(size=(2, 6)), rng.integers(1, 9, (2, 6))
    rewards_QGT, ends_QGT = outcome(rewards_QG, lengths_QG, 8)
    advantages_QG = (rewards_QG - rewards_QG.mean(1, keepdims=True)) / rewards_QG.std(1, keepdims=True)
    inside_QGT = np.arange(8) < lengths_QG[..., None]
    np.testing.assert_allclose(group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)),
                               advantages_QG[..., None] * inside_QGT, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('reward', [0.0, 1.0, 0.1, -0.7, 1e-8, 3e7])
@pytest.mark.parametrize('outputs', [2, 3, 7, 64])
def test_equal_rewards_give_exactly_zero(reward, outputs):
    # The float32 mean of seven 0.1 is not 0.1: dividing by the std of that rounding would give advantages of 1.
    rewards_QGT, ends_QGT = outcome(np.full((1, outputs), reward), np.full((1, outputs), 4), 5)
    advantages_QGT = np.asarray(group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)))
    assert (advantages_QGT == 0).all(), advantages_QGT


def test_questions_do_not_mix():
    rewards_QGT, ends_QGT = outcome([[0.1] * 3, [1, 0, 0], [5, 6, 7]], [[2, 2, 2], [1, 2, 2], [2, 1, 2]], 2)
    together_QGT = np.asarray(group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)))
    for q in range(3):
        alone_QGT = group_advantages(jnp.asarray(rewards_QGT[q:q + 1]), jnp.asarray(ends_QGT[q:q + 1]))
        np.testing.assert_array_equal(together_QGT[q], alone_QGT[0])
    assert np.isfinite(together_QGT).all()
    assert (together_QGT[0] == 0).all() and (together_QGT[1] != 0).any()


def test_what_stands_off_the_ends_is_not_a_reward():
    rewards_QGT, ends_QGT = outcome([[1, 0, 2]], [[3, 1, 2]], 4)
    clean_QGT = group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT))
    noise_QGT = np.where(ends_QGT == 1, rewards_QGT, 99).astype(np.float32)
    np.testing.assert_array_equal(group_advantages(jnp.asarray(noise_QGT), jnp.asarray(ends_QGT)), clean_QGT)


def test_padding_behind_the_last_step_gets_zero():
    rewards_QGT, ends_QGT = outcome([[1, 0]], [[2, 3]], 6)
    advantages_QGT = np.asarray(group_advantages(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)))
    assert (advantages_QGT[0, 0, 2:] == 0).all() and (advantages_QGT[0, 1, 3:] == 0).all()


def test_a_group_without_steps_gives_zero():
    zeros_QGT = jnp.zeros((2, 3, 4))
    assert (np.asarray(group_advantages(zeros_QGT, zeros_QGT.astype(jnp.int32))) == 0).all()


def test_all_equal_names_the_groups():
    rewards_QGT, ends_QGT = outcome([[0.1, 0.1], [0.1, 0.2], [0, 0]], [[1, 2], [2, 1], [3, 3]], 3)
    assert all_equal(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)).tolist() == [True, False, True]
