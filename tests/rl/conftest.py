"""A policy, a reference and a critic of a few hundred parameters, groups of outputs, and log-probs over whole rows."""
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl import sharding
from mathrl.models.heads import ScalarModel
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.rl.packing import Layout, Packing, layouts, lending_layouts, place, plan
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts
from mathrl.train.state import create

END, VOCAB = 1, 8
Q, G, T, S = 4, 4, 5, 4
KEEP_GRADIENT = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params),
                                             lambda grads, _, params: (jax.tree.map(jnp.zeros_like, grads), grads))


def config(dtype: str) -> LlamaConfig:
    sizes = dict(vocab=VOCAB, width=8, layers=1, heads=2, kv_heads=2, head_dim=4, mlp_width=8)
    return LlamaConfig(**sizes, dtype=dtype, param_dtype=dtype)


def random_like(init, seed: int):
    """Parameters of a size at which all of them matter."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.5, leaf.dtype),
                        jax.eval_shape(init, jax.random.key(0)))


def make_experience(logps, dtype, noise: float, process: bool, width: int = T) -> Experience:
    """Outputs of 1 to T tokens, some ended, some cut off, one with a tool's token inside; one group with equal rewards.

    The tokens behind an end are no end tokens; log-probs of the policy that sampled differ from logps(rollouts) by noise,
    and the sampler's from those. process: outputs of two tokens and more have a step that ends at their second token.
    """
    rng = np.random.default_rng(0)
    length_QG = rng.integers(1, T + 1, (Q, G))
    length_QG[0, 0], length_QG[0, 1] = T, 1
    tokens_QGT, at_T = rng.integers(2, VOCAB, (Q, G, T)), np.arange(T)
    is_end_QGT = (at_T == length_QG[..., None] - 1) & ((length_QG < T) | (np.arange(G) % 2 == 0))[..., None]
    trained_QGT = (at_T < length_QG[..., None]).astype(np.int32)
    trained_QGT[0, 0, 2] = 0
    prompt_length_Q = np.array([1, S, 2, 3])
    blank_QGT = np.zeros((Q, G, T), dtype)
    rollouts = Rollouts(rng.integers(2, VOCAB, (Q, S)).astype(np.int32), prompt_length_Q.astype(np.int32),
                        np.where(is_end_QGT, END, tokens_QGT).astype(np.int32), length_QG.astype(np.int32), trained_QGT,
                        blank_QGT, blank_QGT)
    noisy = lambda x_QGT: (x_QGT + noise * rng.normal(size=x_QGT.shape)).astype(dtype)
    old_logps_QGT = noisy(np.asarray(logps(rollouts))) * trained_QGT
    rollouts = rollouts.replace(policy_logps_QGT=old_logps_QGT, sampler_logps_QGT=noisy(old_logps_QGT) * trained_QGT)
    ends_QGT = (at_T == length_QG[..., None] - 1).astype(np.int32)
    rewards_QGT = (rng.integers(0, 2, (Q, G, 1)) * ends_QGT).astype(dtype)
    rewards_QGT[:3, 0], rewards_QGT[:3, 1], rewards_QGT[3] = ends_QGT[:3, 0], 0, ends_QGT[3] * 0.1
    if process:
        ends_QGT[:, :, 1] = length_QG >= 2
        rewards_QGT += (at_T == 1) * ends_QGT * rng.random((Q, G, T))
    return widened(Experience(rollouts, old_logps_QGT, rewards_QGT.astype(dtype), ends_QGT), width)


def widened(experience: Experience, width: int) -> Experience:
    """With padding up to `width` tokens, of a token that outputs have as well, behind numbers that may not matter."""
    def pad(path, x):
        if not sharding.path_text(path).endswith('_QGT'):
            return x
        wild = {'tokens_QGT': 3, 'old_logps_QGT': -900.0, 'sampler_logps_QGT': 700.0}
        value = wild.get(sharding.path_text(path).split('/')[-1], 0)
        return np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])), constant_values=value)
    return jax.tree_util.tree_map_with_path(pad, experience)


def whole_rows(rollouts):
    """(rows_BT [prompt, output] of every output, at_QGT where the state before token t stands in its row)."""
    Q, G, T = rollouts.tokens_QGT.shape
    S = rollouts.prompt_QS.shape[1]
    rows = np.zeros((Q, G, S + T), np.int32)
    for q, g in np.ndindex(Q, G):
        start = rollouts.prompt_length_Q[q]
        rows[q, g, :start] = rollouts.prompt_QS[q, :start]
        rows[q, g, start:start + T] = rollouts.tokens_QGT[q, g]
    at_QGT = np.broadcast_to(rollouts.prompt_length_Q[:, None, None] - 1 + np.arange(T), (Q, G, T))
    return rows.reshape(Q * G, S + T), at_QGT


def row_logps(model, params, rollouts):
    """Log-probs of the output tokens, each output a whole row of its own: [Q, G, T]."""
    rows_BT, at_QGT = whole_rows(rollouts)
    h_BTD = model.hidden(params, rows_BT, np.ones_like(rows_BT), np.broadcast_to(np.arange(rows_BT.shape[1]), rows_BT.shape))
    logps = jax.nn.log_softmax(model.logits(params, h_BTD)).reshape(at_QGT.shape[:2] + (rows_BT.shape[1], -1))
    chosen = jnp.take_along_axis(logps, at_QGT[..., None], axis=2)
    return jnp.take_along_axis(chosen, rollouts.tokens_QGT[..., None], axis=3)[..., 0]


def row_values(critic, params, rollouts):
    """V of the state before each output token, each output a whole row of its own: [Q, G, T]."""
    rows_BT, at_QGT = whole_rows(rollouts)
    positions_BT = np.broadcast_to(np.arange(rows_BT.shape[1]), rows_BT.shape)
    values_BT = critic.values(params, rows_BT, np.ones_like(rows_BT), positions_BT)
    return jnp.take_along_axis(values_BT.reshape(at_QGT.shape[:2] + (-1,)), at_QGT, axis=2)


@functools.cache
def models(dtype: str):
    """(policy, its parameters, the reference's, critic, its parameters)."""
    policy, critic = Llama(config(dtype)), ScalarModel(config(dtype))
    params = random_like(policy.init, 0)
    reference = jax.tree.map(lambda x, y: 0.8 * x + 0.2 * y, params, random_like(policy.init, 1))
    return policy, params, reference, critic, random_like(critic.init, 2)


@functools.cache
def experience(dtype='float32', noise=0.3, process=False, width=T):
    policy, params = models(dtype)[:2]
    logps = lambda rollouts: jax.jit(lambda params: row_logps(policy, params, rollouts))(params)
    return make_experience(logps, dtype, noise, process, width)


def on_mesh(sizes, run, *trees):
    """run(mesh, *trees) with parameter trees and experiences placed on a mesh data x fsdp x tensor, results on the host."""
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])
    axes = lambda path: sharding.path_text(path).rsplit('_', 1)[-1]
    with jax.set_mesh(mesh):
        def place(tree):
            if isinstance(tree, dict):
                return jax.device_put(jax.device_get(tree), sharding.parameter_shardings(mesh, tree))
            return jax.tree_util.tree_map_with_path(lambda path, x: sharding.place(mesh, x, axes(path)), tree)
        return jax.device_get(run(*map(place, trees)))


def packing(rollouts, micro_batches: int, which: str, length_QG=None) -> Packing:
    """Of placed rollouts, or others of these lengths, on the mesh in force.

    By the 'coarse' layout, by a 'fine' one of units of one or two rows, or by the smallest in which prompts are 'lent'.
    """
    mesh, (Q, G, T), S = jax.sharding.get_mesh(), rollouts.tokens_QGT.shape, rollouts.prompt_QS.shape[1]
    devices = sharding.batch_devices(mesh)
    coarse = layouts(Q, G, S, T, micro_batches, devices)[0]
    rows = 2 if coarse.rows % 2 == 0 else 1
    units = coarse.units * coarse.rows // rows
    fine = Layout(coarse.pieces * units // devices, devices, rows)
    choices = {'coarse': (coarse,), 'fine': (fine,), 'lent': lending_layouts(Q, G, devices)}[which]
    length_QG = sharding.to_host(rollouts.length_QG) if length_QG is None else length_QG
    arrays, _ = plan(length_QG, S, T, choices)
    assert ('prompt_MQG' in arrays) == (which == 'lent')
    return place(mesh, arrays)


def assert_close(tree, expected, tolerance):
    """Each leaf's error is at most `tolerance` of the whole tree's size, by Euclidean norms."""
    size = optax.tree.norm(expected)
    for (path, x), (_, y) in zip(*(jax.tree_util.tree_flatten_with_path(one)[0] for one in (tree, expected)), strict=True):
        error = np.linalg.norm(np.asarray(x, np.float64) - y) / size
        assert error <= tolerance, f'{sharding.path_text(path)}: relative error {error:.2e} > {tolerance}'


@pytest.fixture(scope='session')
def tiny() -> types.SimpleNamespace:
    return types.SimpleNamespace(
        models=models, experience=experience, row_logps=row_logps, row_values=row_values, on_mesh=on_mesh,
        assert_close=assert_close, widened=widened, packing=packing, keep_gradient=KEEP_GRADIENT,
        state=lambda params: create(params, KEEP_GRADIENT))
