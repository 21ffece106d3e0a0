"""What a reference is: the answer's type decides how an output is read and compared."""
import re

from mathrl.problems import choices
from mathrl.problems.latex_parser import parse
from mathrl.problems.latex_tokens import MAX_LENGTH, Unreadable
from mathrl.problems.nodes import Node
from mathrl.problems.normalise import normalise
from mathrl.problems.numerals import english_number, to_digits

_REMARK = re.compile(r'(?<=.)\s*\((?=[^()]*[\u4e00-\u9fff])[^()]*\)$')
_STEP = re.compile(r'=|\\(?:Rightarrow|implies|Longrightarrow|therefore)(?![a-zA-Z])')
_MODULUS = re.compile(r'\s*(?:\\[pb]?mod(?![a-zA-Z])|\(?\s*\\text\{\s*\(?mod\s*\}|\(mod(?= ))'
                      r'\s*\{?\s*[0-9a-z]+\s*\}?\s*\)?$')
_BASE = re.compile(r'\(?([0-9]+)\)?\s*(?:_\s*\{?|\()?\s*(?:\\text\{\s*)?\(?(?:in )?base ?\}?\s*([0-9]+|[a-z]+)[\s})]*')
_LABELS = re.compile(r'(?:\(([0-9]{1,2})\)[ ,和与及]*){2,}')


def kind(reference: str, problem: str = '') -> str:
    """'choice', 'labels', 'text', 'number' or 'math'.

    'B' -> 'choice'; '(2)(3)' -> 'labels'; '\\text{east}' -> 'text'; '42' -> 'number'; '(3,4]' -> 'math'.
    """
    if choices.is_choice(reference, problem):
        return 'choice'
    text = normalise(reference)
    if _LABELS.fullmatch(text):
        return 'labels'
    tree = tree_of(reference)
    if tree is None or is_text(tree):
        return 'text'
    while tree.op in ('measured', 'percent', 'negative'):
        tree = tree.args[0]
    return 'number' if tree.op == 'number' else 'math'


def tree_of(text: str) -> Node | None:
    """The tree of an answer as it was written; None where it is no formula. Raises TooLarge.

    Of a chain that cannot be read, its last part: '\\int_0^1 x dx = \\frac{1}{2}' -> that of '\\frac{1}{2}'.
    """
    text = _items(to_digits(normalise(text)))
    word = english_number(re.sub(r'\\text|[{} ]', '', text))
    try:
        return parse(str(word) if word is not None else text) if text else None
    except Unreadable:
        last = _STEP.split(text)[-1]
        return tree_of(last) if last != text else None


def is_prose(text: str) -> bool:
    """Whether a text is no formula, or has words where only a formula's parts may stand: 'she has 9 left'."""
    tree = None if len(text) > MAX_LENGTH else tree_of(text)
    return tree is None or _has_words(tree)


def _has_words(tree: Node) -> bool:
    return tree.op == 'word' or any(_has_words(one) for one in tree.args if isinstance(one, Node))


def _items(text: str) -> str:
    """Blanks without their numbers, remarks, a modulus, a brace too many: '(1). 5; (2). 6' -> '5; 6'.

    '2 (满足x>1皆可)' -> '2'; '5 \\pmod 7' -> '5'; a base in words as an index: '101 (\\text{base } 2)' -> '101_{2}'.
    """
    text = _MODULUS.sub('', _REMARK.sub('', text))
    if base := _BASE.fullmatch(text):
        text = f'{base[1]}_{{{base[2]}}}'
    text = re.sub(r'^\(([0-9]+)\)\s*_', r'\1_', text)
    if text.endswith('}') and text.count('}') - text.count('\\}') > text.count('{') - text.count('\\{'):
        text = text[:-1]
    if set_builder := re.fullmatch(r'\{(\s?[a-z]\s?\|.*)\}', text):
        text = f'\\{{{set_builder[1]}\\}}'
    if re.fullmatch('[0-9]{1,3}(?: [0-9]{3})+', text):
        text = text.replace(' ', '')
    if re.search(r'\(1\).*[^,;.\s].*\(2\)', text) and not _LABELS.fullmatch(text):
        text = re.sub(r'[,;\s]*\([1-9]\)\s*\.?', ';', text).strip('; ')
    return text


def is_text(tree: Node) -> bool:
    """Whether a tree is words: 'east', 'Softball, Kickball', '4:30 p.m.'."""
    if tree.op in ('word',):
        return True
    if tree.op == 'measured':
        return tree.args[0].op in ('word', 'ratio') or bool(re.match(r'[ap]\.?m\b', tree.args[1].casefold()))
    return tree.op in ('list', 'ratio') and any(is_text(one) for one in tree.args)


def labels(text: str) -> frozenset[int] | None:
    """The numbers of statements: '(2)(3)', '②③正确', '(2)和(3)', '2,3', '23' -> {2, 3}; None where more is said."""
    text = normalise(text)
    joined = re.fullmatch('[1-9]{2,9}', text)
    found = joined[0] if joined else re.findall(r'\(([0-9]{1,2})\)', text) or re.findall('[0-9]{1,2}', to_digits(text))
    other = re.sub(r'[0-9()\s,;\u4e00-\u9fff]|\\text|[{}]|and', '', text)
    if other or not found or re.search('[不非没无错假误]', text):
        return None
    return frozenset(map(int, found))
