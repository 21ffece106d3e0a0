"""The normalisations, token by token in NumPy."""
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl import normalisation

LENGTHS_QG = np.array([[1, 4, 3], [6, 2, 2]])
ALL = [normalisation.sequence_mean, normalisation.token_mean, normalisation.token_sum, normalisation.sequence_sum]
TRAINED_QGT = (np.arange(6) < LENGTHS_QG[..., None]).astype(np.float32)


def test_sequence_mean_is_the_mean_over_outputs_of_the_mean_over_tokens():
    weights_QGT = np.asarray(normalisation.sequence_mean(jnp.asarray(TRAINED_QGT)))
    for q, g, t in np.ndindex(2, 3, 6):
        expected = 1 / LENGTHS_QG[q, g] / 6 if t < LENGTHS_QG[q, g] else 0
        np.testing.assert_allclose(weights_QGT[q, g, t], expected, rtol=1e-6)
    np.testing.assert_allclose(weights_QGT.sum(), 1, rtol=1e-6)


def test_token_mean_counts_every_token_the_same():
    weights_QGT = normalisation.token_mean(jnp.asarray(TRAINED_QGT))
    np.testing.assert_allclose(weights_QGT, TRAINED_QGT / LENGTHS_QG.sum(), rtol=1e-6)


def test_token_sum_divides_by_the_room_whatever_the_lengths():
    weights_QGT = normalisation.token_sum(jnp.asarray(TRAINED_QGT))
    np.testing.assert_allclose(weights_QGT, TRAINED_QGT / (2 * 3 * 6), rtol=1e-6)


def test_sequence_sum_is_the_mean_over_outputs_of_the_sum_over_tokens():
    weights_QGT = normalisation.sequence_sum(jnp.asarray(TRAINED_QGT))
    np.testing.assert_allclose(weights_QGT, TRAINED_QGT / (2 * 3), rtol=1e-6)


@pytest.mark.parametrize('normalise', ALL)
def test_nothing_trained_is_zero_and_not_nan(normalise):
    assert (np.asarray(normalise(jnp.zeros((2, 3, 4)))) == 0).all()


@pytest.mark.parametrize('normalise', ALL)
def test_what_is_not_trained_weighs_nothing(normalise):
    # Tool output in the middle of an output is read but not trained on.
    trained_QGT = TRAINED_QGT.copy()
    trained_QGT[1, 0, 2:4] = 0
    weights_QGT = np.asarray(normalise(jnp.asarray(trained_QGT)))
    assert (weights_QGT[trained_QGT == 0] == 0).all() and (weights_QGT[trained_QGT == 1] > 0).all()
