"""Estimators of the divergence from the reference, per token."""
import jax
import jax.numpy as jnp


def k3(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """pi_ref/pi - log(pi_ref/pi) - 1: non-negative, and unbiased for KL(pi || ref) on samples of pi (DeepSeekMath eq. 4)."""
    log_ratio = ref_logps - logps
    return jnp.expm1(log_ratio) - log_ratio


def k3_coefficient(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """What -k3 contributes to the coefficient on grad log pi: pi_ref/pi - 1."""
    return jnp.expm1(ref_logps - logps)
