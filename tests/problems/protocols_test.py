"""Protocols: shots as in the paper, prompts that end where the model begins, exemplars that are right."""
import collections
import json
import re
import subprocess
import sys

import pytest

from mathrl.problems import exemplars_program
from mathrl.problems.benchmarks import BENCHMARKS
from mathrl.problems.exemplars import Exemplar, read_exemplars
from mathrl.problems.prompts import Templates
from mathrl.problems.protocols import FEW_SHOT, PROGRAMS, PROTOCOLS, cut, protocol
from mathrl.problems.verdict import grade

# DeepSeekMath, section 5.
SHOTS = {'gsm8k': 8, 'math': 4, 'ocw': 4, 'sat': 4, 'mmlu_stem': 4, 'cmath': 6, 'gaokao_mathcloze': 5, 'gaokao_mathqa': 5}


@pytest.mark.parametrize('benchmark, shots', SHOTS.items())
def test_shots_are_the_papers(benchmark, shots):
    assert protocol('few_shot_cot', benchmark).shots == shots


def test_program_shots_are_the_papers():
    assert [protocol('few_shot_pot', benchmark).shots for benchmark in ('gsm8k', 'math')] == [8, 4]


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_every_benchmark_has_few_shot_and_zero_shot_protocols(benchmark):
    few, zero, tools = (protocol(name, benchmark) for name in ('few_shot_cot', 'zero_shot_cot', 'zero_shot_tir'))
    assert few.shots > 0 == zero.shots == tools.shots
    assert (few.form, zero.form, tools.form) == ('cot', 'cot', 'tir')
    assert few.stop and not zero.stop


@pytest.mark.parametrize('benchmark', FEW_SHOT)
def test_exemplars_answer_as_the_grader_reads_them(benchmark):
    how = protocol('few_shot_cot', benchmark)
    for exemplar in how.exemplars:
        output = how.layout.solved(exemplar).removeprefix(how.layout.head.replace('{problem}', exemplar.problem))
        assert grade(output, exemplar.answer, exemplar.problem).correct, output
        assert cut(output, how.stop) == output


# Their solutions end in words from which a person draws the answer.
IN_WORDS = ('(-6,6)', '4e^{-3t}', '10000')


@pytest.mark.parametrize('benchmark', SHOTS)
def test_solutions_lead_to_the_answers(benchmark):
    for exemplar in FEW_SHOT[benchmark][1]:
        letter = exemplar.answer.strip('()')
        if letter in ('A', 'B', 'C', 'D'):
            option = re.search(rf'\({letter}\) (.*)', exemplar.problem)[1]
            assert all(part in exemplar.solution for part in re.findall(r'-?\d+|[a-z<]{3,}', option)), exemplar
        elif exemplar.answer not in IN_WORDS:
            assert grade(exemplar.solution, exemplar.answer, exemplar.problem).correct, exemplar


@pytest.mark.parametrize('benchmark, least', [('gsm8k', 12), ('cmath', 8), ('sat', 2)])
def test_arithmetic_of_the_solutions_is_right(benchmark, least):
    checked = 0
    for exemplar in FEW_SHOT[benchmark][1]:
        text = re.sub(r'(\d+)%', r'(\1/100)', exemplar.solution.replace('×', '*').replace('÷', '/'))
        for left, right in re.findall(r'([\d(][\d.()+*/ -]*[+*/-][\d.()+*/ -]*[\d)]) ?= ?([\d(][\d./)]*)', text):
            assert eval(left) == pytest.approx(eval(right.rstrip('.'))), (left, right)
            checked += 1
    assert checked >= least


@pytest.mark.parametrize('exemplar', exemplars_program.GSM8K + exemplars_program.MATH, ids=lambda one: one.problem[:30])
def test_exemplar_programs_print_their_answers(exemplar):
    result = subprocess.run([sys.executable, '-c', exemplar.solution], capture_output=True, text=True, timeout=60, check=True)
    assert grade(f'\\boxed{{{result.stdout.strip()}}}', exemplar.answer, exemplar.problem).correct
    assert not result.stderr and '```' not in exemplar.solution


def test_no_problem_is_shown_twice_in_a_prompt():
    for exemplars in [*(exemplars for _, exemplars in FEW_SHOT.values()), *PROGRAMS.values()]:
        assert max(collections.Counter(exemplar.problem for exemplar in exemplars).values()) == 1


def test_answers_of_choices_are_not_always_the_same_letter():
    for name in ('sat', 'mmlu_stem', 'gaokao_mathqa'):
        assert len({exemplar.answer for exemplar in FEW_SHOT[name][1]}) == 4


def test_few_shot_prompt():
    shown = (Exemplar('1+1?', 'Add them.', '2'), Exemplar('2+2?', 'Twice two.', '4'))
    how = protocol('few_shot_cot', 'gsm8k', exemplars=shown)
    last = 'Question: 2+2?\nAnswer: Twice two. The answer is 4.\n\nQuestion: 3+3?\nAnswer:'
    assert how.prompt('3+3?', 2) == 'Question: 1+1?\nAnswer: Add them. The answer is 2.\n\n' + last
    assert how.prompt('3+3?', 1) == last
    assert how.prompt('3+3?', 0) == 'Question: 3+3?\nAnswer:'
    assert protocol('few_shot_pot', 'gsm8k', exemplars=(Exemplar('1+1?', 'print(1 + 1)', '2'),)).prompt('{x}', 1) == (
        'Question: 1+1?\n\n```python\nprint(1 + 1)\n```\n\nQuestion: {x}\n\n```python')
    assert protocol('few_shot_cot', 'cmath', exemplars=(Exemplar('一加一？', '相加。', '2'),)).prompt('几？', 1) == (
        '问题：一加一？\n解答：相加。答案是2。\n\n问题：几？\n解答：')


def test_zero_shot_prompts_are_the_papers():
    english, chinese = (protocol('zero_shot_cot', 'cmath').prompt(problem, 0) for problem in ('1+1?', '一加一？'))
    assert english == 'User: 1+1?\nPlease reason step by step, and put your final answer within \\boxed{}.\n\nAssistant:'
    assert chinese == 'User: 一加一？\n请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。\n\nAssistant:'
    assert protocol('zero_shot_tir', 'math').prompt('1+1?', 0) == (
        'User: 1+1?\nPlease integrate natural language reasoning with programs to solve the problem above, and put your '
        'final answer within \\boxed{}.\n\nAssistant:')
    assert protocol('zero_shot_tir', 'cmath').prompt('一加一？', 0) == (
        'User: 一加一？\n请结合自然语言和Python程序语言来解答问题，并把最终答案放置于\\boxed{}中。\n\nAssistant:')
    assert protocol('zero_shot_cot', 'math', templates=Templates(en='{problem} =')).prompt('1+1', 0) == '1+1 ='


@pytest.mark.parametrize('text, kept', [('2.\nQuestion: 3?\nQuestion: 4?', '2.'), ('2.', '2.'), ('Question: 2', 'Question: 2')])
def test_cut_at_the_first_stop_string(text, kept):
    assert cut(text, protocol('few_shot_cot', 'gsm8k').stop) == kept
    assert cut(text, ()) == text


@pytest.mark.parametrize('name, extraction', [('zero_shot_cot', 'boxed'), ('few_shot_cot', 'answer')])
def test_what_is_asked_by_exemplars_answers_in_their_sentence_not_in_a_box(name, extraction):
    shown = (Exemplar('1+1?', 'Add them.', '2'),)
    assert protocol(name, 'problems', exemplars=shown, extraction='boxed').extraction == extraction


def test_a_program_is_cut_where_its_block_closes():
    assert cut('\nx = 1\nprint(x)\n```\n\nQuestion: more', protocol('few_shot_pot', 'math').stop) == '\nx = 1\nprint(x)'


@pytest.mark.parametrize('name, benchmark, wanted', [
    ('few_shot', 'gsm8k', f"no protocol 'few_shot'; there are: {', '.join(PROTOCOLS)}"),
    ('few_shot_pot', 'sat', "few_shot_pot has no exemplars for 'sat', only for gsm8k"),
    ('few_shot_cot', 'problems', "few_shot_cot has no exemplars for 'problems'"),
])
def test_what_does_not_exist_is_one_sentence(name, benchmark, wanted):
    with pytest.raises(ValueError, match=wanted):
        protocol(name, benchmark)


def test_exemplars_from_a_file(tmp_path):
    path = tmp_path / 'exemplars.jsonl'
    path.write_text(json.dumps({'problem': 'p', 'solution': 's', 'answer': 'a', 'more': 1}) + '\n')
    assert read_exemplars(path) == (Exemplar('p', 's', 'a'),)
    path.write_text(json.dumps({'problem': 'p', 'solution': 's', 'answer': 3}) + '\n')
    with pytest.raises(ValueError, match="line 1: field 'answer' is 3; text was wanted"):
        read_exemplars(path)
