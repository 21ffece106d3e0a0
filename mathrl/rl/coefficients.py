"""Gradient coefficients: each method is a number per token on grad log pi (DeepSeekMath section 5.2.1).

A coefficient is a pure function (logps_QGT, ref_logps_QGT, sample) -> Terms. The update ascends
sum(weight * stop_gradient(gc) * logps); gc is the derivative of the written objective by logps, token by token.
ref_logps_QGT is None where no reference was given. All arrays are 0 where nothing is trained.
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


def grpo(kl_coef: float = 0.04, clip: float = 0.2, clip_high: float | None = None, ratio: str = 'token',
         kl_estimator: str = 'k3', sampler_cap: float | None = None) -> Callable:
    """GRPO: min(ratio A, clip(ratio, 1 - eps, 1 + eps) A) - beta k3 (DeepSeekMath eq. 3 and 4).

    Its coefficient is ratio A [not clipped] + beta (pi_ref/pi - 1); on-policy the ratio is 1 and nothing is clipped. With
    kl_coef 0 it is PPO's clipped surrogate, on whatever advantages the sample holds.
    clip_high: the upper eps where it differs (DAPO: clip .2, clip_high .28). ratio: 'token', or 'sequence' for the
    geometric mean of an output's ratios, which every token of it shares (GSPO, Zheng et al. 2025; its published eps are
    3e-4 and 4e-4; where advantages or sampler weights differ within an output it is that paper's GSPO-token).
    kl_estimator: 'k3' or 'k2', see kl.py. sampler_cap: the surrogate is weighted by min(pi_old / sampler, cap), token by
    token and a constant to the gradient (truncated importance sampling, Yao et al. 2025), for a sampler that rounds otherwise
    than training (16 bits, an int8 cache) or whose log-probs are stale or another program's; None: no weight.
    """
    high = clip if clip_high is None else clip_high
    if kl_coef < 0 or clip <= 0 or high <= 0:
        raise ValueError(f'grpo: kl_coef={kl_coef} must be at least 0, and clip={clip} and clip_high={high} above 0')
    if ratio not in ('token', 'sequence'):
        raise ValueError(f"grpo: unknown ratio {ratio!r}; there are: 'token', 'sequence'")
    if sampler_cap is not None and sampler_cap <= 0:
        raise ValueError(f'grpo: sampler_cap={sampler_cap} must be above 0')
    divergence, divergence_coefficient = kl.in_loss(kl_estimator)

    def coefficient(logps_QGT, ref_logps_QGT, sample):
        if kl_coef and ref_logps_QGT is None:
            raise ValueError(f'grpo: kl_coef={kl_coef} wants the log-probs of a reference, and none was given')
        advantages_QGT, log_ratio_QGT = sample.advantages_QGT, logps_QGT - sample.old_logps_QGT
        ratio_QGT = jnp.exp(log_ratio_QGT if ratio == 'token' else _output_mean(log_ratio_QGT, sample))
        clipped_QGT = jnp.clip(ratio_QGT, 1 - clip, 1 + high)
        objective_QGT = jnp.minimum(ratio_QGT * advantages_QGT, clipped_QGT * advantages_QGT)
        out_QGT = is_clipped(ratio_QGT, advantages_QGT, clip, high)
        gc_QGT = jnp.where(out_QGT, 0.0, ratio_QGT * advantages_QGT)
        if sampler_cap is not None:
            weight_QGT = jnp.minimum(jnp.exp(sample.old_logps_QGT - sample.sampler_logps_QGT), sampler_cap)
            objective_QGT, gc_QGT = weight_QGT * objective_QGT, weight_QGT * gc_QGT
        if kl_coef:
            objective_QGT -= kl_coef * divergence(logps_QGT, ref_logps_QGT)
            gc_QGT += kl_coef * divergence_coefficient(logps_QGT, ref_logps_QGT)
        return Terms(gc_QGT, objective_QGT, out_QGT)
    return coefficient


def likelihood() -> Callable:
    """A log pi: RFT and Online RFT with the rewards themselves as advantages (1 if the answer is right, else 0).

    No ratio and no clip: whoever sampled the outputs, those with a reward become likelier (DeepSeekMath A.1.2, A.1.3).
    """
    def coefficient(logps_QGT, ref_logps_QGT, sample):
        advantages_QGT = sample.advantages_QGT
        return Terms(advantages_QGT, advantages_QGT * logps_QGT, jnp.zeros(logps_QGT.shape, bool))
    return coefficient


def is_clipped(ratio_QGT, advantages_QGT, clip: float, clip_high: float):
    """True where the clip takes the gradient away: the ratio has left the trust region in the advantage's direction."""
    return ((advantages_QGT > 0) & (ratio_QGT > 1 + clip_high)) | ((advantages_QGT < 0) & (ratio_QGT < 1 - clip))


def _output_mean(values_QGT, sample):
    """The mean over each output's trained tokens, at every one of its positions."""
    trained_QGT, output_QGT = sample.trained_QGT, sample.output_QGT
    if output_QGT is None:
        total = lambda x_QGT: jnp.broadcast_to(jnp.sum(x_QGT, -1, keepdims=True), x_QGT.shape)
    else:
        same_QGTS = output_QGT[..., :, None] == output_QGT[..., None, :]
        total = lambda x_QGT: jnp.sum(jnp.where(same_QGTS, x_QGT[..., None, :], 0), -1)
    return total(values_QGT * trained_QGT) / jnp.maximum(total(trained_QGT), 1)
