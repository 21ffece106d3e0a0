"""How tokens are averaged into the loss: a weight per token, computed over the whole batch before it is cut.

Each takes trained_QGT (1 on what the model wrote, its end token included) and gives weights that sum to 1, or less.
"""
import jax.numpy as jnp


def sequence_mean(trained_QGT):
    """The paper's: mean over outputs of the mean over an output's tokens (DeepSeekMath eq. 3)."""
    tokens_QG1 = jnp.maximum(trained_QGT.sum(-1, keepdims=True), 1)
    return trained_QGT / tokens_QG1 / (trained_QGT.shape[0] * trained_QGT.shape[1])


def token_mean(trained_QGT):
    """DAPO's: every token of the batch counts the same (Yu et al. 2025)."""
    return trained_QGT / jnp.maximum(trained_QGT.sum(), 1)


def token_sum(trained_QGT):
    """Dr. GRPO's: sum over tokens, divided by a constant, the room for tokens per output (Liu et al. 2025)."""
    return trained_QGT / trained_QGT.size
