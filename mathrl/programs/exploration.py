"""One exploration of reinforcement learning: groups are sampled and rewarded, and all-equal ones may be replaced."""
import dataclasses
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.programs.training_problems import TrainingProblems
from mathrl.rl.advantages import all_equal
from mathrl.rl.ahead import Ahead
from mathrl.rl.rewards import Outputs, experience
from mathrl.rl.types import Experience
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding, sample_groups
from mathrl.sampling.rollout import Rollouts


@dataclasses.dataclass(frozen=True)
class Explorer:
    """What one exploration takes beside the parameters, and the step's number.

    refills: how often further questions are sampled to replace the groups whose rewards are all equal and so teach nothing
    (DAPO's dynamic sampling, Yu et al. 2025); 0 never. What is still all equal then stays.
    """
    model: Any
    mesh: Any
    tokenizer: Any
    problems: TrainingProblems
    sampling: Sampling
    questions: int
    group_size: int
    max_tokens: int
    seed: int
    refills: int = 0
    decoding: Decoding = Decoding()

    def __call__(self, params, reward: Callable, key: jax.Array,
                 step: int) -> tuple[Experience, np.ndarray, dict[str, jax.Array] | None, dict[str, float]]:
        """(experience, which problems, rewards [Q, G] by name, metrics) of a step's groups; depends on its arguments alone.

        The rewards by name are None once groups were replaced.
        """
        rows = self.problems.rows(self.seed, step, self.questions)
        groups, by_name = self.groups(params, reward, key, step, rows, turn=0)
        metrics = _metrics(groups, by_name, self.tokenizer.stop_ids)      # of what the policy wrote, before any choice among it
        turns = 1
        while turns <= self.refills and (equal_Q := _all_equal(groups)).any():
            more_rows = self.problems.spare_rows(self.seed, step, turns, rows, self.questions)
            more, _ = self.groups(params, reward, key, step, more_rows, turns)
            chosen_Q = replacements(equal_Q, _all_equal(more))
            with jax.transfer_guard('disallow'):
                groups = _chosen(groups, more, sharding.place(self.mesh, chosen_Q.astype(np.int32), 'T'))
            rows = np.concatenate([rows, more_rows])[chosen_Q]
            turns, by_name = turns + 1, None
        if self.refills:
            metrics['sampling_turns'] = turns
        return groups, rows, by_name, metrics | {'samples': turns * self.questions * self.group_size}

    def rollouts(self, params, key: jax.Array, step: int, rows: np.ndarray, first: int = 0,
                 finished: Callable | None = None) -> Rollouts:
        """Groups for some problems; for random keys the questions are numbered from `first`. finished: see write_groups."""
        prompt_QS, length_Q = self.problems.padded(rows)
        number_Q = np.arange(first, first + len(rows), dtype=np.int32)
        with jax.transfer_guard('disallow'):
            return sample_groups(params, prompt_QS, length_Q, key, number_Q, model=self.model, mesh=self.mesh,
                                 outputs=self.group_size, max_tokens=self.max_tokens, sampling=self.sampling,
                                 eos_id=self.tokenizer.stop_ids, decoding=self.decoding, step=step, finished=finished)

    def groups(self, params, reward: Callable, key: jax.Array, step: int, rows: np.ndarray,
               turn: int) -> tuple[Experience, dict[str, jax.Array]]:
        """(groups for these problems, rewards [Q, G] by name); a step's turns have random numbers of their own."""
        problems, shape = [self.problems.problems[row] for row in rows], (len(rows), self.group_size, self.max_tokens)
        with Ahead(reward, problems, self.tokenizer, self.mesh, shape) as ahead:
            rollouts = self.rollouts(params, key, step, rows, turn * self.questions, ahead.begin)
            return experience(Outputs(rollouts, problems, self.tokenizer, ahead.scores), reward)


def replacements(equal_Q: np.ndarray, more_equal_Q: np.ndarray) -> np.ndarray:
    """Which of 2 Q groups (first the old, then the new) to go on with: new ones that differ in place of all-equal old ones.

    ([no, yes, yes], [yes, no, yes]) -> [0, 4, 2]
    """
    chosen_Q = np.arange(len(equal_Q))
    slots, useful = np.flatnonzero(equal_Q), np.flatnonzero(~more_equal_Q)
    count = min(len(slots), len(useful))
    chosen_Q[slots[:count]] = len(equal_Q) + useful[:count]
    return chosen_Q


@jax.jit
def _chosen(groups: Experience, more: Experience, chosen_Q) -> Experience:
    def take(path, old, new):
        return sharding.constrain(jnp.concatenate([old, new])[chosen_Q], sharding.path_text(path).rsplit('_', 1)[-1])
    return jax.tree_util.tree_map_with_path(take, groups, more)


def _all_equal(groups: Experience) -> np.ndarray:
    return sharding.to_host(_all_equal_jit(groups.rewards_QGT, groups.step_ends_QGT))


_all_equal_jit = jax.jit(all_equal)


def _metrics(groups: Experience, by_name: dict[str, jax.Array], stop_ids: tuple[int, ...]) -> dict[str, float]:
    """reward_std is the mean over the groups of a group's standard deviation; lengths are in tokens, the end included.

    Where several rewards are weighed together each one's own mean and standard deviation are there by name.
    """
    rewards_QG = sharding.to_host(groups.rewards_QGT).sum(-1)
    tokens_QGT, length_QG = (sharding.to_host(x) for x in (groups.rollouts.tokens_QGT, groups.rollouts.length_QG))
    cut_QG = ~np.isin(tokens_QGT[..., -1], stop_ids)      # behind an end stand end tokens
    found = {'reward': rewards_QG.mean(), 'reward_std': rewards_QG.std(1).mean(), 'length': length_QG.mean(),
             'length_max': length_QG.max(), 'truncated': cut_QG.mean()}
    if len(by_name) > 1:
        for name, one_QG in by_name.items():
            one_QG = sharding.to_host(one_QG)
            found |= {f'reward_{name}': one_QG.mean(), f'reward_{name}_std': one_QG.std(1).mean()}
    return found
