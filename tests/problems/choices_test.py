"""Letters of multiple choice."""
import time

import pytest

from mathrl.problems.choices import chosen, is_choice, letters

OPTIONS = 'Which?\nA. 1\nB. 2\nC. 3\nD. 4'


@pytest.mark.parametrize('answer, wanted', [
    ('C', 'C'), ('(C)', 'C'), ('\\text{(C)}', 'C'), ('C. \\frac12', 'C'), ('\\textbf{(C)}\\ 5', 'C'), ('选项C', 'C'),
    ('C项正确', 'C'), ('A or B', 'AB'), ('A, maybe B', 'AB'), ('AB', 'AB'),
    ('A、C', 'AC'), ('B和D', 'BD'), ('所以答案是C', 'C'), ('The answer is A', 'A'), ('option (B)', 'B'), ('b', 'B'),
    ('Ｃ', 'C'), ('D: 5', 'D'), ('A is correct', 'A'), ('C，因为A错误', 'C'), ('(A', 'A'), ('B（因为A错误）', 'B'),
    ('选项都不正确', None), ('A circle', None), ('a rectangle', None), ('x', None), ('A=5', None),
    ('none of A or B', None), ('', None)])
def test_chosen(answer, wanted):
    assert chosen(answer) == (None if wanted is None else frozenset(wanted))


@pytest.mark.parametrize('reference, problem, wanted', [
    ('B', '', True), ('\\text{(E)},', '', True), ('AC', OPTIONS, True), ('A, C', OPTIONS, True),
    ('AC', 'Which two?', False), ('\\text{Bob}', OPTIONS, False), ('5', OPTIONS, False), ('x', OPTIONS, False)])
def test_is_choice(reference, problem, wanted):
    assert is_choice(reference, problem) == wanted


def test_letters():
    assert letters('\\text{(C)}') == {'C'} and letters('BD') == {'B', 'D'}


@pytest.mark.parametrize('answer', [
    'AB' * 50_000, 'A ' * 50_000 + '!', 'A,' * 900 + '!', '(A' * 900, 'the ' * 500 + '!'])
def test_long_answers_take_no_time(answer):
    start = time.process_time()
    chosen(answer)
    assert time.process_time() - start < 0.5
