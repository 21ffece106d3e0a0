"""Verdicts on whole outputs: what is read off them, and why they are right or wrong."""
import json

import pytest

from mathrl import records
from mathrl.problems.types import Verdict
from mathrl.problems.verdict import REASONS, grade, grade_boxed

FIELDS = ('problem', 'reference', 'output', 'correct')
OPTIONS = '\nA. 1\nB. 2\nC. 3\nD. 4\n'
# (output, reference, right?)
NUMBERS = [
    ('从4人中选择2人，共有6种', '6', True), ('\\boxed{5}\n\\boxed{5}', '5', True),
    ('She has 5 + 3 = 8 pens.', '8', True), ('#### 1,234', '1234', True), ('A: 45', '45', True),
    ('A: $1,200', '1200', True), ('A: 3/4', '0.75', True),
    ('The answer is $18.', '18', True), ('The final answer is 18 dollars per day because 3*6=18.', '18', True),
    ('Answer: 5 apples', '5', True),
    ('**Final Answer:** 42', '42', True), ('the answer is approximately 3.14', '3.14', True),
    ('答：一共有三十二个苹果。', '32', True),
    ('答案是：5元', '5', True), ('所以，小明还剩9页没有看。', '9', True), ('答：她还剩9页没有看。', '9', True), ('答案是二十', '20', True),
    ('最后答案：12.5%', '12.5\\%', True),
    ('【答案】\n解方程得到n=8.<eoa>', '8', True), ('Hence \\boxed 5', '5', True), ('\\fbox{7}', '7', True),
    ('\\boxed{7', '7', True), ('\\boxed{4} not \\boxed{}', '4', True),
    ('The equation has no solution since 3 < 5', '5', False),
    ('I cannot find it. There is no solution for 7', '7', False), ('题目信息不足，无法得出 5', '5', False),
    ('The answer is 6, since x cannot be 5.', '6', True), ('This problem cannot be solved. There are 5', '5', False),
    ('```python\nprint(5)\n```\n```output\nNameError: y\n```\n', '5', False), ('```output\n5\n```\n', '5', True),
    ('He buys <<2+3=5>>5 pens for 5', '5', False), ('there are 7 numbers less', '7', False),
    ('the answer is 5 or 6', '5', False), ('The answer is 7. Then 8 follows.', '7', True), ('A: 44', '45', False),
]
FORMULAS = [
    ('So the answer is \\(\\frac{1}{2}\\).', '\\frac12', True), ('The answer is:\n\\[\nx=5\n\\]', '5', True),
    ('Therefore the value is $\\frac{3}{4}$.', '\\frac{3}{4}', True),
    ('所以最终答案为 $\\frac{\\pi}{3}$。', '\\frac{\\pi}{3}', True), ('故答案为：$2\\sqrt{7}$.', '2\\sqrt7', True),
    ('the answer is x = 5 or x = 7.', '5,7', True),
    ('The solutions are \\boxed{1} and \\boxed{-2}', '1,-2', True), ('\\boxed{1} then \\boxed{-2}', '1,-2', False),
    ('【答案】24√3<eoa>', '$24 \\sqrt{3}$', True),
    ('【答案】$S_{n}=-\\frac{1}{n}$<eoa>', '$-\\frac{1}{n}$', True), ('【答案】1 ≤ x ≤ 3<eoa>', '$(-1,3)$', False),
    ('【答案】无穷大<eoa>', '64', False),
]
CHOICES = [
    ('\\boxed{C}, so \\boxed{C}', 'C', True),
    ('故选：D.', 'D', True), ('答案：Ｄ', 'D', True), ('综上，选C。', 'C', True), ('所以正确答案是选项B。', 'B', True),
    ('【答案】AB<eoa>', 'A', False), ('【答案】A和B', 'A', False),
    ('因此答案为A、D', 'A', False), ('【答案】C\n【解析】 因为A错，所以选B不对', 'C', True), ('So the answer is (B).', 'B', True),
    ('**Answer: B**', 'B', True), ('B', 'B', True),
    ('【答案】题目可能有误<eoa>', 'B', False), ('\\boxed{\\text{(C)}}', 'C', True), ('\\boxed{3}\n故选C', 'C', True),
    ('【答案】AC', 'AC', True), ('【答案】C、A', 'AC', True), ('【答案】A', 'AC', False),
    ('\\boxed{\\textbf{(C)}\\ 5}', '\\text{(C)}', True), ('答案是题目中没有', 'A', False),
]


@pytest.mark.parametrize('output, reference, right', NUMBERS + FORMULAS)
def test_answers_without_a_protocol(output, reference, right):
    assert grade(output, reference).correct == right


@pytest.mark.parametrize('output, reference, right', CHOICES)
def test_multiple_choice(output, reference, right):
    assert grade(output, reference, OPTIONS).correct == right


def test_verdicts_say_why():
    assert grade('so \\boxed{ 42 }', '42') == Verdict(True, '42', 'equal')
    assert grade('so \\boxed{43}', '42') == Verdict(False, '43', 'different')
    assert grade('', '42') == Verdict(False, None, 'no answer')
    assert grade('\\boxed{9^{9^9}}', '42') == Verdict(False, '9^{9^9}', 'too large')
    assert {'equal', 'different', 'no answer', 'too large'} == set(REASONS)


def test_for_rewards_the_box_decides():
    assert grade_boxed('so \\boxed{42}', '42') == Verdict(True, '42', 'equal')
    for output in ('so 42', 'The answer is 42.', '\\boxed{}', '\\boxed{42', '\\boxed 42', '#### 42'):
        assert grade_boxed(output, '42') == Verdict(False, None, 'no answer')
    assert grade_boxed('\\boxed{41} and the answer is 42', '42') == Verdict(False, '41', 'different')


def test_a_reference_may_be_boxed_itself():
    assert grade('\\boxed{42}', 'It is \\boxed{42}.').correct


def test_a_reference_that_is_too_large_is_compared_as_text():
    long = '1+' * 3000 + '1'
    assert grade(f'\\boxed{{{long}}}', long).correct and not grade('\\boxed{3001}', long).correct


def test_agreement_with_the_labels_of_real_outputs(shared):
    rows = records.read_jsonl(shared / 'data/grading/graded_dev.jsonl', (*FIELDS, 'kind'))
    wrong = {'math': [], 'gsm8k': [], 'cloze': [], 'mcq': []}
    for row in rows:
        verdict = grade(row['output'], row['reference'], row['problem'])
        if verdict.correct != row['correct']:
            wrong[row['kind']].append((row['reference'], verdict))
    count = {kind: sum(row['kind'] == kind for row in rows) for kind in wrong}
    math = wrong['math'] + wrong['gsm8k']
    assert sum(verdict.correct for _, verdict in math) <= 3, json.dumps(math, default=str)
    assert len(math) <= 0.003 * (count['math'] + count['gsm8k'])
    assert len(wrong['cloze']) <= 0.03 * count['cloze'] and len(wrong['mcq']) <= 0.005 * count['mcq']


def test_rewards_are_right_on_what_is_boxed(shared):
    rows = records.read_jsonl(shared / 'data/grading/graded_dev.jsonl', FIELDS)
    for row in rows:
        item = row['output'], row['reference'], row['problem']
        assert not grade_boxed(*item).correct or grade(*item).correct


@pytest.mark.parametrize('answer, reference, correct', [
    ('4.5e33', '4.5 \\times 10^{33}', True), ('4.5 \\times 10^{33}', '4.5e33', True), ('1e-3', '0.001', True), ('1.5E+10', '15000000000', True),
    ('4.5e32', '4.5 \\times 10^{33}', False), ('2e', '2e', True), ('2e^3', '2e3', False), ('3e5x', '3 \\times 10^5', False)])
def test_floating_point_spellings(answer, reference, correct):
    assert grade(f'It is \\boxed{{{answer}}}.', reference).correct is correct
