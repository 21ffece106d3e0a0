"""The tree of an answer: its nodes, and what is built of them without further reading."""
import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction


@dataclasses.dataclass(frozen=True)
class Node:
    """op and its arguments, nodes or texts: Node('number', (Fraction(1, 2),)), Node('name', ('x',))."""
    op: str
    args: tuple = ()


def number(value) -> Node:
    return Node('number', (Fraction(value),))


def negative(node: Node) -> Node:
    """-\\$5 and \\$-5 are one: the sign goes to the value, past its unit."""
    if node.op in ('measured', 'degrees'):
        return Node(node.op, (negative(node.args[0]), *node.args[1:]))
    return Node('negative', (node,))


def several(op: str, parts: list[Node]) -> Node:
    """One node of several parts; one part alone is itself."""
    return parts[0] if len(parts) == 1 else Node(op, tuple(parts))


def mixed(left: Node, right: Node) -> Node | None:
    """1\\frac{1}{2} and '1 1/2': a whole number before a proper fraction is added to it."""
    if left.op != 'number' or right.op != 'quotient' or any(part.op != 'number' for part in right.args):
        return None
    whole, over, under = left.args[0], right.args[0].args[0], right.args[1].args[0]
    if all(value.denominator == 1 for value in (whole, over, under)) and 0 < over < under:
        return Node('add', (left, right))
    return None


def flat(node: Node) -> str:
    """An index as text: n+1 -> 'add(n,number(1))'; a name or number as it stands."""
    if node.op in ('name', 'word', 'constant'):
        return node.args[0]
    if node.op == 'number':
        return str(node.args[0])
    return node.op + '(' + ','.join(flat(one) if isinstance(one, Node) else str(one) for one in node.args) + ')'


def matched(ones: Sequence, others: Sequence, alike: Callable) -> bool:
    """Whether each of `ones` has one of its own among the `others`, in any order; both are equally many."""
    others = list(others)
    for one in ones:
        place = next((place for place, other in enumerate(others) if alike(one, other)), None)
        if place is None:
            return False
        del others[place]
    return True
