"""The scalar head: what each position has read, shared prompts against whole rows, parameters, meshes."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.heads import ScalarModel
from mathrl.models.llama import Llama, LlamaConfig

CONFIG = LlamaConfig(vocab=12, width=8, layers=2, heads=2, kv_heads=2, head_dim=4, mlp_width=8)
MODEL = ScalarModel(CONFIG)
Q, G, T, S = 4, 2, 5, 4


@functools.cache
def params():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.5, leaf.dtype), shapes)


@functools.cache
def outputs():
    """(tokens_QGT, prompt_QS, prompt_length_Q), prompts of 1 to S tokens."""
    rng = np.random.default_rng(1)
    return (rng.integers(0, 12, (Q, G, T)).astype(np.int32), rng.integers(0, 12, (Q, S)).astype(np.int32),
            np.array([1, 4, 2, 3], np.int32))


@jax.jit
def row_values(params, row_T):
    """Values of one whole row that starts at its first token."""
    row_BT = row_T[None]
    return MODEL.values(params, row_BT, jnp.ones_like(row_BT), jnp.arange(row_T.shape[0])[None])[0]


outputs_values = jax.jit(MODEL.outputs_values)


def test_a_value_is_the_head_times_the_last_hidden_state_at_its_token():
    tokens_BT = outputs()[0].reshape(Q * G, T)
    ones_BT, positions_BT = np.ones_like(tokens_BT), np.broadcast_to(np.arange(T), tokens_BT.shape)
    language = Llama(CONFIG)
    with_logits = {**params(), 'unembed_DV': jnp.zeros((8, 12))}
    with_logits.pop('head_D')
    h_BTD = np.asarray(language.hidden(with_logits, tokens_BT, ones_BT, positions_BT), np.float64)
    values_BT = MODEL.values(params(), tokens_BT, ones_BT, positions_BT)
    assert values_BT.dtype == jnp.float32
    np.testing.assert_allclose(values_BT, h_BTD @ np.asarray(params()['head_D']), rtol=1e-5, atol=1e-5)


def test_behind_a_shared_prompt_as_in_whole_rows():
    tokens_QGT, prompt_QS, length_Q = outputs()
    values_QGT = outputs_values(params(), tokens_QGT, prompt_QS, length_Q)
    for q, g in np.ndindex(Q, G):
        row_T = np.concatenate([prompt_QS[q, :length_Q[q]], tokens_QGT[q, g]])
        padded_T = np.pad(row_T, (0, S + T - len(row_T)))
        expected_T = row_values(params(), padded_T)[length_Q[q]:len(row_T)]
        np.testing.assert_allclose(values_QGT[q, g], expected_T, rtol=1e-4, atol=1e-5)


def test_position_t_has_read_token_t_and_nothing_behind_it():
    tokens_QGT, prompt_QS, length_Q = outputs()
    values_QGT = np.asarray(outputs_values(params(), tokens_QGT, prompt_QS, length_Q))
    changed_QGT = tokens_QGT.copy()
    changed_QGT[:, :, 2] = (changed_QGT[:, :, 2] + 1) % 12
    moved_QGT = np.asarray(outputs_values(params(), changed_QGT, prompt_QS, length_Q)) != values_QGT
    assert not moved_QGT[:, :, :2].any() and moved_QGT[:, :, 2:].all()


def test_what_stands_behind_a_prompt_is_not_read():
    tokens_QGT, prompt_QS, length_Q = outputs()
    other_QS = np.where(np.arange(S) < length_Q[:, None], prompt_QS, 5).astype(np.int32)
    np.testing.assert_array_equal(outputs_values(params(), tokens_QGT, other_QS, length_Q),
                                  outputs_values(params(), tokens_QGT, prompt_QS, length_Q))


def test_packed_examples_do_not_see_each_other():
    row_BT = outputs()[0][0]
    packed_BT = row_BT.reshape(1, -1)
    segments_BT, positions_BT = np.repeat([[1, 2]], T, 1), np.tile(np.arange(T), 2)[None]
    values_BT = MODEL.values(params(), packed_BT, segments_BT.astype(np.int32), positions_BT)
    alone = [row_values(params(), row_T) for row_T in row_BT]
    np.testing.assert_allclose(values_BT[0], np.concatenate(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('tied', [False, True])
def test_starts_from_a_language_model_with_a_small_head(tied):
    language = Llama(LlamaConfig(**{**CONFIG.__dict__, 'tied': tied, 'width': 64}))
    base = language.init(jax.random.key(0))
    model = ScalarModel(language.config)
    made = model.from_base(base, jax.random.key(1))
    assert set(made) == set(base) - {'unembed_DV'} | {'head_D'}
    jax.tree.map(np.testing.assert_array_equal, {name: x for name, x in made.items() if name != 'head_D'},
                 {name: x for name, x in base.items() if name != 'unembed_DV'})
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    jax.tree.map(lambda x, shape: np.testing.assert_equal((x.shape, x.dtype), (shape.shape, shape.dtype)), made, shapes)
    tokens_BT = np.arange(8, dtype=np.int32)[None]
    values_BT = np.asarray(model.values(made, tokens_BT, np.ones_like(tokens_BT), tokens_BT))
    assert 0 < np.abs(values_BT).max() < 0.5


def test_activations_in_bfloat16_give_float32():
    model = ScalarModel(LlamaConfig(**{**CONFIG.__dict__, 'dtype': 'bfloat16'}))
    values_QGT = model.outputs_values(params(), *outputs())
    assert values_QGT.dtype == jnp.float32
    np.testing.assert_allclose(values_QGT, outputs_values(params(), *outputs()), atol=0.15)


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2)], ids=str)
def test_meshes_agree_and_the_head_is_cut(sizes):
    mesh = sharding.make_mesh(*sizes)
    with jax.set_mesh(mesh):
        placed = jax.device_put(params(), sharding.parameter_shardings(mesh, params()))
        assert placed['head_D'].addressable_shards[0].data.size == CONFIG.width // sizes[1]
        arrays = [sharding.place(mesh, x, axes) for x, axes in zip(outputs(), ('QGT', 'QS', 'Q'))]
        values_QGT = jax.jit(MODEL.outputs_values)(placed, *arrays)
    np.testing.assert_allclose(values_QGT, outputs_values(params(), *outputs()), rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_every_parameter():
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(MODEL.outputs_values(params, *outputs()) ** 2)))(params())
    assert all(np.isfinite(leaf).all() and (leaf != 0).any() for leaf in jax.tree.leaves(gradient))
