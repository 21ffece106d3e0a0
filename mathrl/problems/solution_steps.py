"""Where the steps of a solution end, by a stated rule: what process supervision rewards."""
import re

# lines: at a line break. sentences: there, and at the end of a sentence outside formulas. clauses: there, and at a comma or
# semicolon outside formulas and brackets with an equation in front of it, in its own step.
RULES = 'lines', 'sentences', 'clauses'

# A dollar sign that opens a formula has no space behind it; one that closes it has none in front and no digit behind:
# '$5. Then $6' is money (as in Pandoc's Markdown).
_FORMULA = re.compile(r'\$\$.+?\$\$|\$(?=[^\s$])(?:[^$\n\\]|\\.)*?(?<!\s)\$(?!\d)|\\\(.+?\\\)|\\\[.+?\\\]', re.DOTALL)
_SENTENCE = r'[.?]["\'”’)\]]*(?=\s|$)|!["\'”’)\]]*(?=\s|$)(?!\s*[-+*/=<>^×÷])|[。！？]["”’」』）]*'
_ENDS = {'lines': re.compile(r'\n'),
         'sentences': re.compile(rf'\n|{_SENTENCE}'),
         'clauses': re.compile(rf'\n|{_SENTENCE}|,(?=\s|$)|，|;(?=\s|$)|；')}
_COMMAS = ',，;；'
_NUMBERED = re.compile(r'\s*(?:\(?\d+|[A-Za-z])\.\s*')
_OPEN, _CLOSE = '([{（【', ')]}）】'


def step_ends(text: str, rule: str) -> list[int]:
    """The characters behind which steps end, in order; the last is the text's end, whatever stands there.

    '4+3=7, 6+2=8. It is 8.' -> [23] by lines, [13, 23] by sentences, [6, 13, 23] by clauses. A point inside a number, or
    behind the number of an item ('1. Add'), ends no sentence. White space is no step of its own: it begins the next one.
    """
    check_rule(rule)
    formulas = [found.span() for found in _FORMULA.finditer(text)] if rule != 'lines' else []
    last, ends, start = len(text.rstrip()), [], 0
    for found in _ENDS[rule].finditer(text):
        end = found.end()
        if end >= last:
            break
        if text[start:end].strip() and _ends_step(text, start, found, formulas):
            ends.append(end)
            start = end
    return ends + [len(text)]


def check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f'unknown rule of steps {rule!r}; there are: {", ".join(RULES)}')


def _ends_step(text: str, start: int, found: re.Match, formulas: list[tuple[int, int]]) -> bool:
    if found[0] == '\n':
        return True
    if any(first <= found.start() < behind for first, behind in formulas):
        return False
    step = text[start:found.end()]
    if found[0] in _COMMAS:
        return '=' in step and _depth(step) == 0
    return not _NUMBERED.fullmatch(step)


def _depth(step: str) -> int:
    """Brackets that are open at the step's end."""
    depth = 0
    for letter in step:
        depth = depth + (letter in _OPEN) - (letter in _CLOSE and depth > 0)
    return depth
