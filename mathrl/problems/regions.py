"""Regions of the line in all their spellings: intervals, unions, inequalities in one variable."""
from typing import Callable

from mathrl.problems.nodes import Node, matched

INFINITY = Node('constant', ('infinity',))
BELOW = Node('negative', (INFINITY,))


def same_region(left: Node, right: Node, same: Callable) -> bool | None:
    """Whether two regions are equal; None where they are no two regions, or both are plain pairs.

    x > 2 and (2,\\infty), -1 \\le x < 3 and [-1,3), x<0 or x>1 and (-\\infty,0)\\cup(1,\\infty).
    """
    if not (_says_region(left) or _says_region(right)):
        return None
    ones, others = intervals(left), intervals(right)
    if ones is None or others is None:
        return None
    if len(ones) != len(others):
        return False
    return matched(ones, others, lambda one, other: _same_part(one, other, same))


def intervals(tree: Node) -> tuple[tuple, ...] | None:
    """(opening, closing, low, high) of each part; None where the tree is no region. The point 5 is [5, 5]."""
    if tree.op == 'set':
        return tuple(_point(one) for one in tree.args)
    if tree.op in ('union', 'list'):
        parts = [intervals(one) for one in tree.args]
        return None if len(parts) > 24 or None in parts else tuple(one for part in parts for one in part)
    if tree.op == 'bracket' and len(tree.args) == 4:
        return ((tree.args[0], tree.args[1], tree.args[2], tree.args[3]),)
    if tree.op == 'relation':
        return _inequality(tree.args)
    return None


def _point(value: Node) -> tuple:
    return '[', ']', value, value


def _says_region(tree: Node) -> bool:
    """An inequality, a union, brackets of two kinds, an infinite end: no pair of coordinates."""
    if tree.op == 'relation':
        return bool({'<', '<=', '>', '>=', '!=', 'in'} & set(tree.args[1::2]))
    if tree.op == 'bracket' and len(tree.args) == 4:
        return tree.args[:2] != ('(', ')') or INFINITY in tree.args or BELOW in tree.args
    if tree.op == 'list':
        return any(one.op == 'relation' and _says_region(one) for one in tree.args)
    return tree.op == 'union'


def _same_part(one: tuple, other: tuple, same: Callable) -> bool:
    return one[:2] == other[:2] and all(same(first, second) for first, second in zip(one[2:], other[2:]))


def _inequality(parts: tuple) -> tuple[tuple, ...] | None:
    """a < x <= b, x > a, a >= x, x != a, x = a; x in (region)."""
    if len(parts) == 3 and parts[1] == 'in' and parts[0].op == 'name':
        return intervals(parts[2])
    if len(parts) == 3 and parts[1] == '=' and _is_variable(parts[0]):
        return (_point(parts[2]),)
    signs = parts[1::2]
    if set(signs) <= {'>', '>='}:
        parts, signs = _turned(parts)
    if not set(signs) <= {'<', '<='} and signs != ('!=',):
        return None
    if len(parts) == 3:
        return _one_sided(parts)
    if len(parts) == 5 and _is_variable(parts[2]):
        return (('(' if signs[0] == '<' else '[', ')' if signs[1] == '<' else ']', parts[0], parts[4]),)
    return None


def _one_sided(parts: tuple) -> tuple[tuple, ...] | None:
    low, sign, high = parts
    if sign == '!=':
        return (('(', ')', BELOW, high), ('(', ')', high, INFINITY)) if _is_variable(low) else None
    if _is_variable(low) and not _is_variable(high):
        return (('(', ')' if sign == '<' else ']', BELOW, high),)
    if _is_variable(high) and not _is_variable(low):
        return (('(' if sign == '<' else '[', ')', low, INFINITY),)
    return None


def _turned(parts: tuple) -> tuple[tuple, tuple]:
    parts = tuple({'>': '<', '>=': '<='}.get(one, one) if isinstance(one, str) else one for one in parts[::-1])
    return parts, parts[1::2]


def _is_variable(tree: Node) -> bool:
    """x, or f(x)."""
    return tree.op == 'name' or (tree.op == 'product' and all(_is_variable(one) for one in tree.args))
