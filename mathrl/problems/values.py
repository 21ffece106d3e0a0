"""Whether two expressions are equal: exactly where they are rational, else at fixed points with 50 and 100 digits.

Sizes are bounded before any work is done: '9^{9^9}' and '(10^9)!' are refused, not computed.
"""
from fractions import Fraction
import functools
import random

from mathrl.problems.nodes import Node
from mathrl.problems.latex_tokens import TooLarge, Unreadable

MAX_BITS = 20_000        # of an exact number
MAX_EXPONENT = 100_000   # of two, for a number that is not exact
MAX_FACTORIAL = 2_000
DIGITS, AGREED = 50, 40
POINTS, NEEDED = 6, 2


class Undefined(ArithmeticError):
    """The expression has no value here: 1/0, log 0."""


def equal_values(left: Node, right: Node) -> bool:
    """x^2-1 and (x-1)(x+1), \\sqrt{8} and 2\\sqrt{2} are equal; 0.333 and 1/3 are not. `right` is the reference.

    Raises Unreadable for what is no expression, TooLarge for what is beyond the bounds.
    """
    first, second = exact(left), exact(right)
    if first is not None and second is not None:
        return first == second
    names = sorted(free_names(left) | free_names(right))
    if not names:
        return _agree(left, right, {})
    held = 0
    for point in _points(len(names)):
        agreed = _agree_at(left, right, dict(zip(names, point)))
        if agreed is False:
            return False
        held += agreed is True
    return held >= NEEDED


def proportional(left: Node, right: Node) -> bool:
    """Whether left = c * right with one constant c, not zero: 2x-2y and y-x."""
    import mpmath
    names = sorted(free_names(left) | free_names(right))
    ratios = []
    with mpmath.workdps(DIGITS):
        for point in _points(len(names)) if names else ():
            try:
                over, under = (numeric(node, dict(zip(names, point))) for node in (left, right))
            except Undefined:
                continue
            if abs(under) < mpmath.mpf(10) ** -AGREED or abs(over) < mpmath.mpf(10) ** -AGREED:
                continue
            ratios.append(over / under)
        return len(ratios) >= NEEDED and all(_near(one, ratios[0], mpmath) for one in ratios)


def distance(node: Node, value: Fraction):
    """How far a number is from `value`, to 50 digits."""
    import mpmath
    with mpmath.workdps(DIGITS):
        return abs(numeric(node, {}) - mpmath.mpf(value.numerator) / value.denominator)


@functools.lru_cache(maxsize=512)
def exact(node: Node) -> Fraction | None:
    """The value of a rational expression without names; None for all others."""
    match node.op:
        case 'number':
            return node.args[0]
        case 'based':
            return based(*node.args)
        case 'negative':
            value = exact(node.args[0])
            return None if value is None else -value
        case 'add' | 'product' | 'quotient':
            values = [exact(one) for one in node.args]
            if None in values:
                return None
            return functools.reduce(lambda x, y: _bounded(_arithmetic(node.op, x, y)), values)
        case 'power':
            return _exact_power(exact(node.args[0]), exact(node.args[1]))
        case 'factorial':
            value = exact(node.args[0])
            return None if value is None else Fraction(_factorial(value))
        case 'binomial':
            over, under = exact(node.args[0]), exact(node.args[1])
            return None if over is None or under is None else Fraction(_binomial(over, under))
        case 'percent':
            value = exact(node.args[0])
            return None if value is None else value / 100
        case 'ratio' if len(node.args) == 2:
            return exact(Node('quotient', node.args))
        case 'function' if node.args[0] in ('floor', 'ceil', 'abs'):
            value = exact(node.args[1])
            if value is None:
                return None
            return Fraction({'floor': value.__floor__, 'ceil': value.__ceil__, 'abs': value.__abs__}[node.args[0]]())
    return None


def based(digits: str, base: str) -> Fraction:
    """'52', '8' -> 42. Raises Unreadable for digits that the base does not have."""
    if not (base.isdigit() and 2 <= int(base[:4]) <= 36 and digits.isdigit() and int(max(digits)) < int(base)):
        raise Unreadable(f'{digits} in base {base}')
    return Fraction(int(digits, int(base)))


def free_names(node: Node) -> frozenset[str]:
    """The variables of an expression; e and i are numbers."""
    if node.op == 'name':
        return frozenset() if node.args[0] in ('e', 'i') else frozenset(node.args)
    return frozenset().union(*(free_names(one) for one in node.args if isinstance(one, Node)))


def numeric(node: Node, names: dict):
    """The value as a number of mpmath at its working precision, for given values of the names. Raises Undefined."""
    import mpmath
    try:
        value = _numeric(node, names, mpmath)
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        if isinstance(error, (TooLarge, Unreadable)):
            raise
        raise Undefined(str(error)) from error
    if not mpmath.isfinite(value):
        raise Undefined('infinite')
    return value


def _numeric(node: Node, names: dict, mpmath):
    value = lambda place: _numeric(node.args[place], names, mpmath)
    match node.op:
        case 'number':
            return mpmath.mpf(node.args[0].numerator) / node.args[0].denominator
        case 'name':
            if node.args[0] in names:
                return mpmath.mpf(names[node.args[0]].numerator) / names[node.args[0]].denominator
            return {'e': mpmath.e, 'i': mpmath.mpc(0, 1)}[node.args[0]] + 0
        case 'constant' if node.args[0] == 'pi':
            return mpmath.pi + 0
        case 'based':
            return mpmath.mpf(int(based(*node.args)))
        case 'negative':
            return -value(0)
        case 'add' | 'product' | 'quotient':
            values = [_numeric(one, names, mpmath) for one in node.args]
            return functools.reduce(lambda x, y: _arithmetic(node.op, x, y), values)
        case 'ratio' if len(node.args) == 2:
            return value(0) / value(1)
        case 'percent':
            return value(0) / 100
        case 'degrees':
            return value(0) * mpmath.pi / 180
        case 'power':
            return _power(value(0), value(1), mpmath)
        case 'root':
            return _root(value(0), value(1), mpmath)
        case 'factorial':
            return _gamma(value(0) + 1, mpmath)
        case 'binomial':
            over, under = value(0), value(1)
            return _gamma(over + 1, mpmath) / _gamma(under + 1, mpmath) / _gamma(over - under + 1, mpmath)
        case 'log':
            return mpmath.log(value(1)) / mpmath.log(value(0))
        case 'function':
            return _function(node.args[0], _numeric(node.args[1], names, mpmath), mpmath)
    raise Unreadable(f'{node.op} has no value')


def _function(name: str, value, mpmath):
    if abs(value) > (MAX_EXPONENT if name in ('exp', 'sinh', 'cosh', 'tanh') else mpmath.mpf(10) ** 30):
        raise TooLarge(f'{name} of a large number')
    own = {'abs': lambda x: mpmath.mpf(abs(x)), 'ln': mpmath.log, 'arcsin': mpmath.asin, 'arccos': mpmath.acos,
           'arctan': mpmath.atan, 'arccot': mpmath.acot, 'arcsec': mpmath.asec, 'arccsc': mpmath.acsc}
    return (own[name] if name in own else getattr(mpmath, name))(value)


def _power(base, exponent, mpmath):
    if base == 0:
        if mpmath.re(exponent) <= 0:
            raise Undefined('a power of 0')
        return mpmath.mpf(0)
    if abs(exponent) * (1 + abs(mpmath.log(abs(base), 2))) > MAX_EXPONENT:
        raise TooLarge('a power with too many digits')
    return mpmath.power(base, exponent)


def _root(value, index, mpmath):
    """The real root where there is one: \\sqrt[3]{-8} = -2."""
    if index == 0:
        raise Undefined('a root of index 0')
    if index == 2:
        return mpmath.sqrt(value)
    odd = mpmath.isint(index) and abs(index) < 10 ** 6 and int(mpmath.re(index)) % 2
    if odd and mpmath.im(value) == 0 and mpmath.re(value) < 0:
        return -_power(-value, 1 / index, mpmath)
    return _power(value, 1 / index, mpmath)


def _gamma(value, mpmath):
    if abs(value) > MAX_FACTORIAL:
        raise TooLarge('a large factorial')
    return mpmath.gamma(value)


def _arithmetic(op: str, left, right):
    if op == 'add':
        return left + right
    if op == 'product':
        return left * right
    if right == 0:
        raise Undefined('a quotient by 0')
    return left / right


def _exact_power(base: Fraction | None, exponent: Fraction | None) -> Fraction | None:
    if base is None or exponent is None or exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        raise Undefined('a power of 0')
    if base in (0, 1):
        return base
    if base == -1:
        return Fraction(-1 if exponent % 2 else 1)
    if abs(exponent) * max(_bits(base), 1) > MAX_BITS:
        raise TooLarge('a power with too many digits')
    return base ** int(exponent)


def _factorial(value: Fraction) -> int:
    import math
    if value.denominator != 1 or value < 0:
        raise Undefined('a factorial of no whole number')
    if value > MAX_FACTORIAL:
        raise TooLarge('a large factorial')
    return math.factorial(int(value))


def _binomial(over: Fraction, under: Fraction) -> int:
    import math
    if over.denominator != 1 or under.denominator != 1 or min(over, under) < 0:
        raise Undefined('a binomial of no whole numbers')
    if over > MAX_FACTORIAL:
        raise TooLarge('a large binomial')
    return math.comb(int(over), int(under))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise TooLarge('a number with too many digits')
    return value


@functools.lru_cache(maxsize=32)
def _points(count: int) -> tuple[tuple[Fraction, ...], ...]:
    """Fixed points, the first half positive, then of either sign."""
    draw = random.Random(f'points of {count}')
    fraction = lambda: Fraction(draw.randrange(10 ** 5, 3 * 10 ** 6), 1_000_003)
    return tuple(tuple(fraction() * (1 if point < POINTS // 2 else draw.choice((-1, 1))) for _ in range(count))
                 for point in range(POINTS))


def _agree_at(left: Node, right: Node, names: dict) -> bool | None:
    """None where the reference has no value, or at a negative point no real one."""
    import mpmath
    with mpmath.workdps(DIGITS):
        try:
            value = numeric(right, names)
        except Undefined:
            return None
        if min(names.values()) < 0 and abs(mpmath.im(value)) > mpmath.mpf(10) ** -AGREED:
            return None
    return _agree(left, right, names)


def _agree(left: Node, right: Node, names: dict) -> bool:
    """Equal to 40 digits with 50, and to 90 with 100; a difference that stays the same between the two is one."""
    import mpmath
    gaps = []
    for digits in (DIGITS, 2 * DIGITS):
        with mpmath.workdps(digits):
            try:
                first, second = numeric(left, names), numeric(right, names)
            except Undefined:
                return False
            gap = abs(first - second)
            if gap > max(1, abs(first), abs(second)) * mpmath.mpf(10) ** (DIGITS - AGREED - digits):
                return False
            gaps.append(gap)
    return gaps[1] == 0 or gaps[1] < gaps[0] * mpmath.mpf(10) ** -AGREED or gaps[0] == 0


def _near(one, other, mpmath) -> bool:
    return abs(one - other) <= max(1, abs(other)) * mpmath.mpf(10) ** -AGREED
