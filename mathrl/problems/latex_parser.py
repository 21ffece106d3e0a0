"""From the tokens of an answer to its tree: numbers, expressions, relations, tuples, intervals, sets, matrices.

A grammar of its own, since answers under a reward are hostile text: reading is linear in the tokens, depth is bounded,
and nothing is evaluated; values.py bounds each size before it computes. sympy's objects, which latex2sympy gives, are
compared by rewriting, which '9^{9^9}' or a product of sines and cosines does not come back from.
"""
import functools

from mathrl.problems.latex_atoms import CLOSING, MAX_DEPTH, Atoms
from mathrl.problems.latex_tokens import TooLarge, Unreadable, tokenise
from mathrl.problems.nodes import Node, flat, mixed, negative, number, several

RELATIONS = ('=', '<', '>', '<=', '>=', '!=', '~', 'in', '->')


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """The tree of a normalised text: '(1, 2]' -> Node('bracket', ('(', ']', 1, 2)). Raises Unreadable or TooLarge."""
    reader = _Reader(tokenise(text))
    tree = reader.items()
    if reader.peek():
        raise Unreadable(f'{reader.peek().text!r} was not expected')
    return tree


class _Reader(Atoms):
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
            if self.peek() and not self.at(*CLOSING.values()):
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
        while not self.bars and self.take(':'):     # in a set, a colon parts its elements from their condition
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
            return negative(self.deeper(self.term))
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


def _counted(marks: int) -> int:
    """A chain of slashes, powers or factorials is as deep as brackets are."""
    if marks >= MAX_DEPTH:
        raise TooLarge(f'more than {MAX_DEPTH} in a chain')
    return marks + 1
