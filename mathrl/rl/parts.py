"""Micro-batches of groups: questions are cut first, then their outputs; and what was cut, put together again."""
import dataclasses
import math
from typing import Callable

import jax
import jax.numpy as jnp

from mathrl import sharding
from mathrl.train.step import split, summed_gradients


@dataclasses.dataclass(frozen=True)
class Groups:
    """The plain cut, a row for each output: it has the methods of rl/packing.py's Packing, which leaves the padding out."""
    micro_batches: int

    def rows(self, rollouts):
        return rollouts

    def gradients(self, loss: Callable, params, whole):
        return summed_gradients(loss, params, split_groups(whole, self.micro_batches), self.micro_batches)

    def map(self, function: Callable, whole) -> jax.Array:
        return map_groups(function, whole, self.micro_batches)


def split_groups(tree, parts: int):
    """Cuts [Q, ...] leaves into [parts, Q', ...]: questions first; past one question a part, their outputs (axis G).

    A part with some of a question's outputs carries that question's prompt along. Leaves are told by their names' axes.
    """
    Q, G = next(leaf.shape[:2] for leaf in jax.tree.leaves(tree) if leaf.ndim == 3)
    by_question, by_output = _cuts(Q, G, parts)
    tree = split(tree, by_question)

    def cut_outputs(path, x):
        if sharding.path_text(path).endswith(('_QGT', '_QG')):
            x = jnp.moveaxis(x.reshape(x.shape[:2] + (by_output, G // by_output) + x.shape[3:]), 2, 1)
        else:
            x = jnp.repeat(x[:, None], by_output, axis=1)
        return x.reshape((parts,) + x.shape[2:])
    return jax.tree_util.tree_map_with_path(cut_outputs, tree)


def join_groups(x, Q: int, G: int):
    """[parts, Q', G', T] as split_groups cut it -> [Q, G, T]."""
    by_question, by_output = _cuts(Q, G, x.shape[0])
    x = x.reshape((by_question, by_output) + x.shape[1:])
    return jnp.moveaxis(x, 2, 0).reshape((Q, G) + x.shape[4:])


def map_groups(function: Callable, tree, parts: int) -> jax.Array:
    """function(part) -> [Q', G', T] for every micro-batch in turn, without gradients, as one [Q, G, T]."""
    Q, G = next(leaf.shape[:2] for leaf in jax.tree.leaves(tree) if leaf.ndim == 3)
    results = jax.lax.map(lambda part: jax.lax.stop_gradient(function(part)), split_groups(tree, parts))
    return sharding.constrain(join_groups(results, Q, G), 'QGT')


def _cuts(Q: int, G: int, parts: int) -> tuple[int, int]:
    by_question = math.gcd(Q, parts)
    by_output = parts // by_question
    if G % by_output:
        raise ValueError(f'{parts} micro-batches do not divide {Q} questions x {G} outputs')
    return by_question, by_output
