"""AdamW against its equations, and the learning-rate schedules at their corners."""
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl.train import optim


def small_params():
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return {'embed_VD': normal(5, 4), 'norm_D': np.full(4, 1.5, np.float32),
            'layers': {'mlp_norm_D': np.full((2, 4), 0.5, np.float32), 'up_DF': normal(2, 4, 3),
                       'q_norm_H': np.full((2, 2), 0.5, np.float32), 'q_bias_NH': np.full((2, 2, 2), 0.5, np.float32)}}


def updated(optimizer, params, gradients):
    """The parameters after one update for each of the gradients."""
    @jax.jit
    def step(params, opt_state, grads):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state
    opt_state = optimizer.init(params)
    for grads in gradients:
        params, opt_state = step(params, opt_state, grads)
    return params


def test_weight_decay_takes_matrices_and_spares_norm_scales():
    params = small_params()
    optimizer = optim.adamw(optim.constant(0.01), weight_decay=0.1)
    after = updated(optimizer, params, [jax.tree.map(np.zeros_like, params)])
    np.testing.assert_array_equal(after['norm_D'], params['norm_D'])
    for name in ('mlp_norm_D', 'q_norm_H', 'q_bias_NH'):
        np.testing.assert_array_equal(after['layers'][name], params['layers'][name])
    np.testing.assert_allclose(after['embed_VD'], params['embed_VD'] * (1 - 0.01 * 0.1), rtol=1e-6)
    np.testing.assert_allclose(after['layers']['up_DF'], params['layers']['up_DF'] * (1 - 0.01 * 0.1), rtol=1e-6)


def numpy_adamw(params, gradients, rates, clip_norm, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1):
    """Loshchilov and Hutter's algorithm 2, behind clipping, in float64; what is named norm or bias does not decay."""
    params = [np.float64(x) for x in jax.tree.leaves(params)]
    decay = [0 if re.search('norm|bias', jax.tree_util.keystr(path)) else weight_decay
             for path, _ in jax.tree_util.tree_flatten_with_path(gradients[0])[0]]
    m, v = ([np.zeros_like(x) for x in params] for _ in range(2))
    for t, (grads, rate) in enumerate(zip(gradients, rates), start=1):
        grads = [np.float64(g) for g in jax.tree.leaves(grads)]
        norm = np.sqrt(sum((g ** 2).sum() for g in grads))
        grads = [g * min(1, clip_norm / norm) for g in grads]
        m = [b1 * old + (1 - b1) * g for old, g in zip(m, grads)]
        v = [b2 * old + (1 - b2) * g ** 2 for old, g in zip(v, grads)]
        params = [p - rate * (a / (1 - b1 ** t) / (np.sqrt(b / (1 - b2 ** t)) + eps) + wd * p)
                  for p, a, b, wd in zip(params, m, v, decay)]
    return params


@pytest.mark.parametrize('clip_norm', [1.0, 100.0])
def test_adamw_agrees_with_numpy(clip_norm):
    params, rng = small_params(), np.random.default_rng(1)
    normal = lambda x: rng.normal(size=x.shape).astype(np.float32)
    gradients = [jax.tree.map(lambda x: normal(x) * scale, params) for scale in (1, 0.1, 3)]
    schedule = optim.multi_step(0.1, steps=10, warmup_steps=4)
    after = updated(optim.adamw(schedule, clip_norm=clip_norm), params, gradients)
    wanted = numpy_adamw(params, gradients, [0.025, 0.05, 0.075], clip_norm)
    for got, leaf in zip(jax.tree.leaves(after), wanted):
        np.testing.assert_allclose(got, leaf, rtol=1e-4, atol=1e-5)


# ---- schedules: the rate of update number 0, 1, ...

def rates(schedule, steps):
    return [float(schedule(jnp.int32(step))) for step in steps]


def test_multi_step_falls_after_80_and_90_percent():
    schedule = optim.multi_step(2.0, steps=1000, warmup_steps=100)
    assert rates(schedule, [99, 100, 799]) == pytest.approx([2.0] * 3)
    assert rates(schedule, [800, 899]) == pytest.approx([2.0 * 0.316] * 2)
    assert rates(schedule, [900, 999, 5000]) == pytest.approx([2.0 * 0.1] * 3)


def test_multi_step_cuts_where_it_says_for_every_length():
    for steps in (10, 20, 70, 110, 290, 1430, 100_000, 1_000_000):
        schedule = optim.multi_step(1.0, steps, warmup_steps=0)
        near = [steps * 8 // 10 - 1, steps * 8 // 10, steps * 9 // 10 - 1, steps * 9 // 10]
        assert rates(schedule, near) == pytest.approx([1, 0.316, 0.316, 0.1]), steps


@pytest.mark.parametrize('schedule', [optim.multi_step(2.0, 1000, warmup_steps=4), optim.constant(2.0, warmup_steps=4)],
                         ids=['multi_step', 'constant'])
def test_warm_up_is_linear_and_never_zero(schedule):
    assert rates(schedule, range(6)) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


def test_constant_stays():
    assert rates(optim.constant(0.3), [0, 1, 10**6]) == pytest.approx([0.3] * 3)


def test_cosine_goes_from_the_peak_to_its_final_share():
    schedule = optim.cosine(2.0, steps=100, final_share=0.1)
    assert rates(schedule, [0, 50, 100, 200]) == pytest.approx([2.0, 1.1, 0.2, 0.2])
    assert rates(schedule, [25])[0] == pytest.approx(0.2 + 1.8 * (1 + np.cos(np.pi / 4)) / 2)
    assert rates(optim.cosine(2.0, steps=100, warmup_steps=10), [0])[0] == pytest.approx(0.2)


# ---- dtypes

def gradients_of(params, count):
    rng = np.random.default_rng(2)
    return [jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), params) for _ in range(count)]


def test_a_master_keeps_the_updates_that_bfloat16_would_lose():
    """Steps of 1e-4 on weights near 1, whose bfloat16 neighbours lie 8e-3 apart."""
    wide = jax.tree.map(lambda x: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32), small_params())
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), wide)
    gradients = [jax.tree.map(np.ones_like, wide)] * 200
    plain = optim.adamw(optim.constant(1e-4))
    exact = updated(plain, wide, gradients)
    with_master = updated(optim.adamw(optim.constant(1e-4), master_dtype='float32'), narrow, gradients)
    without = updated(plain, narrow, gradients)
    for got, wanted in zip(jax.tree.leaves(with_master), jax.tree.leaves(exact)):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_array_equal(got, jnp.asarray(wanted, jnp.bfloat16))
    assert np.abs(np.float32(without['norm_D']) - exact['norm_D']).max() > 0.01


def test_moments_in_bfloat16_follow_those_in_float32():
    params = small_params()
    rates = dict(schedule=optim.constant(1e-3), weight_decay=0.0)
    narrow = optim.adamw(**rates, moment_dtype='bfloat16')
    kinds = {leaf.dtype for leaf in jax.tree.leaves(narrow.init(params)) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert kinds == {jnp.dtype('bfloat16')}
    gradients = gradients_of(params, 20)
    exact, got = updated(optim.adamw(**rates), params, gradients), updated(narrow, params, gradients)
    for start, a, b in zip(*map(jax.tree.leaves, (params, got, exact))):
        assert np.abs(b - start).max() > 3e-3
        np.testing.assert_allclose(a, b, atol=5e-4)
