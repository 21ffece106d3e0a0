"""policy_step: the whole update of GRPO in one compiled program.

Reference and policy log-probs, group-relative advantages, the KL penalty, the gradient coefficient, micro-batches and
AdamW. The prompt is computed once a question and shared by its outputs, in the policy and in the reference.
"""
import functools
import math

import jax
import jax.numpy as jnp
import optax

from mathrl import sharding
from mathrl.rl import advantages, kl
from mathrl.rl.types import Experience, Sample
from mathrl.train.losses import LOGITS_MIB, hidden_logps
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients, split, summed_gradients


def output_logps(model, params, rollouts, logits_mib: float = LOGITS_MIB) -> tuple[jax.Array, jax.Array]:
    """(log-probs of the output tokens, entropies there): [Q, G, T] float32 each; gradients flow through the first alone.

    A row of an output starts with the prompt's last token, so that position t predicts token t; the prompt's other
    tokens are computed once, as a cache that gradients flow through.
    """
    prompts = model.prefill(params, rollouts.prompt_QS, rollouts.prompt_length_Q - 1)
    inputs_QGT = shifted_inputs(rollouts)
    h_QGTD = model.outputs_hidden(params, inputs_QGT, prompts)
    return hidden_logps(h_QGTD, model.unembed(params), rollouts.tokens_QGT, logits_mib)


def shifted_inputs(rollouts) -> jax.Array:
    """What the model reads at each position: the prompt's last token, then the output without its last."""
    Q, G, _ = rollouts.tokens_QGT.shape
    last_Q1 = jnp.take_along_axis(rollouts.prompt_QS, rollouts.prompt_length_Q[:, None] - 1, axis=1)
    first_QG1 = jnp.broadcast_to(last_Q1[:, :, None], (Q, G, 1))
    return jnp.concatenate([first_QG1, rollouts.tokens_QGT[:, :, :-1]], axis=2)


def split_groups(tree, parts: int):
    """Cuts [Q, ...] leaves into [parts, Q', ...]: questions first; past one question a part, their outputs (axis G).

    A part with some of a question's outputs carries that question's prompt along. Leaves are told by their names' axes.
    """
    Q, G = next(leaf.shape[:2] for leaf in jax.tree.leaves(tree) if leaf.ndim == 3)
    by_question = math.gcd(Q, parts)
    by_output = parts // by_question
    if G % by_output:
        raise ValueError(f'{parts} micro-batches do not divide {Q} questions x {G} outputs')
    tree = split(tree, by_question)

    def cut_outputs(path, x):
        if sharding.path_text(path).endswith(('_QGT', '_QG')):
            x = jnp.moveaxis(x.reshape(x.shape[:2] + (by_output, G // by_output) + x.shape[3:]), 2, 1)
        else:
            x = jnp.repeat(x[:, None], by_output, axis=1)
        return x.reshape((parts,) + x.shape[2:])
    return jax.tree_util.tree_map_with_path(cut_outputs, tree)


@functools.partial(jax.jit, donate_argnames='state',
                   static_argnames=('model', 'optimizer', 'coefficient', 'normalisation', 'micro_batches',
                                    'logits_mib'))
def policy_step(state: TrainState, ref_params, experience: Experience, *, model, optimizer, coefficient, normalisation,
                micro_batches: int = 1, logits_mib: float = LOGITS_MIB):
    """One update -> (state, metrics). micro_batches cut the questions, then the groups; the loss does not depend on it.

    logits_mib: how much of the logits may lie on a device at once (see train/losses.py).
    """
    experience = jax.tree_util.tree_map_with_path(
        lambda path, x: sharding.constrain(x, sharding.path_text(path).rsplit('_', 1)[-1]), experience)
    rollouts = experience.rollouts
    trained_QGT = rollouts.trained_QGT.astype(jnp.float32)
    sample = Sample(advantages_QGT=advantages.group_advantages(experience.rewards_QGT, experience.step_ends_QGT),
                    old_logps_QGT=experience.old_logps_QGT)
    weights_QGT = normalisation(trained_QGT)

    def loss(params, part):
        rollouts, sample, weights_QGT = part['rollouts'], part['sample'], part['weights_QGT']
        # Set to 0 where nothing is trained: weights of 0 alone would leave a NaN where a ratio overflows.
        known = lambda logps_QGT: jnp.where(rollouts.trained_QGT == 1, logps_QGT, 0.0)
        ref_logps_QGT = jax.lax.stop_gradient(known(output_logps(model, ref_params, rollouts, logits_mib)[0]))
        logps_QGT, entropies_QGT = output_logps(model, params, rollouts, logits_mib)
        logps_QGT = known(logps_QGT)
        fixed_QGT = jax.lax.stop_gradient(logps_QGT)
        sample = sample.replace(old_logps_QGT=known(sample.old_logps_QGT))
        terms = coefficient(fixed_QGT, ref_logps_QGT, sample)
        per_token = {'kl': kl.k3(fixed_QGT, ref_logps_QGT), 'ratio': jnp.exp(fixed_QGT - sample.old_logps_QGT),
                     'clip_share': terms.clipped_QGT, 'entropy': entropies_QGT}
        metrics = {name: jnp.sum(values_QGT * part['shares_QGT']) for name, values_QGT in per_token.items()}
        metrics['loss'] = -jnp.sum(terms.objective_QGT * weights_QGT)
        return -jnp.sum(terms.gc_QGT * logps_QGT * weights_QGT), metrics
    shares_QGT = trained_QGT / jnp.maximum(trained_QGT.sum(), 1.0)      # metrics are means over trained tokens
    whole = dict(rollouts=rollouts, sample=sample, weights_QGT=weights_QGT, shares_QGT=shares_QGT)
    parts = split_groups(whole, micro_batches)
    grads, (_, metrics) = summed_gradients(loss, state.params, parts, micro_batches)
    metrics['grad_norm'] = optax.tree.norm(grads)
    metrics['all_equal'] = jnp.mean(advantages.all_equal(experience.rewards_QGT, experience.step_ends_QGT))
    return apply_gradients(state, grads, optimizer), metrics
