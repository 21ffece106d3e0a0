"""Attention of rows in decoding: each row is an output of some question, and questions lend their prompts to many rows.

The batch may lie on several devices in P parts, each with questions and rows of its own; a row's indices are local to its part.
"""
import dataclasses
import functools

import jax
import jax.numpy as jnp

from mathrl.models.attention import MASKED, wide
from mathrl.sharding import constrain


@dataclasses.dataclass(frozen=True)
class Places:
    """Which rows belong to which questions: a question slot has G places, and a row sits at place slot * G + output.

    place_PB: each row's place; row_PX: the row at each place (any row where there is none). Both None: row i is at place i.
    """
    outputs: int
    place_PB: jax.Array | None = None
    row_PX: jax.Array | None = None

    def to_questions(self, x_BKTS: jax.Array) -> jax.Array:
        """What rows have by head, [B, K, T, S], as one matrix a question and head: [Q, K, G * T, S]."""
        x_XKTS = x_BKTS if self.row_PX is None else take(x_BKTS, self.row_PX, 'BKTS')
        _, K, T, S = x_BKTS.shape
        return jnp.swapaxes(x_XKTS.reshape(-1, self.outputs, K, T, S), 1, 2).reshape(-1, K, self.outputs * T, S)

    def to_rows(self, x_QKYS: jax.Array) -> jax.Array:
        """[Q, K, G * T, S] back as rows [B, K, T, S]."""
        Q, K, Y, S = x_QKYS.shape
        x_XKTS = jnp.swapaxes(x_QKYS.reshape(Q, K, self.outputs, -1, S), 1, 2).reshape(Q * self.outputs, K, -1, S)
        return x_XKTS if self.place_PB is None else take(x_XKTS, self.place_PB, 'BKTS')


def take(x_B: jax.Array, index_PB: jax.Array, axes: str) -> jax.Array:
    """Rows of x by their numbers within each of the P parts that the first axis is made of; axes: x's."""
    parts_P = x_B.reshape((index_PB.shape[0], -1) + x_B.shape[1:])
    taken_P = jax.vmap(lambda x, index: x.at[index].get(mode='promise_in_bounds'))(parts_P, index_PB)
    taken_B = taken_P.reshape((-1,) + x_B.shape[1:])
    return constrain(taken_B, axes)


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
