"""How a benchmark is asked and read (DeepSeekMath section 5): prompt, shots, stop strings, extraction.

Departs: the worked examples of few-shot prompts are ours, unless a file gives others; AIME, AMC and MATH-500 borrow
MATH's, MGSM-zh borrows CMATH's.
"""
import dataclasses

from mathrl.problems import exemplars_en, exemplars_program, exemplars_zh
from mathrl.problems.exemplars import Exemplar
from mathrl.problems.prompts import TOOL_TEMPLATES, Templates, prompt

# name -> (form, few-shot). Forms: cot, a written solution; pot, a program whose last printed line is the answer;
# tir, text with ```python blocks that are answered by ```output blocks.
PROTOCOLS = {
    'few_shot_cot': ('cot', True),
    'few_shot_pot': ('pot', True),
    'zero_shot_cot': ('cot', False),
    'zero_shot_tir': ('tir', False),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Of a few-shot prompt: head asks, `sentence` ends a worked solution, `stop` is where a model's output is cut.

    A head ends without blanks, which many tokenizers join to the word that follows; `gap` stands behind it.
    """
    head: str
    gap: str
    sentence: str
    stop: tuple[str, ...]

    def solved(self, exemplar: Exemplar) -> str:
        """The exemplar as a prompt shows it."""
        sentence = self.sentence.replace('{answer}', exemplar.answer)
        return self.head.replace('{problem}', exemplar.problem) + self.gap + exemplar.solution + sentence


QUESTION = Layout('Question: {problem}\nAnswer:', ' ', ' The answer is {answer}.', ('\nQuestion:',))
PROBLEM = Layout('Problem:\n{problem}\n\nSolution:', '\n', ' The final answer is ${answer}$.', ('\nProblem:',))
CHINESE = Layout('问题：{problem}\n解答：', '', '答案是{answer}。', ('\n问题：',))
PROGRAM = Layout('Question: {problem}\n\n```python', '\n', '\n```', ('\n```', '\nQuestion:'))

FEW_SHOT = {
    'gsm8k': (QUESTION, exemplars_en.GSM8K),
    'math': (PROBLEM, exemplars_en.MATH),
    'math500': (PROBLEM, exemplars_en.MATH),
    'ocw': (PROBLEM, exemplars_en.OCW),
    'sat': (QUESTION, exemplars_en.SAT),
    'mmlu_stem': (QUESTION, exemplars_en.MMLU_STEM),
    'cmath': (CHINESE, exemplars_zh.CMATH),
    'mgsm_zh': (CHINESE, exemplars_zh.CMATH),
    'gaokao_mathcloze': (CHINESE, exemplars_zh.MATHCLOZE),
    'gaokao_mathqa': (CHINESE, exemplars_zh.MATHQA),
    'aime': (PROBLEM, exemplars_en.MATH),
    'amc': (PROBLEM, exemplars_en.MATH),
}
PROGRAMS = {
    'gsm8k': exemplars_program.GSM8K,
    'math': exemplars_program.MATH,
    'math500': exemplars_program.MATH,
    'aime': exemplars_program.MATH,
    'amc': exemplars_program.MATH,
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """extraction: 'answer' also reads answer sentences, 'boxed' takes a box or nothing (problems/verdict.py)."""
    name: str
    form: str
    extraction: str
    stop: tuple[str, ...] = ()
    layout: Layout | None = None
    exemplars: tuple[Exemplar, ...] = ()
    templates: Templates = Templates()

    @property
    def shots(self) -> int:
        return len(self.exemplars)

    def prompt(self, problem: str, shots: int) -> str:
        """The prompt for a problem's text, with the last `shots` exemplars."""
        if self.layout is None:
            return prompt(problem, self.templates)
        solved = [self.layout.solved(exemplar) for exemplar in self.exemplars[len(self.exemplars) - shots:]]
        return '\n\n'.join([*solved, self.layout.head.replace('{problem}', problem)])


def protocol(name: str, benchmark: str, *, exemplars: tuple[Exemplar, ...] | None = None, extraction: str = 'answer',
             templates: Templates = Templates(), tool_templates: Templates = TOOL_TEMPLATES) -> Protocol:
    """The protocol `name` for a benchmark; `exemplars` take the place of ours. ValueError where there are none.

    extraction: of a zero-shot protocol; exemplars end in an answer sentence, which is read then.
    """
    if name not in PROTOCOLS:
        raise ValueError(f'there is no protocol {name!r}; there are: {", ".join(PROTOCOLS)}')
    form, few_shot = PROTOCOLS[name]
    if not few_shot:
        return Protocol(name, form, extraction, templates=tool_templates if form == 'tir' else templates)
    layout, ours = FEW_SHOT.get(benchmark, (QUESTION, None))
    if form == 'pot':
        layout, ours = PROGRAM, PROGRAMS.get(benchmark)
    shown = exemplars or ours
    if not shown:
        known = PROGRAMS if form == 'pot' else FEW_SHOT
        raise ValueError(f'{name} has no exemplars for {benchmark!r}, only for {", ".join(known)}; give a file of them '
                         f'by EXEMPLARS, as in {{{benchmark!r}: "exemplars.jsonl"}}')
    return Protocol(name, form, 'answer', layout.stop, layout, shown)


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The text up to the first stop string: ('2.\\nQuestion: 3?', ('\\nQuestion:',)) -> '2.'."""
    return text[:min((place for place in map(text.find, stop) if place >= 0), default=len(text))]
