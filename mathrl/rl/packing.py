"""An update without padding: a question's outputs lie end to end in rows, and as many micro-batches run as have tokens.

A unit is one question's prompt and some rows of T tokens behind it; an output lies whole in one row. All micro-batches have
the same number of units, so there is one compiled program for whatever lengths come, and a second one for a finer cut: where
outputs are short, units of fewer rows leave less room empty; where they are long, more of them compute the prompt again.
Where one micro-batch holds the whole batch, a device's questions may be one unit: each of their prompts is computed once, and
rows anywhere in the unit are lent it. Then there is a program for every number of rows that comes, SIZES at most.
"""
import dataclasses
import math
from typing import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.models.units import Placement
from mathrl.rl.log_probs import Rows, in_rows
from mathrl.rl.parts import Groups
from mathrl.train.step import counted_gradients, summed_gradients

PIECE_TOKENS = 512      # of a micro-batch on a device: with fewer, adding up gradients would show
SIZES = 16              # at most so many numbers of rows are compiled where prompts are lent


@flax.struct.dataclass
class Packing:
    """Where the tokens of [Q, G, T] lie in micro-batches, each laid out as Q' units of G' rows.

    index_MQGT: the token's place in the flattened [Q, G, T], Q * G * T where nothing lies; question_MQ: whose prompts the units
    begin with, unit by unit; count: how many micro-batches hold anything. The others are never computed. prompt_MQG: which of
    its unit's prompts a row is behind; None where every unit has one.
    """
    index_MQGT: jax.Array
    question_MQ: jax.Array
    count: jax.Array
    prompt_MQG: jax.Array | None = None

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
        """Micro-batch m of a tree: leaves are told by their names, and are of questions or tokens; 0 where nothing lies."""
        index_QGT, question_Q = self.index_MQGT[m], self.question_MQ[m]

        def take(path, x):
            axes = sharding.path_text(path).rsplit('_', 1)[-1]
            found = x.at[index_QGT].get(mode='fill', fill_value=0) if axes == 'QGT' else x[question_Q]
            return sharding.constrain(found, axes)
        part = jax.tree_util.tree_map_with_path(take, whole)
        if self.prompt_MQG is None:
            return part
        is_placement = lambda node: isinstance(node, Placement)
        lend = lambda node: node.replace(prompt_QG=self.prompt_MQG[m]) if is_placement(node) else node
        return jax.tree.map(lend, part, is_leaf=is_placement)


def _everywhere(whole):
    """Every token on every device, [Q, G, T] flattened: they are few bytes, and a unit may lie anywhere."""
    def spread(path, x):
        x = x.reshape(-1) if sharding.path_text(path).endswith('_QGT') else x
        return sharding.constrain(x, 'T' * x.ndim)
    return jax.tree_util.tree_map_with_path(spread, whole)


@dataclasses.dataclass(frozen=True)
class Layout:
    """At most `pieces` micro-batches of `units` units on all devices together, each of some prompts and `rows` rows."""
    pieces: int
    units: int
    rows: int
    prompts: int = 1

    def shapes(self, tokens: int) -> dict[str, tuple[int, ...]]:
        """Of a Packing's arrays."""
        shapes = {'index_MQGT': (self.pieces, self.units, self.rows, tokens),
                  'question_MQ': (self.pieces, self.units * self.prompts)}
        return shapes if self.prompts == 1 else shapes | {'prompt_MQG': (self.pieces, self.units, self.rows)}

    def dealt(self, rows_Q: list[int]) -> list[list[tuple[int, int]]] | None:
        """(question, row) of every unit's rows, for questions with so many; None where they do not fit."""
        if self.prompts == 1:
            found = [[(q, row) for row in range(first, min(first + self.rows, rows))]
                     for q, rows in enumerate(rows_Q) for first in range(0, rows, self.rows)]
        else:
            found, held = [[] for _ in range(self.units)], [0] * self.units
            for q in sorted(range(len(rows_Q)), key=lambda q: -rows_Q[q]):      # the longest first, to the emptiest
                unit = min((unit for unit in range(self.units) if held[unit] < self.prompts), key=lambda unit: len(found[unit]))
                found[unit] += [(q, row) for row in range(rows_Q[q])]
                held[unit] += 1
        fits = len(found) <= self.pieces * self.units and max(map(len, found)) <= self.rows
        return found if fits else None

    def needed(self, units: list) -> int:
        """Micro-batches for so many units."""
        return -(-len(units) // self.units)

    def computed(self, units: list, prompt: int, tokens: int) -> int:
        """Positions that an update computes, prompts included."""
        return self.needed(units) * self.units * (self.prompts * prompt + self.rows * tokens)


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


def lending_layouts(questions: int, outputs: int, devices: int) -> tuple[Layout, ...]:
    """Ways to hold a whole batch in one micro-batch, every prompt once: a unit a device, of at most SIZES numbers of rows."""
    if questions % devices:
        return ()
    most = questions // devices * outputs
    return tuple(Layout(1, devices, rows, questions // devices) for rows in range(most, 0, most // -SIZES))


def device_rows(questions: int, outputs: int, micro_batches: int, devices: int, noun: str = 'outputs') -> int:
    """Rows of a micro-batch on a device, where each output has a row."""
    if questions * outputs % (micro_batches * devices):
        over = f' over {devices} devices' if devices > 1 else ''
        raise ValueError(f'{questions} questions x {outputs} {noun} do not divide into {micro_batches} micro-batches{over}')
    return questions * outputs // (micro_batches * devices)


def cut(packing: Packing | None, micro_batches: int) -> Packing | Groups:
    """How an update is cut into micro-batches: by the packing, or without one into rows of single outputs."""
    return Groups(micro_batches) if packing is None else packing


def plan(length_QG: np.ndarray, prompt: int, tokens: int, choices: tuple[Layout, ...],
         together: int = 1) -> tuple[dict[str, np.ndarray], float]:
    """(a Packing's arrays by the layout that computes the least, the share of its rows that holds tokens).

    length_QG: of outputs, on the host; prompt, tokens: the room for a prompt and for an output. So many neighbours as
    `together` says lie in one row, which then has room for as many. All processes plan alike.
    """
    (Q, G), room = length_QG.shape, together * tokens
    packed = [first_fit(lengths, room) for lengths in length_QG.reshape(Q, -1, together).sum(-1)]
    dealt = [(layout, units) for layout in choices if (units := layout.dealt([len(rows) for rows in packed])) is not None]
    layout, units = min(dealt, key=lambda pair: pair[0].computed(pair[1], prompt, room))
    arrays = {name: np.zeros(shape, np.int32) for name, shape in layout.shapes(room).items()}
    arrays['index_MQGT'][:] = Q * G * tokens
    index_UGT = arrays['index_MQGT'].reshape(-1, layout.rows, room)
    question_UP = arrays['question_MQ'].reshape(-1, layout.prompts)
    prompt_UG = arrays.get('prompt_MQG', np.zeros(index_UGT.shape[:2], np.int32)).reshape(-1, layout.rows)
    for unit, rows in enumerate(units):
        held = list(dict.fromkeys(q for q, _ in rows))
        question_UP[unit, :len(held)] = held
        for g, (q, row) in enumerate(rows):
            places = np.concatenate([np.arange(length_QG[q, one]) + (q * G + one) * tokens for first in packed[q][row]
                                     for one in range(first * together, (first + 1) * together)])
            index_UGT[unit, g, :len(places)], prompt_UG[unit, g] = places, held.index(q)
    count = layout.needed(units)
    fill = length_QG.sum() / (count * layout.units * layout.rows * room)
    return arrays | {'count': np.int32(count)}, float(fill)


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
    if micro_batches == 1 and jax.default_backend() != 'tpu':     # whose attention takes units of one prompt
        choices += lending_layouts(Q, outputs, devices)
    arrays, fill = plan(length_QG, prompt, tokens, choices, together)
    return place(mesh, arrays), fill


def place(mesh, arrays: dict[str, np.ndarray]) -> Packing:
    """A plan on the mesh."""
    return Packing(count=sharding.place(mesh, arrays['count'], ''),
                   **sharding.place_named(mesh, {name: x for name, x in arrays.items() if name != 'count'}))
