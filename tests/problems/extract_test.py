"""Reading the answer off an output."""
import time

import pytest

from mathrl.problems.extract import boxed


@pytest.mark.parametrize('output, wanted', [
    ('It is \\boxed{42}.', '42'),
    ('\\boxed{1} then \\boxed{2}', '2'),
    ('\\fbox{7}', '7'),
    ('\\boxed {7}', '7'),
    ('\\boxed{\\frac{1}{2}}', '\\frac{1}{2}'),
    ('\\boxed{\\text{a {b} c}} and } more', '\\text{a {b} c}'),
    ('\\boxed{\\{1,2\\}}', '\\{1,2\\}'),
    ('\\boxed{\\left\\{1\\right.}', '\\left\\{1\\right.'),
    ('\\boxed{a\\\\}', 'a\\\\'),
    ('\\boxed{ 5\n}', '5'),
    ('答案是\\boxed{四十二}。', '四十二'),
    ('\\boxed{\\boxed{3}}', '3'),
    ('', None),
    ('the answer is 42', None),
    ('\\boxed{}', None),
    ('\\boxed{ }', None),
    ('\\boxed{4', None),
    ('\\boxed{\\frac{1}{2}', None),
    ('\\boxed{1} then \\boxed{2', None),
    ('\\boxed', None),
    ('boxed{3}', None),
    ('\\boxed{3\\}', None),
])
def test_the_last_box(output, wanted):
    assert boxed(output) == wanted


@pytest.mark.parametrize('output', ['\\boxed{' * 50_000, '\\boxed' + ' ' * 200_000, '{' * 200_000,
                                    '\\boxed{' + '{}' * 100_000])
def test_hostile_outputs_take_no_time(output):
    start = time.process_time()
    assert boxed(output) is None
    assert time.process_time() - start < 2
