"""One compiled update: micro-batch scan, gradient, clipping, AdamW. The loss never depends on how the batch is cut."""
import functools
from typing import Callable

import jax
import jax.numpy as jnp
import optax

from mathrl import sharding
from mathrl.train.losses import LOGITS_MIB, lm_loss
from mathrl.train.state import LMBatch, TrainState


def split(tree, parts: int):
    """Cuts the leading axis of every leaf into [parts, size / parts]; rows are dealt out, so each part spans all devices."""
    def cut(x):
        if x.shape[0] % parts:
            raise ValueError(f'{parts} micro-batches do not divide {x.shape[0]} rows')
        return jnp.swapaxes(x.reshape((x.shape[0] // parts, parts) + x.shape[1:]), 0, 1)
    return jax.tree.map(cut, tree)


def summed_gradients(loss, params, parts, count: int):
    """Sum of loss(params, part)'s gradients over the parts (leading axis `count`), and of its auxiliary values.

    loss returns (scalar, auxiliary pytree); each part's loss is its share of the whole batch's, so sums are exact.
    Gradients lie as their parameters do, and are summed in float32 at least.
    """
    gradient, first = _gradient(loss, params), jax.tree.map(lambda x: x[0], parts)
    if count == 1:
        return gradient(first)
    add = lambda total, part: (jax.tree.map(jnp.add, total, gradient(part)), None)
    return jax.lax.scan(add, _zeros(gradient, first), parts)[0]


def counted_gradients(loss, params, part: Callable, count: jax.Array):
    """summed_gradients over part(0) .. part(count - 1), whose number is known when it runs: the same program for any."""
    gradient = _gradient(loss, params)
    add = lambda m, total: jax.tree.map(jnp.add, total, gradient(part(m)))
    return jax.lax.fori_loop(0, count, add, _zeros(gradient, part(0)))


def _gradient(loss, params) -> Callable:
    def gradient(part):
        values, grads = jax.value_and_grad(loss, has_aux=True)(params, part)
        return sharding.constrain_parameters(grads), values
    return gradient


def _zeros(gradient: Callable, part):
    """Where the sums begin."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), jax.eval_shape(gradient, part))


def apply_gradients(state: TrainState, grads, optimizer, **measured) -> TrainState:
    """measured: what the optimizer may judge the update by beside the gradient (loss=...); most do not ask."""
    updates, opt_state = optax.with_extra_args_support(optimizer).update(grads, state.opt_state, state.params, **measured)
    return TrainState(step=state.step + 1, params=optax.apply_updates(state.params, updates), opt_state=opt_state)


@functools.partial(jax.jit, donate_argnames='state',
                   static_argnames=('model', 'optimizer', 'micro_batches', 'logits_mib'))
def train_step(state: TrainState, batch: LMBatch, *, model, optimizer, micro_batches: int = 1, logits_mib: float = LOGITS_MIB):
    """One update on the mean loss per weighted token -> (state, metrics). logits_mib: see train/losses.py."""
    weight = jnp.sum(batch.weights_BT)

    def loss(params, part):
        return lm_loss(model, params, part, jnp.maximum(weight, 1.0), logits_mib), {}
    grads, (value, _) = summed_gradients(loss, state.params, split(batch, micro_batches), micro_batches)
    metrics = {'loss': value, 'grad_norm': optax.tree.norm(grads), 'tokens': weight}
    return apply_gradients(state, grads, optimizer, loss=value), metrics
