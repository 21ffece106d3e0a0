"""References that allow more than one answer, as Chinese examinations write them."""
import re

from mathrl.problems import kinds
from mathrl.problems.nodes import Node
from mathrl.problems.regions import BELOW, INFINITY, intervals
from mathrl.problems.values import DIGITS, Undefined, free_names, numeric

_EITHER = re.compile(r'\s*\\?#\s*\\?#\s*')              # GAOKAO-Bench: '0.3 ## 3/10'
_ONE_OF = re.compile(r'的一个|写出一|(?<![每另第])一个.{0,12}(?:方程|值|例|条件)')
_RANGE = re.compile(r'[(（]\s*满足(.*?)[皆均都即]可[^()（）]*[)）]\s*$')


def alternatives(reference: str, problem: str = '') -> list[str]:
    """'0.3 ## 3/10' -> ['0.3', '3/10']; 'x=1 或 x=2' -> two where the problem asks for one of them ('写出一个')."""
    parts = [part for part in _EITHER.split(reference) if part.strip()]
    if len(parts) == 1 and _ONE_OF.search(problem):
        return [part for part in reference.split('或') if part.strip()]
    return parts


def in_allowed_range(answer: str, reference: str) -> bool:
    """Whether a number lies where the reference says that any will do: '\\sqrt{2}', '2 (满足 1<e<3 皆可)' -> True."""
    allowed = _RANGE.search(reference)
    region = kinds.tree_of(allowed[1]) if allowed else None
    value = kinds.tree_of(answer)
    if region is None or value is None:
        return False
    if value.op == 'relation' and len(value.args) == 3 and value.args[1] == '=':
        value = value.args[2]
    parts = intervals(region)
    return parts is not None and not free_names(value) and any(_inside(value, part) for part in parts)


def _inside(value: Node, part: tuple) -> bool:
    import mpmath
    opening, closing, low, high = part
    with mpmath.workdps(DIGITS):
        try:
            found, ends = numeric(value, {}), []
            for end in (low, high):
                ends.append(end if end in (BELOW, INFINITY) else numeric(end, {}))
        except (Undefined, ValueError, KeyError):
            return False
        if mpmath.im(found) or any(not isinstance(end, Node) and mpmath.im(end) for end in ends):
            return False
        above = ends[0] == BELOW or found > ends[0] or (opening == '[' and found == ends[0])
        below = ends[1] == INFINITY or found < ends[1] or (closing == ']' and found == ends[1])
        return bool(above and below)
