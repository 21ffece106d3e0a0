"""k3: its value, its sign, its expectation, its derivative."""
import jax
import jax.numpy as jnp
import numpy as np

from mathrl.rl.kl import k3, k3_coefficient


def test_equals_the_written_formula():
    logps = np.log([0.2, 0.5, 0.9, 0.3])
    ref_logps = np.log([0.4, 0.5, 0.1, 0.29])
    ratio = np.exp(ref_logps) / np.exp(logps)
    with jax.enable_x64(True):
        values = k3(jnp.asarray(logps), jnp.asarray(ref_logps))
    np.testing.assert_allclose(values, ratio - np.log(ratio) - 1, rtol=1e-12)


def test_is_zero_for_equal_policies_and_positive_otherwise():
    logps = jnp.linspace(-9, 0, 50)
    assert (np.asarray(k3(logps, logps)) == 0).all()
    rng = np.random.default_rng(0)
    assert (np.asarray(k3(logps, logps + jnp.asarray(rng.normal(size=50), jnp.float32))) > 0).all()


def test_small_differences_keep_their_digits():
    # exp(d) - d - 1 in float32 loses d**2 / 2 = 5e-9 altogether.
    difference = 1e-4
    np.testing.assert_allclose(k3(jnp.float32(0), jnp.float32(difference)), difference ** 2 / 2, rtol=0.05)


def test_expectation_under_the_policy_is_its_divergence():
    rng = np.random.default_rng(1)
    logps_V, ref_logps_V = (np.log(rng.dirichlet(np.ones(6))) for _ in range(2))
    divergence = np.sum(np.exp(logps_V) * (logps_V - ref_logps_V))
    with jax.enable_x64(True):
        expectation = np.sum(np.exp(logps_V) * np.asarray(k3(jnp.asarray(logps_V), jnp.asarray(ref_logps_V))))
    np.testing.assert_allclose(expectation, divergence, rtol=1e-10)


def test_coefficient_is_the_derivative_of_minus_k3():
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        logps, ref_logps = (jnp.asarray(-rng.exponential(size=40)) for _ in range(2))
        derivative = jax.grad(lambda x: -k3(x, ref_logps).sum())(logps)
        np.testing.assert_allclose(k3_coefficient(logps, ref_logps), derivative, rtol=1e-9, atol=1e-12)
