"""Key-value caches: plain values that the model takes and returns."""
import flax.struct
import jax
import jax.numpy as jnp


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
    """Keys and values by rows, an array a layer, [B, K, S, H]: of prompts, or of S tokens of outputs that are decoded together."""
    keys_BKSH: tuple[jax.Array, ...]
    values_BKSH: tuple[jax.Array, ...]

    @property
    def columns(self) -> int:
        return self.keys_BKSH[0].shape[2]


def empty_row_cache(like: RowCache, rows: int, columns: int) -> RowCache:
    """Zeros for the layers and heads of another one."""
    empty = lambda x_BKSH: jnp.zeros((rows, x_BKSH.shape[1], columns, x_BKSH.shape[3]), x_BKSH.dtype)
    return jax.tree.map(empty, like)
