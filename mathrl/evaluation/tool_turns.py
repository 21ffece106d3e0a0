"""Outputs that call Python: a program whose printed line is the answer, or code blocks answered in rounds.

Sampling stops at the end token or the token limit alone, so what a model writes behind a call is cut off again.
"""
import dataclasses
import itertools
from typing import Any, Callable, Sequence

import jax

from mathrl.evaluation.generation import Sampler, Written, bucket, on_first_host
from mathrl.problems import tool_text
from mathrl.problems.printed import as_mathematics
from mathrl.problems.prompts import Prompt
from mathrl.problems.protocols import cut
from mathrl.sampling.filters import Sampling

MAX_OUTPUTS = 1 << 12     # outputs of a problem; they share the 32 bits of a question's number with its place
OUTPUT_FENCE = '\n```output'


@dataclasses.dataclass(frozen=True)
class Tools:
    """run_all(programs) -> their results, as of problems/python_tool.py; rounds: calls of one output at most."""
    run_all: Callable[[Sequence[str]], list[Any]]
    rounds: int = 4


def run_programs(outputs: list[list[Written]], tools: Tools) -> list[list[tuple[Written, str]]]:
    """Each program's output with the program's own output behind it, and the answer that it printed, boxed ('': none).

    The prompt has opened the block of code, the text is cut where the model closes it.
    """
    flat = [output for group in outputs for output in group]

    def run():
        results = tools.run_all([output.text.strip('\n') for output in flat])
        return [[tool_text.output_block(result), tool_text.program_answer(result)] for result in results]
    pairs = []
    for output, (block, printed) in zip(flat, on_first_host(run)):
        text = f'```python\n{output.text.strip(chr(10))}\n```\n{block}'
        final = '' if printed is None else f'\\boxed{{{as_mathematics(printed)}}}'
        pairs.append((dataclasses.replace(output, text=text), final))
    return _grouped(pairs, outputs)


def go_on(sampler: Sampler, firsts: list[list[Written]], prompts: Sequence[Prompt], places: Sequence[int], key: jax.Array, *,
          sampling: Sampling, tools: Tools) -> list[list[Written]]:
    """Runs the code that outputs call, and lets the model go on behind its output, until none calls any more.

    An output ends after tools.rounds calls, and where it has max_tokens tokens, tool output among them: it is truncated
    then. length counts what the model wrote.
    """
    outputs = [_Output(sampler, prompt, place * MAX_OUTPUTS + number) for prompt, place, group in zip(prompts, places, firsts)
               for number in range(len(group))]
    calling = [output for output, first in zip(outputs, itertools.chain(*firsts)) if output.add(first)]
    for turn in range(1, tools.rounds + 1):
        if not calling:
            break
        blocks = on_first_host(lambda: [tool_text.output_block(result) for result in
                                        tools.run_all([output.code for output in calling])])
        open_ones = [output for output, block in zip(calling, blocks) if output.answered(block)]
        calling = _round(sampler, open_ones, jax.random.fold_in(key, turn), sampling)
    for output in calling:
        output.truncated = True
    return _grouped([Written(output.text, output.length, output.truncated) for output in outputs], firsts)


def _round(sampler: Sampler, outputs: list['_Output'], key: jax.Array, sampling: Sampling) -> list['_Output']:
    """Has the model write on behind each output; returns those that call again."""
    ids = [sampler.tokenizer.encode_prompt(output.prompt.text + output.text) for output in outputs]
    calling = []
    for width in sorted({bucket(len(one)) for one in ids}):
        rows = [row for row, one in enumerate(ids) if bucket(len(one)) == width]
        more = sampler.sample([ids[row] for row in rows], [outputs[row].number for row in rows], key, outputs=1,
                              sampling=sampling, width=width, limits=[outputs[row].room() for row in rows])
        calling += [outputs[row] for row, [part] in zip(rows, more) if outputs[row].add(part)]
    return calling


class _Output:
    """An output on its way. number: of the output, for random keys; code: what it calls, and waits for."""

    def __init__(self, sampler: Sampler, prompt: Prompt, number: int):
        self._sampler, self.prompt, self.number = sampler, prompt, number
        self.text, self.length, self.truncated, self.code = '', 0, False, ''

    def add(self, part: Written) -> bool:
        """Takes in what the model wrote, up to its first call; whether there is one."""
        tokenizer, left = self._sampler.tokenizer, self._left()
        ids = tokenizer.encode(part.text)
        over = len(ids) > left
        text = tokenizer.decode(ids[:left]) if over else part.text
        call = tool_text.first_open_call(cut(text, (OUTPUT_FENCE,)))      # no output but ours counts
        if call is None:
            self.text, self.length = self.text + text, self.length + (left if over else part.length)
            self.truncated = over or part.truncated
            return False
        self.text, self.length = self.text + call, self.length + len(tokenizer.encode(call))
        self.code = tool_text.program(tool_text.code_blocks(self.text))
        return True

    def answered(self, block: str) -> bool:
        """Takes in the tool's output; whether there is room to go on."""
        self.text += f'\n{block}'
        self.truncated = self._left() <= 0
        return not self.truncated

    def room(self) -> int:
        """The most tokens that the model may write on, an end among them."""
        return min(self._left() + 1, self._sampler.max_tokens)

    def _left(self) -> int:
        return self._sampler.max_tokens - len(self._sampler.tokenizer.encode(self.text))


def _grouped(flat: list, like: list[list]) -> list[list]:
    items = iter(flat)
    return [list(itertools.islice(items, len(group))) for group in like]
