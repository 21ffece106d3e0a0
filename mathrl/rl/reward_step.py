"""reward_step: one compiled update of a reward model on labelled outputs, alone or in the third loop of iterative GRPO."""
import functools
from typing import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathrl import sharding
from mathrl.models.units import one_output_a_row
from mathrl.rl import packing as packings
from mathrl.rl.surrogate import laid_out
from mathrl.sampling.rollout import Rollouts
from mathrl.train.reward_loss import binary, pairwise
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients


@flax.struct.dataclass
class RewardExamples:
    """G outputs of each of Q questions, with labels from 0 (wrong) to 1 (right) where step_ends_QGT is 1.

    An output without any step end is padding. Behind an output may stand any tokens.
    """
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    tokens_QGT: jax.Array
    labels_QGT: jax.Array
    step_ends_QGT: jax.Array


def labelled(rollouts: Rollouts, labels_QGT: jax.Array, step_ends_QGT: jax.Array) -> dict[str, np.ndarray]:
    """Host arrays under the names of RewardExamples, which rl/replay.py keeps and sharding.place_named lays out."""
    arrays = dict(prompt_QS=rollouts.prompt_QS, prompt_length_Q=rollouts.prompt_length_Q,
                  tokens_QGT=rollouts.tokens_QGT, labels_QGT=labels_QGT, step_ends_QGT=step_ends_QGT)
    arrays = {name: sharding.to_host(x) for name, x in arrays.items()}
    return arrays | {'labels_QGT': arrays['labels_QGT'].astype(np.float32)}


@functools.partial(jax.jit, donate_argnames='state', static_argnames=('model', 'optimizer', 'loss', 'micro_batches'))
def reward_step(state: TrainState, examples: RewardExamples, packing: packings.Packing | None = None, *, model, optimizer,
                loss: Callable = binary, micro_batches: int = 1):
    """One update on the mean loss -> (state, metrics). model: a scalar head; loss: one of train/reward_loss.py.

    micro_batches cut the questions, then the groups, or the packing does, of outputs up to their last step's end; the loss does not
    depend on it, but for a loss of pairs a group must lie together. accuracy: the share of steps with their logit on their
    label's side of a half.
    """
    if loss is pairwise and packing is not None:
        raise ValueError('loss=pairwise compares outputs of a group, which a packing takes apart')
    if loss is pairwise and examples.tokens_QGT.shape[0] % micro_batches:
        raise ValueError(f'{micro_batches} micro-batches do not divide {examples.tokens_QGT.shape[0]} questions: pairs of '
                         'outputs are not to be cut')
    whole = {'examples': laid_out(examples)}
    if packing is not None:
        whole['placement'] = one_output_a_row(*examples.tokens_QGT.shape)

    def part_loss(params, part):
        some = part['examples']
        logits_QGT = model.outputs_values(params, some.tokens_QGT, some.prompt_QS, some.prompt_length_Q,
                                          part.get('placement'))
        total, count = loss(logits_QGT, some.labels_QGT, some.step_ends_QGT)
        agree_QGT = ((logits_QGT > 0) == (some.labels_QGT > 0.5)) & (some.step_ends_QGT == 1)
        return total, {'loss': total, 'count': count, 'accuracy': jnp.sum(agree_QGT), 'ends': jnp.sum(some.step_ends_QGT)}
    grads, (_, sums) = packings.cut(packing, micro_batches).gradients(part_loss, state.params, whole)
    count = jnp.maximum(sums['count'], 1.0)
    grads = jax.tree.map(lambda x: x / count, grads)
    metrics = {'loss': sums['loss'] / count, 'accuracy': sums['accuracy'] / jnp.maximum(sums['ends'], 1),
               'steps': sums['ends'], 'grad_norm': optax.tree.norm(grads)}
    return apply_gradients(state, grads, optimizer, loss=metrics['loss']), metrics
