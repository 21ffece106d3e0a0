"""What training carries from step to step."""
from typing import Any

import flax.struct
import jax


@flax.struct.dataclass
class LMBatch:
    """Packed rows. weights: 1 where the target counts; segments: 1.. per example, 0 padding; positions within it."""
    tokens_BT: jax.Array
    targets_BT: jax.Array
    weights_BT: jax.Array
    segments_BT: jax.Array
    positions_BT: jax.Array


@flax.struct.dataclass
class TrainState:
    """step counts the updates done; optimizer and model are static arguments of the step, not part of it."""
    step: jax.Array
    params: Any
    opt_state: Any


def create(params, optimizer) -> TrainState:
    """The state before the first update."""
    return TrainState(step=jax.numpy.int32(0), params=params, opt_state=optimizer.init(params))
