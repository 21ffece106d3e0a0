"""Rotary positions and attention: packed rows, and outputs that share their prompt."""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

MASKED = -1e30   # finite, so that a row with nothing to see gives numbers that its weight of 0 removes
TABLE = 16384    # positions of a program's constant of rotary angles: 8 MB for heads of 128


def wide(dtype) -> jnp.dtype:
    """What sums, exponentials and angles are computed in: float32, or float64 for a float64 model."""
    return jnp.promote_types(dtype, jnp.float32)


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Rotary positions for a longer context than a model was first trained at, as Llama 3.1 has it.

    Waves that fit high_frequency times or more into the `original` context stay as they are; those that fit low_frequency
    times or less are stretched by `factor`; in between the two frequencies are mixed. original=0 stretches all (linear).
    """
    factor: float = 8.0
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    original: int = 8192

    def __post_init__(self):
        if not (self.factor > 0 and self.low_frequency < self.high_frequency and self.original >= 0):
            raise ValueError(f'rotary scaling wants factor > 0, low_frequency < high_frequency, original >= 0; got {self}')


def rotary_angles(positions: jax.Array, longest: int, head_dim: int, base: float, dtype=jnp.float32,
                  scaling: RopeScaling | None = None) -> tuple[jax.Array, jax.Array]:
    """(cos, sin) of every position's angles: [..., 1, H/2], once for all layers and heads. Positions are below `longest`.

    They are looked up in a table that is made on the host: else XLA would compute them in every layer and for every head again,
    as part of what reads them. Past TABLE positions they are computed.
    """
    half, exact = head_dim // 2, wide(dtype)
    frequency_H = np.asarray(base ** (-np.arange(half, dtype=exact) / half), exact)
    if scaling:
        fits_H = scaling.original * frequency_H / (2 * np.pi)
        kept_H = np.clip((fits_H - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency), 0, 1)
        frequency_H = np.asarray(frequency_H * (kept_H + (1 - kept_H) / scaling.factor), exact)
    if longest > TABLE:
        angle = positions[..., None].astype(exact) * frequency_H.reshape((1,) * positions.ndim + (-1,))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
    else:
        angle_SH = np.arange(longest, dtype=exact)[:, None] * frequency_H
        cos, sin = (jnp.asarray(wave(angle_SH))[positions] for wave in (np.cos, np.sin))
    return cos[..., None, :], sin[..., None, :]


def rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotary embedding (Su et al. 2021) of [..., N, H] in the half-split layout of Llama's Hugging Face weights.

    Its angles are [..., 1, H/2]; with heads first, those of [..., N, T, H] are [..., 1, T, H/2]. The halves are an axis of their
    own: cut along H, TPUs read more; swapped by reversing that axis, XLA's CPU backend takes twice as long.
    """
    cos, sin = (angle[..., None, :] for angle in angles)
    first, second = jnp.split(x.astype(cos.dtype).reshape(x.shape[:-1] + (2, -1)), 2, axis=-2)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -2).reshape(x.shape).astype(x.dtype)


def attend(q_BTNH, k_BSKH, v_BSKH, mask_BTS) -> jax.Array:
    """Softmax attention with grouped heads (N a multiple of K); mask True where position t may see s."""
    B, T, N, H = q_BTNH.shape
    K = k_BSKH.shape[2]
    q_BKXH = _grouped_queries(q_BTNH, K)
    scores_BKXS = jnp.einsum('bkxh,bksh->bkxs', q_BKXH, heads_first(k_BSKH),
                             preferred_element_type=wide(q_BTNH.dtype))
    mask_BXS = jnp.tile(mask_BTS, (1, N // K, 1))
    scores_BKXS = jnp.where(mask_BXS[:, None], scores_BKXS, MASKED)
    weights_BKXS = jax.nn.softmax(scores_BKXS, axis=-1).astype(v_BSKH.dtype)
    mixed_BKXH = jnp.einsum('bkxs,bksh->bkxh', weights_BKXS, heads_first(v_BSKH))
    return jnp.transpose(mixed_BKXH.reshape(B, K, N // K, T, H), (0, 3, 1, 2, 4)).reshape(B, T, N, H)


def _grouped_queries(q_BTNH, kv_heads: int) -> jax.Array:
    """Scaled queries [B, K, R*T, H]: the R query heads that share a key head are rows of one product."""
    B, T, N, H = q_BTNH.shape
    q_BTKRH = q_BTNH.reshape(B, T, kv_heads, N // kv_heads, H) * H ** -0.5
    return jnp.transpose(q_BTKRH, (0, 2, 3, 1, 4)).reshape(B, kv_heads, -1, H)


def attend_with_prompt(q_QNGTH, k_QKGSH, v_QKGSH, mask_QGTS, prompt_k_QKSH, prompt_v_QKSH, prompt_mask_QS) -> jax.Array:
    """Attention of G outputs of a question to their own tokens and to the prompt that they share -> [Q, G, T, N, H].

    One softmax over both. The prompt's keys are read once for all outputs: a matrix product with G*T rows, not G of them.
    Heads come before positions, as batched products want them (see heads_first).
    mask_QGTS: which own positions s a position t sees; prompt_mask_QS: False on the prompt's padding.
    """
    Q, N, G, T, H = q_QNGTH.shape
    K = prompt_k_QKSH.shape[1]
    rows = (N // K) * T                                # R query heads share a key head: their positions are rows of one product
    q_QKGRTH = jnp.swapaxes((q_QNGTH * H ** -0.5).reshape(Q, K, N // K, G, T, H), 2, 3)
    q_QKGXH = q_QKGRTH.reshape(Q, K, G, rows, H)
    own_QKGXS = jnp.einsum('qkgxh,qkgsh->qkgxs', q_QKGXH, k_QKGSH, preferred_element_type=wide(q_QNGTH.dtype))
    mask_QGXS = jnp.tile(mask_QGTS, (1, 1, N // K, 1))
    own_QKGXS = jnp.where(mask_QGXS[:, None], own_QKGXS, MASKED)
    prompt_QKGXS = jnp.einsum('qkgxh,qksh->qkgxs', q_QKGXH, prompt_k_QKSH, preferred_element_type=wide(q_QNGTH.dtype))
    prompt_QKGXS = jnp.where(prompt_mask_QS[:, None, None, None], prompt_QKGXS, MASKED)
    (prompt_QKGXS, own_QKGXS), total_QKGX1 = one_softmax([prompt_QKGXS, own_QKGXS])
    dtype = v_QKGSH.dtype
    mixed_QKGXH = jnp.einsum('qkgxs,qkgsh->qkgxh', own_QKGXS.astype(dtype), v_QKGSH)
    mixed_QKGXH += jnp.einsum('qkgxs,qksh->qkgxh', prompt_QKGXS.astype(dtype), prompt_v_QKSH)
    mixed_QKGXH = (mixed_QKGXH / total_QKGX1).astype(dtype)
    mixed_QKGRTH = mixed_QKGXH.reshape(Q, K, G, N // K, T, H)
    return jnp.transpose(mixed_QKGRTH, (0, 2, 4, 1, 3, 5)).reshape(Q, G, T, N, H)


def one_softmax(scores: list[jax.Array]) -> tuple[list[jax.Array], jax.Array]:
    """(weights of each, their total [..., 1], by which they are to be divided) of one softmax over the last axes of all.

    Scores that differ in their last axis alone are not laid side by side, which would be a copy of them.
    """
    highest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, [x.max(-1, keepdims=True) for x in scores]))
    weights = [jnp.exp(x - highest) for x in scores]
    return weights, sum(x.sum(-1, keepdims=True) for x in weights)


def heads_first(x: jax.Array) -> jax.Array:
    """[Q, S, K, H] -> [Q, K, S, H], and [Q, G, T, K, H] -> [Q, K, G, T, H]."""
    return jnp.moveaxis(x, -2, 1)


def packed_mask(segments: jax.Array) -> jax.Array:
    """mask [..., T, S] of rows [..., T]: causal, and within the example, or the output, whose number is in `segments`."""
    T = segments.shape[-1]
    causal_TT = jnp.arange(T)[:, None] >= jnp.arange(T)[None, :]
    return (segments[..., :, None] == segments[..., None, :]) & causal_TT.reshape((1,) * (segments.ndim - 1) + (T, T))
