"""Hostile outputs are graded right, soon, and nothing of them is run."""
import builtins
import contextlib
import importlib.util
import pathlib
import random
import sys
import time

import pytest

from mathrl import records
from mathrl.problems.verdict import EXTRACTIONS, REASONS, grade

_PATH = pathlib.Path(__file__).parent / 'hostile_outputs.py'
_SPEC = importlib.util.spec_from_file_location('hostile_outputs', _PATH)
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)


@contextlib.contextmanager
def no_evaluation():
    """Whoever hands text to an evaluator in here raises."""
    import sympy
    from sympy.parsing import sympy_parser
    grade('\\boxed{\\sqrt{2}}', '\\sqrt{3}')     # late imports run code of their own

    def refuse(*arguments, **named):
        raise AssertionError(f'text was handed to an evaluator: {arguments!r:.100}')
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((sympy, 'parse_expr'), (sympy_parser, 'parse_expr'), (sympy_parser, 'eval_expr'),
                             (sympy, 'sympify'), (sys.modules['sympy.core.sympify'], 'sympify'),
                             (builtins, 'eval'), (builtins, 'exec'), (builtins, 'compile')):
            patch.setattr(module, name, refuse)
        yield


def test_an_evaluator_would_be_seen():
    import sympy
    for evaluator in (lambda: sympy.parse_expr('1'), lambda: sympy.sympify('1'), lambda: eval('1'), lambda: exec('1')):
        with no_evaluation(), pytest.raises(AssertionError, match='handed to an evaluator'):
            evaluator()


def test_there_are_enough():
    assert len(hostile.OUTPUTS) >= 110
    assert len({output for output, *_ in hostile.OUTPUTS}) > 160


@pytest.mark.parametrize('case', range(len(hostile.OUTPUTS)))
def test_hostile_output(case, tmp_path):
    output, reference, problem, right = hostile.OUTPUTS[case]
    left_behind = tmp_path / 'left_behind'
    output = output.replace('{touch}', f'touch {left_behind}').replace('{path}', str(left_behind))
    with no_evaluation():
        start = time.process_time()
        verdict = grade(output, reference, problem)
    assert time.process_time() - start < 2
    assert verdict.correct == right and verdict.reason in REASONS, verdict
    assert not left_behind.exists()
    assert not grade(output, reference, problem, extraction='boxed').correct or right


@pytest.mark.parametrize('output', [
    '42', 'The answer is 42.', '#### 42', '\\boxed{42', '\\boxed{}', '\\boxed 42', '答案是42'])
def test_for_rewards_no_box_is_no_answer(output):
    verdict = grade(output, '42', extraction='boxed')
    assert (verdict.correct, verdict.extracted, verdict.reason) == (False, None, 'no answer')


def test_broken_formulas_never_raise():
    draw = random.Random(5)
    pieces = (r'\frac { } 1 23 x + - ^ _ ( ) [ ] \{ \} , \sqrt \sin \log | ! % \pm \text{ \text{cm} = < \le '
              r'\cup \infty / \begin{pmatrix} \end{pmatrix} & \\ \$ ^\circ : 或 三 and \pi '
              r'e i \overline . \binom \lfloor \rfloor \approx 8_'
              ).split() + [' ', "'"]
    for _ in range(4000):
        left, right = (''.join(draw.choices(pieces, k=draw.randint(1, 14))) for _ in range(2))
        for extraction in EXTRACTIONS:
            assert grade(f'\\boxed{{{left}}}', right, extraction=extraction).reason in REASONS


def test_ordinary_outputs_are_read_without_evaluation(shared):
    rows = records.read_jsonl(shared / 'data/grading/graded_dev.jsonl', ('problem', 'reference', 'output', 'correct'))
    start = time.process_time()
    with no_evaluation():
        for row in rows[:1000]:
            grade(row['output'], row['reference'], row['problem'])
    assert time.process_time() - start < 10


def test_an_unknown_extraction_is_one_sentence():
    with pytest.raises(ValueError, match="unknown extraction 'box'; there are: answer, boxed"):
        grade('42', '42', extraction='box')
