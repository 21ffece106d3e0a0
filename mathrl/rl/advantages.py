"""Advantages relative to a group, each for outcome and process supervision in one formula (DeepSeekMath 4.1.2 and 4.1.3).

Each takes rewards_QGT, read where step_ends_QGT is 1, and gives A_{i,t}: the sum over the steps that end at or after t of
what a step is worth. One step at the end of each output is outcome supervision. They differ in the worth of a step: its
reward normalised within the group (the paper), centred (Dr. GRPO), against the other outputs (RLOO), or as it is (RFT).
"""
import jax
import jax.numpy as jnp


def group_advantages(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """The paper's: the rewards of all steps of a group, by their mean and population standard deviation -> [Q, G, T].

    A group whose rewards are all equal gets 0.
    """
    centred_QGT, ends_QGT = _centred(rewards_QGT, step_ends_QGT)
    std_Q = jnp.sqrt((centred_QGT ** 2).sum((1, 2)) / jnp.maximum(ends_QGT.sum((1, 2)), 1.0))
    # Equal rewards are told by comparing them, not by std: rounding of the mean can leave a std of 1e-8, not 0.
    differ_Q = ~all_equal(rewards_QGT, step_ends_QGT)
    scale_Q = jnp.where(differ_Q, 1.0 / jnp.where(differ_Q, std_Q, 1.0), 0.0)
    return to_go(centred_QGT * scale_Q[:, None, None])


def centred(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """Dr. GRPO's: rewards less the mean of the group's, not divided by a deviation (Liu et al. 2025) -> [Q, G, T]."""
    centred_QGT, _ = _centred(rewards_QGT, step_ends_QGT)
    return to_go(jnp.where(all_equal(rewards_QGT, step_ends_QGT)[:, None, None], 0.0, centred_QGT))


def leave_one_out(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """RLOO's: rewards less the mean of those of the group's other outputs (Ahmadian et al. 2024) -> [Q, G, T].

    Where the others have no step there is nothing to compare with, and the baseline is 0.
    """
    ends_QGT = step_ends_QGT.astype(rewards_QGT.dtype)
    sum_QG, count_QG = (rewards_QGT * ends_QGT).sum(-1), ends_QGT.sum(-1)
    others_QG = count_QG.sum(1, keepdims=True) - count_QG
    baseline_QG = (sum_QG.sum(1, keepdims=True) - sum_QG) / jnp.maximum(others_QG, 1.0)
    equal_QG = all_equal(rewards_QGT, step_ends_QGT)[:, None] & (others_QG > 0)
    worth_QGT = (rewards_QGT - baseline_QG[:, :, None]) * ends_QGT
    return to_go(jnp.where(equal_QG[:, :, None], 0.0, worth_QGT))


def rewards_themselves(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """RFT's: the rewards of the steps still to end, relative to nothing -> [Q, G, T]."""
    return to_go(rewards_QGT * step_ends_QGT)


def all_equal(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """[Q] True where every step of a question's group has the same reward."""
    ends = step_ends_QGT.astype(bool)
    highest_Q = jnp.where(ends, rewards_QGT, -jnp.inf).max((1, 2))
    lowest_Q = jnp.where(ends, rewards_QGT, jnp.inf).min((1, 2))
    return highest_Q <= lowest_Q


def charge_steps(costs_QGT: jax.Array, rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """Rewards less the costs of the tokens of their steps: KL in the reward, for advantages that read step ends alone.

    A step's tokens are those behind the step before, up to its end; what stands behind the last end is charged to the last
    step.
    """
    ends_QGT = step_ends_QGT.astype(bool)
    spent_QGT = jnp.cumsum(costs_QGT, -1)
    at_QGT = jnp.broadcast_to(jnp.arange(costs_QGT.shape[-1]), costs_QGT.shape)
    last_end_QGT = jax.lax.cummax(jnp.where(ends_QGT, at_QGT, -1), axis=2)
    before_QGT = jnp.pad(last_end_QGT, ((0, 0), (0, 0), (1, 0)), constant_values=-1)[:, :, :-1]
    spent_then_QGT = jnp.take_along_axis(spent_QGT, jnp.maximum(before_QGT, 0), axis=2)
    spent_before_QGT = jnp.where(before_QGT < 0, 0.0, spent_then_QGT)
    is_last_QGT = at_QGT == last_end_QGT[:, :, -1:]
    until_QGT = jnp.where(is_last_QGT, spent_QGT[:, :, -1:], spent_QGT)
    return jnp.where(ends_QGT, rewards_QGT - (until_QGT - spent_before_QGT), 0.0)


def to_go(values_QGT: jax.Array) -> jax.Array:
    """The sum of what stands at or after t."""
    return jnp.flip(jnp.cumsum(jnp.flip(values_QGT, -1), -1), -1)


def _centred(rewards_QGT, step_ends_QGT):
    """(rewards less their group's mean, 0 off the ends; the ends as floats)."""
    ends_QGT = step_ends_QGT.astype(jnp.promote_types(rewards_QGT.dtype, jnp.float32))
    mean_Q = (rewards_QGT * ends_QGT).sum((1, 2)) / jnp.maximum(ends_QGT.sum((1, 2)), 1.0)
    return (rewards_QGT - mean_Q[:, None, None]) * ends_QGT, ends_QGT
