"""Each coefficient against autodiff of its written objective, and against the equation in NumPy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.coefficients import grpo, is_clipped
from mathrl.rl.types import Sample

SHAPE = (3, 4, 5)


def values(seed=0, shape=SHAPE, on_policy=False, spread=0.4):
    """float64 (logps, ref_logps, old_logps, advantages); off-policy, ratios lie well inside and outside 0.8 to 1.2."""
    rng = np.random.default_rng(seed)
    logps_QGT = -rng.exponential(size=shape)
    ref_logps_QGT = logps_QGT + rng.normal(size=shape) * 0.5
    old_logps_QGT = logps_QGT if on_policy else logps_QGT - rng.normal(size=shape) * spread
    return logps_QGT, ref_logps_QGT, old_logps_QGT, rng.normal(size=shape)


def written_objective(logps, ref_logps, old_logps, advantages, kl_coef, clip):
    """DeepSeekMath eq. 3 and 4, as they stand in the paper."""
    ratio = jnp.exp(logps) / jnp.exp(old_logps)
    surrogate = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)
    ref_ratio = jnp.exp(ref_logps) / jnp.exp(logps)
    return surrogate - kl_coef * (ref_ratio - jnp.log(ref_ratio) - 1)


def numpy_coefficient(logps, ref_logps, old_logps, advantages, kl_coef, clip):
    """The derivative by cases, one token at a time."""
    gc = np.zeros(logps.shape)
    for i in np.ndindex(*logps.shape):
        ratio, advantage = np.exp(logps[i] - old_logps[i]), advantages[i]
        is_cut = (advantage > 0 and ratio > 1 + clip) or (advantage < 0 and ratio < 1 - clip)
        gc[i] = (0 if is_cut else ratio * advantage) + kl_coef * (np.exp(ref_logps[i] - logps[i]) - 1)
    return gc


def evaluate(logps, ref_logps, old_logps, advantages, **settings):
    with jax.enable_x64(True):
        sample = Sample(advantages_QGT=jnp.asarray(advantages), old_logps_QGT=jnp.asarray(old_logps))
        gc, objective, clipped = grpo(**settings)(jnp.asarray(logps), jnp.asarray(ref_logps), sample)
        assert clipped.dtype == bool and gc.dtype == jnp.float64, 'a coefficient must not fall back to float32'
        return np.asarray(gc), np.asarray(objective)


def autodiff(logps, ref_logps, old_logps, advantages, kl_coef, clip):
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x) for x in (ref_logps, old_logps, advantages)]
        value = written_objective(jnp.asarray(logps), *arrays, kl_coef, clip)
        gradient = jax.grad(lambda x: written_objective(x, *arrays, kl_coef, clip).sum())(jnp.asarray(logps))
        return np.asarray(gradient), np.asarray(value)


@pytest.mark.parametrize('on_policy', [False, True])
@pytest.mark.parametrize('kl_coef, clip', [(0.04, 0.2), (0.0, 0.2), (0.5, 0.1), (0.04, 1e6)])
def test_grpo_is_the_gradient_of_its_objective(on_policy, kl_coef, clip):
    arrays = values(on_policy=on_policy)
    gc, objective = evaluate(*arrays, kl_coef=kl_coef, clip=clip)
    gradient, value = autodiff(*arrays, kl_coef, clip)
    if on_policy:
        # min(x, x) splits its gradient in two halves that both reach logps: the sum is right.
        np.testing.assert_allclose(gc, arrays[3] + kl_coef * np.expm1(arrays[1] - arrays[0]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gc, gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(objective, value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gc, numpy_coefficient(*arrays, kl_coef, clip), rtol=1e-9, atol=1e-12)


def test_all_cases_of_the_clip_occur_above():
    logps, _, old_logps, advantages = values()
    ratio = np.exp(logps - old_logps)
    for side in (ratio > 1.2, ratio < 0.8, (ratio > 0.8) & (ratio < 1.2)):
        assert (side & (advantages > 0)).any() and (side & (advantages < 0)).any()


@pytest.mark.parametrize('ratio, advantage, cut', [
    (1.3, 1.0, True), (1.3, -1.0, False), (0.7, 1.0, False), (0.7, -1.0, True),
    (1.1, 1.0, False), (0.9, -1.0, False), (1.3, 0.0, False), (0.7, 0.0, False)])
def test_clipping_takes_the_gradient_on_the_side_of_the_advantage_only(ratio, advantage, cut):
    one = lambda x: np.full((1, 1, 1), x)
    gc, objective = evaluate(one(np.log(ratio)), one(0.0), one(0.0), one(advantage), kl_coef=0.0, clip=0.2)
    np.testing.assert_allclose(gc, 0 if cut else ratio * advantage, rtol=1e-12)
    bound = np.clip(ratio, 0.8, 1.2) * advantage if cut else ratio * advantage
    np.testing.assert_allclose(objective, bound, rtol=1e-12)
    assert bool(is_clipped(ratio, jnp.float32(advantage), 0.2)) == cut


def test_without_kl_the_reference_does_not_matter():
    logps, ref_logps, old_logps, advantages = values()
    gc, objective = evaluate(logps, ref_logps, old_logps, advantages, kl_coef=0.0)
    other_gc, other_objective = evaluate(logps, ref_logps - 3.0, old_logps, advantages, kl_coef=0.0)
    np.testing.assert_array_equal(gc, other_gc)
    np.testing.assert_array_equal(objective, other_objective)


def test_a_wide_clip_never_cuts():
    logps, ref_logps, old_logps, advantages = values(spread=1.5)
    gc, _ = evaluate(logps, ref_logps, old_logps, advantages, kl_coef=0.0, clip=1e9)
    np.testing.assert_allclose(gc, np.exp(logps - old_logps) * advantages, rtol=1e-9)


def test_without_advantage_only_the_reference_pulls():
    logps, ref_logps, old_logps, advantages = values()
    gc, _ = evaluate(logps, ref_logps, old_logps, 0 * advantages, kl_coef=0.04)
    np.testing.assert_allclose(gc, 0.04 * np.expm1(ref_logps - logps), rtol=1e-12)
    gc, objective = evaluate(logps, logps, logps, 0 * advantages, kl_coef=0.04)
    assert (gc == 0).all() and (objective == 0).all()


@pytest.mark.parametrize('shape', [(1, 1, 1), (2, 3, 1)])
def test_one_token(shape):
    arrays = values(seed=3, shape=shape)
    gc, objective = evaluate(*arrays)
    gradient, value = autodiff(*arrays, 0.04, 0.2)
    np.testing.assert_allclose(gc, gradient, rtol=1e-9)
    np.testing.assert_allclose(objective, value, rtol=1e-9)


def test_every_token_is_on_its_own():
    arrays = values(seed=4)
    gc, objective = evaluate(*arrays)
    for i in [(0, 0, 0), (2, 1, 3), (1, 3, 4)]:
        part = [x[i].reshape(1, 1, 1) for x in arrays]
        gc_alone, objective_alone = evaluate(*part)
        np.testing.assert_allclose(gc[i], gc_alone[0, 0, 0], rtol=1e-12)
        np.testing.assert_allclose(objective[i], objective_alone[0, 0, 0], rtol=1e-12)


@pytest.mark.parametrize('settings', [dict(kl_coef=-0.1), dict(clip=0.0), dict(clip=-1.0)])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match='grpo: kl_coef=.* clip=.*'):
        grpo(**settings)
