"""Pairs of outputs of the same question, one preferred to the other, as preference losses read them."""
import flax.struct
import jax
import jax.numpy as jnp

from mathrl.rl.types import Experience


@flax.struct.dataclass
class Pairs:
    """G pairs for each of Q questions, padded on the right, behind prompts that they share.

    *_trained_QGT is 1 on what the model wrote, end token included; weights_QG is 0 on pairs that do not count.
    """
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    chosen_QGT: jax.Array
    chosen_trained_QGT: jax.Array
    rejected_QGT: jax.Array
    rejected_trained_QGT: jax.Array
    weights_QG: jax.Array


@jax.jit
def best_with_worst(experience: Experience) -> Pairs:
    """The i-th best output of a group with its i-th worst: G // 2 pairs a question, of weight 0 where rewards are equal.

    An output's reward is the sum of its steps'. Among equal rewards the order is that of sampling.
    """
    rollouts = experience.rollouts
    rewards_QG = jnp.sum(experience.rewards_QGT * experience.step_ends_QGT, -1)
    pairs = rewards_QG.shape[1] // 2
    order_QG = jnp.argsort(rewards_QG, axis=1, stable=True)
    worst_QG, best_QG = order_QG[:, :pairs], jnp.flip(order_QG, 1)[:, :pairs]
    pick = lambda x_QGT, which_QG: jnp.take_along_axis(x_QGT, which_QG[:, :, None], axis=1)
    reward = lambda which_QG: jnp.take_along_axis(rewards_QG, which_QG, axis=1)
    return Pairs(prompt_QS=rollouts.prompt_QS, prompt_length_Q=rollouts.prompt_length_Q,
                 chosen_QGT=pick(rollouts.tokens_QGT, best_QG), chosen_trained_QGT=pick(rollouts.trained_QGT, best_QG),
                 rejected_QGT=pick(rollouts.tokens_QGT, worst_QG),
                 rejected_trained_QGT=pick(rollouts.trained_QGT, worst_QG),
                 weights_QG=(reward(best_QG) > reward(worst_QG)).astype(jnp.float32))
