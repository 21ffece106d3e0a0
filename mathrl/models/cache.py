"""Key-value caches: plain values that the model takes and returns; and which of their rows belong to which questions.

The rows may lie on several devices in P parts, each with questions and rows of its own; a row's indices are local to its part.
"""
import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from mathrl.sharding import constrain


@flax.struct.dataclass
class Stored:
    """Keys or values [B, K, S, H] as a cache holds them: in int8 they are x times a scale for each token and head."""
    x_BKSH: jax.Array
    scale_BK1S: jax.Array | None = None


def store(x_BKSH: jax.Array, dtype) -> Stored:
    """x rounded to a dtype; to int8 in steps of a 127th of its token's and head's largest number."""
    if jnp.dtype(dtype) != jnp.int8:
        return Stored(x_BKSH.astype(dtype))
    exact_BKSH = x_BKSH.astype(jnp.promote_types(x_BKSH.dtype, jnp.float32))
    scale_BKS1 = jnp.max(jnp.abs(exact_BKSH), axis=-1, keepdims=True) / 127
    steps_BKSH = jnp.round(exact_BKSH / jnp.where(scale_BKS1 > 0, scale_BKS1, 1)).astype(jnp.int8)
    return Stored(steps_BKSH, jnp.swapaxes(scale_BKS1, 2, 3))


def put(cache: Stored, column_BK1H: jax.Array, i) -> Stored:
    """The cache with one more token in column i."""
    write, new = jax.lax.dynamic_update_slice_in_dim, store(column_BK1H, cache.x_BKSH.dtype)
    scale_BK1S = None if new.scale_BK1S is None else write(cache.scale_BK1S, new.scale_BK1S, i, axis=3)
    return Stored(write(cache.x_BKSH, new.x_BKSH, i, axis=2), scale_BK1S)


@flax.struct.dataclass
class RowCache:
    """Keys and values by rows, one a layer: of prompts, or of S tokens of outputs decoded together."""
    keys: tuple[Stored, ...]
    values: tuple[Stored, ...]

    @property
    def columns(self) -> int:
        return self.keys[0].x_BKSH.shape[2]

    @property
    def dtype(self) -> jnp.dtype:
        return self.keys[0].x_BKSH.dtype


def empty_row_cache(like: RowCache, rows: int, columns: int) -> RowCache:
    """Zeros for the layers, heads and dtype of another one."""
    def empty(one: Stored) -> Stored:
        _, K, _, H = one.x_BKSH.shape
        scale_BK1S = None if one.scale_BK1S is None else jnp.zeros((rows, K, 1, columns), one.scale_BK1S.dtype)
        return Stored(jnp.zeros((rows, K, columns, H), one.x_BKSH.dtype), scale_BK1S)
    return jax.tree.map(empty, like, is_leaf=lambda x: isinstance(x, Stored))


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
