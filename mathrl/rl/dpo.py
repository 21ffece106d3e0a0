"""dpo_step: the whole update of direct preference optimisation in one compiled program (Rafailov et al. 2023).

Offline or online is a matter of who sampled the pairs.
"""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mathrl.rl.log_probs import output_logps
from mathrl.rl.pairs import Pairs
from mathrl.rl.parts import split_groups
from mathrl.rl.surrogate import laid_out
from mathrl.train.losses import LOGITS_MIB
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients, summed_gradients


@functools.partial(jax.jit, donate_argnames='state',
                   static_argnames=('model', 'optimizer', 'beta', 'micro_batches', 'logits_mib'))
def dpo_step(state: TrainState, ref_params, pairs: Pairs, *, model, optimizer, beta: float = 0.1, micro_batches: int = 1,
             logits_mib: float = LOGITS_MIB):
    """One update on the mean of -log sigmoid(margin) over the pairs that count -> (state, metrics).

    margin = beta (log pi/pi_ref of the chosen output - log pi/pi_ref of the rejected one), each a sum over tokens.
    micro_batches cut the questions first, then their pairs. logits_mib: as in policy_step.
    """
    if beta <= 0:
        raise ValueError(f'dpo: beta={beta} must be above 0')
    pairs = laid_out(pairs)
    shares_QG = pairs.weights_QG / jnp.maximum(pairs.weights_QG.sum(), 1.0)

    def loss(params, part):
        pairs, shares_QG = part['pairs'], part['shares_QG']
        chosen_QG, rejected_QG = sequence_logps(model, params, pairs, logits_mib)
        ref_chosen_QG, ref_rejected_QG = sequence_logps(model, ref_params, pairs, logits_mib)
        margin_QG = jax.lax.stop_gradient(beta * (chosen_QG - ref_chosen_QG - (rejected_QG - ref_rejected_QG)))
        per_pair = {'loss': -jax.nn.log_sigmoid(margin_QG), 'margin': margin_QG, 'accuracy': margin_QG > 0,
                    'chosen_logp': jax.lax.stop_gradient(chosen_QG), 'rejected_logp': jax.lax.stop_gradient(rejected_QG)}
        metrics = {name: jnp.sum(values_QG * shares_QG) for name, values_QG in per_pair.items()}
        return -jnp.sum(coefficient(margin_QG, beta) * (chosen_QG - rejected_QG) * shares_QG), metrics
    parts = split_groups(dict(pairs=pairs, shares_QG=shares_QG), micro_batches)
    grads, (_, metrics) = summed_gradients(loss, state.params, parts, micro_batches)
    metrics |= {'grad_norm': optax.tree.norm(grads), 'pairs': pairs.weights_QG.sum()}
    return apply_gradients(state, grads, optimizer), metrics


def coefficient(margin_QG: jax.Array, beta: float) -> jax.Array:
    """DPO's gradient coefficient, + on the tokens of the chosen output and - on the rejected's: beta sigmoid(-margin).

    DeepSeekMath A.1.4 leaves the factor beta out and takes means over tokens; this is the gradient of the standard loss.
    """
    return beta * jax.nn.sigmoid(-margin_QG)


class _Outputs(NamedTuple):
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    tokens_QGT: jax.Array


def sequence_logps(model, params, pairs: Pairs, logits_mib: float) -> tuple[jax.Array, jax.Array]:
    """(log-probs of the chosen outputs, of the rejected): [Q, G] sums over trained tokens, the prompts computed once."""
    tokens_QGT = jnp.concatenate([pairs.chosen_QGT, pairs.rejected_QGT], axis=1)
    trained_QGT = jnp.concatenate([pairs.chosen_trained_QGT, pairs.rejected_trained_QGT], axis=1)
    logps_QGT, _ = output_logps(model, params, _Outputs(pairs.prompt_QS, pairs.prompt_length_Q, tokens_QGT), logits_mib)
    chosen_QG, rejected_QG = jnp.split(jnp.sum(jnp.where(trained_QGT == 1, logps_QGT, 0.0), -1), 2, axis=1)
    return chosen_QG, rejected_QG
