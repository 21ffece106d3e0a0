"""What a reward model is trained on: the logits of its scores against labels from 0 to 1 at the ends of steps.

Each is (logits_QGT, labels_QGT, step_ends_QGT) -> (sum, count); the mean over a batch is sum / count, however it is cut.
"""
import jax
import jax.numpy as jnp


def binary(logits_QGT, labels_QGT, step_ends_QGT) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy in nats of each step's label, which may be a share of right completions (Math-Shepherd, eq. 3 and 4)."""
    ends = step_ends_QGT == 1
    logits_QGT = jnp.where(ends, logits_QGT, 0.0)
    losses_QGT = jax.nn.softplus(logits_QGT) - jnp.where(ends, labels_QGT, 0.0) * logits_QGT
    return jnp.sum(jnp.where(ends, losses_QGT, 0.0)), jnp.sum(ends, dtype=logits_QGT.dtype)


def pairwise(logits_QGT, labels_QGT, step_ends_QGT) -> tuple[jax.Array, jax.Array]:
    """-log sigmoid(better - worse) over all pairs of a group's outputs whose labels differ (Bradley and Terry).

    Read where an output's last step ends; an output without any step is none.
    """
    ends, places_T = step_ends_QGT == 1, jnp.arange(logits_QGT.shape[-1])
    last_QG = jnp.max(jnp.where(ends, places_T[None, None], -1), axis=-1)
    last = ends & (places_T[None, None] == last_QG[..., None])
    at_end = lambda x_QGT: jnp.sum(jnp.where(last, x_QGT, 0.0), axis=-1)
    logits_QG, labels_QG, there_QG = at_end(logits_QGT), at_end(labels_QGT), last_QG >= 0
    better_QGG = (labels_QG[:, :, None] > labels_QG[:, None, :]) & there_QG[:, :, None] & there_QG[:, None, :]
    losses_QGG = jax.nn.softplus(logits_QG[:, None, :] - logits_QG[:, :, None])
    return jnp.sum(jnp.where(better_QGG, losses_QGG, 0.0)), jnp.sum(better_QGG, dtype=logits_QGT.dtype)
