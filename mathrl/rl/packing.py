"""An update without padding: a question's outputs lie end to end in rows, and as many micro-batches run as have tokens.

A unit is one question's prompt and some rows of T tokens behind it; an output lies whole in one row. All micro-batches have
the same number of units, so there is one compiled program for whatever lengths come, and a second one for a finer cut: where
outputs are short, units of fewer rows leave less room empty; where they are long, more of them compute the prompt again.
Where one micro-batch on one device holds the whole batch, each prompt is computed once and lent to rows anywhere in it.
"""
import dataclasses
import math
from typing import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.rl.log_probs import Rows, in_rows
from mathrl.rl.parts import Groups
from mathrl.train.step import counted_gradients, summed_gradients

PIECE_TOKENS = 512      # of a micro-batch on a device: with fewer, adding up gradients would show
SIZES = 16              # at most so many numbers of rows are compiled where prompts are lent


@flax.struct.dataclass
class Packing:
    """Where the tokens of [Q, G, T] lie in micro-batches, each laid out as Q' units of G' rows.

    index_MQGT: the token's place in the flattened [Q, G, T], Q * G * T where nothing lies; question_MQ: whose prompt a unit
    begins with; count: how many micro-batches hold anything. The others are never computed. lent: units have no prompts of
    their own; they read those of the whole batch.
    """
    index_MQGT: jax.Array
    question_MQ: jax.Array
    count: jax.Array
    lent: bool = flax.struct.field(pytree_node=False, default=False)

    def rows(self, rollouts) -> Rows:
        """Rollouts as `gradients` and `map` can cut them."""
        return in_rows(rollouts)

    def gradients(self, loss: Callable, params, whole):
        """As train.step.summed_gradients, over the micro-batches that hold anything."""
        whole = _everywhere(whole)
        if len(self.index_MQGT) == 1:
            return summed_gradients(loss, params, jax.tree.map(lambda x: x[None], self._part(whole, 0)), 1)
        return counted_gradients(loss, params, lambda m: self._part(whole, m), self.count)

    def map(self, function: Callable, whole) -> jax.Array:
        """function(micro-batch) -> [Q', G', T], without gradients, put back as one [Q, G, T]; 0 where no token lies."""
        shape = next(leaf.shape for leaf in jax.tree.leaves(whole) if leaf.ndim == 3)
        whole = _everywhere(whole)

        def put(m, flat_T):
            values_QGT = jax.lax.stop_gradient(function(self._part(whole, m)))
            return flat_T.at[self.index_MQGT[m].reshape(-1)].set(values_QGT.reshape(-1), mode='drop')
        dtype = jax.eval_shape(lambda: function(self._part(whole, 0))).dtype
        flat_T = jax.lax.fori_loop(0, self.count, put, jnp.zeros(math.prod(shape), dtype))
        return sharding.constrain(flat_T.reshape(shape), 'QGT')

    def _part(self, whole, m):
        """Micro-batch m of a tree: leaves are told by their names; 0 where nothing lies.

        question_Q becomes the prompt that each unit is lent, or None where it has its own.
        """
        index_QGT, question_Q = self.index_MQGT[m], self.question_MQ[m]

        def take(path, x):
            name = sharding.path_text(path).rsplit('/', 1)[-1]
            if name == 'question_Q':
                return question_Q if self.lent else None
            if self.lent and name.startswith('prompt_'):
                return x
            axes = name.rsplit('_', 1)[-1]
            found = x.at[index_QGT].get(mode='fill', fill_value=0) if axes == 'QGT' else x[question_Q]
            return sharding.constrain(found, axes)
        return jax.tree_util.tree_map_with_path(take, whole)


def _everywhere(whole):
    """Every token on every device, [Q, G, T] flattened: they are few bytes, and a unit may lie anywhere."""
    def spread(path, x):
        x = x.reshape(-1) if sharding.path_text(path).endswith('_QGT') else x
        return sharding.constrain(x, 'T' * x.ndim)
    return jax.tree_util.tree_map_with_path(spread, whole)


@dataclasses.dataclass(frozen=True)
class Layout:
    """At most `pieces` micro-batches of `units` units on all devices together, each a prompt and `rows` rows.

    prompts: where not 0, units are rows alone, and are lent so many prompts.
    """
    pieces: int
    units: int
    rows: int
    prompts: int = 0

    def shapes(self, tokens: int) -> dict[str, tuple[int, ...]]:
        """Of a Packing's arrays."""
        units = self.pieces, self.units
        return {'index_MQGT': (*units, self.rows, tokens), 'question_MQ': units}

    def needed(self, rows_Q: list[int]) -> int:
        """Micro-batches for questions with so many rows."""
        return -(-sum(-(-rows // self.rows) for rows in rows_Q) // self.units)

    def computed(self, rows_Q: list[int], prompt: int, tokens: int) -> int:
        """Positions that an update computes, prompts included."""
        return self.needed(rows_Q) * ((self.prompts or self.units) * prompt + self.units * self.rows * tokens)


def layouts(questions: int, outputs: int, prompt: int, tokens: int, micro_batches: int, devices: int) -> tuple[Layout, ...]:
    """How such a batch may be cut: as micro_batches say, a prompt once for all rows behind it, and finer.

    With s tokens in a question's outputs and units of r tokens, about s / r + 1/2 units of prompt + r are computed: fewest
    at r = sqrt(2 s prompt). The finer cut takes the divisor nearest to that for outputs that fill half of their room, and
    cuts micro-batches on, down to PIECE_TOKENS on a device, so that fewer of them are half empty.
    """
    share = device_rows(questions, outputs, micro_batches, devices)
    most = math.gcd(share, outputs)
    wanted = math.sqrt(outputs * prompt / tokens)
    finer = min((rows for rows in range(1, most + 1) if most % rows == 0), key=lambda rows: abs(math.log(rows / wanted)))
    units = share // finer
    cuts = max(n for n in range(1, units + 1) if units % n == 0 and (n == 1 or share * tokens // n >= PIECE_TOKENS))
    return tuple(dict.fromkeys((Layout(micro_batches, devices * share // most, most),
                                Layout(micro_batches * cuts, devices * units // cuts, finer))))


def lending_layouts(questions: int, outputs: int) -> tuple[Layout, ...]:
    """Ways to hold a whole batch in one micro-batch: every prompt once, and rows in at most SIZES numbers of them."""
    most = questions * outputs
    return tuple(Layout(1, rows, 1, questions) for rows in range(most, 0, most // -SIZES))


def device_rows(questions: int, outputs: int, micro_batches: int, devices: int) -> int:
    """Rows of a micro-batch on a device, where each output has a row."""
    if questions * outputs % (micro_batches * devices):
        raise ValueError(f'{questions} questions x {outputs} outputs do not divide into {micro_batches} micro-batches over '
                         f'{devices} devices')
    return questions * outputs // (micro_batches * devices)


def cut(packing: Packing | None, micro_batches: int) -> Packing | Groups:
    """How an update is cut into micro-batches: by the packing, or without one into rows of single outputs."""
    return Groups(micro_batches) if packing is None else packing


def plan(length_QG: np.ndarray, prompt: int, tokens: int, choices: tuple[Layout, ...],
         together: int = 1) -> tuple[dict[str, np.ndarray | bool], float]:
    """(a Packing's fields by the layout that computes the least, the share of its rows that holds tokens).

    length_QG: of outputs, on the host; prompt, tokens: the room for a prompt and for an output. So many neighbours as
    `together` says lie in one row, which then has room for as many. All processes plan alike.
    """
    (Q, G), room = length_QG.shape, together * tokens
    packed = [first_fit(lengths, room) for lengths in length_QG.reshape(Q, -1, together).sum(-1)]
    rows_Q = [len(rows) for rows in packed]
    enough = [layout for layout in choices if layout.needed(rows_Q) <= layout.pieces]
    layout = min(enough, key=lambda layout: layout.computed(rows_Q, prompt, room))
    arrays = {name: np.zeros(shape, np.int32) for name, shape in layout.shapes(room).items()}
    index, question = (arrays[name].reshape((-1,) + arrays[name].shape[2:]) for name in ('index_MQGT', 'question_MQ'))
    index[:] = Q * G * tokens
    unit = 0
    for q, rows in enumerate(packed):
        for first in range(0, len(rows), layout.rows):
            question[unit] = q
            for row, found in zip(index[unit], rows[first:first + layout.rows]):
                places = [np.arange(length_QG[q, g]) + (q * G + g) * tokens
                          for one in found for g in range(one * together, (one + 1) * together)]
                row[:sum(map(len, places))] = np.concatenate(places)
            unit += 1
    count = layout.needed(rows_Q)
    fill = length_QG.sum() / (count * layout.units * layout.rows * room)
    return arrays | {'count': np.int32(count), 'lent': layout.prompts > 0}, float(fill)


def first_fit(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Which outputs share a row of `room` tokens: the longest first, each in the first row that it fits into."""
    rows, free = [], []
    for output in np.argsort(-lengths, kind='stable').tolist():
        length = int(lengths[output])
        if length > room:
            raise ValueError(f'an output of {length} tokens does not fit into a row of {room}')
        row = next((row for row, left in enumerate(free) if left >= length), None)
        if row is None:
            rows.append([output])
            free.append(room - length)
        else:
            rows[row].append(output)
            free[row] -= length
    return rows


def lengths(marks_QGT: np.ndarray) -> np.ndarray:
    """[Q, G] tokens up to the last one that is marked, on the host: behind it no loss looks. 0 where none is."""
    return np.max(marks_QGT * np.arange(1, marks_QGT.shape[2] + 1), axis=-1)


def planned(mesh, length_QG: np.ndarray, prompt: int, tokens: int, micro_batches: int,
            together: int = 1) -> tuple[Packing, float]:
    """(the packing of outputs of these lengths on the mesh, the share of its rows that holds tokens)."""
    Q, G = length_QG.shape
    devices, outputs = sharding.batch_devices(mesh), G // together
    choices = layouts(Q, outputs, prompt, together * tokens, micro_batches, devices)
    if micro_batches == devices == 1 and jax.default_backend() != 'tpu':     # whose attention takes units, each with its prompt
        choices += lending_layouts(Q, outputs)
    arrays, fill = plan(length_QG, prompt, tokens, choices, together)
    return place(mesh, arrays), fill


def place(mesh, arrays: dict[str, np.ndarray | bool]) -> Packing:
    """A plan on the mesh."""
    return Packing(lent=arrays['lent'], count=sharding.place(mesh, arrays['count'], ''),
                   **sharding.place_named(mesh, {name: arrays[name] for name in ('index_MQGT', 'question_MQ')}))
