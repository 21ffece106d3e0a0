"""policy_step as every method configures it: the gradient of its objective over whole rows, however the batch is split."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl.programs.learners import Settings, learner
from mathrl.rl import advantages, coefficients, normalisation
from mathrl.rl.kl import Penalty
from mathrl.rl.step import policy_step
from mathrl.rl.types import Algorithm, Sample
from mathrl.train.state import create

# Bounds that cut and pulls that show at ratios of some 0.7 to 1.4.
METHODS = {
    'grpo': dict(coefficient=coefficients.grpo(0.3, 0.2), normalisation=normalisation.sequence_mean),
    'grpo_process': dict(coefficient=coefficients.grpo(0.3, 0.2), normalisation=normalisation.sequence_mean),
    'dr_grpo': dict(coefficient=coefficients.grpo(0.0, 0.2), normalisation=normalisation.token_sum,
                    advantages=advantages.centred),
    'dapo': dict(coefficient=coefficients.grpo(0.0, 0.2, 0.28), normalisation=normalisation.token_mean),
    'gspo': dict(coefficient=coefficients.grpo(0.0, 0.05, 0.08, 'sequence'), normalisation=normalisation.sequence_mean),
    'rloo': dict(coefficient=coefficients.grpo(0.0, np.inf), normalisation=normalisation.sequence_sum,
                 advantages=advantages.leave_one_out, reward_kl=Penalty(0.3)),
    'online_rft': dict(coefficient=coefficients.likelihood(), normalisation=normalisation.sequence_mean,
                       advantages=advantages.rewards_themselves),
    'options': dict(coefficient=coefficients.grpo(0.3, 0.1, 0.15, 'token', 'k2', 1.2),
                    normalisation=normalisation.token_mean, advantages=advantages.leave_one_out,
                    reward_kl=Penalty(0.2, 'k3')),
}
NO_REFERENCE = 'dr_grpo', 'dapo', 'gspo', 'online_rft'
SPLITS = [((1, 1, 1), 2, 5), ((1, 1, 1), 4, 5), ((1, 1, 1), 16, 5), ((1, 1, 1), 4, 9), ((8, 1, 1), 1, 5), ((2, 2, 2), 2, 5)]

# mesh, micro-batches, width, which layout
PACKED = [((1, 1, 1), 2, 9, 'coarse'), ((1, 1, 1), 1, 5, 'fine'), ((1, 1, 1), 1, 9, 'fine'), ((4, 2, 1), 1, 7, 'coarse'),
          ((1, 1, 1), 1, 7, 'lent'), ((2, 1, 2), 1, 7, 'lent'), ((2, 2, 2), 2, 7, 'fine')]


def experience(tiny, name, dtype='float32', width=5):
    return tiny.experience(dtype, process=name == 'grpo_process', width=width)


def update(tiny, name, dtype='float32', sizes=(1, 1, 1), micro_batches=1, width=5, packed=None, made=None, **changes):
    """(gradient, metrics) of one policy_step on the method's experience, or `made`; packed: see tiny.packing."""
    policy, params, reference = tiny.models(dtype)[:3]
    reference = {} if name in NO_REFERENCE else reference

    def run(params, reference, experience):
        packing = packed and tiny.packing(experience.rollouts, micro_batches, packed)
        state, metrics = policy_step(tiny.state(params), reference or None, experience, packing, model=policy,
                                     optimizer=tiny.keep_gradient, micro_batches=micro_batches, **METHODS[name] | changes)
        return state.opt_state, metrics
    return tiny.on_mesh(sizes, run, params, reference, made or experience(tiny, name, dtype, width))


def objective(tiny, name, params, made):
    """The weighted sum of what the coefficient writes down, over whole rows; autodiff goes through its minimum and clip."""
    policy, _, reference = tiny.models('float64')[:3]
    method, trained_QGT = METHODS[name], made.rollouts.trained_QGT
    known = lambda x_QGT: jnp.where(trained_QGT == 1, x_QGT, 0.0)
    ref_logps_QGT = known(tiny.row_logps(policy, reference, made.rollouts))
    rewards_QGT = made.rewards_QGT
    if 'reward_kl' in method:
        rewards_QGT = slow_charge(method['reward_kl'](made.old_logps_QGT, ref_logps_QGT), rewards_QGT, made.step_ends_QGT)
    estimate = method.get('advantages', advantages.group_advantages)
    sample = Sample(known(estimate(jnp.asarray(rewards_QGT), jnp.asarray(made.step_ends_QGT))), made.old_logps_QGT,
                    made.rollouts.sampler_logps_QGT, trained_QGT)
    terms = method['coefficient'](known(tiny.row_logps(policy, params, made.rollouts)), ref_logps_QGT, sample)
    return jnp.sum(terms.objective_QGT * method['normalisation'](trained_QGT.astype(np.float64)))


def by_room(name) -> bool:
    """Whether the room for tokens is a part of the objective, so that more padding is another one."""
    return METHODS[name]['normalisation'] is normalisation.token_sum


def slow_charge(costs_QGT, rewards_QGT, ends_QGT):
    """Every output's last reward less all of its costs: one step."""
    return rewards_QGT - ends_QGT * jnp.sum(costs_QGT, -1, keepdims=True)


@pytest.mark.parametrize('name', ['options', 'gspo', *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS
                                                       if name not in ('options', 'gspo'))])
def test_gradient_is_that_of_the_objective_over_whole_rows(tiny, name):
    """In micro-batches that cut groups, behind padding."""
    with jax.enable_x64(True):
        made = experience(tiny, name, 'float64')
        gradient, metrics = update(tiny, name, 'float64', micro_batches=8, width=5 if by_room(name) else 7)
        loss = lambda params: -objective(tiny, name, params, made)
        value, expected = jax.jit(jax.value_and_grad(loss))(tiny.models('float64')[1])
        np.testing.assert_allclose(metrics['loss'], value, rtol=1e-6)
        tiny.assert_close(gradient, jax.device_get(expected), 1e-6)
        assert name in ('online_rft', 'rloo') or metrics['clip_share'] > 0.05
        assert ('kl' in metrics) == (name not in NO_REFERENCE)


@pytest.mark.parametrize('name', ['options', 'gspo', *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS
                                                       if name not in ('options', 'gspo'))])
def test_without_padding_it_is_the_same_update(tiny, name):
    """Several outputs in a row, units of all sizes, on one device and on several: gradients and metrics agree to 1e-5."""
    gradient, metrics = update(tiny, name)
    for sizes, micro_batches, width, packed in PACKED:
        other, other_metrics = update(tiny, name, 'float32', sizes, micro_batches, 5 if by_room(name) else width, packed)
        tiny.assert_close(other, gradient, 1e-5)
        assert other_metrics.keys() == metrics.keys()
        for key, value in metrics.items():
            np.testing.assert_allclose(other_metrics[key], value, rtol=1e-5, atol=1e-6, err_msg=f'{key} {sizes}')


@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_the_loss_does_not_depend_on_how_the_batch_is_split(tiny, name):
    """Micro-batches, meshes and padding: all gradients and metrics agree to 1e-5."""
    gradient, metrics = update(tiny, name)
    for sizes, micro_batches, width in SPLITS:
        other, other_metrics = update(tiny, name, 'float32', sizes, micro_batches, 5 if by_room(name) else width)
        tiny.assert_close(other, gradient, 1e-5)
        assert other_metrics.keys() == metrics.keys()
        for key, value in metrics.items():
            np.testing.assert_allclose(other_metrics[key], value, rtol=1e-5, atol=1e-6, err_msg=f'{key} {sizes}')


@pytest.mark.parametrize('name, packed', [('options', None), ('gspo', 'fine')])
@pytest.mark.parametrize('source', ['policy', 'reference'])
def test_old_log_probs_are_an_updates_own_where_none_are_given(tiny, name, source, packed):
    """Whatever the sampler's are, which here lie far from them; by whole rows."""
    changes = METHODS[name] | dict(reward_kl=None, source=source)
    made = experience(tiny, name)
    policy, params, reference = tiny.models('float32')[:3]
    writer = params if source == 'policy' else reference
    logps_QGT = np.asarray(jax.jit(lambda writer: tiny.row_logps(policy, writer, made.rollouts))(writer)) * made.rollouts.trained_QGT
    given, given_metrics = update(tiny, 'options', packed=packed, made=made.replace(old_logps_QGT=logps_QGT), **changes)
    own, metrics = update(tiny, 'options', packed=packed, made=made.replace(old_logps_QGT=None), **changes)
    tiny.assert_close(own, given, 1e-5)
    for key, value in given_metrics.items():
        np.testing.assert_allclose(metrics[key], value, rtol=1e-5, atol=1e-6, err_msg=key)
    on_policy = source == 'policy'
    assert (abs(metrics['ratio'] - 1) < 1e-6) == on_policy and (metrics['clip_share'] == 0) == on_policy
    assert metrics['logp_gap'] > 0.1


def test_several_updates_have_the_old_log_probs_of_the_policy_before_them(tiny):
    made, sgd = experience(tiny, 'gspo').replace(old_logps_QGT=None), optax.sgd(0.3)
    policy, params = tiny.models('float32')[:2]
    algorithm = Algorithm('policy', None, METHODS['gspo']['coefficient'])
    old_QGT = np.asarray(jax.jit(lambda params: tiny.row_logps(policy, params, made.rollouts))(params)) * made.rollouts.trained_QGT
    fresh = lambda params: create(jax.tree.map(jnp.copy, params), sgd)

    def learned(params, made):
        settings = Settings(policy, sgd, micro_batches=2, logits_mib=1, updates=2)
        state, _, metrics = learner(algorithm, settings, seed=0).learn(fresh(params), {}, None, made)
        return state.params, metrics

    def by_hand(params, made):
        state = fresh(params)
        for _ in range(2):
            state, metrics = policy_step(state, None, made, model=policy, optimizer=sgd, coefficient=algorithm.coefficient,
                                         normalisation=algorithm.normalisation)
        return state.params, metrics
    found, metrics = tiny.on_mesh((1, 1, 1), learned, params, made)
    wanted, wanted_metrics = tiny.on_mesh((1, 1, 1), by_hand, params, made.replace(old_logps_QGT=old_QGT))
    tiny.assert_close(found, wanted, 1e-5)
    assert metrics['clip_share'] > 0
    for key, value in wanted_metrics.items():
        np.testing.assert_allclose(metrics[key], value, rtol=1e-4, atol=1e-6, err_msg=key)


def test_metrics_of_the_sampler_and_of_advantages(tiny):
    made = experience(tiny, 'online_rft')
    _, metrics = update(tiny, 'online_rft')
    policy, params = tiny.models('float32')[:2]
    inside = made.rollouts.trained_QGT == 1
    logps_QGT = jax.jit(lambda params: tiny.row_logps(policy, params, made.rollouts))(params)
    gap_QGT = np.abs(made.rollouts.policy_logps_QGT - logps_QGT)
    np.testing.assert_allclose(metrics['logp_gap'], gap_QGT[inside].mean(), rtol=1e-4)
    advantages_QGT = np.asarray(advantages.rewards_themselves(made.rewards_QGT, made.step_ends_QGT))
    np.testing.assert_allclose(metrics['advantage_std'], advantages_QGT[inside].std(), rtol=1e-5)
    assert metrics['all_equal'] == 0.25


def test_what_wants_a_reference_says_so(tiny):
    with pytest.raises(ValueError, match='kl_coef=0.3 wants the log-probs of a reference'):
        update(tiny, 'dapo', coefficient=coefficients.grpo(0.3))
    with pytest.raises(ValueError, match='KL in the reward wants a reference'):
        update(tiny, 'dapo', reward_kl=Penalty(0.1))
    with pytest.raises(ValueError, match='outputs of the reference want its log-probs'):
        update(tiny, 'dapo', source='reference')
