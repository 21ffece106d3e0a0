"""actor_critic_step against PPO's losses written over whole rows, with advantages by a slow loop; its splits."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl import coefficients, normalisation
from mathrl.rl.actor_critic import actor_critic_step, clipped_square, sampled_values
from mathrl.rl.kl import Penalty

GAMMA, LAM, CLIP, VALUE_CLIP, KL = 0.97, 0.9, 0.2, 0.15, 0.3
SETTINGS = dict(coefficient=coefficients.grpo(0.0, CLIP), normalisation=normalisation.token_mean, gamma=GAMMA, lam=LAM,
                value_clip=VALUE_CLIP, reward_kl=Penalty(KL))
SPLITS = [((1, 1, 1), 2, 5), ((1, 1, 1), 4, 5), ((1, 1, 1), 16, 5), ((1, 1, 1), 4, 9), ((8, 1, 1), 1, 5), ((2, 2, 2), 2, 5)]


def update(tiny, made, dtype='float32', sizes=(1, 1, 1), old_values_QGT=None, packed=None, **changes):
    """(the policy's gradient, the critic's, metrics)."""
    policy, params, reference, critic, critic_params = tiny.models(dtype)

    def run(params, reference, critic_params, made):
        packing = packed and tiny.packing(made.rollouts, changes.get('micro_batches', 1), packed)
        state, critic_state, metrics = actor_critic_step(
            tiny.state(params), tiny.state(critic_params), reference, made, old_values_QGT, packing, model=policy,
            critic=critic, optimizer=tiny.keep_gradient, critic_optimizer=tiny.keep_gradient, **SETTINGS | changes)
        return state.opt_state, critic_state.opt_state, metrics
    return tiny.on_mesh(sizes, run, params, reference, critic_params, made)


def row_values(tiny, dtype, made):
    """V of the critic as it is, over whole rows."""
    critic, critic_params = tiny.models(dtype)[3:]
    return jax.jit(lambda params: tiny.row_values(critic, params, made.rollouts))(critic_params)


def slow_advantages(made, values_QGT, costs_QGT):
    """Raw advantages: delta by delta, tokens of a tool left out, the penalty on every token."""
    advantages_QGT = np.zeros(values_QGT.shape)
    for q, g in np.ndindex(*values_QGT.shape[:2]):
        at, later, next_value = np.flatnonzero(made.rollouts.trained_QGT[q, g]), 0.0, 0.0
        for t in at[::-1]:
            reward = made.rewards_QGT[q, g, t] * made.step_ends_QGT[q, g, t] - costs_QGT[q, g, t]
            later = reward + GAMMA * next_value - values_QGT[q, g, t] + GAMMA * LAM * later
            advantages_QGT[q, g, t], next_value = later, values_QGT[q, g, t]
    return advantages_QGT


def written_losses(tiny, made, advantages_QGT, returns_QGT, old_values_QGT):
    """(policy loss, value loss) as functions of parameters: means over trained tokens of PPO's two objectives."""
    policy, _, _, critic, _ = tiny.models('float64')
    trained_QGT = made.rollouts.trained_QGT

    def policy_loss(params):
        ratio_QGT = jnp.exp(tiny.row_logps(policy, params, made.rollouts) - made.old_logps_QGT)
        surrogate_QGT = jnp.minimum(ratio_QGT * advantages_QGT, jnp.clip(ratio_QGT, 1 - CLIP, 1 + CLIP) * advantages_QGT)
        return -jnp.sum(surrogate_QGT * trained_QGT) / trained_QGT.sum()

    def value_loss(params):
        values_QGT = tiny.row_values(critic, params, made.rollouts)
        near_QGT = jnp.clip(values_QGT, old_values_QGT - VALUE_CLIP, old_values_QGT + VALUE_CLIP)
        square_QGT = jnp.maximum((values_QGT - returns_QGT) ** 2, (near_QGT - returns_QGT) ** 2)
        return 0.5 * jnp.sum(square_QGT * trained_QGT) / trained_QGT.sum()
    return policy_loss, value_loss


@pytest.mark.parametrize('fresh', [pytest.param(True, marks=pytest.mark.slow), False],
                         ids=['values_of_the_critic_as_it_comes', 'values_at_sampling_given'])
def test_gradients_are_those_of_the_written_losses(tiny, fresh):
    """Process rewards, KL in the reward, whitened advantages, in micro-batches that cut groups, behind padding."""
    with jax.enable_x64(True):
        made = tiny.experience('float64', process=True)
        policy, params, reference, _, critic_params = tiny.models('float64')
        trained_QGT = made.rollouts.trained_QGT
        values_QGT = np.asarray(row_values(tiny, 'float64', made)) * trained_QGT
        moved_QGT = values_QGT + np.random.default_rng(1).normal(size=values_QGT.shape) * 0.3
        old_values_QGT = values_QGT if fresh else moved_QGT * trained_QGT
        ref_logps_QGT = np.asarray(jax.jit(lambda params: tiny.row_logps(policy, params, made.rollouts))(reference))
        raw_QGT = slow_advantages(made, old_values_QGT, KL * (made.old_logps_QGT - ref_logps_QGT))
        inside = raw_QGT[trained_QGT == 1]
        policy_loss, value_loss = written_losses(tiny, made, (raw_QGT - inside.mean()) / inside.std(),
                                                 raw_QGT + old_values_QGT, old_values_QGT)
        given = None if fresh else jnp.asarray(np.pad(old_values_QGT, ((0, 0), (0, 0), (0, 2))))
        gradient, critic_gradient, metrics = update(tiny, tiny.widened(made, 7), 'float64', old_values_QGT=given,
                                                    micro_batches=8)
        for loss, own, got, name in ((policy_loss, params, gradient, 'loss'),
                                     (value_loss, critic_params, critic_gradient, 'value_loss')):
            value, expected = jax.jit(jax.value_and_grad(loss))(own)
            np.testing.assert_allclose(metrics[name], value, rtol=1e-6)
            tiny.assert_close(got, jax.device_get(expected), 1e-6)
        assert metrics['clip_share'] > 0.05
        assert metrics['value_clip_share'] == 0 if fresh else metrics['value_clip_share'] > 0.05
        returns = (raw_QGT + old_values_QGT)[trained_QGT == 1]
        np.testing.assert_allclose(metrics['return'], returns.mean(), rtol=1e-6)
        np.testing.assert_allclose(metrics['explained_variance'],
                                   1 - ((values_QGT[trained_QGT == 1] - returns) ** 2).mean() / returns.var(), rtol=1e-5)


@pytest.mark.parametrize('sizes, micro_batches, width, packed', [
    ((1, 1, 1), 1, 9, 'fine'), ((1, 1, 1), 1, 9, 'lent'), pytest.param((2, 2, 2), 2, 7, 'coarse', marks=pytest.mark.slow)])
def test_without_padding_it_is_the_same_update(tiny, sizes, micro_batches, width, packed):
    expected = update(tiny, tiny.experience())
    got = update(tiny, tiny.experience(width=width), sizes=sizes, micro_batches=micro_batches, packed=packed)
    for tree, wanted in zip(got[:2], expected[:2]):
        tiny.assert_close(tree, wanted, 1e-5)
    for key, value in expected[2].items():
        np.testing.assert_allclose(got[2][key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.slow
def test_the_losses_do_not_depend_on_how_the_batch_is_split(tiny):
    expected = update(tiny, tiny.experience())
    for sizes, micro_batches, width in SPLITS:
        got = update(tiny, tiny.experience(width=width), sizes=sizes, micro_batches=micro_batches)
        for tree, wanted in zip(got[:2], expected[:2]):
            tiny.assert_close(tree, wanted, 1e-5)
        for key, value in expected[2].items():
            np.testing.assert_allclose(got[2][key], value, rtol=1e-5, atol=1e-6, err_msg=f'{key} {sizes} {micro_batches}')


def test_values_at_sampling_are_what_the_step_computes_itself(tiny):
    made = jax.tree.map(jnp.asarray, tiny.experience())
    critic, critic_params = tiny.models('float32')[3:]
    values_QGT = sampled_values(critic_params, made, critic=critic, micro_batches=2)
    expected_QGT = row_values(tiny, 'float32', tiny.experience()) * made.rollouts.trained_QGT
    np.testing.assert_allclose(values_QGT, expected_QGT, rtol=1e-4, atol=1e-5)


def test_states_are_donated_the_program_traced_once_and_nothing_trained_moves_nothing(tiny):
    policy, params, reference, critic, critic_params = tiny.models('float32')
    copy = lambda tree: jax.tree.map(jnp.copy, tree)
    state, critic_state, before = tiny.state(copy(params)), tiny.state(copy(critic_params)), actor_critic_step._cache_size()
    nothing = tiny.experience()
    nothing = nothing.replace(rollouts=nothing.rollouts.replace(trained_QGT=0 * nothing.rollouts.trained_QGT))
    for made in (tiny.experience(), nothing):
        given = state.params, critic_state.params
        state, critic_state, metrics = actor_critic_step(
            state, critic_state, None, jax.tree.map(jnp.asarray, made), model=policy, critic=critic,
            optimizer=tiny.keep_gradient, critic_optimizer=tiny.keep_gradient, coefficient=SETTINGS['coefficient'],
            normalisation=normalisation.token_mean)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given)) and 'kl' not in metrics
    assert actor_critic_step._cache_size() == before + 1
    assert int(state.step) == int(critic_state.step) == 2
    gradients = jax.tree.leaves((state.opt_state, critic_state.opt_state))
    assert all((leaf == 0).all() for leaf in gradients), 'nothing was trained on'
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize('value, old, wanted, square, clipped', [
    (0.5, 0.5, 1.0, 0.25, False),      # where it was: the plain error
    (0.9, 0.5, 1.0, 0.09, True),       # went far towards the return: the error of 0.7
    (0.1, 0.5, 1.0, 0.81, False),      # went away from it: the plain error, which is larger
    (0.6, 0.5, 1.0, 0.16, False)])
def test_the_larger_of_both_squares_counts(value, old, wanted, square, clipped):
    got, is_clipped = clipped_square(jnp.float32(value), jnp.float32(old), jnp.float32(wanted), 0.2)
    np.testing.assert_allclose(got, square / 2, rtol=1e-5)
    assert bool(is_clipped) == clipped


def test_without_a_bound_it_is_the_plain_square():
    values, old, wanted = jnp.linspace(-9, 9, 7), jnp.zeros(7), jnp.ones(7)
    square, is_clipped = clipped_square(values, old, wanted, np.inf)
    np.testing.assert_allclose(square, (values - 1) ** 2 / 2, rtol=1e-6)
    assert not is_clipped.any()
