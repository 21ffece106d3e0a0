"""From a problem to what the model reads; the templates are the paper's (sections 3 and 5).

The Chinese one for tool use stands in no paper: it is that of the authors' published evaluation code.
"""
import dataclasses
import re
from typing import Any, Callable, Sequence

from mathrl.problems.types import Problem

_HAN = re.compile('[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]')


@dataclasses.dataclass(frozen=True)
class Templates:
    """A prompt for each language; `{problem}` stands for the problem, once. Other braces are plain text."""
    en: str = ('User: {problem}\nPlease reason step by step, and put your final answer within \\boxed{}.'
               '\n\nAssistant:')
    zh: str = 'User: {problem}\n请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。\n\nAssistant:'

    def __post_init__(self):
        for name, template in (('en', self.en), ('zh', self.zh)):
            if template.count('{problem}') != 1:
                raise ValueError(f'template {name}={template!r} holds {{problem}} '
                                 f'{template.count("{problem}")} times; once was wanted')


TOOL_TEMPLATES = Templates(
    en='User: {problem}\nPlease integrate natural language reasoning with programs to solve the problem above, and put '
       'your final answer within \\boxed{}.\n\nAssistant:',
    zh='User: {problem}\n请结合自然语言和Python程序语言来解答问题，并把最终答案放置于\\boxed{}中。\n\nAssistant:')


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A problem's prompt as text and tokens; shots: how many exemplars it holds."""
    text: str
    ids: list[int]
    shots: int = 0


def language(text: str) -> str:
    """'zh' if the text holds a Han character, else 'en'."""
    return 'zh' if _HAN.search(text) else 'en'


def prompt(problem: str, templates: Templates = Templates()) -> str:
    """The prompt for a problem's text, in its language's template: '1+1?' -> 'User: 1+1?\\nPlease ...'."""
    template = templates.zh if language(problem) == 'zh' else templates.en
    return template.replace('{problem}', problem)


def encode(problems: Sequence[Problem], write: Callable[[str, int], str], tokenizer: Any, shots: int = 0,
           longest: int | None = None) -> list[Prompt]:
    """The prompts of problems; write(problem's text, shots) -> the prompt's text.

    A prompt of more than `longest` tokens loses exemplars, as few as will do. ValueError names the problem that does
    not fit without any.
    """
    return [_encode_one(place, problem, write, tokenizer, shots, longest) for place, problem in enumerate(problems, 1)]


def _encode_one(place: int, problem: Problem, write, tokenizer, shots: int, longest: int | None) -> Prompt:
    for kept in range(shots, -1, -1):
        text = write(problem.problem, kept)
        ids = tokenizer.encode_prompt(text)
        if longest is None or len(ids) <= longest:
            return Prompt(text, ids, kept)
    raise ValueError(f'problem {place} ({problem.problem:.60}) takes {len(ids)} tokens as a prompt, without exemplars; '
                     f'at most {longest} fit into the context beside the output')
