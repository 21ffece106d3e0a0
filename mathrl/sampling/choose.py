"""The next token of every output, by inverting the distribution function in two steps: a chunk of tokens, then one of it.

An output's draw at its t-th token needs two random numbers, whatever the vocabulary's size, and one pass over the logits.
"""
import jax
import jax.numpy as jnp

from mathrl.sampling.filters import Sampling, filtered_logits

CHUNK = 128     # as wide as a TPU's vector; sums of few numbers also round less
BITS = 24       # of a random number: as many as float32 holds exactly


def draws(keys: jax.Array, t: jax.Array) -> jax.Array:
    """The random numbers in (0, 1] of the outputs' t-th tokens, from their own keys [...]: [..., 2]; t [...] or a scalar."""
    def draw(key, t):
        return jax.random.bits(jax.random.fold_in(key, t), (2,)) >> (32 - BITS)
    for _ in range(keys.ndim):
        draw = jax.vmap(draw)
    return (draw(keys, jnp.broadcast_to(t, keys.shape)) + 1).astype(jnp.float32) * 2.0 ** -BITS


def choose(logits: jax.Array, quantiles: jax.Array, sampling: Sampling) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(token, its log-prob under the sampled distribution, under the plain policy), each [...], of logits [..., V].

    quantiles [..., 2]: the `draws` of these tokens. Greedy (temperature 0) has log-prob 0 under what it samples from.
    """
    highest = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - highest)
    mass = _chunks(weights).sum(-1)
    total = mass.sum(-1, keepdims=True)
    policy_logp = lambda token: (_pick(logits, token) - highest - jnp.log(total))[..., 0]
    if sampling.temperature == 0:
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return token, jnp.zeros(token.shape, logits.dtype), policy_logp(token)
    if sampling == Sampling():
        token = _invert(weights, mass, quantiles)
        logp = policy_logp(token)
        return token, logp, logp
    sampler = filtered_logits(logits, sampling)
    weights = jnp.exp(sampler)
    token = _invert(weights, _chunks(weights).sum(-1), quantiles)
    return token, _pick(sampler, token)[..., 0], policy_logp(token)


def _pick(x, token):
    return jnp.take_along_axis(x, token[..., None], axis=-1)


def _chunks(weights):
    """[..., V] -> [..., V / CHUNK, CHUNK], zeros behind the end."""
    missing = -weights.shape[-1] % CHUNK
    padded = jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, missing)]) if missing else weights
    return padded.reshape(weights.shape[:-1] + (-1, CHUNK))


def _invert(weights, mass, quantiles) -> jax.Array:
    """The token at two quantiles [..., 2], of the chunks by their mass and of the tokens in the chunk by their weights."""
    chunk = _first(mass, quantiles[..., :1])
    within = jnp.take_along_axis(_chunks(weights), chunk[..., None, None], axis=-2)[..., 0, :]
    return chunk * CHUNK + _first(within, quantiles[..., 1:])


def _first(weights, quantile):
    """The first entry at which the running sum reaches that share of the whole; never one of weight 0."""
    # a parallel sum may grow by rounding where a weight is 0
    reached = jnp.where(weights > 0, jnp.cumsum(weights, axis=-1), 0)
    wanted = quantile * reached.max(-1, keepdims=True)
    return jnp.argmax((reached >= wanted) & (weights > 0), axis=-1).astype(jnp.int32)
