"""The first verdict: strict, exact, and never fooled by what only looks like a number."""
from fractions import Fraction
import random
import time

import pytest

from mathrl import records
from mathrl.problems.equal import equal, normalise, number
from mathrl.problems.types import Verdict
from mathrl.problems.verdict import grade

EQUAL = [
    ('42', '42'), ('１２', '12'), ('007', '7'), ('42.0', '42'), ('.5', '1/2'), ('0.50', '\\frac{1}{2}'), ('5.', '5'),
    ('\\dfrac12', '\\frac{1}{2}'), ('\\tfrac{2}{4}', '0.5'), ('-\\frac{1}{2}', '-1/2'), ('\\frac{-1}{2}', '-0.5'),
    ('−3', '-3'), ('+3', '3'), ('-0', '0'), ('10,000', '10000'), ('10{,}000', '10000'), ('10\\!000', '10000'),
    ('$5$', '5'), ('\\$5', '5'), ('$5$.', '5'), ('42。', '42'), (' 42\n', '42'), ('\\text{Yes}', 'Yes'),
    ('(1, 2)', '(1,2)'), ('\\left( 1,2 \\right)', '(1,2)'), ('x + 1', 'x+1'), ('\\mathrm{B}', 'B'), ('（1，2）', '(1,2)'),
]
DIFFERENT = [
    ('42', '43'), ('5²', '52'), ('5½', '11/2'), ('5½', '51/2'), ('12 5', '125'), ('\\frac{12}3', '4'), ('1/0', '1'),
    ('5%', '5'), ('1,23', '123'), ('1,2', '12'), ('12,34,567', '1234567'), ('--5', '5'), ('1e3', '1000'), ('٥', '5'),
    ('1_000', '1000'), ('0x10', '16'), ('inf', '1'), ('', ''), (' ', ''), ('x+1', '1+x'), ('A', 'B'),
    ('yes', 'Yes'), ('1/2/3', '1/6'), ('3 1/2', '31/2'), ('2**3', '8'), ('6*7', '42'), ('\\sqrt{4}', '2'), ('{}', ''),
]


@pytest.mark.parametrize('answer, reference', EQUAL)
def test_equal(answer, reference):
    assert equal(answer, reference) and equal(reference, answer)


@pytest.mark.parametrize('answer, reference', DIFFERENT)
def test_different(answer, reference):
    assert not equal(answer, reference) and not equal(reference, answer)


def test_numbers_in_all_spellings_compare_as_fractions_do():
    rng = random.Random(0)
    for _ in range(2000):
        over, under = rng.randint(-999, 999), rng.choice([1, 2, 4, 5, 8, 10, 20, 25])
        value = Fraction(over, under)
        spellings = [f'{over}/{under}', f'\\frac{{{over}}}{{{under}}}', f'{float(value)}', f'{float(value)}00']
        other = value + Fraction(1, 100)
        for spelling in spellings:
            assert number(normalise(spelling)) == value
            assert equal(spelling, rng.choice(spellings)) and not equal(spelling, f'{float(other)}')


def test_normalising_again_changes_nothing():
    for text in [one for pair in EQUAL + DIFFERENT for one in pair]:
        assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize('output', ['\\boxed{' + '9' * 100_000 + '}', '\\boxed{' + '9**' * 300 + '9}',
                                    '\\boxed{1/' + '0' * 300 + '}', '\\boxed{' + '\\text{' * 160 + '}' * 160 + '}',
                                    '\\boxed{' + ' ' * 100_000 + '}', '\\boxed{' + '\ud800' + '}', '\\boxed{' + '1,' * 450 + '}',
                                    '\\boxed{\x00}', '\\boxed{' + '\\frac' * 190 + '}', '\\boxed{' + ' 1' * 480 + '}'])
def test_hostile_outputs_are_wrong_at_once(output):
    start = time.process_time()
    assert not grade(output, '42').correct
    assert time.process_time() - start < 1


def test_verdicts_say_why():
    assert grade('so \\boxed{ 42 }', '42') == Verdict(True, '42', 'equal')
    assert grade('so \\boxed{43}', '42') == Verdict(False, '43', 'different')
    assert grade('so 42', '42') == Verdict(False, None, 'no answer')
    assert grade('so \\boxed{}', '42') == Verdict(False, None, 'no answer')


def test_a_reference_may_be_boxed_itself():
    assert grade('\\boxed{42}', 'It is \\boxed{42}').correct


def test_no_wrong_output_of_a_real_model_is_called_right(shared):
    rows = records.read_jsonl(shared / 'data/grading/graded_dev.jsonl', ('problem', 'reference', 'output', 'correct'))
    verdicts = [(row['correct'], grade(row['output'], row['reference'], row['problem']).correct) for row in rows]
    assert sum(not truth and said for truth, said in verdicts) == 0
    assert sum(truth and said for truth, said in verdicts) >= 0.7 * sum(truth for truth, _ in verdicts)
