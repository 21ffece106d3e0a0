"""Worked solutions as training targets."""
import pytest

from mathrl.problems.verdict import grade
from mathrl.problems.types import read_problems
from mathrl.problems.worked import worked_solution


@pytest.mark.parametrize('problem, answer, solution, wanted', [
    ('p', '24', '48/2 = <<48/2=24>>24 clips.\n#### 24', '48/2 = 24 clips.\nThe answer is \\boxed{24}.'),
    ('p', '24', '48/2 = 24', '48/2 = 24\nThe answer is \\boxed{24}.'),
    ('小明', '24', '48/2=24', '48/2=24\n答案是\\boxed{24}。'),
    ('p', '2', 'So \\boxed{2} it is.', 'So \\boxed{2} it is.'),
    ('p', '2', '', 'The answer is \\boxed{2}.'),
    ('p', '2', '#### 2', 'The answer is \\boxed{2}.'),
    ('p', '\\frac{1}{2}', 'a << b and c >> d', 'a << b and c >> d\nThe answer is \\boxed{\\frac{1}{2}}.'),
    ('p', '2', 'in #### the middle', 'in #### the middle\nThe answer is \\boxed{2}.'),
    ('p', '2', 'empty \\boxed{}', 'empty \\boxed{}\nThe answer is \\boxed{2}.'),
])
def test_marks_go_and_the_box_comes(problem, answer, solution, wanted):
    assert worked_solution(problem, answer, solution) == wanted
    assert worked_solution(problem, answer, wanted) == wanted


def test_real_solutions_are_right_afterwards(shared):
    for problem in read_problems(shared / 'data/problems/gsm8k_train.jsonl'):
        text = worked_solution(problem.problem, problem.answer, problem.solution)
        assert grade(text, problem.answer).correct and '<<' not in text and '####' not in text
