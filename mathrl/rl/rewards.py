"""Rewards of outputs, one float each, and how they become the arrays of an experience."""
from typing import Callable

import numpy as np

from mathrl import sharding
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts, written


def rule(grade: Callable, right: float = 1.0, wrong: float = 0.0) -> Callable:
    """The rule reward: is the final answer right? grade(output, reference, problem) -> Verdict decides."""
    def reward(problem, output: str) -> float:
        return right if grade(output, problem.answer, problem.problem).correct else wrong
    return reward


def outcome_experience(rollouts: Rollouts, problems: list, reward: Callable, tokenizer) -> Experience:
    """Rewards every output by its text, at its last token. Each process scores the rows that it holds."""
    def score(questions, tokens_QGT):
        rewards_QGT, ends_QGT = np.zeros(tokens_QGT.shape, np.float32), np.zeros(tokens_QGT.shape, np.int32)
        for q, question in enumerate(questions):
            for g, tokens_T in enumerate(tokens_QGT[q]):
                ids, ended = written(tokens_T, tokenizer.eos_id)
                last = len(ids) if ended else len(ids) - 1
                rewards_QGT[q, g, last] = reward(problems[question], tokenizer.decode(ids))
                ends_QGT[q, g, last] = 1
        return rewards_QGT, ends_QGT
    rewards_QGT, step_ends_QGT = sharding.map_rows(score, rollouts.tokens_QGT)
    return Experience(rollouts, rollouts.policy_logps_QGT, rewards_QGT, step_ends_QGT)
