"""The outer loop of iterative GRPO: the reward model is trained on with new outputs of the policy and replayed old ones.

DeepSeekMath algorithm 1, line 12. Labels come without people: an outcome is the verdict on the answer, a step is labelled by
completions from its end (programs/step_labels.py).
"""
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.evaluation.generation import Sampler, on_first_host
from mathrl.problems.grading_pool import GradingPool
from mathrl.programs import trained_model
from mathrl.programs.exploration import Explorer
from mathrl.programs.step_labels import LABELS, Beginning, Labeller, label_rows
from mathrl.rl import replay
from mathrl.rl.packing import lengths, planned
from mathrl.rl.reward_model import RewardModel
from mathrl.rl.reward_step import RewardExamples, reward_step
from mathrl.train.state import TrainState


STREAM = 2 ** 31 - 1      # of random numbers; explorations have those numbered by their steps


@dataclasses.dataclass(frozen=True)
class RewardTraining:
    """What happens to the reward model before each iteration but the first.

    questions: on how many the policy writes a group of outputs; updates: how many, each on `batch` groups, replay_share of
    them from earlier iterations (the paper's 10 %; before iteration 2 there are none, and all are new). completions, label:
    of the steps of a process model, as in step_labels; capacity: groups that are kept, a uniform sample of all.
    """
    optimizer: Any
    pool: GradingPool
    updates: int
    batch: int
    questions: int
    replay_share: float = 0.1
    completions: int = 8
    label: str = 'hard'
    capacity: int = 1024
    micro_batches: int = 1

    def __post_init__(self):
        counts = {name: getattr(self, name) for name in ('updates', 'batch', 'questions', 'completions', 'capacity')}
        if min(counts.values()) < 1 or not 0 <= self.replay_share < 1:
            raise ValueError(f'{", ".join(f"{name}={count}" for name, count in counts.items())} must be 1 or more, and '
                             f'replay_share={self.replay_share} lie in [0, 1)')
        if self.label not in LABELS:
            raise ValueError(f'unknown label {self.label!r}; there are: {", ".join(LABELS)}')


@dataclasses.dataclass(frozen=True)
class RewardIterations:
    """`training` with what it needs of the run; reward: the model as it is before the first iteration."""
    training: RewardTraining
    explore: Explorer
    reward: RewardModel

    def fresh(self) -> dict[str, Any]:
        """The reward model's train state and an empty history, before the first iteration."""
        params = jax.tree.map(jnp.copy, self.reward.params)
        state = trained_model.fresh_state(params, self.training.optimizer, self.reward.mesh)
        S, G, T = self.explore.problems.width, self.explore.group_size, self.explore.max_tokens
        integers = lambda *shape: np.zeros((1,) + shape, np.int32)
        example = dict(prompt_QS=integers(S), prompt_length_Q=integers(), tokens_QGT=integers(G, T),
                       labels_QGT=np.zeros((1, G, T), np.float32), step_ends_QGT=integers(G, T))
        history = replay.empty(example, self.training.capacity)
        return {'reward_model': state, 'replay': replay.placed(self.reward.mesh, history)}

    def __call__(self, policy_params, state: TrainState, history: dict, key: jax.Array, iteration: int):
        """(the reward model's state, the history, metrics) before `iteration` (from 1); depends on its arguments alone."""
        training, explore = self.training, self.explore
        rng = np.random.default_rng((explore.seed, STREAM, iteration))
        key = jax.random.fold_in(jax.random.fold_in(key, STREAM), iteration)
        count = len(explore.problems.problems)
        places = sorted(rng.choice(count, min(training.questions, count), replace=False).tolist())
        problems = [explore.problems.problems[place] for place in places]
        sampler = Sampler(explore.model, policy_params, explore.tokenizer, explore.mesh, explore.max_tokens, explore.questions)
        labeller = Labeller(sampler, key, explore.sampling, self.reward.steps, explore.group_size, training.completions)
        outputs, texts = labeller([explore.problems.prompts[place] for place in places], places)
        rows = on_first_host(lambda: label_rows(training.pool, problems, outputs, texts, self.reward.steps, training.label,
                                                training.completions))
        groups = self._groups(places, outputs, rows)
        history = {name: sharding.to_host(x) for name, x in history.items()}
        sums = []
        for _ in range(training.updates):
            batch = replay.mixed(history, groups, training.batch, training.replay_share, rng)
            examples = RewardExamples(**sharding.place_named(explore.mesh, batch))
            packing, _ = planned(explore.mesh, lengths(batch['step_ends_QGT']), explore.problems.width, explore.max_tokens,
                                 training.micro_batches)
            state, metrics = reward_step(state, examples, packing, model=self.reward.model, optimizer=training.optimizer,
                                         micro_batches=training.micro_batches)
            sums.append({name: float(metrics[name]) for name in ('loss', 'accuracy')})
        history = replay.placed(explore.mesh, replay.add(history, groups, rng))
        written = len(rows) + sum(len(some) for group in texts for some in group.values())      # outputs and completions
        return state, history, {'reward_model_samples': written} | {
            f'reward_model_{name}': np.mean([one[name] for one in sums]) for name in sums[0]}

    def _groups(self, places: list[int], outputs: list[list[Beginning]], rows: list[dict]) -> dict[str, np.ndarray]:
        """The outputs as they were sampled, with the labels of rows, a row an output."""
        explore = self.explore
        shape = (len(places), explore.group_size, explore.max_tokens)
        tokens_QGT, labels_QGT, ends_QGT = (np.zeros(shape, dtype) for dtype in (np.int32, np.float32, np.int32))
        numbered = [(q, g, output) for q, group in enumerate(outputs) for g, output in enumerate(group)]
        for (q, g, output), row in zip(numbered, rows, strict=True):
            ids = output.ids + [explore.tokenizer.eos_id] * output.ended
            tokens_QGT[q, g, :len(ids)] = ids
            for (_, place), step in zip(output.steps, row['steps'], strict=True):
                labels_QGT[q, g, place], ends_QGT[q, g, place] = step['label'], 1
        prompt_QS, prompt_length_Q = explore.problems.padded(places)
        return dict(prompt_QS=prompt_QS, prompt_length_Q=prompt_length_Q, tokens_QGT=tokens_QGT, labels_QGT=labels_QGT,
                    step_ends_QGT=ends_QGT)
