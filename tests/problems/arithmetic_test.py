"""Column arithmetic: right where it should be, wrong in the way that was meant."""
import re

import pytest

from mathrl.problems import arithmetic
from mathrl.problems.arithmetic import Step


@pytest.mark.parametrize('x, op, y, wanted', [(17, '+', 25, 32), (42, '-', 17, 35), (67, '+', 58, 115), (12, '+', 23, 35),
                                              (100, '-', 87, 123), (199, '+', 1, 190), (99, '+', 99, 188)])
def test_forgotten_tens(x, op, y, wanted):
    assert arithmetic.forget_ten(x, op, y) == Step(x, op, y, wanted)


def test_forgetting_changes_the_result_exactly_where_there_is_a_ten_to_forget():
    for x in range(10, 130):
        for y in range(10, x + 1):
            # A carry out of the last column is written down, not carried: it cannot be forgotten.
            inner = any((x % 10 ** place + y % 10 ** place) >= 10 ** place for place in range(1, len(str(x))))
            assert (arithmetic.forget_ten(x, '+', y).result != x + y) == inner
            assert (arithmetic.forget_ten(x, '-', y).result != x - y) == arithmetic.borrows(x, y)


@pytest.mark.parametrize('done, wanted', [
    (Step(17, '+', 25, 42), '7+5=12, 1+2+1=4, 17+25=42'),
    (Step(17, '+', 25, 32), '7+5=12, 1+2=3, 17+25=32'),
    (Step(12, '+', 25, 37), '2+5=7, 1+2=3, 12+25=37'),
    (Step(42, '-', 17, 25), '12-7=5, 4-1-1=2, 42-17=25'),
    (Step(42, '-', 17, 35), '12-7=5, 4-1=3, 42-17=35'),
    (Step(115, '-', 87, 28), '15-7=8, 11-8-1=2, 115-87=28'),
    (Step(3, '*', 8, 24), '3*8=24'),
])
def test_spelled(done, wanted):
    assert arithmetic.spelled(done) == wanted


def test_every_column_that_is_spelled_is_right():
    for x in range(10, 120):
        for y in range(10, x + 1, 7):
            for op in '+-':
                for line in arithmetic.spelled(arithmetic.step(x, op, y)).split(', '):
                    terms, result = line.split('=')
                    assert sum(int(term) for term in re.findall(r'[+-]?\d+', terms)) == int(result), line
