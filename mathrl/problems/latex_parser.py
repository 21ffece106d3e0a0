"""From the tokens of an answer to its tree: numbers, expressions, relations, tuples, intervals, sets, matrices.

A grammar of its own, since answers under a reward are hostile text: reading is linear in the tokens, depth is bounded,
and nothing is evaluated; values.py bounds each size before it computes. sympy's objects, which latex2sympy gives, are
compared by rewriting, which '9^{9^9}' or a product of sines and cosines does not come back from.
"""
from fractions import Fraction
import functools
import re

from mathrl.problems.latex_tokens import (ACCENTS, ARGUMENTS, GREEK, LABELS, PERIODS, Token, TooLarge, Unreadable,
                                          tokenise)
from mathrl.problems.nodes import Node, flat, mixed, number, several
from mathrl.problems.numerals import english_number

MAX_DEPTH = 30
RELATIONS = ('=', '<', '>', '<=', '>=', '!=', '~', 'in', '->')
_CONSTANTS = {'\\pi': 'pi', '\\infty': 'infinity'}
_CLOSING = {'(': ')', '[': ']', '\\{': '\\}', '{': '}'}


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """The tree of a normalised text: '(1, 2]' -> Node('bracket', ('(', ']', 1, 2)). Raises Unreadable or TooLarge."""
    reader = _Reader(tokenise(text))
    tree = reader.items()
    if reader.peek():
        raise Unreadable(f'{reader.peek().text!r} was not expected')
    return tree


class _Reader:
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

    # ---- lists, relations, unions
    def items(self) -> Node:
        """Items between commas; one alone is itself."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f'deeper than {MAX_DEPTH}')
        found = [self.relation()]
        while self.at(',', ';'):
            while self.take(',', ';'):
                pass
            if self.peek() and not self.at(*_CLOSING.values()):
                found.append(self.relation())
        self.depth -= 1
        return found[0] if len(found) == 1 else Node('list', tuple(found))

    def relation(self) -> Node:
        """a = b = c -> Node('relation', (a, '=', b, '=', c))."""
        parts = [Node('nothing')] if self.at(*RELATIONS) else [self.union()]
        while self.at(*RELATIONS):
            parts += [self.next().text, self.union()]
        return parts[0] if len(parts) == 1 else Node('relation', tuple(parts))

    def union(self) -> Node:
        found = [self.ratio()]
        while self.take('\\cup'):
            found.append(self.ratio())
        return found[0] if len(found) == 1 else Node('union', tuple(found))

    def ratio(self) -> Node:
        found = [self.sum()]
        while self.take(':'):
            found.append(self.sum())
        return found[0] if len(found) == 1 else Node('ratio', tuple(found))

    # ---- expressions
    def sum(self) -> Node:
        terms = [self.term()]
        while self.at('+', '-', '+-', '-+'):
            sign, term = self.next().text, self.term()
            if sign in ('+-', '-+'):
                terms = [Node('plusminus', (sign == '-+', several('add', terms), term))]
            else:
                terms.append(term if sign == '+' else Node('negative', (term,)))
        return self.measured(several('add', terms))

    def measured(self, value: Node) -> Node:
        """What stands after a value: a unit with its power, %, words."""
        texts = []
        while (token := self.peek()) and (token.kind in ('unit', 'word') or self.at('%', '.')
                                          or (texts and self.at('^', '/', "'"))):
            if self.take('.', "'"):
                continue
            if self.take('^', '/'):
                exponent = self.peek()
                if exponent is None:
                    raise Unreadable('a unit without its end')
                if self.tokens[self.place - 1].text == '^':
                    texts[-1] += '^' + flat(self.group())
                else:
                    texts.append('/' + self.next().text)
                continue
            texts.append(self.next().text)
        if not texts:
            return value
        if '%' in texts or any(text.casefold().startswith(('percent', 'per cent')) for text in texts):
            return Node('percent', (value,))
        return Node('measured', (value, ' '.join(texts).replace(' /', '/')))

    def term(self) -> Node:
        if self.take('+'):
            return self.deeper(self.term)
        if self.take('-'):
            return Node('negative', (self.deeper(self.term),))
        if self.at('+-', '-+'):
            return Node('plusminus', (self.next().text == '-+', number(0), self.deeper(self.term)))
        factors, slashes = [self.factor()], 0
        while True:
            if self.take('*'):
                factors.append(self.signed())
            elif self.take('/'):
                slashes = _counted(slashes)
                factors = [Node('quotient', (several('product', factors), self.signed()))]
            elif self.starts_factor():
                following = self.plain_fraction() if self.two_numbers() else self.factor()
                whole = mixed(factors[-1], following)
                factors = factors[:-1] + [whole] if whole else factors + [following]
            else:
                return several('product', factors)

    def signed(self) -> Node:
        """A factor after * or /, which may have a sign."""
        if self.take('-'):
            return Node('negative', (self.factor(),))
        self.take('+')
        return self.factor()

    def deeper(self, rule) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f'deeper than {MAX_DEPTH}')
        found = rule()
        self.depth -= 1
        return found

    def starts_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind in ('number', 'name', 'function', 'command'):
            return token.text not in ('\\end', '\\rfloor', '\\rceil')
        return token.kind == 'mark' and (token.text in ('(', '[', '{', '\\{') or (token.text == '|' and not self.bars))

    def two_numbers(self) -> bool:
        return self.peek().kind == 'number' and self.tokens[self.place - 1].kind == 'number'

    def plain_fraction(self) -> Node:
        """What may stand after a number: '1 1/2' is mixed, '12 5' is nothing."""
        over = self.factor()
        self.expect('/')
        fraction = Node('quotient', (over, self.factor()))
        if mixed(number(1), fraction) is None:
            raise Unreadable('two numbers side by side')
        return fraction

    def factor(self) -> Node:
        found, marks = self.atom(), 0
        while True:
            marks = _counted(marks)
            if self.take('^'):
                found = Node('power', (found, self.deeper(self.group)))
            elif self.take('!'):
                found = Node('factorial', (found,))
            elif (token := self.peek()) and token.kind == 'unit' and token.text == 'degree' and self.inside_more():
                self.next()
                found = Node('degrees', (found,))
            else:
                return found

    def inside_more(self) -> bool:
        """Whether a degree mark here belongs to an angle inside an expression, not to the whole answer."""
        after = self.peek(1)
        return self.depth > 1 or (after is not None and after.text not in (',', ';', '=', '.'))

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
        if opening not in _CLOSING:
            raise Unreadable(f'{opening!r} was not expected')
        if opening == '\\{' and self.take('\\}'):
            return Node('set')
        bars, self.bars = self.bars, int(opening == '\\{')     # in a set, a bar parts its elements from their condition
        inside = self.items()
        self.bars = bars
        if opening == '\\{' and self.take('|', ':'):
            inside = self.items()
        closing = self.next().text
        if opening in ('\\{', '{'):
            if closing != _CLOSING[opening]:
                raise Unreadable(f'{opening} is not closed')
            listed = inside.args if inside.op == 'list' else (inside,)
            builder = opening == '\\{' and len(listed) == 1 and inside.op == 'relation'
            return inside if builder or (opening == '{' and inside.op != 'list') else Node('set', listed)
        if closing not in (')', ']'):
            raise Unreadable(f'{opening} is not closed')
        if inside.op == 'list':
            return Node('bracket', (opening, closing, *inside.args))
        if closing != _CLOSING[opening]:
            raise Unreadable(f'{opening} is closed by {closing}')
        return inside


def _counted(marks: int) -> int:
    """A chain of slashes, powers or factorials is as deep as brackets are."""
    if marks >= MAX_DEPTH:
        raise TooLarge(f'more than {MAX_DEPTH} in a chain')
    return marks + 1
