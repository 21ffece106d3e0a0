"""Group-relative advantages, outcome and process supervision in one formula (DeepSeekMath sections 4.1.2 and 4.1.3)."""
import jax
import jax.numpy as jnp


def group_advantages(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """A_{i,t}: sum of the normalised rewards of the steps that end at or after t -> [Q, G, T].

    The rewards of all steps of a group are normalised together, by their mean and population standard deviation; a
    group whose rewards are all equal gets 0. One step at the end of each output is outcome supervision: (r - mean) / std.
    """
    ends_QGT = step_ends_QGT.astype(jnp.float32)
    count_Q = jnp.maximum(ends_QGT.sum((1, 2)), 1.0)
    mean_Q = (rewards_QGT * ends_QGT).sum((1, 2)) / count_Q
    centred_QGT = (rewards_QGT - mean_Q[:, None, None]) * ends_QGT
    std_Q = jnp.sqrt((centred_QGT ** 2).sum((1, 2)) / count_Q)
    # Equal rewards are told by comparing them, not by std: rounding of the mean can leave a std of 1e-8, not 0.
    differ_Q = ~all_equal(rewards_QGT, step_ends_QGT)
    scale_Q = jnp.where(differ_Q, 1.0 / jnp.where(differ_Q, std_Q, 1.0), 0.0)
    normalised_QGT = centred_QGT * scale_Q[:, None, None]
    return jnp.flip(jnp.cumsum(jnp.flip(normalised_QGT, -1), -1), -1)


def all_equal(rewards_QGT: jax.Array, step_ends_QGT: jax.Array) -> jax.Array:
    """[Q] True where every step of a question's group has the same reward."""
    ends = step_ends_QGT.astype(bool)
    highest_Q = jnp.where(ends, rewards_QGT, -jnp.inf).max((1, 2))
    lowest_Q = jnp.where(ends, rewards_QGT, jnp.inf).min((1, 2))
    return highest_Q <= lowest_Q
