"""Generalised advantage estimation (Schulman et al. 2016), over the tokens that the policy wrote."""
import jax
import jax.numpy as jnp


def gae(rewards_QGT: jax.Array, values_QGT: jax.Array, trained_QGT: jax.Array, gamma: float = 1.0,
        lam: float = 0.95) -> tuple[jax.Array, jax.Array]:
    """(advantages, returns = advantages + values), both [Q, G, T] and 0 where nothing is trained.

    delta_t = r_t + gamma V(s_t+1) - V(s_t), A_t = delta_t + gamma lam A_t+1, where t + 1 is the next token that was trained
    on: tokens of a tool are no actions, and a reward on one of them falls to the token before. Behind the last token V is 0,
    for outputs that were cut off as well.
    """
    trained = trained_QGT.astype(bool)

    def step(carry, at_t):
        next_value_QG, next_advantage_QG, waiting_QG = carry
        reward_QG, value_QG, is_trained_QG = at_t
        reward_QG = reward_QG + waiting_QG
        advantage_QG = reward_QG + gamma * next_value_QG - value_QG + gamma * lam * next_advantage_QG
        carry = (jnp.where(is_trained_QG, value_QG, next_value_QG),
                 jnp.where(is_trained_QG, advantage_QG, next_advantage_QG), jnp.where(is_trained_QG, 0.0, reward_QG))
        return carry, jnp.where(is_trained_QG, advantage_QG, 0.0)
    dtype = jnp.result_type(values_QGT, rewards_QGT)
    zeros_QG = jnp.zeros(values_QGT.shape[:2], dtype)
    by_token = tuple(jnp.moveaxis(x, -1, 0) for x in (rewards_QGT.astype(dtype), values_QGT.astype(dtype), trained))
    _, advantages_TQG = jax.lax.scan(step, (zeros_QG,) * 3, by_token, reverse=True)
    advantages_QGT = jnp.moveaxis(advantages_TQG, 0, -1)
    return advantages_QGT, jnp.where(trained, advantages_QGT + values_QGT, 0.0)


def whiten(advantages_QGT: jax.Array, trained_QGT: jax.Array) -> jax.Array:
    """Advantages less their mean, by their standard deviation, over all trained tokens of the batch; 0 elsewhere."""
    mask_QGT = trained_QGT.astype(advantages_QGT.dtype)
    count = jnp.maximum(mask_QGT.sum(), 1.0)
    centred_QGT = (advantages_QGT - (advantages_QGT * mask_QGT).sum() / count) * mask_QGT
    return centred_QGT * jax.lax.rsqrt((centred_QGT ** 2).sum() / count + 1e-8)
