"""The atoms of a formula: numbers, names, functions, fractions, roots, matrices and what stands in brackets."""
from fractions import Fraction
import re

from mathrl.problems.latex_tokens import ACCENTS, ARGUMENTS, GREEK, LABELS, PERIODS, Token, TooLarge, Unreadable
from mathrl.problems.nodes import Node, flat, number, several
from mathrl.problems.numerals import english_number

MAX_DEPTH = 30
CLOSING = {'(': ')', '[': ']', '\\{': '\\}', '{': '}'}
_CONSTANTS = {'\\pi': 'pi', '\\infty': 'infinity'}


class Atoms:
    """Reads one atom at a time; sums, lists and relations, which brackets hold, are latex_parser's."""
    def __init__(self, tokens: tuple[Token, ...]):
        self.tokens, self.place, self.depth, self.bars = tokens, 0, 0, 0

    def peek(self, ahead: int = 0) -> Token | None:
        return self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else None

    def next(self) -> Token:
        if self.place >= len(self.tokens):
            raise Unreadable('the formula ends too early')
        self.place += 1
        return self.tokens[self.place - 1]

    def at(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind == 'mark' and token.text in texts

    def take(self, *texts: str) -> bool:
        if self.at(*texts):
            self.place += 1
            return True
        return False

    def expect(self, text: str):
        if not self.take(text):
            raise Unreadable(f'{text!r} is missing')

    def deeper(self, rule) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f'deeper than {MAX_DEPTH}')
        found = rule()
        self.depth -= 1
        return found

    def group(self) -> Node:
        """An argument: {...}, or one atom: the exponent in x^{12}, x^12, x^-1."""
        if self.take('{'):
            found = self.items()
            self.expect('}')
            return found
        if self.take('-'):
            return Node('negative', (self.deeper(self.group),))
        return self.atom()

    def digit_group(self) -> Node:
        """An argument of \\frac: TeX takes one digit where there are no braces, \\frac12 -> 1, 2."""
        token = self.peek()
        if token and token.kind == 'number' and len(token.text) > 1 and token.text.isdigit():
            self.tokens = (*self.tokens[:self.place], Token('number', token.text[0]), Token('number', token.text[1:]),
                           *self.tokens[self.place + 1:])
        return self.group()

    def atom(self) -> Node:
        token = self.next()
        match token.kind:
            case 'number':
                return self.number(token.text)
            case 'name':
                return self.name(token.text)
            case 'function':
                return self.function(token.text)
            case 'command':
                return self.command(token.text)
            case 'word':
                return Node('word', (token.text,))
            case 'unit':
                return self.prefixed(token.text)
        return self.bracket(token.text)

    def prefixed(self, text: str) -> Node:
        """'\\$36': a unit before its value; a unit alone is a word."""
        if text == 'usd' and self.peek():
            return Node('measured', (self.deeper(self.term), 'usd'))
        return Node('word', (text,))

    def number(self, text: str) -> Node:
        if self.at('.') and self.peek(1) and self.peek(1).text in PERIODS:
            self.next()
            text += '.'
        if '.' in text and self.peek() and self.peek().text in PERIODS:
            return self.repeating(text)
        if self.take('_'):
            base = flat(self.group()).casefold()
            return Node('based', (text, str(english_number(base) or base)))
        return number(text)

    def repeating(self, text: str) -> Node:
        """0.8\\overline{4} -> 38/45."""
        self.next()
        period = flat(self.group())
        if not re.fullmatch('[0-9]{1,40}', period):
            raise Unreadable('a bar over no decimals')
        places = len(text.partition('.')[2])
        return number(Fraction(text.rstrip('.')) + Fraction(int(period), (10 ** len(period) - 1) * 10 ** places))

    def name(self, text: str) -> Node:
        if self.take('_'):
            text += '_' + flat(self.deeper(self.group))
        while self.take("'"):
            text += "'"
        return Node('name', (text,))

    def function(self, text: str) -> Node:
        base = exponent = None
        while self.at('^', '_'):
            if self.next().text == '^':
                exponent = self.group()
            else:
                base = self.group()
        argument = self.deeper(self.argument)
        if text in ('log', 'lg'):
            found = Node('log', (base or number(10), argument))
        elif base is not None:
            raise Unreadable(f'a base of {text}')
        elif exponent == Node('negative', (number(1),)) and text in ('sin', 'cos', 'tan', 'cot', 'sec', 'csc'):
            return Node('function', ('arc' + text, argument))
        else:
            found = Node('function', (text, argument))
        return found if exponent is None else Node('power', (found, exponent))

    def argument(self) -> Node:
        """What a function without brackets takes: \\sin 2x \\cos x -> 2x; \\sin(x)y -> x."""
        if self.at('(', '[', '{', '|'):
            return self.factor()
        if self.take('-'):
            return Node('negative', (self.deeper(self.argument),))
        factors = [self.factor()]
        while (token := self.peek()) and (token.kind in ('number', 'name') or token.text in ARGUMENTS):
            factors.append(self.factor())
        found = several('product', factors)
        if self.at('/') and (after := self.peek(1)) and after.kind == 'number':
            self.next()
            found = Node('quotient', (found, self.factor()))
        return found

    def command(self, text: str) -> Node:
        if text == '\\frac':
            over = self.deeper(self.digit_group)
            return Node('quotient', (over, self.deeper(self.digit_group)))
        if text == '\\binom':
            return Node('binomial', (self.deeper(self.digit_group), self.deeper(self.digit_group)))
        if text == '\\sqrt':
            return self.root()
        if text in _CONSTANTS:
            return Node('constant', (_CONSTANTS[text],))
        if text in ('\\lfloor', '\\lceil'):
            found = self.items()
            if self.next().text != text.replace('\\l', '\\r', 1):
                raise Unreadable(f'{text} is not closed')
            return Node('function', (text[2:], found))
        if text == '\\begin':
            return self.matrix()
        if text in ACCENTS:
            inside = self.deeper(self.group)
            return inside if text == '\\boxed' else Node('name', (f'{text}{flat(inside)}',))
        if text == '\\emptyset':
            return Node('set')
        if text in GREEK or text in LABELS:
            return self.name(text)
        raise Unreadable(f'{text} is not understood')

    def root(self) -> Node:
        index = number(2)
        if self.take('['):
            index = self.items()
            self.expect(']')
        return Node('root', (self.deeper(self.group), index))

    def matrix(self) -> Node:
        """\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}; array too, with its columns."""
        kind = self.environment()
        if kind == 'array' and self.at('{'):
            self.group()
        rows, row = [], []
        while not (self.peek() and self.peek().text == '\\end'):
            row.append(self.deeper(self.relation))
            if self.take('\\\\') or (self.peek() and self.peek().text == '\\end'):
                rows.append(tuple(row))
                row = []
            elif not self.take('&'):
                raise Unreadable('a matrix that is not understood')
        self.next()
        if self.environment() != kind or len({len(row) for row in rows}) != 1:
            raise Unreadable('a matrix that is not understood')
        return Node('matrix', (kind == 'vmatrix', *(Node('row', row) for row in rows)))

    def environment(self) -> str:
        self.expect('{')
        name = ''
        while not self.at('}'):
            name += self.next().text
        self.next()
        if name.rstrip('*') not in ('matrix', 'pmatrix', 'bmatrix', 'vmatrix', 'Bmatrix', 'array', 'smallmatrix'):
            raise Unreadable(f'environment {name!r}')
        return name

    def bracket(self, opening: str) -> Node:
        if opening == '|':
            self.bars += 1
            inside = self.deeper(self.sum)
            self.bars -= 1
            self.expect('|')
            return Node('function', ('abs', inside))
        if opening not in CLOSING:
            raise Unreadable(f'{opening!r} was not expected')
        if opening == '\\{' and self.take('\\}'):
            return Node('set')
        bars, self.bars = self.bars, int(opening == '\\{')
        inside = self.items()
        self.bars = bars
        if opening == '\\{' and self.take('|', ':'):
            inside = self.items()
        closing = self.next().text
        if opening in ('\\{', '{'):
            if closing != CLOSING[opening]:
                raise Unreadable(f'{opening} is not closed')
            listed = inside.args if inside.op == 'list' else (inside,)
            builder = opening == '\\{' and len(listed) == 1 and inside.op == 'relation'
            return inside if builder or (opening == '{' and inside.op != 'list') else Node('set', listed)
        if closing not in (')', ']'):
            raise Unreadable(f'{opening} is not closed')
        if inside.op == 'list':
            return Node('bracket', (opening, closing, *inside.args))
        if closing != CLOSING[opening]:
            raise Unreadable(f'{opening} is closed by {closing}')
        return inside
