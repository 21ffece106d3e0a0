"""A model's answers to problems: chain of thought as it stands, program of thought run, tool use in rounds."""
import dataclasses
from typing import Callable, Iterator, Sequence

import jax

from mathrl.evaluation import tool_turns
from mathrl.evaluation.generation import Sampler, Written
from mathrl.problems.prompts import Prompt
from mathrl.problems.protocols import Protocol, cut
from mathrl.sampling.filters import Sampling


@dataclasses.dataclass(frozen=True)
class Output:
    """One graded output. extracted is None where there is no answer; truncated: it was cut at the token limit."""
    text: str
    extracted: str | None
    correct: bool
    length: int
    truncated: bool
    reason: str


def answer(model, params, tokenizer, mesh, problems: list, prompts: list[list[int]], grade: Callable, *, samples: int,
           sampling: Sampling, max_tokens: int, seed: int, width: int, batch: int = 64) -> Iterator[list[Output]]:
    """Yields each problem's graded outputs, in order. `prompts` are the problems' token ids, `width` their padded length.

    Random keys come from (seed, the problem's place, the output), so that in float32 batch size and mesh change nothing.
    """
    sampler = Sampler(model, params, tokenizer, mesh, max_tokens, batch)
    outputs = sampler.sample(prompts, range(len(prompts)), jax.random.key(seed), outputs=samples, sampling=sampling,
                             width=width)
    for problem, group in zip(problems, outputs):
        yield [graded(output, grade(output.text, problem.answer, problem.problem)) for output in group]


def graded(output: Written, verdict) -> Output:
    return Output(output.text, verdict.extracted, verdict.correct, output.length, output.truncated, verdict.reason)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An output as it is kept, and the text that its answer is read from (of a program: what it printed)."""
    output: Written
    final: str


def answers(sampler: Sampler, protocol: Protocol, prompts: Sequence[Prompt], places: Sequence[int], key: jax.Array, *,
            samples: int, sampling: Sampling, width: int, tools: 'tool_turns.Tools | None') -> list[list[Answer]]:
    """`samples` answers to each prompt under a protocol; places[i] is the place of prompt i's problem, for random keys.

    tools: what runs programs, for the forms pot and tir.
    """
    outputs = sampler.sample([prompt.ids for prompt in prompts], places, key, outputs=samples, sampling=sampling, width=width)
    if protocol.form == 'tir':
        outputs = tool_turns.go_on(sampler, outputs, prompts, places, key, sampling=sampling, tools=tools)
        return [[Answer(output, output.text) for output in group] for group in outputs]
    outputs = [[sampler.shortened(output, cut(output.text, protocol.stop)) for output in group] for group in outputs]
    if protocol.form == 'pot':
        return [[Answer(*pair) for pair in group] for group in tool_turns.run_programs(outputs, tools)]
    return [[Answer(output, output.text) for output in group] for group in outputs]
