"""Units of measure."""
from fractions import Fraction

import pytest

from mathrl.problems.units import factor, unit


@pytest.mark.parametrize('given, wanted, times', [
    ('cm', 'centimeters', 1), ('m', 'cm', 100), ('cm', 'm', Fraction(1, 100)), ('小时', '分钟', 60),
    ('square centimeters', 'cm^2', 1), ('平方厘米', 'cm^2', 1),
    ('sq ft', 'square feet', 1), ('ft^2', 'in^2', 144), ('dollars', 'cents', 100), ('mph', 'miles per hour', 1),
    ('km/h', 'kmh', 1), ('m/s', 'km/h', Fraction(18, 5)), ('inches', 'in', 1),
    ('dogs', 'cm', 1), ('dogs', 'cats', 1), ('m', 'kg', None), ('cm', 'cm^2', None), ('元', 'dollars', None),
    ('hours', 'mph', None), ('degrees', 'radians', None)])
def test_factor(given, wanted, times):
    assert factor(given, wanted) == times


def test_what_is_no_unit():
    assert unit('dogs') is None and unit('') is None and unit('square') is None and unit('units') is None
