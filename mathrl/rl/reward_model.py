"""Rewards from a trained reward model: a number at the end of each step, or of the whole output (DeepSeekMath 4.1.2, 4.1.3).

Computed on device from the tokens as they were sampled, if the reward model has the policy's tokenizer; else the outputs are
decoded and encoded again.
"""
import dataclasses
import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.problems.prompts import Templates, prompt
from mathrl.rl.parts import map_groups
from mathrl.rl.rewards import Outputs, Scored
from mathrl.rl.step_ends import encoded_steps, output_steps, step_ends_QGT
from mathrl.sampling.rollout import pad_prompts, written

SCALES = 'probability', 'logit'


@functools.partial(jax.jit, static_argnames=('model', 'scale', 'micro_batches'))
def score(params, prompt_QS, prompt_length_Q, tokens_QGT, step_ends_QGT, *, model, scale: str = 'probability',
          micro_batches: int = 1) -> jax.Array:
    """[Q, G, T] float32: after reading a step's last token, how good the output is so far; 0 where no step ends.

    model: a scalar head, whose number is the logit of a step's being right; scale: one of SCALES. The prompt is computed
    once a question. micro_batches cut the questions, then the groups.
    """
    def read(part):
        return model.outputs_values(params, part['tokens_QGT'], part['prompt_QS'], part['prompt_length_Q'])
    whole = dict(prompt_QS=prompt_QS, prompt_length_Q=prompt_length_Q, tokens_QGT=tokens_QGT)
    values_QGT = map_groups(read, whole, micro_batches)
    values_QGT = jax.nn.sigmoid(values_QGT) if scale == 'probability' else values_QGT
    return jnp.where(step_ends_QGT == 1, values_QGT, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class RewardModel:
    """A reward for rl/rewards.py. steps: the rule by which it was taught where steps end, '' for a model of outcomes.

    templates: of the prompts that it was trained behind, for outputs of a policy with another tokenizer. The parameters may
    be exchanged: dataclasses.replace(reward, params=...).
    """
    model: Any
    params: Any
    tokenizer: Any
    mesh: Any
    steps: str
    templates: Templates = Templates()
    scale: str = 'probability'
    micro_batches: int = 1

    def __post_init__(self):
        if self.scale not in SCALES:
            raise ValueError(f'unknown scale {self.scale!r}; there are: {", ".join(SCALES)}')

    @property
    def kind(self) -> str:
        return 'process' if self.steps else 'outcome'

    @property
    def name(self) -> str:
        return 'prm' if self.steps else 'orm'

    def __call__(self, outputs: Outputs) -> Scored:
        if outputs.tokenizer.digest == self.tokenizer.digest:
            return self._of_tokens(outputs.rollouts, outputs.tokenizer)
        _say_once(self.name)
        return self._of_texts(outputs)

    def score(self, prompt_QS, prompt_length_Q, tokens_QGT, ends_QGT) -> jax.Array:
        return score(self.params, prompt_QS, prompt_length_Q, tokens_QGT, ends_QGT, model=self.model, scale=self.scale,
                     micro_batches=self.micro_batches)

    def _of_tokens(self, rollouts, tokenizer) -> Scored:
        ends_QGT = step_ends_QGT(rollouts.tokens_QGT, tokenizer, self.steps)
        return Scored(self.score(rollouts.prompt_QS, rollouts.prompt_length_Q, rollouts.tokens_QGT, ends_QGT), ends_QGT)

    def _of_texts(self, outputs: Outputs) -> Scored:
        tokens_QGT = sharding.to_host(outputs.rollouts.tokens_QGT)
        rewards_QGT, ends_QGT = np.zeros(tokens_QGT.shape, np.float32), np.zeros(tokens_QGT.shape, np.int32)
        rows, places, own_places = [], [], []
        for tokens_T in tokens_QGT.reshape(-1, tokens_QGT.shape[-1]):
            ids, ended = written(tokens_T, outputs.tokenizer.stop_ids)
            steps = output_steps(tokens_T, outputs.tokenizer, self.steps)
            own_ids, own = encoded_steps(outputs.tokenizer.decode(ids), [end for end, _ in steps], ended, self.tokenizer)
            rows.append(own_ids)
            places.append([place for _, place in steps])
            own_places.append(own)
        found_QGT = self._own_scores(outputs.problems, rows, own_places, tokens_QGT.shape[:2])
        for (q, g), at, own in zip(np.ndindex(tokens_QGT.shape[:2]), places, own_places):
            rewards_QGT[q, g, at], ends_QGT[q, g, at] = found_QGT[q, g, own], 1
        place = lambda x_QGT: sharding.place(self.mesh, x_QGT, 'QGT')
        return Scored(place(rewards_QGT), place(ends_QGT))

    def _own_scores(self, problems, rows: list[list[int]], own_places: list[list[int]], shape: tuple[int, int]):
        """[Q, G, T'] of outputs in this tokenizer's ids; few widths, so that few programs are compiled."""
        width = _power_of_two(max(map(len, rows)))
        tokens_BT = np.full((len(rows), width), self.tokenizer.pad_id, np.int32)
        ends_BT = np.zeros_like(tokens_BT)
        for tokens_T, ends_T, ids, own in zip(tokens_BT, ends_BT, rows, own_places):
            tokens_T[:len(ids)], ends_T[own] = ids, 1
        prompts = [self.tokenizer.encode_prompt(prompt(problem.problem, self.templates)) for problem in problems]
        prompt_QS, length_Q = pad_prompts(prompts, _power_of_two(max(map(len, prompts))), self.tokenizer.pad_id)
        arrays = dict(prompt_QS=prompt_QS, prompt_length_Q=length_Q, tokens_QGT=tokens_BT.reshape(shape + (width,)),
                      ends_QGT=ends_BT.reshape(shape + (width,)))
        return sharding.to_host(self.score(**sharding.place_named(self.mesh, arrays)))


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()


@functools.cache
def _say_once(name: str) -> None:
    logging.warning('the reward model (%s) has another tokenizer than the policy: outputs are decoded and encoded again',
                    name)
