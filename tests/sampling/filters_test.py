"""Temperature, top-k and top-p against a plain reading of their definitions."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.sampling.filters import Sampling, filtered_logits


def numpy_filtered(logits_V, temperature, top_k, top_p):
    """Probabilities [V]: the k likeliest tokens, of those the fewest that hold top_p of the mass, renormalised."""
    weights = np.exp((logits_V - logits_V.max()).astype(np.float64) / temperature)
    order = np.argsort(-weights)
    kept = order[:top_k] if top_k else order
    mass = np.cumsum(weights[kept]) / weights[kept].sum()
    kept = kept[:np.searchsorted(mass, top_p) + 1]
    probabilities = np.zeros(len(logits_V))
    probabilities[kept] = weights[kept] / weights[kept].sum()
    return probabilities


@pytest.mark.parametrize('top_p', [1.0, 0.9, 0.5, 1e-6])
@pytest.mark.parametrize('top_k', [0, 1, 5, 1000])
@pytest.mark.parametrize('temperature', [1.0, 0.3, 2.0])
def test_the_distribution_agrees_with_numpy(temperature, top_k, top_p):
    logits_BTV = np.random.default_rng(0).normal(size=(2, 3, 17)).astype(np.float32) * 2
    logps_BTV = np.asarray(filtered_logits(jnp.asarray(logits_BTV), Sampling(temperature, top_k, top_p)))
    for index in np.ndindex(2, 3):
        wanted_V = numpy_filtered(logits_BTV[index], temperature, top_k, top_p)
        np.testing.assert_array_equal(np.isneginf(logps_BTV[index]), wanted_V == 0)
        np.testing.assert_allclose(np.exp(logps_BTV[index]), wanted_V, atol=1e-6)


def test_top_p_acts_on_what_top_k_left():
    """(.4, .3, .2, .1) cut to two is (.57, .43), of which .5 is held by one token; top-p alone would keep two."""
    logits_V = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
    assert np.isfinite(filtered_logits(logits_V, Sampling(top_k=2, top_p=0.5))).tolist() == [True, False, False, False]
    assert np.isfinite(filtered_logits(logits_V, Sampling(top_p=0.5))).tolist() == [True, True, False, False]


def test_temperature_acts_before_top_p():
    logits_V = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
    sharp = filtered_logits(logits_V, Sampling(temperature=0.1, top_p=0.5))
    assert np.isfinite(sharp).tolist() == [True, False, False, False]


@pytest.mark.parametrize('sampling', [Sampling(top_k=2), Sampling(top_p=0.5)], ids=str)
def test_equally_likely_tokens_stay_or_go_together(sampling):
    logits_V = jnp.log(jnp.array([0.25, 0.3, 0.25, 0.2]))
    assert np.isfinite(filtered_logits(logits_V, sampling)).tolist() == [True, True, True, False]


def test_extreme_logits_give_numbers():
    logits_V = jnp.array([1e4, 0.0, -1e4, 9e3], jnp.float32)
    logps_V = filtered_logits(logits_V, Sampling(temperature=0.01, top_k=3, top_p=0.9))
    assert logps_V[0] == 0 and not np.isnan(logps_V).any()


@pytest.mark.parametrize('wrong', [{'temperature': -0.1}, {'top_k': -1}, {'top_p': 0.0}, {'top_p': 1.5},
                                   {'temperature': float('nan')}], ids=str)
def test_a_wrong_setting_is_one_sentence(wrong):
    (name, value), = wrong.items()
    with pytest.raises(ValueError, match=f'wants temperature >= 0.*got.*{name}={value}'):
        Sampling(**wrong)


def test_a_sampling_is_a_static_argument():
    assert jax.jit(filtered_logits, static_argnums=1)(jnp.zeros(4), Sampling(top_k=2)).shape == (4,)
    assert hash(Sampling(top_k=2)) == hash(Sampling(top_k=2))
