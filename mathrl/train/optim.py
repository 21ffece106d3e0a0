"""Optimizer and learning-rate schedules. Defaults are the paper's (section 2.3 of DeepSeekMath)."""
from typing import Callable

import jax
import optax


def adamw(schedule: Callable, b1: float = 0.9, b2: float = 0.95, eps: float = 1e-8, weight_decay: float = 0.1,
          clip_norm: float = 1.0) -> optax.GradientTransformation:
    """AdamW behind clipping by the global norm; weight decay spares vectors (norm scales)."""
    decayed = lambda params: jax.tree_util.tree_map_with_path(lambda path, _: not _is_norm(path), params)
    return optax.chain(optax.clip_by_global_norm(clip_norm),
                       optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed))


def _is_norm(path) -> bool:
    return str(path[-1].key).endswith('norm_D')


def multi_step(peak: float, steps: int, warmup_steps: int = 2000) -> Callable:
    """Linear warm-up, then the peak; 31.6 % of it after 80 % of the steps, 10 % after 90 % (the paper's schedule)."""
    boundaries = {int(0.8 * steps): 0.316, int(0.9 * steps): 0.1 / 0.316}
    return _warmed_up(optax.piecewise_constant_schedule(peak, boundaries), warmup_steps)


def constant(peak: float, warmup_steps: int = 0) -> Callable:
    """The same rate throughout, behind an optional linear warm-up."""
    return _warmed_up(optax.constant_schedule(peak), warmup_steps)


def cosine(peak: float, steps: int, warmup_steps: int = 0, final_share: float = 0.1) -> Callable:
    """Half a cosine from the peak down to final_share of it, behind an optional linear warm-up."""
    return _warmed_up(optax.cosine_decay_schedule(peak, steps, alpha=final_share), warmup_steps)


def _warmed_up(schedule: Callable, warmup_steps: int) -> Callable:
    if warmup_steps == 0:
        return schedule
    return lambda step: schedule(step) * jax.numpy.minimum(1.0, (step + 1) / warmup_steps)
