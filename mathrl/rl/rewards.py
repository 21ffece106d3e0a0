"""Rewards of outputs: what gives them, how several are weighed together, and the arrays of an experience.

A reward gives each output a number at the end of each of its steps. Rules read the text and know one step, the output's
end; a reward model may know more (rl/reward_model.py). Each process scores the rows that it holds.
"""
import dataclasses
import functools
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import jax
import numpy as np

from mathrl import sharding
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts, written


class Outputs(NamedTuple):
    """A step's outputs, as rewards read them: problems[q] is the problem of question q.

    ahead: scores of text rewards that were begun while others were being sampled, see rl/ahead.py.
    """
    rollouts: Rollouts
    problems: Sequence[Any]
    tokenizer: Any
    ahead: Mapping[tuple[str, int, bytes], Future] = MappingProxyType({})


class Scored(NamedTuple):
    """Rewards [Q, G, T] at the last token of each step, and 1 there."""
    rewards_QGT: jax.Array
    step_ends_QGT: jax.Array


@dataclasses.dataclass(frozen=True)
class TextReward:
    """of(problem, text, tokens) -> float rewards a whole output at its last token; tokens: how many, the end included."""
    name: str
    of: Callable[[Any, str, int], float]

    def score(self, problem, tokens_T: np.ndarray, tokenizer) -> tuple[float, int]:
        """(an output's reward, the place of its last token)."""
        ids, ended = written(tokens_T, tokenizer.stop_ids)
        last = len(ids) if ended else len(ids) - 1
        return self.of(problem, tokenizer.decode(ids), last + 1), last

    def __call__(self, outputs: Outputs) -> Scored:
        def score(questions, tokens_QGT):
            rewards_QGT, ends_QGT = np.zeros(tokens_QGT.shape, np.float32), np.zeros(tokens_QGT.shape, np.int32)
            for q, question in enumerate(questions):
                for g, tokens_T in enumerate(tokens_QGT[q]):
                    begun = outputs.ahead.get((self.name, int(question), tokens_T.tobytes()))
                    value, last = begun.result() if begun else self.score(outputs.problems[question], tokens_T,
                                                                          outputs.tokenizer)
                    rewards_QGT[q, g, last], ends_QGT[q, g, last] = value, 1
            return rewards_QGT, ends_QGT
        return Scored(*sharding.map_rows(score, outputs.rollouts.tokens_QGT))


def rule(grade: Callable, right: float = 1.0, wrong: float = 0.0) -> TextReward:
    """The rule reward: is the final answer right? grade(output, reference, problem) -> Verdict decides."""
    def of(problem, text: str, tokens: int) -> float:
        return right if grade(text, problem.answer, problem.problem).correct else wrong
    return TextReward('rule', of)


def boxed_format(extract: Callable[[str], str | None], good: float = 1.0, bad: float = 0.0) -> TextReward:
    """The format reward: does the output give an answer where it was asked to? extract(text) finds it, or None."""
    return TextReward('format', lambda problem, text, tokens: bad if extract(text) is None else good)


def overlong(max_tokens: int, buffer: int) -> TextReward:
    """DAPO's soft punishment of length: 0 up to max_tokens - buffer, then down to -1 at max_tokens (Yu et al. 2025, eq. 13)."""
    if not 0 < buffer <= max_tokens:
        raise ValueError(f'overlong: buffer={buffer} must lie in 1 .. max_tokens={max_tokens}')
    return TextReward('overlong', lambda problem, text, tokens: min(0.0, (max_tokens - buffer - tokens) / buffer))


@dataclasses.dataclass(frozen=True)
class Weighted:
    """The weighted sum of several rewards, each with steps of its own; each is logged alone as well."""
    rewards: Sequence[Callable[[Outputs], Scored]]
    weights: Sequence[float]

    def __post_init__(self):
        if len(self.rewards) != len(self.weights) or not self.rewards:
            raise ValueError(f'{len(self.rewards)} rewards came with {len(self.weights)} weights; wanted one for each, and one '
                             'at least')
        names = [reward.name for reward in self.rewards]
        if len(set(names)) < len(names):
            raise ValueError(f'rewards of one name cannot be told apart in the logs: {", ".join(names)}')

    def __call__(self, outputs: Outputs) -> Scored:
        return _weighed(tuple(self.weights), [reward(outputs) for reward in self.rewards])[0]


def parts(reward) -> list[tuple[float, Callable]]:
    """(weight, reward) of each of a reward's parts: of a single one (1, itself)."""
    return list(zip(reward.weights, reward.rewards)) if isinstance(reward, Weighted) else [(1.0, reward)]


def experience(outputs: Outputs, reward) -> tuple[Experience, dict[str, jax.Array]]:
    """(the experience, each part's own reward per output [Q, G] by name)."""
    weights, rewards = zip(*parts(reward))
    scored = [one(outputs) for one in rewards]      # by the user's own code, it may be
    with jax.transfer_guard('disallow'):
        total, each = _weighed(weights, scored)
    return Experience(outputs.rollouts, None, *total), dict(zip((one.name for one in rewards), each))


@functools.partial(jax.jit, static_argnums=0)
def _weighed(weights: tuple[float, ...], scored: list[Scored]) -> tuple[Scored, list[jax.Array]]:
    """(their weighted sum, at every step end of any of them; each one's rewards of whole outputs [Q, G])."""
    each = [one.rewards_QGT.sum(-1) for one in scored]
    if weights == (1.0,):
        return scored[0], each
    rewards_QGT = sum(weight * one.rewards_QGT for weight, one in zip(weights, scored))
    ends_QGT = sum(one.step_ends_QGT for one in scored)
    return Scored(rewards_QGT, (ends_QGT > 0).astype(ends_QGT.dtype)), each
