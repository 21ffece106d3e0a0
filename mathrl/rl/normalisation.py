"""How tokens are averaged into the loss: a weight per token, computed over the whole batch before it is cut.

Each takes trained_QGT (1 on what the model wrote, its end token included). GSPO's objective and RFT's are sequence means.
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
    """Dr. GRPO's: sum over tokens, divided by a constant, the room for tokens per output (Liu et al. 2025).

    The room is T as the arrays have it, padding included: a run's max_tokens.
    """
    return trained_QGT / trained_QGT.size


def sequence_sum(trained_QGT):
    """REINFORCE's and RLOO's: mean over outputs of the sum over an output's tokens (Ahmadian et al. 2024)."""
    return trained_QGT / (trained_QGT.shape[0] * trained_QGT.shape[1])
