"""Log-probabilities of tokens, and the language-model loss made of them."""
import jax
import jax.numpy as jnp


def token_logps(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """log p(target) in float32; logits [..., V], targets [...] -> [...]."""
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def entropies(logits: jax.Array) -> jax.Array:
    """Entropy in nats of softmax(logits) [..., V] -> [...]."""
    logps = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.exp(logps) * logps, axis=-1)


def lm_loss(model, params, batch, total_weight) -> jax.Array:
    """This micro-batch's share of the mean negative log-likelihood: its weighted sum over the whole batch's weight."""
    h_BTD = model.hidden(params, batch.tokens_BT, batch.segments_BT, batch.positions_BT)
    logps_BT = token_logps(model.logits(params, h_BTD), batch.targets_BT)
    return -jnp.sum(logps_BT * batch.weights_BT) / total_weight
