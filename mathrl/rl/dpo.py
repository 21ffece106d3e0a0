"""dpo_step: the whole update of direct preference optimisation in one compiled program (Rafailov et al. 2023).

Offline or online is a matter of who sampled the pairs.
"""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathrl import sharding
from mathrl.models.units import one_output_a_row
from mathrl.rl import packing as packings
from mathrl.rl.log_probs import Rows, output_logps, shifted_inputs
from mathrl.rl.pairs import Pairs
from mathrl.rl.surrogate import laid_out, where_trained
from mathrl.train.losses import LOGITS_MIB
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients


@functools.partial(jax.jit, donate_argnames='state',
                   static_argnames=('model', 'optimizer', 'beta', 'micro_batches', 'logits_mib'))
def dpo_step(state: TrainState, ref_params, pairs: Pairs, packing: packings.Packing | None = None, *, model, optimizer,
             beta: float = 0.1, micro_batches: int = 1, logits_mib: float = LOGITS_MIB):
    """One update on the mean of -log sigmoid(margin) over the pairs that count -> (state, metrics).

    margin = beta (log pi/pi_ref of the chosen output - log pi/pi_ref of the rejected one), each a sum over tokens.
    micro_batches cut the questions first, then their pairs; or the packing does, of outputs of these `lengths`, each pair in
    one row. logits_mib: as in policy_step.
    """
    if beta <= 0:
        raise ValueError(f'dpo: beta={beta} must be above 0')
    pairs = laid_out(pairs)
    count = pairs.weights_QG.size
    shares_P = (pairs.weights_QG / jnp.maximum(pairs.weights_QG.sum(), 1.0)).reshape(-1)
    rows, side_QGT = paired_rows(pairs)

    def loss(params, part):
        rows, side_QGT = part['rows'], part['side_QGT']
        pair_QGT = jnp.maximum(rows.output_QGT - 1, 0) // 2      # behind an output, where nothing lies, the side is 0
        of_pairs = lambda x_QGT: jax.ops.segment_sum(x_QGT.reshape(-1), pair_QGT.reshape(-1), count)
        logps_QGT, ref_logps_QGT = (where_trained(rows, output_logps(model, which, rows, logits_mib)[0])
                                    for which in (params, ref_params))
        fixed_QGT, ref_logps_QGT = map(jax.lax.stop_gradient, (logps_QGT, ref_logps_QGT))
        margin_P = beta * of_pairs(side_QGT * (fixed_QGT - ref_logps_QGT))
        shares_here_P = jnp.where(of_pairs(rows.trained_QGT) > 0, shares_P, 0.0)
        per_pair = {'loss': -jax.nn.log_sigmoid(margin_P), 'margin': margin_P, 'accuracy': margin_P > 0,
                    'chosen_logp': of_pairs(jnp.where(side_QGT > 0, fixed_QGT, 0.0)),
                    'rejected_logp': of_pairs(jnp.where(side_QGT < 0, fixed_QGT, 0.0))}
        metrics = {name: jnp.sum(values_P * shares_here_P) for name, values_P in per_pair.items()}
        weights_QGT = (coefficient(margin_P, beta) * shares_here_P)[pair_QGT]
        return -jnp.sum(weights_QGT * side_QGT * logps_QGT), metrics
    grads, (_, metrics) = packings.cut(packing, micro_batches).gradients(loss, state.params, dict(rows=rows, side_QGT=side_QGT))
    metrics |= {'grad_norm': optax.tree.norm(grads), 'pairs': pairs.weights_QG.sum()}
    return apply_gradients(state, grads, optimizer), metrics


def coefficient(margin: jax.Array, beta: float) -> jax.Array:
    """DPO's gradient coefficient, + on the tokens of the chosen output and - on the rejected's: beta sigmoid(-margin).

    DeepSeekMath A.1.4 leaves the factor beta out and takes means over tokens; this is the gradient of the standard loss.
    """
    return beta * jax.nn.sigmoid(-margin)


class _Outputs(NamedTuple):
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    tokens_QGT: jax.Array


def paired_rows(pairs: Pairs) -> tuple[Rows, jax.Array]:
    """(the outputs with a row each, the two of a pair beside each other; side_QGT).

    side_QGT: 1 on what is trained of a chosen output, -1 of a rejected one, 0 elsewhere.
    """
    Q, G, T = pairs.chosen_QGT.shape
    beside = lambda x_QGT, y_QGT: sharding.constrain(jnp.stack([x_QGT, y_QGT], axis=2).reshape(Q, 2 * G, T), 'QGT')
    outputs = _Outputs(pairs.prompt_QS, pairs.prompt_length_Q, beside(pairs.chosen_QGT, pairs.rejected_QGT))
    side_QGT = beside(pairs.chosen_trained_QGT, -pairs.rejected_trained_QGT)
    rows = Rows(**outputs._asdict(), trained_QGT=jnp.abs(side_QGT), policy_logps_QGT=None, inputs_QGT=shifted_inputs(outputs),
                placement=one_output_a_row(Q, 2 * G, T))
    return rows, side_QGT


def lengths(pairs: Pairs) -> np.ndarray:
    """[Q, 2 G], on the host, for a packing with pairs together: of the outputs as paired_rows has them."""
    found = [packings.lengths(sharding.to_host(x_QGT)) for x_QGT in (pairs.chosen_trained_QGT, pairs.rejected_trained_QGT)]
    return np.stack(found, axis=2).reshape(len(found[0]), -1)
