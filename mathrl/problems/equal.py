"""Whether an answer says what the reference says, by the reference's type.

Exact where numbers are exact; no tolerance, no x100 for percents. See values.py for expressions.
"""
import re

from mathrl.problems import kinds, units
from mathrl.problems.latex_tokens import TooLarge
from mathrl.problems.nodes import Node, flat
from mathrl.problems.normalise import normalise, words
from mathrl.problems.open_answers import alternatives, in_allowed_range
from mathrl.problems.trees import Question, same

MAX_ANSWER = 4000    # characters
_IDLE_SPACE = re.compile(r'(?<![0-9]) +| +(?![0-9])')
_SORTED = re.compile(r'in (?:increasing|ascending|descending|decreasing) order'
                     r'|from (?:least|smallest|greatest|largest)|从小到大|从大到小', re.IGNORECASE)
_IN_TURN = re.compile(r'in (?:that|this|the) order|respectively|依次|分别|按顺序', re.IGNORECASE)     # where it asks
_SENTENCE_END = re.compile(r'(?<=[.?!。？！])\s+')
_THOUSANDS = re.compile(r'(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])')
_BRACKETS = {'(': 1, '[': 1, '\\{': 1, ')': -1, ']': -1, '\\}': -1}
_THOUSANDS_OR_BRACKET = re.compile(_THOUSANDS.pattern + r'|[()\[\]]|\\[{}]')
_PERCENT = re.compile(r'percent|百分|%', re.IGNORECASE)
_BASE = re.compile(r'\bbase\b|进制|\$_|_\{?[0-9]|\bbinary\b|\boctal\b', re.IGNORECASE)
_WORDS = re.compile(r'[A-Za-z]?[a-z]{2,}(?: [a-z]+)*')
_HAN = re.compile('[\u4e00-\u9fff]{2}')
_TIME = re.compile('([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))? ?([ap]m)?')
_NOTHING = {word: group for group, members in {
    'no solution': 'no solution|no solutions|no real solution|no real solutions|empty set|empty|emptyset|none'
                   '|无解|方程无解|空集',
    'undefined': 'undefined|does not exist|dne|不存在',
}.items() for word in members.split('|')}


def question(problem: str) -> Question:
    last = _SENTENCE_END.split(problem.strip())[-1]
    return Question(ordered=bool(_SORTED.search(problem) or _IN_TURN.search(last)),
                    percent=bool(_PERCENT.search(problem)), base=bool(_BASE.search(problem)))


def equal(answer: str, reference: str, problem: str = '') -> bool:
    """'0.50' and '\\frac{1}{2}', 'x+1' and '1+x', 'x=1 or x=2' and '1,2' are equal; '10 m', '10 cm' are not.

    Raises TooLarge where the answer or the reference is beyond what is looked into.
    """
    if len(answer) > MAX_ANSWER or len(reference) > MAX_ANSWER:
        if answer.strip() == reference.strip():
            return True
        raise TooLarge(f'more than {MAX_ANSWER} characters')
    plain, wanted = (_IDLE_SPACE.sub('', normalise(text)) for text in (answer, reference))
    if not plain or plain == wanted:
        return bool(plain)
    if kinds.kind(reference) == 'labels':
        return kinds.labels(answer) == kinds.labels(reference)
    parts = alternatives(reference, problem)
    if len(parts) > 1:
        return any(equal(answer, part, problem) for part in parts)
    if in_allowed_range(answer, reference):
        return True
    asked = question(problem)
    return any(_equal(one, other, asked) for one in joined_thousands(answer) for other in joined_thousands(reference))


def joined_thousands(text: str) -> tuple[str, ...]:
    """'1,234' as a number and as a list; in brackets commas part items: '(1,234)' has two."""
    if not _THOUSANDS.search(text):
        return (text,)
    depth, pieces, last = 0, [], 0
    for match in _THOUSANDS_OR_BRACKET.finditer(text):
        if match[0] in _BRACKETS:
            depth += _BRACKETS[match[0]]
        elif not depth:
            pieces += [text[last:match.start()], match[0].replace(',', '')]
            last = match.end()
    joined = ''.join(pieces) + text[last:]
    return (joined,) if joined == text else (joined, text)


def _equal(answer: str, reference: str, asked: Question) -> bool:
    left, right = kinds.tree_of(answer), kinds.tree_of(reference)
    if _WORDS.fullmatch(reference) and words(answer) == words(reference):
        return True
    if right is None or kinds.is_text(right):
        return same_text(answer, reference) or _same_time(words(answer), words(reference))
    return left is not None and (same(left, right, asked) or _same_reread(_reread(left), right, asked))


def _same_reread(left: Node, right: Node, asked: Question) -> bool:
    return same(left, right, asked) or (left.op == 'measured' and same(left, _reread(right), asked))


def _reread(tree: Node) -> Node:
    """Readings where the first did not do: '10 m' as ten metres, not ten times m; 'N1' as N_1, not N times one."""
    if tree.op == 'product' and len(tree.args) == 2:
        first, second = tree.args
        name, *powers = second.args if second.op == 'power' else (second,)
        unit = '^'.join(map(flat, (name, *powers)))
        if first.op == 'number' and name.op == 'name' and name.args[0] in units.LETTERS and units.is_unit(unit):
            return Node('measured', (first, unit))
        if first.op == 'name' and second.op == 'number' and '_' not in first.args[0]:
            return Node('name', (f'{first.args[0]}_{flat(second)}',))
    return Node(tree.op, tuple(_reread(one) if isinstance(one, Node) else one for one in tree.args))


def same_text(answer: str, reference: str) -> bool:
    left, right = words(answer), words(reference)
    if left == right:
        return bool(left)
    if _NOTHING.get(right) is not None and _NOTHING.get(left) == _NOTHING[right]:
        return True
    if naming := re.fullmatch(r'[^,]*(?<![不非没])[是为](.+)', left):     # 最合适的方法是分层抽样
        left = naming[1]
    if _HAN.search(right) and right in left and len(left) <= len(right) + 4:     # 分层抽样 in 分层抽样法
        return not re.search('[不非没,]', left.replace(right, '', 1))
    if re.fullmatch('[a-z]{2,}', right) and right.upper() in reference and re.fullmatch('[a-z](?:[, ]+[a-z])+', left):
        return re.sub('[, ]', '', left) == right
    if ',' in right:
        return sorted(re.split(r'[,;]| and ', left)) == sorted(re.split(r'[,;]| and ', right))
    return bool(right) and re.fullmatch(rf'(?:the answer is |answer:|it is |on )?{re.escape(right)}', left) is not None


def _same_time(given: str, wanted: str) -> bool:
    """'4:30', '4:30 pm' for '4:30 pm'; '9:00 am' for '9 am'. A half of the day may be left out, not changed."""
    left, right = _TIME.fullmatch(given), _TIME.fullmatch(wanted)
    if not left or not right or not (left[2] or left[4]):
        return False
    clock = lambda time: [int(part or 0) for part in time.groups()[:3]]
    return clock(left) == clock(right) and left[4] in (right[4], None)
