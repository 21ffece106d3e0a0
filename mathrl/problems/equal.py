"""Whether an answer says what the reference says, by the reference's type.

Exact where numbers are exact; no tolerance, no x100 for percents. See values.py for expressions.
"""
import re

from mathrl.problems import kinds, units
from mathrl.problems.latex_tokens import TooLarge
from mathrl.problems.nodes import Node
from mathrl.problems.normalise import normalise, words
from mathrl.problems.trees import Question, same

MAX_ANSWER = 4000    # characters
_IDLE_SPACE = re.compile(r'(?<![0-9]) +| +(?![0-9])')
_ORDERED = re.compile(r'in (?:increasing|ascending|descending|decreasing|that|this|the) order|ordered'
                      r'|from (?:least|smallest|greatest|largest)|respectively|依次|分别|从小到大|从大到小|顺序', re.IGNORECASE)
_THOUSANDS = re.compile(r'(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])')
_BRACKETS = {'(': 1, '[': 1, '\\{': 1, ')': -1, ']': -1, '\\}': -1}
_THOUSANDS_OR_BRACKET = re.compile(_THOUSANDS.pattern + r'|[()\[\]]|\\[{}]')
_PERCENT = re.compile(r'percent|百分|%', re.IGNORECASE)
_BASE = re.compile(r'\bbase\b|进制|\$_|_\{?[0-9]|\bbinary\b|\boctal\b', re.IGNORECASE)
_WORDS = re.compile(r'[A-Za-z]?[a-z]{2,}(?: [a-z]+)*')
_HAN = re.compile('[\u4e00-\u9fff]{2}')
_NOTHING = {word: group for group, members in {
    'no solution': 'no solution|no solutions|no real solution|no real solutions|empty set|\\emptyset|无解|方程无解|空集|none',
    'undefined': 'undefined|does not exist|dne|不存在',
}.items() for word in members.split('|')}


def question(problem: str) -> Question:
    return Question(bool(_ORDERED.search(problem)), bool(_PERCENT.search(problem)), bool(_BASE.search(problem)))


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
    parts = [part for part in re.split(r'\\?#\s*\\?#', reference) if part.strip()]   # GAOKAO-Bench: '0.3 ## 3/10'
    if len(parts) > 1:
        return any(equal(answer, part, problem) for part in parts)
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
        return same_text(answer, reference) or _half_day(left, right)
    return left is not None and (same(left, right, asked) or same(_lettered(left), _lettered(right), asked))


def _lettered(tree: Node) -> Node:
    """'10 m' as ten metres, where its other reading, ten times m, did not do."""
    if tree.op == 'product' and len(tree.args) == 2 and tree.args[0].op == 'number' and tree.args[1].op == 'name':
        if tree.args[1].args[0] in units.LETTERS:
            return Node('measured', (tree.args[0], tree.args[1].args[0]))
    return tree


def same_text(answer: str, reference: str) -> bool:
    left, right = words(answer), words(reference)
    if left == right:
        return bool(left)
    if _NOTHING.get(right) is not None and _NOTHING.get(left) == _NOTHING[right]:
        return True
    if _HAN.search(right) and right in left and len(left) <= len(right) + 4:     # 分层抽样 in 分层抽样法
        return not re.search('[不非没,]', left.replace(right, '', 1))
    if ',' in right:
        return sorted(re.split(r'[,;]| and ', left)) == sorted(re.split(r'[,;]| and ', right))
    return bool(right) and re.fullmatch(rf'(?:the answer is |answer:|it is |on )?{re.escape(right)}', left) is not None


def _half_day(left: Node | None, right: Node | None) -> bool:
    """'4:30' for '4:30 pm': a time of day may leave out its half of the day, not change it."""
    if left is None or right is None or not left.op == right.op == 'ratio':
        return False
    return left.args == (*right.args[:-1], *right.args[-1].args[:1])
