"""A first, strict verdict: equal as exact numbers, or else as the same expression. Nothing is ever evaluated.

Under a reward, what the model writes is hostile text: so there is no parser of expressions here, numbers are
bounded in length, and every step is linear in the length of the text.
"""
import re
import unicodedata
from fractions import Fraction

MAX_LENGTH = 1000   # characters; a longer answer is compared as it stands
MAX_DIGITS = 60

_SIGNS = str.maketrans('\u2212\u2013\u2010\u2011\u2215\u2044', '----//')
_REMOVED = re.compile(r'\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[$!]|\$')
_SPACES = re.compile(r'\\[,;: ]|\\q?quad(?![a-zA-Z])|~|\s')
_TEXT = re.compile(r'\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|rm|bf)\s?\{([^{}]{0,200})\}')
_FRACTION_NAME = re.compile(r'\\[dt]frac(?![a-zA-Z])')
_SHORT_FRACTION = re.compile(r'\\frac ?([0-9]) ?([0-9])(?![0-9])')
# A space counts only where its loss would join two words or numbers.
_IDLE_SPACE = re.compile(r'(?<![0-9A-Za-z]) +| +(?![0-9A-Za-z])')
_NUMBER = re.compile(r'([+-]?)((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)')
_SLASH = re.compile(r'([+-]?)([0-9]+)/([+-]?)([0-9]+)')
_FRAC = re.compile(r'([+-]?)\\frac\{([+-]?)([0-9]+)\}\{([+-]?)([0-9]+)\}')


def equal(answer: str, reference: str) -> bool:
    """'0.50' and '\\frac{1}{2}', '1,000' and '1000', '(1, 2)' and '(1,2)' are equal; 'x+1', '1+x' are not."""
    answer, reference = normalise(answer), normalise(reference)
    left, right = number(answer), number(reference)
    if left is not None and right is not None:
        return left == right
    return bool(answer) and answer == reference


def normalise(text: str) -> str:
    """One spelling for what only looks different: full-width forms, signs, $, spaces, \\text{}, \\dfrac.

    ' $\\dfrac12$。' -> '\\frac{1}{2}'
    """
    if len(text) > MAX_LENGTH:
        return text
    text = ''.join(_narrow(character) for character in text).translate(_SIGNS)
    text = _REMOVED.sub('', text.replace('{,}', ','))
    text = _TEXT.sub(r'\1', text)
    text = re.sub(' +', ' ', _SPACES.sub(' ', text)).strip().rstrip('.。').strip()
    text = _IDLE_SPACE.sub('', text)
    return _SHORT_FRACTION.sub(r'\\frac{\1}{\2}', _FRACTION_NAME.sub(r'\\frac', text))


def number(text: str) -> Fraction | None:
    """The exact value of an integer, a decimal or a fraction in normal spelling; None for all else."""
    if len(text) > MAX_DIGITS:
        return None
    if match := _NUMBER.fullmatch(text):
        return _sign(match[1]) * Fraction(match[2].replace(',', '').rstrip('.'))
    if match := _SLASH.fullmatch(text):
        signs, over, under = match[1] + match[3], int(match[2]), int(match[4])
    elif match := _FRAC.fullmatch(text):
        signs, over, under = match[1] + match[2] + match[4], int(match[3]), int(match[5])
    else:
        return None
    return _sign(signs) * Fraction(over, under) if under else None


def _sign(signs: str) -> int:
    return -1 if signs.count('-') % 2 else 1


def _narrow(character: str) -> str:
    """NFKC for canonical, full- and half-width forms only: elsewhere it loses meaning (5² becomes 52)."""
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(('<wide>', '<narrow>')) or (decomposition and decomposition[0] != '<'):
        return unicodedata.normalize('NFKC', character)
    return character
