"""Log-probabilities of tokens from hidden states, without ever holding the logits of all tokens, and the loss made of them.

Where the logits are large the vocabulary is cut: each chunk's logits are computed, reduced and dropped, and once more in the
backward pass, so that neither pass holds [B, T, V]. A chunk gathers its own share of the unembedding alone.
"""
import functools
import math

import jax
import jax.numpy as jnp

from mathrl import sharding

LOGITS_MIB = 128      # of logits on a device at once
_LOWEST = -1e30       # below every logit, and finite: -inf would turn differences into NaN


def token_logps(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """log p(target) in float32; logits [..., V], targets [...] -> [...]."""
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def entropies(logits: jax.Array) -> jax.Array:
    """Entropy in nats of softmax(logits) [..., V] -> [...]."""
    logps = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.sum(jnp.exp(logps) * logps, axis=-1)


def hidden_logps(h: jax.Array, unembed_DV: jax.Array, targets: jax.Array,
                 logits_mib: float = LOGITS_MIB) -> tuple[jax.Array, jax.Array]:
    """(log p(target), entropy) of softmax(h @ unembed), both float32; h [..., D], targets [...] -> [...], [...].

    logits_mib: how much of the logits may lie on a device at once. Gradients flow through the log-probs alone.
    """
    rows_BD = sharding.constrain(h.reshape(-1, h.shape[-1]), 'BD')
    unembed_DV, targets_B = unembed_DV.astype(h.dtype), targets.reshape(-1)
    chunks = vocab_chunks(rows_BD.shape[0], unembed_DV.shape[1], logits_mib)
    if chunks > 1:
        logps_B, entropies_B = _chunked_logps(chunks, rows_BD, unembed_DV, targets_B)
    else:
        logits_BV = _logits(rows_BD, unembed_DV)
        logps_B, entropies_B = token_logps(logits_BV, targets_B), jax.lax.stop_gradient(entropies(logits_BV))
    return logps_B.reshape(targets.shape), entropies_B.reshape(targets.shape)


def lm_loss(model, params, batch, total_weight, logits_mib: float = LOGITS_MIB) -> jax.Array:
    """This micro-batch's share of the mean negative log-likelihood: its weighted sum over the whole batch's weight."""
    h_BTD = model.hidden(params, batch.tokens_BT, batch.segments_BT, batch.positions_BT)
    logps_BT, _ = hidden_logps(h_BTD, model.unembed(params), batch.targets_BT, logits_mib)
    return -jnp.sum(logps_BT * batch.weights_BT) / total_weight


def vocab_chunks(rows: int, vocab: int, logits_mib: float) -> int:
    """Into how many chunks the vocabulary is cut: as few as logits_mib allows; up to twice as many if those divide it."""
    if logits_mib <= 0:
        raise ValueError(f'logits_mib={logits_mib} must be above 0')
    size = 4 * rows * vocab / sharding.shards('BV', (rows, vocab))
    fewest = min(vocab, math.ceil(size / (logits_mib * 2 ** 20)))
    return next((count for count in range(fewest, min(2 * fewest, vocab) + 1) if vocab % count == 0), fewest)


def _logits(rows_BD, unembed_DV):
    wide = jnp.promote_types(rows_BD.dtype, jnp.float32)
    return sharding.constrain(jnp.matmul(rows_BD, unembed_DV, preferred_element_type=wide), 'BV')


def _columns(unembed_DV, chunks: int):
    """The unembedding as [chunks, D, V']: column v is dealt to chunk v % chunks, so that each spans all devices."""
    D, V = unembed_DV.shape
    padded_DV = jnp.pad(unembed_DV, ((0, 0), (0, -V % chunks)))
    return jnp.moveaxis(padded_DV.reshape(D, -1, chunks), 2, 0)


def _chunk(rows_BD, columns_DV, first, chunks: int, vocab: int):
    """(the chunk's weights as every device of a row needs them, its logits, the vocabulary's number of each column)."""
    columns_DV = sharding.constrain(columns_DV, 'DV')
    token_V = jnp.arange(columns_DV.shape[1]) * chunks + first
    logits_BV = _logits(rows_BD, columns_DV)
    if vocab % chunks:
        logits_BV = jnp.where(token_V[None] < vocab, logits_BV, _LOWEST)
    return columns_DV, logits_BV, token_V


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked_logps(chunks: int, rows_BD, unembed_DV, targets_B):
    return _forward(chunks, rows_BD, unembed_DV, targets_B)[0]


def _forward(chunks, rows_BD, unembed_DV, targets_B):
    """One pass over the chunks with the running maximum m, sum of exp(x - m), sum of exp(x - m) (x - m), target's logit."""
    def add(carry, chunk):
        top_B, sum_B, weighted_B, target_B = carry
        _, logits_BV, token_V = _chunk(rows_BD, *chunk, chunks, unembed_DV.shape[1])
        new_top_B = jnp.maximum(top_B, logits_BV.max(-1))
        below_BV = logits_BV - new_top_B[:, None]
        exp_BV = jnp.exp(below_BV)
        fell_B, scale_B = top_B - new_top_B, jnp.exp(top_B - new_top_B)
        hit_BV = token_V[None] == targets_B[:, None]
        return (new_top_B, sum_B * scale_B + exp_BV.sum(-1),
                (weighted_B + sum_B * fell_B) * scale_B + (exp_BV * below_BV).sum(-1),
                target_B + jnp.where(hit_BV, logits_BV, 0).sum(-1)), None
    zeros_B = jnp.zeros(targets_B.shape, jnp.promote_types(rows_BD.dtype, jnp.float32))
    columns_CDV = _columns(unembed_DV, chunks)
    (top_B, sum_B, weighted_B, target_B), _ = jax.lax.scan(add, (zeros_B + _LOWEST, zeros_B, zeros_B, zeros_B),
                                                           (columns_CDV, jnp.arange(chunks)))
    total_B = top_B + jnp.log(sum_B)
    results = target_B - total_B, jnp.log(sum_B) - weighted_B / sum_B
    return results, (rows_BD, unembed_DV, targets_B, total_B)


def _backward(chunks, kept, cotangents):
    """d logp(target) / d logits = onehot(target) - softmax, chunk by chunk."""
    (rows_BD, unembed_DV, targets_B, total_B), slope_B1 = kept, cotangents[0][:, None]

    def add(rows_slope_BD, chunk):
        columns_DV, logits_BV, token_V = _chunk(rows_BD, *chunk, chunks, unembed_DV.shape[1])
        hit_BV = token_V[None] == targets_B[:, None]
        slope_BV = (slope_B1 * (hit_BV - jnp.exp(logits_BV - total_B[:, None]))).astype(rows_BD.dtype)
        rows_slope_BD += jnp.matmul(slope_BV, columns_DV.T, preferred_element_type=rows_slope_BD.dtype)
        return rows_slope_BD, sharding.constrain_parameter(jnp.matmul(rows_BD.T, slope_BV), 'DV')
    columns_CDV = _columns(unembed_DV, chunks)
    zeros_BD = jnp.zeros(rows_BD.shape, total_B.dtype)
    rows_slope_BD, slope_CDV = jax.lax.scan(add, zeros_BD, (columns_CDV, jnp.arange(chunks)))
    slope_DV = jnp.moveaxis(slope_CDV, 0, 2).reshape(rows_BD.shape[1], -1)[:, :unembed_DV.shape[1]]
    return rows_slope_BD.astype(rows_BD.dtype), slope_DV, None


_chunked_logps.defvjp(_forward, _backward)
