"""The history that a reward model is trained on beside new samples (DeepSeekMath algorithm 1: 10 % of it)."""
import math

import jax
import numpy as np

from mathrl import sharding


def empty(example: dict[str, np.ndarray], capacity: int) -> dict[str, np.ndarray]:
    """A history with room for `capacity` groups; `example` is a batch of them, whose leading axis counts groups.

    A history is a dict of host arrays, so that it lies in a checkpoint as it is: the groups' own arrays and `added`, how
    many came in all.
    """
    rooms = {name: np.zeros((capacity,) + x.shape[1:], x.dtype) for name, x in example.items()}
    return {**rooms, 'added': np.zeros((), np.int32)}


def add(history: dict[str, np.ndarray], groups: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The history with more groups: a uniform sample of all that ever came, once it is full (reservoir sampling)."""
    history = {name: np.array(x) for name, x in history.items()}
    capacity = _capacity(history)
    for row in range(len(next(iter(groups.values())))):
        added = int(history['added'])
        place = added if added < capacity else int(rng.integers(added + 1))
        if place < capacity:
            for name, x in groups.items():
                history[name][place] = x[row]
        history['added'] += 1
    return history


def mixed(history: dict[str, np.ndarray], groups: dict[str, np.ndarray], count: int, replay_share: float,
          rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`count` groups to train on: replay_share of them from the history (none while it is empty), the others new.

    A share that is no whole number of groups is rounded up or down at random, so that it is right on the average.
    """
    size, new = min(int(history['added']), _capacity(history)), len(next(iter(groups.values())))
    old_count = math.floor(replay_share * count + rng.random()) if size else 0
    old = rng.choice(size, old_count, replace=old_count > size) if old_count else np.zeros(0, int)
    fresh = rng.choice(new, count - old_count, replace=count - old_count > new)
    return {name: np.concatenate([x[fresh], history[name][old]]) for name, x in groups.items()}


def _capacity(history: dict[str, np.ndarray]) -> int:
    return next(len(x) for name, x in history.items() if name != 'added')


def placed(mesh, history: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """The history as arrays that every device holds whole: what a checkpoint saves."""
    return jax.device_put(history, sharding.replicated(mesh))
