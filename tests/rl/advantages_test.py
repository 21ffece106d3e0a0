"""Group-relative advantages against examples worked by hand."""
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.advantages import all_equal, centred, charge_steps, group_advantages, leave_one_out, rewards_themselves


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


# ---- the other kinds


ALL = [group_advantages, centred, leave_one_out, rewards_themselves]


def worth(kind, rewards, owner, g):
    """What kind makes of each of a group's step rewards, of output g; owner: whose each is."""
    others = rewards[owner != g]
    kinds = {'group_advantages': (rewards - rewards.mean()) / (rewards.std() or 1), 'centred': rewards - rewards.mean(),
             'leave_one_out': rewards - (others.mean() if len(others) else 0), 'rewards_themselves': rewards}
    return kinds[kind.__name__][owner == g]


@pytest.mark.parametrize('kind', ALL)
def test_every_kind_sums_the_worth_of_the_later_steps(kind):
    rng = np.random.default_rng(2)
    ends_QGT = (rng.random((3, 4, 6)) < 0.4).astype(np.int32)
    rewards_QGT = rng.normal(size=ends_QGT.shape)
    expected_QGT = np.zeros(ends_QGT.shape)
    for q, g in np.ndindex(3, 4):
        rewards, owner = rewards_QGT[q][ends_QGT[q] == 1], np.nonzero(ends_QGT[q])[0]
        at = np.flatnonzero(ends_QGT[q, g])
        own = worth(kind, rewards, owner, g)
        expected_QGT[q, g] = [own[at >= t].sum() for t in range(6)]
    got_QGT = kind(jnp.asarray(rewards_QGT, jnp.float32), jnp.asarray(ends_QGT))
    np.testing.assert_allclose(got_QGT, expected_QGT, rtol=1e-4, atol=1e-5)


def test_outcome_by_hand_of_every_kind():
    rewards_QGT, ends_QGT = map(jnp.asarray, outcome([[1, 0, 0, 1]], [[2, 1, 2, 2]], 2))
    first = lambda kind: np.asarray(kind(rewards_QGT, ends_QGT))[0, :, 0]
    np.testing.assert_allclose(first(centred), [0.5, -0.5, -0.5, 0.5])
    np.testing.assert_allclose(first(leave_one_out), [2 / 3, -2 / 3, -2 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(first(rewards_themselves), [1, 0, 0, 1])


def test_process_against_the_other_outputs_by_hand():
    # Output 0 has steps 1 (t=0) and 0 (t=2), output 1 one step of 1/2 (t=1): baselines 1/2 and (1 + 0) / 2.
    ends_QGT = jnp.asarray([[[1, 0, 1], [0, 1, 0]]])
    rewards_QGT = jnp.asarray([[[1.0, 0, 0], [0, 0.5, 0]]])
    np.testing.assert_allclose(leave_one_out(rewards_QGT, ends_QGT), [[[0.0, -0.5, -0.5], [0, 0, 0]]])
    np.testing.assert_allclose(rewards_themselves(rewards_QGT, ends_QGT), [[[1.0, 0, 0], [0.5, 0.5, 0]]])
    np.testing.assert_allclose(centred(rewards_QGT, ends_QGT), [[[0.0, -0.5, -0.5], [0, 0, 0]]])


@pytest.mark.parametrize('kind', [centred, leave_one_out])
@pytest.mark.parametrize('outputs', [2, 3, 7, 64])
def test_equal_rewards_give_exactly_zero_without_a_deviation_too(kind, outputs):
    rewards_QGT, ends_QGT = map(jnp.asarray, outcome(np.full((1, outputs), 0.1), np.full((1, outputs), 4), 5))
    assert (np.asarray(kind(rewards_QGT, ends_QGT)) == 0).all()


def test_a_group_of_one():
    rewards_QGT, ends_QGT = map(jnp.asarray, outcome([[0.7]], [[2]], 3))
    for kind, expected in zip(ALL, (0, 0, 0.7, 0.7)):
        np.testing.assert_allclose(kind(rewards_QGT, ends_QGT), [[[expected, expected, 0]]], rtol=1e-6)


@pytest.mark.parametrize('kind', ALL)
def test_no_kind_reads_off_the_ends_or_mixes_questions_or_fails_without_steps(kind):
    rewards_QGT, ends_QGT = outcome([[1, 0, 2], [5, 5, 6]], [[3, 1, 2], [1, 1, 4]], 4)
    clean_QGT = np.asarray(kind(jnp.asarray(rewards_QGT), jnp.asarray(ends_QGT)))
    noise_QGT = np.where(ends_QGT == 1, rewards_QGT, 99).astype(np.float32)
    np.testing.assert_array_equal(kind(jnp.asarray(noise_QGT), jnp.asarray(ends_QGT)), clean_QGT)
    np.testing.assert_array_equal(kind(jnp.asarray(rewards_QGT[1:]), jnp.asarray(ends_QGT[1:])), clean_QGT[1:])
    assert (np.asarray(kind(jnp.ones((1, 2, 3)), jnp.zeros((1, 2, 3), jnp.int32))) == 0).all()


# ---- KL in the reward: every step pays for its tokens


def test_steps_pay_for_their_tokens_by_hand():
    costs_QGT = jnp.asarray([[[1.0, 2, 4, 8, 16], [1, 2, 4, 0, 0], [1, 2, 4, 8, 16]]])
    ends_QGT = jnp.asarray([[[0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 1, 0, 0]]])
    rewards_QGT = jnp.where(ends_QGT == 1, 100.0, 55.0)
    expected_QGT = [[[0, 100 - 3, 0, 0, 100 - 28], [0, 0, 100 - 7, 0, 0], [0, 100 - 3, 100 - 28, 0, 0]]]
    np.testing.assert_array_equal(charge_steps(costs_QGT, rewards_QGT, ends_QGT), expected_QGT)


def test_steps_pay_for_everything_once_whatever_the_sign():
    rng = np.random.default_rng(4)
    costs_QGT = rng.normal(size=(2, 3, 7)).astype(np.float32)
    ends_QGT = (rng.random(costs_QGT.shape) < 0.4).astype(np.int32)
    ends_QGT[..., 3] = 1
    paid_QGT = -charge_steps(jnp.asarray(costs_QGT), jnp.zeros(costs_QGT.shape), jnp.asarray(ends_QGT))
    np.testing.assert_allclose(paid_QGT.sum(-1), costs_QGT.sum(-1), rtol=1e-5, atol=1e-6)


def test_an_output_without_steps_pays_nothing():
    assert (np.asarray(charge_steps(jnp.ones((1, 1, 3)), jnp.ones((1, 1, 3)), jnp.zeros((1, 1, 3), jnp.int32))) == 0).all()
