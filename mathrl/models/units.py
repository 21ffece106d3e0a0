"""Units: prompts and the rows of outputs behind them, one sequence each, so that one pass over the layers computes both."""
import flax.struct
import jax
import jax.numpy as jnp

from mathrl import sharding


@flax.struct.dataclass
class Placement:
    """What the rows [Q, G, T] of Q units hold.

    output_QGT: which output a token belongs to, since a row may hold several end to end; place_QGT: the token's place in its
    output. prompt_QG: which of its unit's prompts a row is behind; None where every unit has one.
    """
    output_QGT: jax.Array
    place_QGT: jax.Array
    prompt_QG: jax.Array | None = None


def one_output_a_row(Q: int, G: int, T: int) -> Placement:
    """Q questions with G outputs each, which are numbered from 1."""
    return Placement(output_QGT=jnp.broadcast_to(jnp.arange(1, Q * G + 1).reshape(Q, G, 1), (Q, G, T)),
                     place_QGT=jnp.broadcast_to(jnp.arange(T)[None, None], (Q, G, T)))


def cuts(Q: int, G: int) -> int:
    """Into how many units, of fewer rows, each of Q is to be cut so that every device has as many; 1 where none will do."""
    devices = sharding.batch_shards()
    return next((n for n in range(1, G + 1) if G % n == 0 and n * Q % devices == 0), 1)
