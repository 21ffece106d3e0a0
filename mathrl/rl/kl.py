"""Estimators of the divergence from the reference, per token: k1, k2, k3, in the loss or in the reward (Schulman 2020).

On-policy, with samples of pi, the expected gradients are: in the loss k1: 0; k2: that of KL(pi || ref); k3: that of
KL(ref || pi). In the reward k1: that of KL(pi || ref); k3: that of KL(pi || ref) less that of KL(ref || pi); k2: that of
E[k2] less that of KL(pi || ref). In the loss each state's divergence counts with the state held fixed; in the reward the
divergence is that of whole outputs (advantages that are not divided by a deviation).
"""
import dataclasses

import jax
import jax.numpy as jnp

ESTIMATORS = 'k1', 'k2', 'k3'


def k1(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """log(pi/pi_ref): unbiased for KL(pi || ref), of either sign."""
    return logps - ref_logps


def k2(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """log(pi/pi_ref)**2 / 2: non-negative, biased, of little variance."""
    return 0.5 * (logps - ref_logps) ** 2


def k3(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """pi_ref/pi - log(pi_ref/pi) - 1: non-negative, and unbiased for KL(pi || ref) on samples of pi (DeepSeekMath eq. 4)."""
    log_ratio = ref_logps - logps
    return jnp.expm1(log_ratio) - log_ratio


def k2_coefficient(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """What -k2 contributes to the coefficient on grad log pi: log(pi_ref/pi)."""
    return ref_logps - logps


def k3_coefficient(logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
    """What -k3 contributes to the coefficient on grad log pi: pi_ref/pi - 1."""
    return jnp.expm1(ref_logps - logps)


def in_loss(estimator: str):
    """(its value, what minus it contributes to the coefficient), both functions of (logps, ref_logps)."""
    _check(estimator)
    if estimator == 'k1':
        raise ValueError('k1 in the loss has an expected gradient of 0 and holds nothing back: take k2 or k3, '
                         'or k1 in the reward')
    return (k2, k2_coefficient) if estimator == 'k2' else (k3, k3_coefficient)


@dataclasses.dataclass(frozen=True)
class Penalty:
    """KL in the reward: coef times the estimate is taken off the reward, token by token, before advantages."""
    coef: float
    estimator: str = 'k1'

    def __post_init__(self):
        _check(self.estimator)
        if self.coef < 0:
            raise ValueError(f'KL in the reward: coef={self.coef} must be at least 0')

    def __call__(self, logps: jax.Array, ref_logps: jax.Array) -> jax.Array:
        return self.coef * {'k1': k1, 'k2': k2, 'k3': k3}[self.estimator](logps, ref_logps)


def _check(estimator: str) -> None:
    if estimator not in ESTIMATORS:
        raise ValueError(f'unknown estimator {estimator!r} of the KL divergence; there are: {", ".join(ESTIMATORS)}')
