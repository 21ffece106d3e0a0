"""Attention of rows in decoding: each row is an output of some question, and questions lend their prompts to many rows.

The batch may lie on several devices in P parts, each with questions and rows of its own; a row's indices are local to its part.
"""
import jax
import jax.numpy as jnp

from mathrl.models.attention import MASKED, one_softmax, wide
from mathrl.models.cache import Places, Stored


def attend(q_BNH, own, prompt_keys: Stored, prompt_values: Stored, prompt_mask_QS, places: Places) -> jax.Array:
    """One token of each row looks at its own tokens and at its question's prompt -> [B, N, H], by one softmax over all.

    own: (keys [B, K, S, H], values, mask [B or 1, S] of the columns that a row may see), for each of its caches. The prompt's
    keys and values are read once for all rows of its question, as products of matrices.
    """
    B, N, H = q_BNH.shape
    q_BKRH = (q_BNH * H ** -0.5).reshape(B, prompt_keys.x_BKSH.shape[1], -1, H)      # R query heads share a key head
    prompt_QKXS = _scores(places.to_questions(q_BKRH), prompt_keys)
    scores = [places.to_rows(jnp.where(prompt_mask_QS[:, None, None], prompt_QKXS, MASKED))]
    for keys, _, mask_BS in own:
        scores.append(jnp.where(mask_BS[:, None, None], _scores(q_BKRH, keys), MASKED))
    weights, total_BKR1 = one_softmax(scores)
    prompt_QKXS, *own_weights = (x_BKRS.astype(q_BNH.dtype) for x_BKRS in weights)
    mixed_BKRH = places.to_rows(_mixed(places.to_questions(prompt_QKXS), prompt_values))
    for own_BKRS, (_, values, _) in zip(own_weights, own):
        mixed_BKRH += _mixed(own_BKRS, values)
    return (mixed_BKRH / total_BKR1).astype(q_BNH.dtype).reshape(B, N, H)


def _scores(q_BKXH, keys: Stored) -> jax.Array:
    """[B, K, X, S]. Of int8 keys the product is scaled, so that no other copy of the cache is made."""
    x_BKXS = jnp.einsum('bkxh,bksh->bkxs', q_BKXH, keys.x_BKSH.astype(q_BKXH.dtype), preferred_element_type=wide(q_BKXH.dtype))
    return x_BKXS if keys.scale_BK1S is None else x_BKXS * keys.scale_BK1S


def _mixed(weights_BKXS, values: Stored) -> jax.Array:
    """[B, K, X, H]. For int8 values the weights are scaled, as in _scores."""
    dtype = weights_BKXS.dtype
    if values.scale_BK1S is not None:
        weights_BKXS = (weights_BKXS * values.scale_BK1S).astype(dtype)
    return jnp.einsum('bkxs,bksh->bkxh', weights_BKXS, values.x_BKSH.astype(dtype))
