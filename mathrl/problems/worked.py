"""Worked solutions as a model is to write them: no calculator marks, and the answer in a box at the end."""
import re

from mathrl.problems import extract
from mathrl.problems.prompts import language

# GSM8K: '48/2 = <<48/2=24>>24 clips', and '#### 24' as the last line.
_CALCULATOR = re.compile(r'<<[^<>\n=]*=[^<>\n]*>>')
_LAST_LINE = re.compile(r'(?:^|\n)####[^\n]*\s*\Z')
ANSWER = {'en': 'The answer is \\boxed{{{answer}}}.', 'zh': '答案是\\boxed{{{answer}}}。'}


def worked_solution(problem: str, answer: str, solution: str) -> str:
    """The solution, ended by a sentence with the boxed answer where it has no box; that alone if it is empty.

    ('How many?', '2', '1+1 = <<1+1=2>>2 pens.\\n#### 2') -> '1+1 = 2 pens.\\nThe answer is \\boxed{2}.'
    """
    text = _LAST_LINE.sub('', _CALCULATOR.sub('', solution)).strip()
    if extract.boxed(text) is not None:
        return text
    sentence = ANSWER[language(problem)].format(answer=answer)
    return f'{text}\n{sentence}' if text else sentence
