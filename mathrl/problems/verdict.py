"""Grading one output: read the answer off its last box, compare it with the reference."""
from mathrl.problems import extract
from mathrl.problems.equal import equal
from mathrl.problems.types import Verdict

REASONS = ('equal', 'different', 'no answer')


def grade(output: str, reference: str, problem: str = '') -> Verdict:
    """Verdict on a model's output, with one of REASONS; never raises, whatever the output holds.

    'It is \\boxed{42}.', '42' -> Verdict(True, '42', 'equal'). This grader does not read the problem.
    """
    del problem
    extracted = extract.boxed(output)
    if extracted is None:
        return Verdict(False, None, 'no answer')
    boxed_reference = extract.boxed(reference)
    correct = equal(extracted, reference if boxed_reference is None else boxed_reference)
    return Verdict(correct, extracted, 'equal' if correct else 'different')
