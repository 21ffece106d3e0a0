"""From a problem to what the model reads; the defaults are the paper's (chain of thought, section 3)."""
import dataclasses
import re

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


def language(text: str) -> str:
    """'zh' if the text holds a Han character, else 'en'."""
    return 'zh' if _HAN.search(text) else 'en'


def prompt(problem: str, templates: Templates = Templates()) -> str:
    """The prompt for a problem's text, in its language's template: '1+1?' -> 'User: 1+1?\\nPlease ...'."""
    template = templates.zh if language(problem) == 'zh' else templates.en
    return template.replace('{problem}', problem)
