"""Multiple choice: letters named by a reference and by an output, in English and Chinese."""
import re

from mathrl.problems.normalise import narrow

LETTERS = 'ABCDEFGH'
MAX_READ = 2000     # characters of an answer
_WRAPPED = re.compile(r'\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf)|mbox|rm|bf|boxed|displaystyle)'
                      r'(?![a-zA-Z])|\\q?quad(?![a-zA-Z])|[{}$*`\\~]|<[^<>]{1,20}>')
_ONE = re.compile(rf'\(?\s*([{LETTERS}])\s*\)?')
_SEVERAL = re.compile(rf'(?:\(?[{LETTERS}]\)?(?:\s?(?:,|;|/|和|与|或|&|and|or)\s?|\s)?){{1,12}}')
_OPTION = re.compile(rf'(?:^|[\s(（]|\\textbf\{{\(|\\text\{{\(|\\mathrm\{{\()([{LETTERS}])\s?[.:)）、．：]')
_INDEFINITE = r'(?!(?<=A) (?!is |and |or )[a-z])'     # 'A circle' names no option
_ANSWER = re.compile(rf'(?:选项|选择|选|项|为|是|应|故|[:：\s]|(?i:the|correct|option|choice|answer|is)\b)*\(?\s?([{LETTERS}])'
                     rf'(?=$|\s?[).:,;]|\s|\((?=[\u4e00-\u9fff])|项|选项|是|正确|或|和|与){_INDEFINITE}')
_NAMED = re.compile(rf"(?<![a-zA-Z0-9_^])\(?([A-F])\)?(?![a-zA-Z0-9_^'(=+]){_INDEFINITE}")
_MORE = re.compile(r'\)?\s*(?:(?:,|;|/|或|和|与|也|可能|or|and|maybe|perhaps|possibly)\s*){1,3}'
                   rf'\(?([{LETTERS}])(?![a-zA-Z])')


def is_choice(reference: str, problem: str = '') -> bool:
    """'B', '\\text{(C)}', '(A)'; 'BD' and 'A, C' where the problem lists its options."""
    text = _plain(reference)
    if _ONE.fullmatch(text):
        return True
    return bool(_SEVERAL.fullmatch(text)) and len(set(_OPTION.findall(problem))) >= 3


def letters(text: str) -> frozenset[str]:
    """The letters of a reference: '\\text{(C)}' -> {C}, 'BD' -> {B, D}."""
    return frozenset(re.findall(f'[{LETTERS}]', _plain(text)))


def chosen(answer: str) -> frozenset[str] | None:
    """The letters that an answer names, None where it names none: '(C)', 'C. 5', '选项C' -> {C}; 'A or B' -> {A, B}.

    'A, B' is {A, B}: who names more than the reference is wrong.
    """
    text = _plain(answer)
    if _SEVERAL.fullmatch(text):
        return letters(text)
    if re.fullmatch(r'\(?[a-e]\)?', text):
        return letters(text.upper())
    if match := _ANSWER.match(text):
        return _with_others(match[1], text, match.end())
    named = set(_NAMED.findall(text))
    return frozenset(named) if len(named) == 1 else None


def _with_others(letter: str, text: str, place: int) -> frozenset[str]:
    """The first letter, with those that follow it as further choices: 'C or D', 'A, maybe B'."""
    found = {letter}
    while more := _MORE.match(text, place):
        found.add(more[1])
        place = more.end()
    return frozenset(found)


def _plain(text: str) -> str:
    return ' '.join(_WRAPPED.sub(' ', narrow(text[:MAX_READ])).split()).strip('.,;: ')
