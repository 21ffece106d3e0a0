"""Updates that are left out: of a loss or gradient that is not finite, or far above those of the steps before.

It wraps an optimizer and lives in its state, so that a run that is started again judges as the uninterrupted one.
"""
import functools
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import optax

_LEAST_SPREAD = 0.01      # of the mean: what hardly moved may still move


class Guarded(NamedTuple):
    """losses_W, norms_W: of the last W updates that were made; updates: how many were made; skipped: how many were not,
    in_a_row: of them the last ones, without an update between; inner: the state of the guarded optimizer.
    """
    losses_W: jax.Array
    norms_W: jax.Array
    updates: jax.Array
    skipped: jax.Array
    in_a_row: jax.Array
    inner: Any


def skip_spikes(deviations: float = 6.0, window: int = 128) -> Callable:
    """A guard for optim.adamw: leaves out the update where the loss or the gradient's norm is not finite, or lies more than so
    many standard deviations (each 1 % of the mean at least) above the mean of the last `window` updates. deviations=0: finite
    is enough. How far one lies off is judged from window // 2 updates on.

    Nothing moves in a step left out, the schedule included; the next step reads the next batch.
    """
    if deviations < 0 or window < 2:
        raise ValueError(f'skip_spikes: deviations={deviations} must be at least 0, and window={window} at least 2')
    return functools.partial(_guard, deviations, window)


def counts(opt_state) -> dict[str, int]:
    """{'skipped', 'skipped_in_a_row'} of a guarded optimizer's state on the host; {} of any other's."""
    if not isinstance(opt_state, Guarded):
        return {}
    skipped, in_a_row = jax.device_get((opt_state.skipped, opt_state.in_a_row))
    return {'skipped': int(skipped), 'skipped_in_a_row': int(in_a_row)}


def _guard(deviations: float, window: int, inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    def init(params):
        empty_W, none = jnp.zeros(window, jnp.float32), jnp.int32(0)
        return Guarded(empty_W, empty_W, none, none, none, inner.init(params))

    def update(grads, state, params, *, loss=0.0, **_):
        loss, norm = jnp.float32(loss), optax.tree.norm(grads).astype(jnp.float32)
        ok = jnp.isfinite(loss) & jnp.isfinite(norm)
        if deviations:
            ok &= _usual(loss, state.losses_W, state.updates, deviations)
            ok &= _usual(norm, state.norms_W, state.updates, deviations)
        updates, inner_state = inner.update(grads, state.inner, params)
        pick = functools.partial(jax.tree.map, functools.partial(jnp.where, ok))
        place = state.updates % window
        made = Guarded(state.losses_W.at[place].set(loss), state.norms_W.at[place].set(norm), state.updates + 1,
                       state.skipped, jnp.int32(0), inner_state)
        left_out = state._replace(skipped=state.skipped + 1, in_a_row=state.in_a_row + 1)
        # x + -0.0 is x, bit for bit, also where x is -0.0.
        return pick(updates, jax.tree.map(lambda x: jnp.full_like(x, -0.0), updates)), pick(made, left_out)
    return optax.GradientTransformationExtraArgs(init, update)


def _usual(value, before_W, count, deviations: float):
    """Whether it does not lie far above what the window holds."""
    held_W = jnp.arange(before_W.size) < count
    number = jnp.maximum(held_W.sum(), 1)
    mean = before_W.sum() / number
    spread = jnp.sqrt((jnp.where(held_W, before_W - mean, 0.0) ** 2).sum() / number)
    spread = jnp.maximum(spread, _LEAST_SPREAD * jnp.abs(mean))
    return (count < before_W.size // 2) | (value <= mean + deviations * spread)
