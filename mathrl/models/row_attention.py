"""Attention of rows in decoding: each row is an output of some question, and questions lend their prompts to many rows.

The batch may lie on several devices in P parts, each with questions and rows of its own; a row's indices are local to its part.
"""
import functools

import jax
import jax.numpy as jnp

from mathrl.models.attention import MASKED, wide
from mathrl.models.cache import Places


def attend(q_BNH, own, prompt_k_QKSH, prompt_v_QKSH, prompt_mask_QS, places: Places) -> jax.Array:
    """One token of each row looks at its own tokens and at its question's prompt -> [B, N, H], by one softmax over all.

    own: (keys [B, K, S, H], values, mask [B or 1, S] of the columns that a row may see), for each of its caches. The prompt's
    keys and values are read once for all rows of its question, as products of matrices.
    """
    B, N, H = q_BNH.shape
    exact = wide(q_BNH.dtype)
    q_BKRH = (q_BNH * H ** -0.5).reshape(B, prompt_k_QKSH.shape[1], -1, H)      # R query heads share a key head
    prompt_QKXS = jnp.einsum('qkxh,qksh->qkxs', places.to_questions(q_BKRH), prompt_k_QKSH, preferred_element_type=exact)
    scores = [places.to_rows(jnp.where(prompt_mask_QS[:, None, None], prompt_QKXS, MASKED))]
    for keys_BKSH, _, mask_BS in own:
        own_BKRS = jnp.einsum('bkrh,bksh->bkrs', q_BKRH, keys_BKSH, preferred_element_type=exact)
        scores.append(jnp.where(mask_BS[:, None, None], own_BKRS, MASKED))
    highest_BKR1 = functools.reduce(jnp.maximum, [x_BKRS.max(-1, keepdims=True) for x_BKRS in scores])
    weights = [jnp.exp(x_BKRS - highest_BKR1) for x_BKRS in scores]
    total_BKR1 = sum(x_BKRS.sum(-1, keepdims=True) for x_BKRS in weights)
    prompt_QKXS, *own_weights = (x_BKRS.astype(q_BNH.dtype) for x_BKRS in weights)
    mixed_BKRH = places.to_rows(jnp.einsum('qkxs,qksh->qkxh', places.to_questions(prompt_QKXS), prompt_v_QKSH))
    for own_BKRS, (_, values_BKSH, _) in zip(own_weights, own):
        mixed_BKRH += jnp.einsum('bkrs,bksh->bkrh', own_BKRS, values_BKSH)
    return (mixed_BKRH / total_BKR1).astype(q_BNH.dtype).reshape(B, N, H)
