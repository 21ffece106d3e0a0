"""References that allow more than one answer."""
import pytest

from mathrl.problems.equal import equal
from mathrl.problems.open_answers import alternatives, in_allowed_range

CIRCLES = '$(x-2)^2+(y-3)^2=13$ 或 $(x-2)^2+(y-1)^2=5$'
ANY = '2 (满足 $1<e \\leq \\sqrt{5}$ 皆可)'


@pytest.mark.parametrize('reference, problem, wanted', [
    ('0.3 ## 3/10', '', ['0.3', '3/10']), ('$3$ \\# \\# 4', '', ['$3$', '4']), ('4或5', 'x=', ['4或5']),
    ('4或5', '写出一个满足条件的x', ['4', '5']), ('5', '的一个值', ['5'])])
def test_alternatives(reference, problem, wanted):
    assert alternatives(reference, problem) == wanted


def test_one_of_several_will_do_where_one_is_asked_for():
    for answer in ('$(x-2)^2+(y-1)^2=5$', '$x^2+y^2-4x-2y=0$'):
        assert equal(answer, CIRCLES, '过其中三点的一个圆的方程为') and not equal(answer, CIRCLES, '圆的方程为')
    assert not equal('$(x-2)^2+(y-2)^2=8$', CIRCLES, '过其中三点的一个圆的方程为')


@pytest.mark.parametrize('answer, right', [
    ('2', True), ('e=2', True), ('$\\sqrt{2}$', True), ('$\\sqrt5$', True), ('1.5', True), ('1', False), ('3', False),
    ('x', False), ('', False), ('1,2', False), ('i', False), ('1/0', False)])
def test_any_value_of_a_range(answer, right):
    assert in_allowed_range(answer, ANY) == right
    assert not in_allowed_range(answer, '2') and not in_allowed_range(answer, '2 (满足条件)')
