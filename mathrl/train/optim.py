"""Optimizer and learning-rate schedules. Defaults are the paper's (section 2.3 of DeepSeekMath)."""
import re
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import optax


def adamw(schedule: Callable, b1: float = 0.9, b2: float = 0.95, eps: float = 1e-8, weight_decay: float = 0.1,
          clip_norm: float = 1.0, moment_dtype: str = '', master_dtype: str = '',
          guard: Callable | None = None) -> optax.GradientTransformation:
    """AdamW behind clipping by the global norm; weight decay spares vectors (norm scales, biases).

    moment_dtype: what both moments are kept in ('': as the parameters); they are computed in float32. master_dtype: keeps a copy
    of the parameters in this dtype and updates that one, so that parameters in bfloat16 do not lose small updates ('': none).
    guard: what leaves updates out, see train/guard.py (None: nothing does).
    """
    decayed = lambda params: jax.tree_util.tree_map_with_path(lambda path, _: not _is_vector(path), params)
    adam = optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed)
    adam = _stored_in(moment_dtype, adam) if moment_dtype else adam
    whole = optax.chain(optax.clip_by_global_norm(clip_norm), with_master(master_dtype, adam) if master_dtype else adam)
    return guard(whole) if guard else whole


class Master(NamedTuple):
    """master: the parameters in a wider dtype; inner: the state of the optimizer that moves them."""
    master: Any
    inner: Any


def with_master(dtype: str, inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Updates a copy of the parameters in `dtype`; the parameters become that copy, rounded to their own dtype."""
    def init(params):
        master = _cast(params, dtype)
        return Master(master, inner.init(master))

    def update(grads, state, params):
        updates, inner_state = inner.update(_cast(grads, dtype), state.inner, state.master)
        master = optax.apply_updates(state.master, updates)
        moves = jax.tree.map(lambda new, old: new.astype(old.dtype).astype(dtype) - old.astype(dtype), master, params)
        return moves, Master(master, inner_state)
    return optax.GradientTransformation(init, update)


def _stored_in(dtype: str, inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Keeps the state's arrays in `dtype` between updates; counts stay as they are."""
    floats = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    stored = lambda state: jax.tree.map(lambda x: x.astype(dtype) if floats(x) else x, state)

    def update(grads, state, params):
        wide = jax.tree.map(lambda x: x.astype(jnp.float32) if floats(x) else x, state)
        updates, wide = inner.update(grads, wide, params)
        return updates, stored(wide)
    return optax.GradientTransformation(lambda params: stored(inner.init(params)), update)


def _cast(tree, dtype: str):
    return jax.tree.map(lambda x: x.astype(dtype), tree)


def _is_vector(path) -> bool:
    """Norm scales and biases, by the parameter's name: 'mlp_norm_D', 'q_norm_H', 'q_bias_NH'."""
    return re.search(r'(?:norm|bias)_[A-Z]+$', str(path[-1].key)) is not None


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
