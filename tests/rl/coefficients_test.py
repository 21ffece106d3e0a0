"""Each coefficient against autodiff of its written objective, and against the equation in NumPy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.coefficients import grpo, is_clipped, likelihood
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
        old_logps = jnp.asarray(old_logps)
        sample = Sample(jnp.asarray(advantages), old_logps, old_logps, jnp.ones(old_logps.shape))
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
    assert bool(is_clipped(ratio, jnp.float32(advantage), 0.2, 0.2)) == cut


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


# ---- its options: two bounds, sequence ratios, the other estimator, sampler weights


def masked(seed=5):
    """Arrays as an update hands them over: 0 where nothing is trained. The last output of a question has no token at all."""
    rng = np.random.default_rng(seed)
    trained = (np.arange(5) < rng.integers(1, 6, SHAPE[:2])[..., None]).astype(float)
    trained[0, 0], trained[1, 1, 0] = 1, 0
    trained[:, -1] = 0
    logps, ref_logps, old_logps, advantages = (x * trained for x in values(seed))
    sampler_logps = (old_logps + 0.6 * rng.normal(size=SHAPE)) * trained
    return logps, ref_logps, old_logps, sampler_logps, trained, advantages


def with_options(arrays, coefficient):
    logps, ref_logps, old_logps, sampler_logps, trained, advantages = arrays
    with jax.enable_x64(True):
        sample = Sample(*map(jnp.asarray, (advantages, old_logps, sampler_logps, trained)))
        ref_logps = None if ref_logps is None else jnp.asarray(ref_logps)
        return jax.tree.map(np.asarray, coefficient(jnp.asarray(logps), ref_logps, sample))


def options_objective(logps, ref_logps, old_logps, sampler_logps, trained, advantages, kl_coef, clip, clip_high, ratio,
                      kl_estimator, sampler_cap):
    """The sum over trained tokens of what grpo's options write down.

    Sequence ratios as GSPO-token has them (Zheng et al. 2025): the sequence's, a constant, times pi / its own constant.
    """
    if ratio == 'token':
        ratio = jnp.exp(logps - old_logps)
    else:
        length = jnp.maximum(trained.sum(-1, keepdims=True), 1)
        whole = jnp.exp(jnp.sum((logps - old_logps) * trained, -1, keepdims=True) / length)
        ratio = jax.lax.stop_gradient(whole) * jnp.exp(logps) / jax.lax.stop_gradient(jnp.exp(logps))
    surrogate = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip_high) * advantages)
    weight = jnp.minimum(jnp.exp(old_logps) / jnp.exp(sampler_logps), sampler_cap) if sampler_cap else 1.0
    log_ratio = ref_logps - logps
    divergence = {'k2': 0.5 * log_ratio ** 2, 'k3': jnp.exp(log_ratio) - log_ratio - 1}[kl_estimator]
    return jnp.sum((jax.lax.stop_gradient(weight) * surrogate - kl_coef * divergence) * trained)


@pytest.mark.parametrize('options', [
    dict(clip=0.1, clip_high=0.3), dict(ratio='sequence', clip=0.05, clip_high=0.1), dict(kl_estimator='k2', kl_coef=0.5),
    dict(sampler_cap=1.2), dict(clip=np.inf, kl_coef=0.0),
    dict(ratio='sequence', clip=0.1, clip_high=0.05, kl_estimator='k2', kl_coef=0.3, sampler_cap=1.5)], ids=str)
def test_options_are_the_gradient_of_what_they_write(options):
    arrays = masked()
    terms = with_options(arrays, grpo(**options))
    high = options.get('clip', 0.2)
    full = dict(kl_coef=0.04, clip=0.2, clip_high=high, ratio='token', kl_estimator='k3', sampler_cap=None) | options
    with jax.enable_x64(True):
        objective = lambda logps: options_objective(logps, *map(jnp.asarray, arrays[1:]), **full)
        value, gradient = jax.value_and_grad(objective)(jnp.asarray(arrays[0]))
    trained = arrays[4]
    np.testing.assert_allclose(terms.gc_QGT * trained, gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.sum(terms.objective_QGT * trained), value, rtol=1e-9)
    clipped = terms.clipped_QGT[trained == 1]
    assert clipped.any() and not clipped.all() or full['clip'] == np.inf


def test_options_by_cases_one_token_at_a_time():
    logps, ref_logps, old_logps, sampler_logps, trained, advantages = arrays = masked()
    terms = with_options(arrays, grpo(0.3, 0.1, 0.05, 'sequence', 'k2', 1.5))
    cases = set()
    for q, g, t in zip(*np.nonzero(trained)):
        own = trained[q, g] == 1
        ratio, advantage = np.exp((logps[q, g] - old_logps[q, g])[own].mean()), advantages[q, g, t]
        cut = ratio > 1.05 if advantage > 0 else ratio < 0.9
        weight = min(np.exp(old_logps[q, g, t] - sampler_logps[q, g, t]), 1.5)
        expected = (0 if cut else weight * ratio * advantage) + 0.3 * (ref_logps[q, g, t] - logps[q, g, t])
        np.testing.assert_allclose(terms.gc_QGT[q, g, t], expected, rtol=1e-9)
        cases.add((cut, advantage > 0, weight == 1.5))
    assert len(cases) >= 6, cases


def test_sequence_ratio_is_gspos_gradient_where_advantages_are_an_outputs_own():
    """1/G sum_i s_i A_i with s_i = (pi(o_i) / pi_old(o_i)) ** (1 / |o_i|), as the equation stands."""
    logps, _, old_logps, sampler_logps, trained, advantages = masked()
    advantages = advantages[..., :1] * trained
    terms = with_options((logps, None, old_logps, sampler_logps, trained, advantages), grpo(0.0, 0.05, 0.1, 'sequence'))
    lengths = np.maximum(trained.sum(-1), 1)
    with jax.enable_x64(True):
        def objective(logps):
            ratio = jnp.exp(((logps - old_logps) * trained).sum(-1) / lengths)
            worth = jnp.max(advantages, -1) + jnp.min(advantages, -1)
            return jnp.sum(jnp.minimum(ratio * worth, jnp.clip(ratio, 0.95, 1.1) * worth))
        gradient = jax.grad(objective)(jnp.asarray(logps))
    np.testing.assert_allclose(terms.gc_QGT * trained / lengths[..., None], gradient, rtol=1e-9, atol=1e-12)


def test_one_token_has_its_own_ratio_as_the_sequences():
    logps, ref_logps, old_logps, advantages = values(seed=6, shape=(3, 4, 1))
    arrays = logps, ref_logps, old_logps, old_logps, np.ones(logps.shape), advantages
    token, sequence = (with_options(arrays, grpo(ratio=ratio)) for ratio in ('token', 'sequence'))
    for x, y in zip(token, sequence):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_sampler_weights_are_one_where_the_sampler_is_the_policy_and_never_above_the_cap():
    logps, ref_logps, old_logps, _, trained, advantages = masked()
    same = with_options((logps, ref_logps, old_logps, old_logps, trained, advantages), grpo(sampler_cap=2.0))
    plain = with_options((logps, ref_logps, old_logps, old_logps, trained, advantages), grpo())
    np.testing.assert_array_equal(same.gc_QGT, plain.gc_QGT)
    foreign = (logps, None, old_logps, (old_logps - 9) * trained, trained, advantages)
    capped, plain = (with_options(foreign, grpo(0.0, sampler_cap=cap)) for cap in (2.0, None))
    np.testing.assert_allclose(capped.gc_QGT * trained, 2 * plain.gc_QGT * trained, rtol=1e-12)


def test_everything_masked_is_zero_and_not_nan():
    zeros = np.zeros(SHAPE)
    for ratio in ('token', 'sequence'):
        gc, objective, clipped = with_options((zeros,) * 6, grpo(ratio=ratio, sampler_cap=2.0))
        assert (gc == 0).all() and (objective == 0).all() and not clipped.any()


def test_a_ratio_that_overflows_is_clipped_and_not_nan():
    one = lambda x: np.full((1, 1, 1), x)
    terms = with_options((one(0.0), one(0.0), one(-1e4), one(-1e4), one(1.0), one(1.0)), grpo(kl_coef=0.0))
    assert terms.gc_QGT == 0 and terms.objective_QGT == 1.2 and terms.clipped_QGT


def test_likelihood_is_the_gradient_of_weighted_log_probs_whoever_sampled():
    logps, _, old_logps, sampler_logps, trained, advantages = masked()
    terms = with_options((logps, None, old_logps, sampler_logps, trained, advantages), likelihood())
    np.testing.assert_array_equal(terms.gc_QGT, advantages)
    np.testing.assert_array_equal(terms.objective_QGT, advantages * logps)
    assert not terms.clipped_QGT.any()


@pytest.mark.parametrize('options, message', [
    (dict(clip_high=0.0), 'clip_high=0.0'), (dict(ratio='word'), "unknown ratio 'word'"),
    (dict(sampler_cap=0.0), 'sampler_cap=0.0'), (dict(kl_estimator='k4'), "unknown estimator 'k4'"),
    (dict(kl_estimator='k1'), 'k1 in the loss has an expected gradient of 0')])
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        grpo(**options)


def test_kl_in_the_loss_without_a_reference_is_refused():
    logps, _, *rest = masked()
    with pytest.raises(ValueError, match='kl_coef=0.04 wants the log-probs of a reference'):
        with_options((logps, None, *rest), grpo())
