"""What Python prints, as the grader reads it."""
import time

import pytest

from mathrl.problems.printed import as_mathematics
from mathrl.problems.verdict import grade


@pytest.mark.parametrize('printed, reference', [
    ('18', '18'), ('400.0', '400'), ('-12.000000000000002', '-12'), ('0.30000000000000004', '0.3'), ('78.54', '78.54'),
    ('33.33333333333333', '\\frac{100}{3}'), ('0.6666666666666666', '\\frac23'), ('1e-05', '0.00001'),
    ('1.5e+20', '150000000000000000000'), ('5/12', '\\frac{5}{12}'),
    ('sqrt(2)/2', '\\frac{\\sqrt{2}}{2}'), ('x**2 + 1', 'x^2+1'), ('x**10', 'x^{10}'), ('2**(n + 1)', '2^{n+1}'),
    ('2**(-n)', '2^{-n}'), ('x**-1', '\\frac1x'), ('3*x*y', '3xy'), ('-3 + 4*I', '-3+4i'), ('log(2)', '\\ln 2'),
    ('[-2, 5]', '-2,5'), ('[5]', '5'), ('(1, 2)', '(1,2)'), ('{1, 2}', '\\{1,2\\}'), ('B', 'B'), ('exp(2)', 'e^2'),
    ('Matrix([[1, 2], [3, x**2]])', '\\begin{pmatrix}1&2\\\\3&x^2\\end{pmatrix}'), ('(-oo, 3)', '(-\\infty,3)'),
    ('\\log(2)', '\\log 2'), ('Interval(1, 2)', '[1,2]'), ('Interval.open(-oo, 3)', '(-\\infty,3)'),
    ('Interval.Ropen(0, 1)', '[0,1)'),
    ('Union(Interval.open(-oo, -1), Interval.Lopen(2, 5))', '(-\\infty,-1)\\cup(2,5]'),
])
def test_the_grader_reads_it(printed, reference):
    assert grade(f'\\boxed{{{as_mathematics(printed)}}}', reference).correct, as_mathematics(printed)


@pytest.mark.parametrize('printed, reference', [
    ('0.333', '\\frac13'), ('0.33333333', '\\frac13'), ('3.141592653589793', '\\frac{22}{7}'), ('12.00001', '12'),
    ('0.2857142857142', '\\frac27'), ('x**12', 'x^1 2'), ('[1, 3]', '1,2'), ('Interval.open(1, 2)', '[1,2]'),
])
def test_what_is_not_right_stays_wrong(printed, reference):
    assert not grade(f'\\boxed{{{as_mathematics(printed)}}}', reference).correct


@pytest.mark.parametrize('hostile', [
    '**' * 500, '**(' * 333, '**(' * 20_000, '(' * 5000, '9' * 5000 + '.' + '9' * 5000, '1.5e999999999',
    '1e' + '9' * 900,
    '0.123456789012345678e9999999', 'Interval(' * 2000, '[' * 5000, 'Matrix([[' * 500])
def test_hostile_text_takes_no_time(hostile):
    began = time.monotonic()
    as_mathematics(hostile)
    assert time.monotonic() - began < 1
