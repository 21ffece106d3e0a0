"""policy_step: the whole update of GRPO and its relatives in one compiled program.

Reference and policy log-probs, advantages, the KL penalty, the gradient coefficient, micro-batches and AdamW. The prompt
is computed once a question and shared by its outputs, in the policy and in the reference.
"""
import functools

import jax
import jax.numpy as jnp

from mathrl.rl import packing as packings
from mathrl.rl.advantages import all_equal, charge_steps, group_advantages
from mathrl.rl.surrogate import laid_out, mapped_logps, penalties, policy_gradient
from mathrl.rl.types import Experience
from mathrl.train.losses import LOGITS_MIB
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients


@functools.partial(jax.jit, donate_argnames='state',
                   static_argnames=('model', 'optimizer', 'coefficient', 'normalisation', 'advantages', 'reward_kl',
                                    'micro_batches', 'logits_mib', 'source'))
def policy_step(state: TrainState, ref_params, experience: Experience, packing: packings.Packing | None = None, *, model,
                optimizer, coefficient, normalisation, advantages=group_advantages, reward_kl=None, micro_batches: int = 1,
                logits_mib: float = LOGITS_MIB, source: str = 'policy'):
    """One update -> (state, metrics). micro_batches cut the questions, then the groups; the loss does not depend on it.

    packing: a cut that leaves the padding out, see rl/packing.py; it takes the place of micro_batches and changes no loss.
    source: whose log-probs are the old ones where the experience has none: those of the 'policy' as it comes, so that every
    ratio is 1, or of the 'reference', if that wrote. For several updates of one experience writer_logps gives them first.
    ref_params: None where nothing wants a reference (kl_coef 0, no reward_kl); its forward pass and the metric 'kl' are left
    out. advantages: one of rl/advantages.py. reward_kl: a kl.Penalty, KL in the reward, each step charged for its tokens;
    the reference's log-probs of the whole batch are then computed first. logits_mib: how much of the logits may lie on a
    device at once (see train/losses.py).
    """
    experience, ref_logps_QGT = laid_out(experience), None
    cut = packings.cut(packing, micro_batches)
    rewards_QGT = experience.rewards_QGT
    if reward_kl is not None:
        costs_QGT, ref_logps_QGT = penalties(reward_kl, model, ref_params, experience, cut, logits_mib)
        rewards_QGT = charge_steps(costs_QGT, rewards_QGT, experience.step_ends_QGT)
    advantages_QGT = advantages(rewards_QGT, experience.step_ends_QGT)
    grads, metrics = policy_gradient(model, state.params, ref_params, experience, advantages_QGT, coefficient=coefficient,
                                     normalisation=normalisation, cut=cut, logits_mib=logits_mib, ref_logps_QGT=ref_logps_QGT,
                                     source=source)
    metrics['all_equal'] = jnp.mean(all_equal(experience.rewards_QGT, experience.step_ends_QGT))
    return apply_gradients(state, grads, optimizer), metrics


@functools.partial(jax.jit, static_argnames=('model', 'micro_batches', 'logits_mib'))
def writer_logps(params, experience: Experience, packing: packings.Packing | None = None, *, model, micro_batches: int = 1,
                 logits_mib: float = LOGITS_MIB) -> jax.Array:
    """The experience's old_logps_QGT [Q, G, T] under the model that wrote, 0 where nothing is trained."""
    return mapped_logps(model, params, laid_out(experience).rollouts, packings.cut(packing, micro_batches), logits_mib)
