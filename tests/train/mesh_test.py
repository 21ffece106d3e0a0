"""train_step on every mesh: the same gradients, gradients and parameters cut at rest, the vocabulary in chunks."""
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
from mathrl.train.step import summed_gradients, train_step

MODEL = Llama(LlamaConfig(vocab=96, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24, remat='full'))
ROWS, LENGTH = 16, 8
LOGITS_MIB = 0.001      # 1 KiB: several chunks on every mesh
MESHES = [(1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2)]
KEEP = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params),
                                    lambda grads, _, params: (jax.tree.map(jnp.zeros_like, grads), grads))


def mesh_of(sizes):
    return sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])


def random_params():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: MODEL.init(jax.random.key(0)))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.3).astype(np.float32), shapes)


@functools.cache
def gradient_on(sizes):
    rng, mesh = np.random.default_rng(1), mesh_of(sizes)
    ones_BT = np.ones((ROWS, LENGTH), np.int32)
    tokens_BT, targets_BT = rng.integers(0, 96, (2, ROWS, LENGTH)).astype(np.int32)
    with jax.set_mesh(mesh):
        params = jax.device_put(random_params(), sharding.parameter_shardings(mesh, random_params()))
        batch = LMBatch(**sharding.place_named(mesh, dict(
            tokens_BT=tokens_BT, targets_BT=targets_BT, weights_BT=ones_BT.astype(np.float32), segments_BT=ones_BT,
            positions_BT=ones_BT * np.arange(LENGTH, dtype=np.int32))))
        state, _ = train_step(create(params, KEEP), batch, model=MODEL, optimizer=KEEP, micro_batches=2, logits_mib=LOGITS_MIB)
    return jax.tree.map(np.asarray, state.opt_state)


@pytest.mark.parametrize('sizes', MESHES[1:], ids=str)
def test_gradients_of_all_meshes_agree(sizes):
    for got, wanted in zip(jax.tree.leaves(gradient_on(sizes)), jax.tree.leaves(gradient_on((1, 1, 1)))):
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())


@functools.cache
def compiled_on(sizes):
    mesh, optimizer = mesh_of(sizes), optim.adamw(optim.constant(1e-3))
    shapes = jax.eval_shape(lambda: create(MODEL.init(jax.random.key(0)), optimizer))
    state = jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes,
                         sharding.tree_shardings(mesh, shapes, shapes.params))
    row = lambda dtype: jax.ShapeDtypeStruct((ROWS, LENGTH), dtype, sharding=sharding.placed_sharding(mesh, (ROWS, LENGTH), 'BT'))
    batch = LMBatch(row(jnp.int32), row(jnp.int32), row(jnp.float32), row(jnp.int32), row(jnp.int32))
    with jax.set_mesh(mesh):
        compiled = train_step.lower(state, batch, model=MODEL, optimizer=optimizer, micro_batches=2, logits_mib=LOGITS_MIB).compile()
    return state, compiled


@pytest.mark.parametrize('sizes', MESHES[1:], ids=str)
def test_no_parameter_or_moment_is_whole_at_rest(sizes):
    """What the compiled program takes and gives, as the compiler says it."""
    state, compiled = compiled_on(sizes)
    for layouts in (compiled.input_shardings[0][0], compiled.output_shardings[0]):
        for (path, leaf), where in zip(jax.tree_util.tree_flatten_with_path(state)[0], jax.tree.leaves(layouts)):
            if leaf.ndim:
                cut = sizes[1] if 'norm_D' in str(path) else sizes[1] * sizes[2]
                assert np.prod(where.shard_shape(leaf.shape)) == leaf.size // cut, path


@pytest.mark.parametrize('sizes', MESHES[2:], ids=str)
@pytest.mark.parametrize('count', [1, 2])
def test_gradients_lie_as_their_parameters_do(count, sizes):
    """Nothing but summed_gradients says so here: no optimizer stands behind, whose moments would."""
    mesh = mesh_of(sizes)
    with jax.set_mesh(mesh):
        params = {'first_DF': jnp.ones((16, 24)), 'layers': {'second_DF': jnp.ones((2, 16, 24))}}
        params = jax.device_put(params, sharding.parameter_shardings(mesh, params))
        parts_CBD = jax.device_put(np.ones((count, ROWS, 16), np.float32), sharding.replicated(mesh))

        def loss(params, part_BD):
            weight_DF = params['first_DF'] + params['layers']['second_DF'].sum(0)
            return jnp.sum((sharding.constrain(part_BD, 'BD') @ sharding.constrain(weight_DF, 'DF')) ** 2), {}
        grads, _ = jax.jit(summed_gradients, static_argnums=(0, 3))(loss, params, parts_CBD, count)
    for one, param in zip(jax.tree.leaves(grads), jax.tree.leaves(params)):
        assert one.sharding.is_equivalent_to(param.sharding, one.ndim)


def test_summed_gradients_lie_cut_too():
    """On 1x8x1 the loop over micro-batches carries every gradient cut into 8; a whole one would be f32[2,24,16]."""
    _, compiled = compiled_on((1, 8, 1))
    loops = [line for line in compiled.as_text().splitlines() if ' while(' in line]
    assert any('f32[2,24,2]' in line for line in loops)
    outer = max(loops, key=len)
    assert 'f32[2,24,16]' not in outer.split(' while(')[0]
