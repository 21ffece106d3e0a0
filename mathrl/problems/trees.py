"""Whether two trees say the same: expressions, units, percents, relations, regions, lists, matrices."""
import dataclasses
import re

from mathrl.problems import regions, units
from mathrl.problems.latex_tokens import TooLarge, Unreadable
from mathrl.problems.nodes import Node, matched, number
from mathrl.problems.values import Undefined, distance, equal_values, exact, free_names, proportional

MAX_ITEMS = 24
_HEDGED = re.compile(r'\b(?:or|and|not|no|if|when|but|maybe|unless)\b|[或不非没且]', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Question:
    """What the problem's text says about the form of its answer."""
    ordered: bool = False
    percent: bool = False
    base: bool = False


def same(left: Node, right: Node, asked: Question) -> bool:
    """Whether two trees say the same; `right` is the reference."""
    if left == right:
        return True
    try:
        return _same(left, right, asked)
    except (Undefined, Unreadable):
        return False


def _same(left: Node, right: Node, asked: Question) -> bool:
    left, right = _plain(left), _plain(right)
    if (found := regions.same_region(left, right, lambda one, other: same(one, other, asked))) is not None:
        return found
    if 'relation' in (left.op, right.op):
        return _relation(left, right, asked)
    if 'measured' in (left.op, right.op):
        return _measured(left, right, asked)
    if 'percent' in (left.op, right.op):
        return _percent(left, right, asked)
    if 'based' in (left.op, right.op):
        return left.op != right.op and asked.base and _digits(left) == _digits(right) is not None
    if 'matrix' in (left.op, right.op):
        left, right = _matrix(left), _matrix(right)
        return left.op == right.op and left.args[0] == right.args[0] and len(left.args) == len(right.args) and all(
            _pairwise(one.args, other.args, asked) for one, other in zip(left.args[1:], right.args[1:]))
    if any(tree.op in ('list', 'set') or has_sign(tree) for tree in (left, right)):
        return _items(left, right, asked)
    if 'bracket' in (left.op, right.op):
        same_ends = left.op == right.op and left.args[:2] == right.args[:2]
        return same_ends and _pairwise(left.args[2:], right.args[2:], asked)
    if 'ratio' in (left.op, right.op):
        if {left.op, right.op} == {'ratio'} and len(left.args) == len(right.args) > 2:
            return _pairwise(left.args, right.args, asked)
        return {left.op, right.op} <= {'ratio', 'quotient'} and equal_values(left, right)
    if 'constant' in (left.op, right.op) and 'infinity' in left.args + right.args:
        return False
    if left.op == right.op == 'negative' and left.args[0] == right.args[0]:
        return True
    return equal_values(left, right)


def _plain(tree: Node) -> Node:
    """An angle as a measure, a point without its name: 90^\\circ in brackets, M(3,1)."""
    if tree.op == 'degrees':
        return Node('measured', (tree.args[0], 'degree'))
    if tree.op == 'product' and len(tree.args) == 2 and tree.args[1].op == 'bracket' and tree.args[0].op == 'name' \
            and tree.args[0].args[0][0].isupper() and tree.args[1].args[:2] == ('(', ')'):
        return tree.args[1]
    return tree


def _matrix(tree: Node) -> Node:
    """(1, 2) or [1, 2] as the column that it may stand for; c (a & b) as (ca & cb)."""
    if tree.op == 'bracket' and tree.args[:2] in (('(', ')'), ('[', ']')):
        rows = [one.args[2:] if one.op == 'bracket' and one.args[0] == '[' else (one,) for one in tree.args[2:]]
        return Node('matrix', (False, *(Node('row', row) for row in rows)))
    inside = [place for place, one in enumerate(tree.args) if isinstance(one, Node) and one.op == 'matrix']
    if tree.op in ('product', 'quotient', 'negative') and inside == [0 if tree.op != 'product' else len(tree.args) - 1]:
        bars, *rows = tree.args[inside[0]].args
        entry = lambda one: Node(tree.op, (*tree.args[:inside[0]], one, *tree.args[inside[0] + 1:]))
        return Node('matrix', (bars, *(Node('row', tuple(map(entry, row.args))) for row in rows)))
    return tree


def _pairwise(left: tuple, right: tuple, asked: Question) -> bool:
    return len(left) == len(right) and all(same(one, other, asked) for one, other in zip(left, right))


# ---- units and percents
def _measured(left: Node, right: Node, asked: Question) -> bool:
    """Both units known: their quantities are compared. One alone, or a thing counted ('5 dogs'): it says nothing."""
    (value, given), (reference, wanted) = (tree.args if tree.op == 'measured' else (tree, '') for tree in (left, right))
    if _HEDGED.search(given):
        return False
    scale = units.factor(given, wanted) if given and wanted else 1
    if scale is None:
        return False
    if given == 'degree' and not wanted and _has_pi(reference):
        return equal_values(Node('degrees', (value,)), reference)
    if wanted == 'degree' and not given and _has_pi(value):
        return equal_values(value, Node('degrees', (reference,)))
    if scale == 1:
        return same(value, reference, asked)
    return equal_values(Node('product', (value, number(scale))), reference)


def _has_pi(tree: Node) -> bool:
    return tree == Node('constant', ('pi',)) or any(_has_pi(one) for one in tree.args if isinstance(one, Node))


def _percent(left: Node, right: Node, asked: Question) -> bool:
    """25% is 25 where percents are asked for, or given by the reference; beside a plain number it is 1/4."""
    if right.op == 'percent':
        return same(left.args[0] if left.op == 'percent' else left, right.args[0], asked)
    return (asked.percent and same(left.args[0], right, asked)) or equal_values(left, right)


def _digits(tree: Node) -> str | None:
    if tree.op == 'based':
        return tree.args[0]
    return str(tree.args[0]) if tree.op == 'number' else None


# ---- relations
def _relation(left: Node, right: Node, asked: Question) -> bool:
    if left.op != right.op:
        if '~' in right.args:
            return any(same(left, part, asked) for part in _approximated(right))
        if right.op == 'relation' and set(right.args[1::2]) == {'='} and not free_names(right):
            return any(same(left, part, asked) for part in right.args[::2])     # 0.56 = 56%
        if right.op == 'relation':
            return _labelled(right) is not None and same(left, _labelled(right), asked)
        value = _value(left, asked)
        return value is not None and same(value, right, asked) or _rounded(left, right, asked)
    if left.args[1::2] == right.args[1::2] and _pairwise(left.args[::2], right.args[::2], asked):
        return True
    if set(left.args[1::2]) == set(right.args[1::2]) == {'='}:
        return _curves(left, right)
    if len(left.args) == len(right.args) == 3 and left.args[1] != '~':
        turned = {'<': '>', '>': '<', '<=': '>=', '>=': '<='}.get(left.args[1], left.args[1])
        return turned == right.args[1] and _pairwise(left.args[::-2], right.args[::2], asked)
    if '~' in left.args or '~' in right.args:
        return any(same(one, other, asked) for one in _approximated(left) for other in _approximated(right))
    return False


def _curves(left: Node, right: Node) -> bool:
    """Equations of one curve: y=2x and 2x-y=0."""
    if len(left.args) != 3 or len(right.args) != 3:
        return False
    one, other = (Node('add', (relation.args[0], Node('negative', (relation.args[2],)))) for relation in (left, right))
    return free_names(one) == free_names(other) and proportional(one, other)


def _labelled(relation: Node) -> Node | None:
    """The right side of a reference that names what it gives: x=5 -> 5, f(x)=2x -> 2x, x=y=1 -> None."""
    if len(relation.args) != 3 or relation.args[1] not in ('=', 'in'):
        return None
    label, _, value = relation.args
    return value if _is_label(label) and not free_names(label) & free_names(value) - _arguments(label) else None


def _value(relation: Node, asked: Question) -> Node | None:
    """What an answer's chain of equations comes to: k=4+5=9 -> 9; None where its values contradict each other."""
    if relation.args[1] in ('in', '->') and len(relation.args) == 3:
        return relation.args[2]
    if set(relation.args[1::2]) - {'=', '~'}:
        return None
    parts = relation.args[::2]
    constant = not free_names(parts[0]) and not _is_label(parts[0])
    exact_parts = [part for part, sign in zip(parts, ('=', *relation.args[1::2])) if sign == '=']
    if '~' in relation.args and constant:
        return exact_parts[-1]
    values = parts if constant else parts[1:]
    if not free_names(values[-1]):      # formulas on the way, S=ab/2=6, have names that the value has not
        values = [one for one in values if not free_names(one)]
    if '~' not in relation.args and not all(same(one, values[-1], asked) for one in values[:-1]):
        return None
    return exact_parts[-1] if len(exact_parts) > 1 else values[-1]


def _rounded(left: Node, right: Node, asked: Question) -> bool:
    """121/3 \\approx 40.33 for 40.33: the last part is the reference, and the part before it, rounded."""
    if len(left.args) < 3 or left.args[-2] != '~' or not same(left.args[-1], right, asked):
        return False
    wanted, value = exact(left.args[-1]), left.args[-3]
    if wanted is None or free_names(value):
        return False
    places = next((places for places in range(12) if (wanted * 10 ** places).denominator == 1), 12)
    return 2 * distance(value, wanted) * 10 ** places <= 1


def _approximated(tree: Node) -> tuple:
    parts = tree.args[::2] if tree.op == 'relation' and '~' in tree.args else (tree,)
    return tuple(part for part in parts if not _is_label(part))


def _is_label(tree: Node) -> bool:
    """x, AB, f(x), a_n, |AB|, \\tan\\theta, \\overrightarrow{AB}: what an answer may be called."""
    if tree.op in ('name', 'word', 'nothing'):
        return True
    return tree.op in ('product', 'function', 'measured') and all(
        _is_label(one) for one in tree.args if isinstance(one, Node))


def _arguments(label: Node) -> frozenset:
    """x in f(x): it may appear on the right."""
    return free_names(label.args[1]) if label.op == 'product' else frozenset()


# ---- several values
def has_sign(tree: Node) -> bool:
    return tree.op == 'plusminus' or any(has_sign(one) for one in tree.args if isinstance(one, Node))


def expand(tree: Node) -> tuple[Node, ...]:
    """The two values of a tree with +-: 1 +- x -> 1+x, 1-x."""
    return tuple(_signed(tree, upper) for upper in (True, False)) if has_sign(tree) else (tree,)


def _signed(tree: Node, upper: bool) -> Node:
    if tree.op == 'plusminus':
        swapped, left, right = tree.args
        right = _signed(right, upper)
        return Node('add', (_signed(left, upper), right if upper != swapped else Node('negative', (right,))))
    return Node(tree.op, tuple(_signed(one, upper) if isinstance(one, Node) else one for one in tree.args))


def _items(left: Node, right: Node, asked: Question) -> bool:
    """Lists and sets: without order unless the problem asks for one; brackets around a list that has none are idle."""
    if right.op == 'list' and left.op == 'bracket' and left.args[:2] in (('(', ')'), ('[', ']')):
        left = Node('list', left.args[2:])
    if right.op == 'bracket' or left.op == 'bracket':
        return right.op == 'bracket' and right.args[:2] == ('(', ')') and _named_in_order(left, right, asked)
    ones, others = (_expanded(tree) for tree in (left, right))
    if max(len(ones), len(others)) > MAX_ITEMS:
        raise TooLarge(f'more than {MAX_ITEMS} items')
    if 'set' in (left.op, right.op):
        ones, others = _distinct(ones, asked), _distinct(others, asked)
    if len(ones) != len(others) and not (has_sign(left) or has_sign(right)):     # '\\frac{1}{2} or 0.5' is one value
        ones, others = (one[:1] if len(_distinct(one, asked)) == 1 else one for one in (ones, others))
    if len(ones) != len(others):
        return False
    if asked.ordered and left.op == right.op == 'list':
        return _pairwise(ones, others, asked)
    return matched(ones, others, lambda one, other: same(one, other, asked))


def _expanded(tree: Node) -> tuple[Node, ...]:
    items = tree.args if tree.op in ('list', 'set') else (tree,)
    return tuple(one for item in items for one in expand(item))


def _distinct(items: tuple, asked: Question) -> tuple:
    kept = []
    for item in items:
        if not any(same(item, other, asked) for other in kept):
            kept.append(item)
    return tuple(kept)


def _named_in_order(left: Node, right: Node, asked: Question) -> bool:
    """x=1, y=2 for (1,2)."""
    named = lambda one: one.op == 'relation' and len(one.args) == 3 and one.args[0].op == 'name'
    if left.op != 'list' or not all(map(named, left.args)):
        return False
    names = [one.args[0].args[0] for one in left.args]
    return names == sorted(set(names)) and _pairwise(tuple(one.args[2] for one in left.args), right.args[2:], asked)
