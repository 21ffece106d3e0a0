"""The estimators: values, signs, expectations, derivatives; expected gradients on-policy by enumeration."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.advantages import charge_steps, leave_one_out, rewards_themselves
from mathrl.rl.coefficients import grpo
from mathrl.rl.kl import Penalty, in_loss, k1, k2, k2_coefficient, k3, k3_coefficient
from mathrl.rl.types import Sample


def test_equals_the_written_formula():
    logps = np.log([0.2, 0.5, 0.9, 0.3])
    ref_logps = np.log([0.4, 0.5, 0.1, 0.29])
    ratio = np.exp(ref_logps) / np.exp(logps)
    with jax.enable_x64(True):
        values = k3(jnp.asarray(logps), jnp.asarray(ref_logps))
    np.testing.assert_allclose(values, ratio - np.log(ratio) - 1, rtol=1e-12)


def test_is_zero_for_equal_policies_and_positive_otherwise():
    logps = jnp.linspace(-9, 0, 50)
    assert (np.asarray(k3(logps, logps)) == 0).all()
    rng = np.random.default_rng(0)
    assert (np.asarray(k3(logps, logps + jnp.asarray(rng.normal(size=50), jnp.float32))) > 0).all()


def test_small_differences_keep_their_digits():
    # exp(d) - d - 1 in float32 loses d**2 / 2 = 5e-9 altogether.
    difference = 1e-4
    np.testing.assert_allclose(k3(jnp.float32(0), jnp.float32(difference)), difference ** 2 / 2, rtol=0.05)


def test_expectation_under_the_policy_is_its_divergence():
    rng = np.random.default_rng(1)
    logps_V, ref_logps_V = (np.log(rng.dirichlet(np.ones(6))) for _ in range(2))
    divergence = np.sum(np.exp(logps_V) * (logps_V - ref_logps_V))
    with jax.enable_x64(True):
        expectation = np.sum(np.exp(logps_V) * np.asarray(k3(jnp.asarray(logps_V), jnp.asarray(ref_logps_V))))
    np.testing.assert_allclose(expectation, divergence, rtol=1e-10)


def test_coefficient_is_the_derivative_of_minus_k3():
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        logps, ref_logps = (jnp.asarray(-rng.exponential(size=40)) for _ in range(2))
        derivative = jax.grad(lambda x: -k3(x, ref_logps).sum())(logps)
        np.testing.assert_allclose(k3_coefficient(logps, ref_logps), derivative, rtol=1e-9, atol=1e-12)


def test_k1_and_k2_equal_the_written_formulas():
    logps, ref_logps = np.log([0.2, 0.5, 0.9]), np.log([0.4, 0.5, 0.1])
    with jax.enable_x64(True):
        np.testing.assert_allclose(k1(logps, ref_logps), np.log([0.5, 1.0, 9.0]), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(k2(logps, ref_logps), np.log([0.5, 1.0, 9.0]) ** 2 / 2, rtol=1e-12, atol=1e-15)
        derivative = jax.grad(lambda x: -k2(x, ref_logps).sum())(jnp.asarray(logps))
        np.testing.assert_allclose(k2_coefficient(logps, ref_logps), derivative, rtol=1e-9, atol=1e-15)


def test_bad_estimators_are_refused():
    with pytest.raises(ValueError, match='k1 in the loss has an expected gradient of 0'):
        in_loss('k1')
    for make in (in_loss, lambda name: Penalty(0.1, name)):
        with pytest.raises(ValueError, match="unknown estimator 'k5' of the KL divergence; there are: k1, k2, k3"):
            make('k5')
    with pytest.raises(ValueError, match='coef=-1'):
        Penalty(-1)


# ---- expected gradients on-policy: every output of up to two tokens over a vocabulary of three, by its probability


VOCAB, END = 3, 0
OUTPUTS = [(END,)] + [(first, second) for first in (1, 2) for second in range(VOCAB)]     # an end token ends the first
TOKENS = np.array([output + (END,) * (2 - len(output)) for output in OUTPUTS])
TRAINED = np.array([[1] * len(output) + [0] * (2 - len(output)) for output in OUTPUTS])


def policy(logits):
    """logits [3, V]: of the first token, of the second behind token 1, behind 2 -> log-probs [outputs, 2], 0 if untrained."""
    logps = jax.nn.log_softmax(logits, -1)
    contexts = np.stack([np.zeros(len(TOKENS), int), np.maximum(TOKENS[:, 0], 1)], 1)
    return logps[contexts, TOKENS] * TRAINED


def probabilities(logits):
    return jnp.exp(policy(logits).sum(-1))


def forward_kl(logits, ref_logits):
    """KL(pi || ref) of whole outputs."""
    return jnp.sum(probabilities(logits) * (policy(logits) - policy(ref_logits)).sum(-1))


def two_policies(seed=3):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(3, VOCAB))), jnp.asarray(rng.normal(size=(3, VOCAB)))


def expected_update(logits, gc):
    """Expectation over outputs of sum_t gc_t grad log pi(o_t), which the update ascends."""
    weight = jax.lax.stop_gradient(probabilities(logits))[:, None] * gc
    return jax.jit(jax.grad(lambda logits: jnp.sum(weight * policy(logits))))(logits)


def in_the_loss(logits, ref_logits, estimator):
    logps = policy(logits)[:, None]
    sample = Sample(0 * logps, logps, logps, TRAINED[:, None].astype(float))
    terms = grpo(1.0, kl_estimator=estimator)(logps, policy(ref_logits)[:, None], sample)
    return expected_update(logits, terms.gc_QGT[:, 0])


def in_the_reward(logits, ref_logits, estimator):
    """One step at each output's end, no other reward."""
    costs = Penalty(1.0, estimator)(policy(logits), policy(ref_logits))[:, None]
    ends = TRAINED * (np.cumsum(TRAINED, -1) == TRAINED.sum(-1, keepdims=True))
    rewards = charge_steps(costs, 0 * costs, jnp.asarray(ends)[:, None])
    return expected_update(logits, rewards_themselves(rewards, jnp.asarray(ends)[:, None])[:, 0] * TRAINED)


def per_token_kl(logits, ref_logits, swapped: bool):
    """Sum over states, by their probability under pi (a constant), of the divergence of the next token's distribution."""
    logps, ref_logps = jax.nn.log_softmax(logits, -1), jax.nn.log_softmax(ref_logits, -1)
    first = jax.lax.stop_gradient(jnp.exp(logps[0]))
    reach = jnp.stack([jnp.ones(()), first[1], first[2]])
    over, under = (ref_logps, logps) if swapped else (logps, ref_logps)
    return jnp.sum(reach[:, None] * jnp.exp(over) * (over - under))


def test_k3_in_the_loss_pulls_by_the_reverse_divergence_of_every_token():
    with jax.enable_x64(True):
        logits, ref_logits = two_policies()
        expected = -jax.grad(per_token_kl)(logits, ref_logits, True)
        np.testing.assert_allclose(in_the_loss(logits, ref_logits, 'k3'), expected, rtol=1e-9, atol=1e-12)


def test_k2_in_the_loss_pulls_by_the_divergence_of_every_token():
    with jax.enable_x64(True):
        logits, ref_logits = two_policies()
        expected = -jax.grad(per_token_kl)(logits, ref_logits, False)
        np.testing.assert_allclose(in_the_loss(logits, ref_logits, 'k2'), expected, rtol=1e-9, atol=1e-12)


def test_k1_in_the_loss_would_pull_nowhere():
    with jax.enable_x64(True):
        logits, _ = two_policies()
        np.testing.assert_allclose(expected_update(logits, -TRAINED), 0, atol=1e-12)


def test_k1_in_the_reward_pulls_by_the_divergence_of_whole_outputs():
    with jax.enable_x64(True):
        logits, ref_logits = two_policies()
        expected = -jax.grad(forward_kl)(logits, ref_logits)
        np.testing.assert_allclose(in_the_reward(logits, ref_logits, 'k1'), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('estimator, own', [('k2', k2), ('k3', k3)])
def test_k2_and_k3_in_the_reward_pull_by_their_mean_less_their_own_gradient(estimator, own):
    """Behind the score function the estimate is a constant: its expectation's gradient, without the part through itself."""
    with jax.enable_x64(True):
        logits, ref_logits = two_policies()
        cost = lambda logits: own(policy(logits), policy(ref_logits)).sum(-1)
        mean = jax.grad(lambda logits: jnp.sum(probabilities(logits) * cost(logits)))(logits)
        through = jax.grad(lambda logits: jnp.sum(jax.lax.stop_gradient(probabilities(logits)) * cost(logits)))(logits)
        np.testing.assert_allclose(in_the_reward(logits, ref_logits, estimator), through - mean, rtol=1e-9, atol=1e-12)
        wanted = -jax.grad(forward_kl)(logits, ref_logits)
        assert np.abs(through - mean - wanted).max() > 0.01, 'only k1 in the reward has the gradient of KL(pi || ref)'


def test_leaving_one_out_does_not_change_the_expectation():
    """All pairs of two outputs of a group, k1 in the reward: the baseline is independent of the output it is taken off."""
    with jax.enable_x64(True):
        logits, ref_logits = two_policies()
        costs = k1(policy(logits), policy(ref_logits))
        ends = jnp.asarray(TRAINED * (np.cumsum(TRAINED, -1) == TRAINED.sum(-1, keepdims=True)))
        group = np.array(list(itertools.product(range(len(OUTPUTS)), repeat=2)))
        rewards = charge_steps(costs[group], 0 * costs[group], ends[group])
        advantages = leave_one_out(rewards, ends[group]) * TRAINED[group]
        weight = probabilities(logits)[group].prod(-1)[:, None, None] * advantages / 2
        got = jax.grad(lambda logits: jnp.sum(jax.lax.stop_gradient(weight) * policy(logits)[group]))(logits)
        np.testing.assert_allclose(got, -jax.grad(forward_kl)(logits, ref_logits), rtol=1e-9, atol=1e-12)
