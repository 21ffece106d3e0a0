"""Log-probs of outputs behind their prompts: the prompt is computed once a question and shared by its outputs."""
import jax
import jax.numpy as jnp

from mathrl.train.losses import LOGITS_MIB, hidden_logps


def output_logps(model, params, rollouts, logits_mib: float = LOGITS_MIB) -> tuple[jax.Array, jax.Array]:
    """(log-probs of the output tokens, entropies there): [Q, G, T] float32 each; gradients flow through the first alone.

    Read of rollouts: prompt_QS, prompt_length_Q, tokens_QGT. A row of an output starts with the prompt's last token, so
    that position t predicts token t; the prompt's other tokens are computed once, as a cache that gradients flow through.
    """
    prompts = model.prefill(params, rollouts.prompt_QS, rollouts.prompt_length_Q - 1)
    h_QGTD = model.outputs_hidden(params, shifted_inputs(rollouts), prompts)
    return hidden_logps(h_QGTD, model.unembed(params), rollouts.tokens_QGT, logits_mib)


def shifted_inputs(rollouts) -> jax.Array:
    """What the model reads at each position: the prompt's last token, then the output without its last."""
    Q, G, _ = rollouts.tokens_QGT.shape
    last_Q1 = jnp.take_along_axis(rollouts.prompt_QS, rollouts.prompt_length_Q[:, None] - 1, axis=1)
    first_QG1 = jnp.broadcast_to(last_Q1[:, :, None], (Q, G, 1))
    return jnp.concatenate([first_QG1, rollouts.tokens_QGT[:, :, :-1]], axis=2)


def state_values(critic, params, rollouts) -> jax.Array:
    """V(s_t), the value of the state in which token t is chosen: [Q, G, T] float32; it has read the tokens before t."""
    return critic.outputs_values(params, shifted_inputs(rollouts), rollouts.prompt_QS, rollouts.prompt_length_Q - 1)
