"""dpo_step against the standard loss over whole rows; its splits."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.rl import packing
from mathrl.rl.dpo import coefficient, dpo_step, lengths
from mathrl.rl.pairs import best_with_worst

BETA = 0.7
SPLITS = [((1, 1, 1), 2, 5), ((1, 1, 1), 4, 5), ((1, 1, 1), 8, 5), ((1, 1, 1), 4, 9), ((8, 1, 1), 1, 5), ((2, 2, 2), 2, 5)]


def update(tiny, made, dtype='float32', sizes=(1, 1, 1), micro_batches=1, beta=BETA, rows=0):
    """rows: of a packing's units, 0 for none, 'lent' for rows that are lent their prompts."""
    policy, params, reference = tiny.models(dtype)[:3]
    pairs = jax.device_get(best_with_worst(jax.tree.map(jnp.asarray, made)))

    def run(params, reference, pairs):
        packed = packed_pairs(pairs, rows) if rows else None
        state, metrics = dpo_step(tiny.state(params), reference, pairs, packed, model=policy, optimizer=tiny.keep_gradient,
                                  beta=beta, micro_batches=micro_batches)
        return state.opt_state, metrics
    return tiny.on_mesh(sizes, run, params, reference, pairs)


def packed_pairs(pairs, rows):
    """By a layout of one unit a device, so that there are several micro-batches; or by the smallest that lends prompts."""
    mesh, (Q, G, T), S = jax.sharding.get_mesh(), pairs.chosen_QGT.shape, pairs.prompt_QS.shape[1]
    choices = (packing.lending_layouts(Q, G, sharding.batch_devices(mesh)) if rows == 'lent' else
               (packing.Layout(Q * G, sharding.batch_devices(mesh), rows),))
    arrays, fill = packing.plan(lengths(pairs), S, T, choices, together=2)
    assert (arrays['count'] > 1) == (rows != 'lent') and fill > 0.3
    return packing.place(mesh, arrays)


def standard_margins(tiny, params, made):
    """beta times the log-ratio of each group's best output less that of its worst, second best less second worst: [Q, 2]."""
    policy, _, reference = tiny.models('float64')[:3]
    log_ratio_QG = jnp.sum((tiny.row_logps(policy, params, made.rollouts) - tiny.row_logps(policy, reference, made.rollouts))
                           * made.rollouts.trained_QGT, -1)
    order_QG = np.argsort(made.rewards_QGT.sum(-1), axis=1, kind='stable')
    pick = lambda which_QG: jnp.take_along_axis(log_ratio_QG, which_QG, axis=1)
    return BETA * (pick(order_QG[:, :1:-1]) - pick(order_QG[:, :2]))


def counted(made):
    rewards_QG = np.sort(made.rewards_QGT.sum(-1), axis=1)
    return (rewards_QG[:, :1:-1] > rewards_QG[:, :2]).astype(np.float64)


def test_gradient_is_that_of_the_standard_loss(tiny):
    """In micro-batches that cut the pairs of a question, behind padding, with pairs that do not count."""
    with jax.enable_x64(True):
        made = tiny.experience('float64')
        counts_QG = counted(made)
        assert 0 < counts_QG.sum() < counts_QG.size
        logs_QG = lambda params: jax.nn.log_sigmoid(standard_margins(tiny, params, made))
        loss = lambda params: -jnp.sum(logs_QG(params) * counts_QG) / counts_QG.sum()
        params = tiny.models('float64')[1]
        gradient, metrics = update(tiny, tiny.widened(made, 7), 'float64', micro_batches=8)
        value, expected = jax.jit(jax.value_and_grad(loss))(params)
        np.testing.assert_allclose(metrics['loss'], value, rtol=1e-6)
        tiny.assert_close(gradient, jax.device_get(expected), 1e-6)
        margins = np.asarray(standard_margins(tiny, params, made))[counts_QG == 1]
        np.testing.assert_allclose(metrics['margin'], margins.mean(), rtol=1e-6)
        np.testing.assert_allclose(metrics['accuracy'], (margins > 0).mean(), rtol=1e-6)
        assert metrics['pairs'] == counts_QG.sum()


@pytest.mark.slow
def test_the_loss_does_not_depend_on_how_the_batch_is_split(tiny):
    expected = update(tiny, tiny.experience())
    for sizes, micro_batches, width in SPLITS:
        got = update(tiny, tiny.experience(width=width), sizes=sizes, micro_batches=micro_batches)
        tiny.assert_close(got[0], expected[0], 1e-5)
        for key, value in expected[1].items():
            np.testing.assert_allclose(got[1][key], value, rtol=1e-5, atol=1e-6, err_msg=f'{key} {sizes} {micro_batches}')


@pytest.mark.parametrize('sizes, rows, width', [
    ((1, 1, 1), 1, 5), ((1, 1, 1), 2, 9), ((1, 1, 1), 'lent', 9), ((2, 1, 1), 'lent', 7), ((2, 2, 2), 1, 5)], ids=str)
def test_the_loss_does_not_depend_on_being_packed(tiny, sizes, rows, width):
    expected = update(tiny, tiny.experience())
    got = update(tiny, tiny.experience(width=width), sizes=sizes, rows=rows)
    tiny.assert_close(got[0], expected[0], 1e-5)
    for key, value in expected[1].items():
        np.testing.assert_allclose(got[1][key], value, rtol=1e-5, atol=1e-6, err_msg=key)


def test_pairs_without_a_difference_alone_move_nothing(tiny):
    made = tiny.experience()
    gradient, metrics = update(tiny, made.replace(rewards_QGT=made.step_ends_QGT.astype(np.float32)))
    assert metrics['pairs'] == 0 and metrics['loss'] == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_coefficient_is_the_derivative_by_the_log_prob_of_the_chosen():
    with jax.enable_x64(True):
        log_ratios = jnp.linspace(-30.0, 30.0, 13)
        for beta in (0.1, 1.0):
            derivative = jax.vmap(jax.grad(lambda x: jax.nn.log_sigmoid(beta * x)))(log_ratios)
            np.testing.assert_allclose(coefficient(beta * log_ratios, beta), derivative, rtol=1e-9)


def test_bad_beta_is_refused(tiny):
    with pytest.raises(ValueError, match='beta=0.0 must be above 0'):
        update(tiny, tiny.experience(), beta=0.0)
