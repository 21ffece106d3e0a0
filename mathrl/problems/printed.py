"""What a Python program prints as its answer, rewritten as mathematics, so that it is read like a person's answer.

Nothing is evaluated. A list is taken as its members, since solvers print solutions so: '[1, 2]' is no interval.
"""
import fractions
import math
import re

LONGEST = 1000               # characters; a longer line is left as it is
DIGITS = 15                  # a float printed with as many significant digits holds what rounding left of a number
MOST = 1000                  # the largest denominator that such a float is taken to have
_FLOAT = re.compile(r'(?<![\w.])(\d+(?:\.\d*)?)(?:[eE]([+-]?\d+))?(?!\w)')
_POWER = re.compile(r'\*\*\s*')
_EXPONENT = re.compile(r'[+-]?[\w.]+')
_INTERVAL = re.compile(r'Interval(?:\.(open|Lopen|Ropen))?\(([^(),]+), ([^(),]+)\)')
_ENDS = {None: '[]', 'open': '()', 'Lopen': '(]', 'Ropen': '[)'}
_NAMES = ((re.compile(r'(?<![\w\\])oo(?!\w)'), r'\\infty'), (re.compile(r'(?<![\w\\])I(?!\w)'), 'i'),
          (re.compile(r'(?<![\w\\])log\('), r'\\ln('))


def as_mathematics(printed: str) -> str:
    """'2*x**10 + sqrt(3)' -> '2*x^{10} + sqrt(3)'; '33.33333333333333' -> '\\frac{100}{3}'; '[-2, 5]' -> '-2, 5'."""
    if len(printed) > LONGEST:
        return printed
    if re.fullmatch(r'\s*\[[^][]*\]\s*', printed):
        printed = printed.strip()[1:-1]
    text = _INTERVAL.sub(_interval, printed.strip())
    text = _powers(_FLOAT.sub(lambda match: _number(*match.groups()), text))
    for name, symbol in _NAMES:
        text = name.sub(symbol, text)
    if text.startswith('Union(') and text.endswith(')'):
        return re.sub(r'(?<=[\])]), (?=[\[(])', r' \\cup ', text[len('Union('):-1])
    if text.startswith('Matrix([[') and text.endswith(']])'):
        rows = [' & '.join(row.split(', ')) for row in text[len('Matrix([['):-len(']])')].split('], [')]
        return '\\begin{pmatrix}' + ' \\\\ '.join(rows) + '\\end{pmatrix}'
    return text


def _interval(match: re.Match) -> str:
    opening, closing = _ENDS[match[1]]
    return f'{opening}{match[2]}, {match[3]}{closing}'


def _number(digits: str, exponent: str | None) -> str:
    """'0.30000000000000004' -> '\\frac{3}{10}': the simplest fraction within rounding error of a full float."""
    text = digits if exponent is None else f'{digits}e{exponent}'
    if '.' in digits and sum(map(str.isdigit, digits.strip('0.'))) >= DIGITS and math.isfinite(float(text)):
        value = fractions.Fraction(float(text))
        near = value.limit_denominator(MOST)
        if abs(near - value) <= abs(value) / 10**13:
            return str(near) if near.denominator == 1 else f'\\frac{{{near.numerator}}}{{{near.denominator}}}'
    return digits if exponent is None else f'{digits} \\times 10^{{{int(exponent)}}}'


def _powers(text: str) -> str:
    """'x**10*y**(n + 1)' -> 'x^{10}*y^{n + 1}'."""
    while match := _POWER.search(text):
        start, rest = match.start(), text[match.end():]
        length = _closed(rest) if rest.startswith('(') else None
        if length is not None:
            text = f'{text[:start]}^{{{rest[1:length - 1]}}}{rest[length:]}'
            continue
        token = _EXPONENT.match(rest)
        exponent = token[0] if token else ''
        text = f'{text[:start]}^{{{exponent}}}{rest[len(exponent):]}'
    return text


def _closed(text: str) -> int | None:
    """The length of the parenthesis that the text begins with; None if it does not close."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == '(') - (character == ')')
        if depth == 0:
            return place + 1
    return None
