"""Key-value caches: plain values that the model takes and returns; and which of their rows belong to which questions.

The rows may lie on several devices in P parts, each with questions and rows of its own; a row's indices are local to its part.
"""
import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from mathrl.sharding import constrain


@flax.struct.dataclass
class PromptCache:
    """Keys and values of Q prompts, padded on the right to S; computed once a question, read by all its outputs."""
    keys_LQSKH: jax.Array
    values_LQSKH: jax.Array
    length_Q: jax.Array       # int32; columns at and past it are padding


@flax.struct.dataclass
class OutputCache:
    """Keys and values of the outputs so far, an array a layer: a stacked array would be copied a layer at a time.

    All outputs are decoded in step, so one length serves them all.
    """
    keys_QKGTH: tuple[jax.Array, ...]
    values_QKGTH: tuple[jax.Array, ...]
    length: jax.Array         # int32 scalar


def empty_output_cache(prompts: PromptCache, outputs: int, tokens: int) -> OutputCache:
    """Room for `outputs` outputs of `tokens` tokens behind each prompt."""
    layers, questions, _, kv_heads, head_dim = prompts.keys_LQSKH.shape
    zeros = tuple(jnp.zeros((questions, kv_heads, outputs, tokens, head_dim), prompts.keys_LQSKH.dtype) for _ in range(layers))
    return OutputCache(zeros, zeros, jnp.int32(0))


@flax.struct.dataclass
class RowCache:
    """Keys and values by rows, an array a layer, [B, K, S, H]: of prompts, or of S tokens of outputs decoded together."""
    keys_BKSH: tuple[jax.Array, ...]
    values_BKSH: tuple[jax.Array, ...]

    @property
    def columns(self) -> int:
        return self.keys_BKSH[0].shape[2]


def empty_row_cache(like: RowCache, rows: int, columns: int) -> RowCache:
    """Zeros for the layers and heads of another one."""
    empty = lambda x_BKSH: jnp.zeros((rows, x_BKSH.shape[1], columns, x_BKSH.shape[3]), x_BKSH.dtype)
    return jax.tree.map(empty, like)


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
