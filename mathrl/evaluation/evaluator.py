"""Sampling a model's answers to a list of problems, graded: the same numbers on any mesh and for any batch size."""
import dataclasses
from typing import Callable, Iterator

import jax
import numpy as np

from mathrl import sharding
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import pad_prompts, sample_jit, written


@dataclasses.dataclass(frozen=True)
class Output:
    """One graded output. extracted is None where there is no answer; truncated: it was cut at the token limit."""
    text: str
    extracted: str | None
    correct: bool
    length: int
    truncated: bool


def answer(model, params, tokenizer, mesh, problems: list, prompts: list[list[int]], grade: Callable, *, samples: int,
           sampling: Sampling, max_tokens: int, seed: int, width: int, batch: int = 64) -> Iterator[list[Output]]:
    """Yields each problem's graded outputs, in order. `prompts` are the problems' token ids, `width` their padded length.

    Random keys come from (seed, the problem's place, the output), so that batch size and mesh change nothing.
    """
    key = jax.random.key(seed)
    for start in range(0, len(problems), batch):
        rows = [min(row, len(problems) - 1) for row in range(start, start + batch)]      # the last batch is filled up
        prompt_QS, length_Q = pad_prompts([prompts[row] for row in rows], width, tokenizer.pad_id)
        rollouts = sample_jit(params, sharding.place(mesh, prompt_QS, 'QS'), sharding.place(mesh, length_Q, 'Q'), key,
                              sharding.place(mesh, np.array(rows, np.int32), 'Q'), model=model, outputs=samples,
                              max_tokens=max_tokens, sampling=sampling, eos_id=tokenizer.eos_id)
        tokens_QGT = sharding.to_host(rollouts.tokens_QGT)
        for row, tokens_GT in zip(range(start, min(start + batch, len(problems))), tokens_QGT):
            yield [_graded(tokens_T, problems[row], tokenizer, grade) for tokens_T in tokens_GT]


def _graded(tokens_T, problem, tokenizer, grade) -> Output:
    ids, ended = written(tokens_T, tokenizer.eos_id)
    text = tokenizer.decode(ids)
    verdict = grade(text, problem.answer, problem.problem)
    return Output(text, verdict.extracted, verdict.correct, len(ids) + ended, not ended)
