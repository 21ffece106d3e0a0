"""actor_critic_step: PPO's whole update, policy and value model, in one compiled program (Schulman et al. 2017).

The critic is a models/heads.ScalarModel as large as the policy; V(s_t) has read the tokens before t. KL stands in the
reward, token by token (Ouyang et al. 2022).
"""
import functools

import jax
import jax.numpy as jnp
import optax

from mathrl.rl import packing as packings
from mathrl.rl.gae import gae, whiten
from mathrl.rl.log_probs import state_values
from mathrl.rl.normalisation import token_mean
from mathrl.rl.surrogate import laid_out, penalties, policy_gradient, where_trained
from mathrl.rl.types import Experience
from mathrl.train.losses import LOGITS_MIB
from mathrl.train.state import TrainState
from mathrl.train.step import apply_gradients


@functools.partial(jax.jit, donate_argnames=('state', 'critic_state'),
                   static_argnames=('model', 'critic', 'optimizer', 'critic_optimizer', 'coefficient', 'normalisation',
                                    'reward_kl', 'gamma', 'lam', 'value_clip', 'whitened', 'micro_batches', 'logits_mib',
                                    'source'))
def actor_critic_step(state: TrainState, critic_state: TrainState, ref_params, experience: Experience,
                      old_values_QGT=None, packing: packings.Packing | None = None, *, model, critic, optimizer,
                      critic_optimizer, coefficient, normalisation, reward_kl=None, gamma: float = 1.0, lam: float = 0.95,
                      value_clip: float = 0.2, whitened: bool = True, micro_batches: int = 1,
                      logits_mib: float = LOGITS_MIB, source: str = 'policy'):
    """One update of both -> (state, critic_state, metrics); the losses do not depend on micro_batches.

    old_values_QGT: the values when the outputs were sampled, for several updates on one experience (sampled_values gives
    them before the first); None: those of the critic as it comes, before its update. Advantages are GAE's on the rewards
    less reward_kl (a kl.Penalty, or None), whitened over the batch if so asked; returns are not. coefficient:
    grpo(kl_coef=0) is PPO's clipped surrogate. ref_params, packing, logits_mib, source: as in policy_step. The value loss is a
    mean over trained tokens.
    """
    experience, ref_logps_QGT = laid_out(experience), None
    cut = packings.cut(packing, micro_batches)
    rollouts = experience.rollouts
    rewards_QGT = experience.rewards_QGT * experience.step_ends_QGT
    if reward_kl is not None:
        costs_QGT, ref_logps_QGT = penalties(reward_kl, model, ref_params, experience, cut, logits_mib)
        rewards_QGT = rewards_QGT - costs_QGT
    if old_values_QGT is None:
        old_values_QGT = _values(critic, critic_state.params, rollouts, cut)
    advantages_QGT, returns_QGT = gae(rewards_QGT, old_values_QGT, rollouts.trained_QGT, gamma, lam)
    grads, metrics = policy_gradient(model, state.params, ref_params, experience,
                                     whiten(advantages_QGT, rollouts.trained_QGT) if whitened else advantages_QGT,
                                     coefficient=coefficient, normalisation=normalisation, cut=cut, logits_mib=logits_mib,
                                     ref_logps_QGT=ref_logps_QGT, source=source)
    critic_grads, critic_metrics = value_gradient(critic, critic_state.params, rollouts, old_values_QGT, returns_QGT,
                                                  value_clip, cut)
    critic_state = apply_gradients(critic_state, critic_grads, critic_optimizer)
    return apply_gradients(state, grads, optimizer), critic_state, metrics | critic_metrics


@functools.partial(jax.jit, static_argnames=('critic', 'micro_batches'))
def sampled_values(critic_params, experience: Experience, packing: packings.Packing | None = None, *, critic,
                   micro_batches: int = 1) -> jax.Array:
    """V(s_t) [Q, G, T] under the critic as it is, 0 where nothing is trained."""
    cut = packings.cut(packing, micro_batches)
    return _values(critic, critic_params, laid_out(experience).rollouts, cut)


def value_gradient(critic, params, rollouts, old_values_QGT, returns_QGT, value_clip: float, cut):
    """(gradient of the value loss, metrics): the mean over trained tokens of clipped_square."""
    weights_QGT = token_mean(rollouts.trained_QGT.astype(jnp.float32))
    whole = dict(rollouts=cut.rows(rollouts), old_values_QGT=old_values_QGT, returns_QGT=returns_QGT, weights_QGT=weights_QGT)

    def loss(params, part):
        values_QGT = where_trained(part['rollouts'], state_values(critic, params, part['rollouts']))
        square_QGT, is_clipped_QGT = clipped_square(values_QGT, part['old_values_QGT'], part['returns_QGT'], value_clip)
        error_QGT = jax.lax.stop_gradient(values_QGT) - part['returns_QGT']
        per_token = {'value': part['old_values_QGT'], 'return': part['returns_QGT'], 'value_clip_share': is_clipped_QGT,
                     'value_error': error_QGT ** 2}
        metrics = {name: jnp.sum(values_QGT * part['weights_QGT']) for name, values_QGT in per_token.items()}
        return jnp.sum(square_QGT * part['weights_QGT']), metrics
    grads, (value_loss, metrics) = cut.gradients(loss, params, whole)
    variance = jnp.sum((returns_QGT - metrics['return']) ** 2 * weights_QGT)
    error = metrics.pop('value_error')
    metrics['explained_variance'] = jnp.where(variance > 0, 1 - error / jnp.where(variance > 0, variance, 1.0), 0.0)
    return grads, metrics | {'value_loss': value_loss, 'critic_grad_norm': optax.tree.norm(grads)}


def clipped_square(values, old_values, returns, value_clip: float) -> tuple[jax.Array, jax.Array]:
    """(half the larger of the squared errors of V and of V kept near its old self, where it is the latter's)."""
    near = old_values + jnp.clip(values - old_values, -value_clip, value_clip)
    square, near_square = (values - returns) ** 2, (near - returns) ** 2
    return 0.5 * jnp.maximum(square, near_square), near_square > square


def _values(critic, params, rollouts, cut) -> jax.Array:
    return cut.map(lambda part: where_trained(part, state_values(critic, params, part)), cut.rows(rollouts))
