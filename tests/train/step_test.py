"""train_step: the mean over weighted tokens and its gradient, however the batch is cut and wherever it lies."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.train import optim
from mathrl.train.state import LMBatch, create
from mathrl.train.step import split, train_step

MODEL = Llama(LlamaConfig(vocab=40, width=16, layers=1, heads=4, kv_heads=2, head_dim=8, mlp_width=24))
ROWS, LENGTH = 8, 10
# An optimizer that changes nothing and keeps the gradient as its state.
KEEP = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params),
                                    lambda grads, _, params: (jax.tree.map(jnp.zeros_like, grads), grads))
ADAMW = optim.adamw(optim.constant(0.01), clip_norm=1e9)
COMPILED = []      # an entry for every program that jax compiles
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(seconds) if event.endswith('backend_compile_duration') else None)


def random_params():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.3).astype(np.float32), shapes)


def packed_batch():
    """Two examples a row, then padding; weights miss some tokens, and one row has none at all. Tokens below 30."""
    rng = np.random.default_rng(1)
    segments_T, positions_T = np.array([1] * 5 + [2] * 3 + [0] * 2), np.array([*range(5), *range(3), *range(2)])
    weights_BT = (rng.random((ROWS, LENGTH)) < 0.6) * (segments_T > 0)
    weights_BT[3] = 0
    return {'tokens_BT': rng.integers(0, 30, (ROWS, LENGTH)), 'targets_BT': rng.integers(0, 40, (ROWS, LENGTH)),
            'weights_BT': weights_BT.astype(np.float32), 'segments_BT': np.tile(segments_T, (ROWS, 1)),
            'positions_BT': np.tile(positions_T, (ROWS, 1))}


def gradient_of(batch, micro_batches=1):
    """(gradient, metrics) of one train_step."""
    state = create(jax.tree.map(jnp.asarray, random_params()), KEEP)
    state, metrics = train_step(state, LMBatch(**batch), model=MODEL, optimizer=KEEP, micro_batches=micro_batches)
    return jax.tree.map(np.asarray, state.opt_state), {name: float(x) for name, x in metrics.items()}


def assert_close(tree, wanted, share=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=share * np.abs(b).max()), tree, wanted)


def test_loss_is_the_mean_over_weighted_tokens_and_its_gradient():
    batch = packed_batch()
    chosen = np.argwhere(batch['weights_BT'] > 0)

    @jax.jit
    @jax.value_and_grad
    def written_mean(params):
        h_BTD = MODEL.hidden(params, batch['tokens_BT'], batch['segments_BT'], batch['positions_BT'])
        probabilities_BTV = jax.nn.softmax(MODEL.logits(params, h_BTD))
        b, t = chosen.T
        return jnp.mean(-jnp.log(probabilities_BTV[b, t, batch['targets_BT'][b, t]]))
    value, grads = written_mean(random_params())
    got, metrics = gradient_of(batch)
    assert metrics['loss'] == pytest.approx(float(value), rel=1e-5)
    assert metrics['tokens'] == len(chosen)
    assert metrics['grad_norm'] == pytest.approx(np.sqrt(sum((g ** 2).sum() for g in jax.tree.leaves(got))), rel=1e-5)
    assert_close(got, grads)


@pytest.mark.parametrize('micro_batches', [2, 4])
def test_micro_batches_change_nothing(micro_batches):
    (whole, metrics), (cut, cut_metrics) = gradient_of(packed_batch()), gradient_of(packed_batch(), micro_batches)
    assert cut_metrics == pytest.approx(metrics, rel=1e-5)
    assert_close(cut, whole)


def test_padding_and_targets_of_no_weight_get_no_gradient():
    batch = packed_batch()
    wanted, metrics = gradient_of(batch)
    padding, untrained = batch['segments_BT'] == 0, batch['weights_BT'] == 0
    other = {**batch, 'tokens_BT': np.where(padding, 35, batch['tokens_BT']),
             'targets_BT': np.where(untrained, 36, batch['targets_BT'])}
    got, other_metrics = gradient_of(other)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert other_metrics == metrics
    np.testing.assert_array_equal(got['embed_VD'][35], 0)
    weighted = {**batch, 'weights_BT': np.ones_like(batch['weights_BT'])}
    assert np.abs(gradient_of(weighted)[0]['embed_VD'] - wanted['embed_VD']).max() > 1e-3, 'weights must count at all'


def test_a_batch_of_no_weight_gives_zero():
    got, metrics = gradient_of({**packed_batch(), 'weights_BT': np.zeros((ROWS, LENGTH), np.float32)})
    assert metrics == {'loss': 0, 'grad_norm': 0, 'tokens': 0}
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), got)


# ---- on a mesh

def two_steps(sizes):
    """(state after two steps of AdamW, metrics, how often train_step was compiled, layouts before and after)."""
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])
    with jax.set_mesh(mesh):
        params = jax.device_put(random_params(), sharding.parameter_shardings(mesh, random_params()))
        fresh = lambda params: create(params, ADAMW)
        shardings = sharding.tree_shardings(mesh, jax.eval_shape(fresh, params), params)
        state = jax.jit(fresh, out_shardings=shardings)(params)
        batch = LMBatch(**sharding.place_named(mesh, packed_batch()))
        before, layouts = len(COMPILED), jax.tree.map(lambda x: x.sharding, state)
        for _ in range(2):
            first, (state, metrics) = state, train_step(state, batch, model=MODEL, optimizer=ADAMW, micro_batches=1)
        assert all(x.is_deleted() for x in jax.tree.leaves(first)), 'the state is donated'
        compiled = len(COMPILED) - before
        moved = [sharding.path_text(path) for (path, x), where in zip(jax.tree_util.tree_flatten_with_path(state)[0],
                                                                     jax.tree.leaves(layouts))
                 if x.sharding != where]      # another name for the same layout would be a second entry in jit's cache
        return jax.tree.map(np.asarray, state), {name: float(x) for name, x in metrics.items()}, compiled, moved


@functools.cache
def two_steps_on_one_device():
    return two_steps((1, 1, 1))


@pytest.mark.parametrize('sizes', [(1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2)], ids=str)
def test_meshes_agree_and_trace_once(sizes):
    wanted, wanted_metrics, *_ = two_steps_on_one_device()
    state, metrics, compiled, moved = two_steps(sizes) if np.prod(sizes) > 1 else two_steps_on_one_device()
    assert compiled == 1, f'train_step was compiled {compiled} times in two calls'
    assert not moved, f'an update moved {moved}'
    assert state.step == 2
    assert metrics == pytest.approx(wanted_metrics, rel=1e-5)
    assert_close(state.opt_state, wanted.opt_state, share=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, wanted.params)
    assert np.abs(state.params['embed_VD'] - random_params()['embed_VD']).max() > 1e-3


# ---- micro-batches

def test_split_deals_the_rows_out():
    """On a mesh that cuts rows in order, each part then has rows of every device."""
    np.testing.assert_array_equal(split(np.arange(6), 2), [[0, 2, 4], [1, 3, 5]])
    assert split({'a': np.zeros((6, 5))}, 3)['a'].shape == (3, 2, 5)


def test_micro_batches_that_do_not_divide_are_one_sentence():
    with pytest.raises(ValueError, match='^3 micro-batches do not divide 8 rows$'):
        split(np.zeros((8, 2)), 3)
