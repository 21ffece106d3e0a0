"""Gradient coefficients: each method is a number per token on grad log pi (DeepSeekMath section 5.2.1).

A coefficient is a pure function (logps_QGT, ref_logps_QGT, sample) -> Terms. The update ascends
sum(weight * stop_gradient(gc) * logps); gc is the derivative of the written objective by logps, token by token.
"""
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

from mathrl.rl import kl


class Terms(NamedTuple):
    """gc: the coefficient. For the logs: the objective's own value, and where the clip took the gradient away (bool)."""
    gc_QGT: jax.Array
    objective_QGT: jax.Array
    clipped_QGT: jax.Array


def grpo(kl_coef: float = 0.04, clip: float = 0.2) -> Callable:
    """GRPO: min(ratio A, clip(ratio, 1 - eps, 1 + eps) A) - beta k3 (DeepSeekMath eq. 3 and 4).

    Its coefficient is ratio A [not clipped] + beta (pi_ref/pi - 1); on-policy the ratio is 1 and nothing is clipped.
    """
    if kl_coef < 0 or clip <= 0:
        raise ValueError(f'grpo: kl_coef={kl_coef} must be at least 0, and clip={clip} above 0')

    def coefficient(logps_QGT, ref_logps_QGT, sample):
        advantages_QGT = sample.advantages_QGT
        ratio_QGT = jnp.exp(logps_QGT - sample.old_logps_QGT)
        clipped_QGT = jnp.clip(ratio_QGT, 1 - clip, 1 + clip)
        objective_QGT = jnp.minimum(ratio_QGT * advantages_QGT, clipped_QGT * advantages_QGT)
        objective_QGT -= kl_coef * kl.k3(logps_QGT, ref_logps_QGT)
        out_QGT = is_clipped(ratio_QGT, advantages_QGT, clip)
        gc_QGT = ratio_QGT * advantages_QGT * ~out_QGT + kl_coef * kl.k3_coefficient(logps_QGT, ref_logps_QGT)
        return Terms(gc_QGT, objective_QGT, out_QGT)
    return coefficient


def is_clipped(ratio_QGT, advantages_QGT, clip: float):
    """True where the clip takes the gradient away: the ratio has left the trust region in the advantage's direction."""
    return ((advantages_QGT > 0) & (ratio_QGT > 1 + clip)) | ((advantages_QGT < 0) & (ratio_QGT < 1 - clip))
