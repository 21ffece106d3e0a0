"""Generalised advantage estimation against sums written out, and by hand."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.gae import gae, whiten

SHAPE = (2, 3, 7)


def arrays(seed=0, tools=True):
    """(rewards, values, trained): rewards on trained tokens; tokens of a tool inside if so asked."""
    rng = np.random.default_rng(seed)
    trained = (np.arange(SHAPE[2]) < rng.integers(1, SHAPE[2] + 1, SHAPE[:2])[..., None]).astype(np.int32)
    trained[0, 0] = 1
    if tools:
        trained[0, 0, 2:4] = 0
    return rng.normal(size=SHAPE) * trained, rng.normal(size=SHAPE), trained


def slow_gae(rewards, values, trained, gamma, lam):
    """A_t = sum_l (gamma lam)**l delta_t+l over an output's trained tokens."""
    advantages = np.zeros(SHAPE)
    for q, g in np.ndindex(*SHAPE[:2]):
        at = np.flatnonzero(trained[q, g])
        r, v = rewards[q, g, at], np.append(values[q, g, at], 0.0)
        deltas = [r[i] + gamma * v[i + 1] - v[i] for i in range(len(at))]
        for i, t in enumerate(at):
            advantages[q, g, t] = sum((gamma * lam) ** (j - i) * deltas[j] for j in range(i, len(at)))
    return advantages


def run(rewards, values, trained, gamma, lam):
    with jax.enable_x64(True):
        return tuple(map(np.asarray, gae(jnp.asarray(rewards), jnp.asarray(values), jnp.asarray(trained), gamma, lam)))


@pytest.mark.parametrize('gamma, lam', [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (1.0, 0.0), (0.0, 0.5)])
def test_equals_the_sum_written_out(gamma, lam):
    rewards, values, trained = arrays()
    advantages, returns = run(rewards, values, trained, gamma, lam)
    expected = slow_gae(rewards, values, trained, gamma, lam)
    np.testing.assert_allclose(advantages, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(returns, (expected + values) * trained, rtol=1e-9, atol=1e-12)


def test_by_hand():
    # Values 1/2, 1/4; reward 1 at the end: deltas 1/4 - 1/2 and 1 - 1/4; lam 1/2.
    one = lambda *x: np.array([[x]], float)
    advantages, returns = run(one(0, 1, 0), one(0.5, 0.25, 7), np.array([[[1, 1, 0]]]), 1.0, 0.5)
    np.testing.assert_allclose(advantages, one(-0.25 + 0.375, 0.75, 0), rtol=1e-12)
    np.testing.assert_allclose(returns, one(0.625, 1.0, 0), rtol=1e-12)


def test_lam_one_is_what_is_still_to_come_less_the_value():
    rewards, values, trained = arrays(tools=False)
    advantages, returns = run(rewards, values, trained, 1.0, 1.0)
    to_come = np.cumsum(rewards[..., ::-1], -1)[..., ::-1]
    np.testing.assert_allclose(advantages, (to_come - values) * trained, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(returns, to_come * trained, rtol=1e-9, atol=1e-12)


def test_without_values_and_discounts_process_rewards_are_summed_over_the_later_steps():
    rewards, values, trained = arrays(tools=False)
    advantages, _ = run(rewards, 0 * values, trained, 1.0, 1.0)
    np.testing.assert_allclose(advantages, np.cumsum(rewards[..., ::-1], -1)[..., ::-1] * trained, rtol=1e-9, atol=1e-12)


def test_a_tools_tokens_are_no_steps_and_their_reward_falls_to_the_token_before():
    rewards, values, trained = arrays()
    expected, _ = run(rewards, values, trained, 0.9, 0.8)
    other_values = np.where(trained == 1, values, 99)
    moved = rewards.copy()
    moved[0, 0, 3], moved[0, 0, 1] = rewards[0, 0, 1], 0
    for changed in ((rewards, other_values), (moved, values)):
        np.testing.assert_allclose(run(*changed, trained, 0.9, 0.8)[0], expected, rtol=1e-12)


def test_padding_changes_nothing_and_nothing_trained_is_zero():
    rewards, values, trained = arrays()
    pad = lambda x, value: np.pad(x, ((0, 0), (0, 0), (0, 3)), constant_values=value)
    padded = run(pad(rewards, 0), pad(values, 5), pad(trained, 0), 1.0, 0.95)
    for got, wanted in zip(padded, run(rewards, values, trained, 1.0, 0.95)):
        np.testing.assert_array_equal(got[..., :SHAPE[2]], wanted)
        assert (got[..., SHAPE[2]:] == 0).all()
    assert all((x == 0).all() for x in run(0 * rewards, values, 0 * trained, 1.0, 0.95))


def test_whitened_advantages_have_mean_0_and_deviation_1_over_trained_tokens():
    advantages, _, trained = arrays(3)
    whitened = np.asarray(whiten(jnp.asarray(advantages * 5 + 2, jnp.float32), jnp.asarray(trained)))
    inside = whitened[trained == 1]
    np.testing.assert_allclose([inside.mean(), inside.std()], [0, 1], atol=1e-5)
    assert (whitened[trained == 0] == 0).all()
    assert (np.asarray(whiten(jnp.ones(SHAPE), jnp.zeros(SHAPE))) == 0).all()
    assert (np.asarray(whiten(jnp.ones(SHAPE), jnp.ones(SHAPE))) == 0).all()
