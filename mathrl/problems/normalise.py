"""One spelling for what only looks different: characters first, then LaTeX. Every step is linear in the text."""
import re
import unicodedata

_MARKS = {
    '−–—‐‑‒―': '-', '∕⁄': '/', '×✕': '\\times ', '·⋅∙•': '\\cdot ', '÷': '\\div ', '≤⩽≦': '\\le ', '≥⩾≧': '\\ge ',
    '≠': '\\ne ', '≈≒': '\\approx ', 'π': '\\pi ', '√': '\\sqrt ', '∞': '\\infty ', '°˚º℃': '^\\circ ',
    '∪': '\\cup ', '∩': '\\cap ', '∈': '\\in ', '±': '\\pm ', '∓': '\\mp ', '′’‘': "'", '、﹑': ',', '。': '.',
    '∅': '\\emptyset ', '⟨〈': '\\langle ', '⟩〉': '\\rangle ', '∣｜': '|', '“”「」': '', '₀': '_0', '￥¥': '',
    'α': '\\alpha ', 'β': '\\beta ', 'γ': '\\gamma ', 'θ': '\\theta ', 'λ': '\\lambda ', 'φϕ': '\\phi ',
    'ω': '\\omega ', '∠': '\\angle ', '△': '\\triangle ', 'ℝ': '\\mathbb{R}', 'ℤ': '\\mathbb{Z}', '∶': ':', '～': '~',
    '¢': '\\text{ cents}',
}
_TABLE = {ord(character): spelling for characters, spelling in _MARKS.items() for character in characters}
_TABLE |= {0x2460 + place: f'({place + 1})' for place in range(20)}                       # ① ... ⑳
_SUPERSCRIPTS = str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ', '0123456789+-n')
_SUBSCRIPTS = str.maketrans('₀₁₂₃₄₅₆₇₈₉', '0123456789')
_RAISED = re.compile('[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+')
_OCR = str.maketrans('雉', '锥')     # a slip in GAOKAO-Bench
_LOWERED = re.compile('[₀₁₂₃₄₅₆₇₈₉]+')

_THOUSANDS = re.compile(r'(?<=[0-9])(?:\{,\}|, ?\\!|\\,|\\ |\\!) ?(?=[0-9]{3}(?![0-9]))')
_SIZES = re.compile(r'\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|mathstrut|nolimits)(?![a-zA-Z])')
_POWER = re.compile(r'(?<=[0-9a-zA-Z)\]}])\s?\*\*\s?(?=[0-9a-zA-Z(\\-])')
_SYMPY_I = re.compile(r'\*\s?I(?![a-zA-Z])')
_UNSEEN = re.compile(r'\\[hv]?phantom\s*(?:\{[^{}]*\}|.)'
                     r'|\\(?:text)?color\s*\{[a-zA-Z]+\}|(?<=\\\\)\[[0-9.]+(?:em|ex|pt|mm|cm)\]')
_SPACES = re.compile(r'\\\\|\\[,;:!> ]|\\q?quad(?![a-zA-Z])|\\hspace\{[^{}]*\}|\\n(?![a-zA-Z])|~|\s+')
_DEGREE = re.compile(r'(?:\^\s*(?:\\circ(?![a-zA-Z])|\{\s*\\circ\s*\})|\\degree(?![a-zA-Z])|\\circ(?![a-zA-Z]))'
                     r'(?:\s*(?:[CF](?![a-zA-Z])|\\(?:text|mathrm|mbox)\s*\{[\s~]*[CF]\s*\}))?')
_NAMES = (
    (re.compile(r'\\[dtc]frac(?![a-zA-Z])'), r'\\frac'),
    (re.compile(r'\\[dt]binom(?![a-zA-Z])'), r'\\binom'),
    (re.compile(r'\\(?:text(?:bf|rm|it|normal|sf|tt)?|mbox|hbox)\s*\{'), r'\\text{'),
    (re.compile(r'\\(?:operatorname|mathop)\*?\s*\{\s*([a-zA-Z]+)\s*\}'), r'\\\1 '),
    (re.compile(r'\\(?:mathrm|mathbf|mathit|bf|rm)\s*\{[~\s]*([a-zA-Z])\s*\}'), r' \1'),
    (re.compile(r'\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}'), r'\\binom{\1}{\2}'),
    (re.compile(r'\\(?:mathrm|rm)\s*\{[~\s]*([a-zA-Z][a-zA-Z .]*[a-zA-Z.])\s*\}'), r'\\text{\1}'),
    (re.compile(r'\\(?:math(?:rm|bf|it|sf|cal)|boldsymbol|bold|bm|bf|rm|it|vec|overrightarrow)(?![a-zA-Z])'), ''),
    (re.compile(r'\\(?:leqslant|leq)(?![a-zA-Z])'), r'\\le'),
    (re.compile(r'\\(?:geqslant|geq)(?![a-zA-Z])'), r'\\ge'),
    (re.compile(r'\\neq(?![a-zA-Z])'), r'\\ne'),
    (re.compile(r'\\mathbb\s*\{?\s*R(?![a-zA-Z])\s*\}?|\\text\{\s*all real numbers\s*\}|all real numbers'),
     r'(-\\infty,\\infty)'),
    (re.compile(r'\\varnothing(?![a-zA-Z])'), r'\\emptyset'),
    (re.compile(r'\\(?:lbrace|lbrack|rbrace|rbrack|lvert|rvert|vert|mid)(?![a-zA-Z])'),
     lambda match: {'lbrace': '\\{', 'lbrack': '[', 'rbrace': '\\}', 'rbrack': ']'}.get(match[0][1:], '|')),
    (re.compile(r'(?<!\\)\\[()\[\]]|(?<!\\)\$|\*\*|\\mathstrut'), ' '),
    (re.compile(r'\\%'), '%'),
)
# As programs print them; 1e3 may be a product with e.
_FLOAT = re.compile(r'(?<![\w.])([0-9]+(?:\.[0-9]+|(?=[eE][+-])))[eE]\+?(-?[0-9]{1,4})(?![\w.])')
_ORDINAL = re.compile(r'(?<=[0-9])\s*(?:\^\s*\{\s*\\text\{\s*(?:st|nd|rd|th)\s*\}\s*\}|\^\s*\{\s*(?:st|nd|rd|th)\s*\}'
                      r'|(?:\^\s*)?\\text\{\s*(?:st|nd|rd|th)\s*\}|\^?(?:st|nd|rd|th)(?![a-zA-Z]))')
_OPENING_ZERO = re.compile(r'(?<![0-9.])0\. (?=[0-9])')
_STARTS, _ENDS = ' \t\n,;:*', ' \t\n.,;:*'


def narrow(text: str) -> str:
    """Full-width forms, signs and marks in ASCII or LaTeX; no invisible characters: '（１，２）' -> '(1,2)'.

    NFKC is applied to canonical, full- and half-width forms only: elsewhere it loses meaning ('5²' becomes '52').
    """
    if text.isascii():
        return re.sub('[\x00-\x08\x0b-\x1f\x7f]', ' ', text)
    text = _RAISED.sub(lambda match: '^{' + match[0].translate(_SUPERSCRIPTS) + '}', text)
    text = _LOWERED.sub(lambda match: '_{' + match[0].translate(_SUBSCRIPTS) + '}', text)
    return ''.join(map(_narrow, text)).translate(_TABLE).translate(_OCR)


def normalise(text: str) -> str:
    """LaTeX without layout: ' $\\dfrac12$。' -> '\\frac12'; '\\left( 1,\\, 2 \\right)' -> '( 1, 2 )'."""
    text = _THOUSANDS.sub('', narrow(text))
    text = _SIZES.sub('', _UNSEEN.sub('', text))
    text = text.replace('倍根号', '根号').replace('根号', '\\sqrt ').replace('\\$', ' \\usd ')
    text = _SYMPY_I.sub('*i', _POWER.sub('^', text))
    text = _DEGREE.sub(r' \\degree ', text)
    for pattern, spelling in _NAMES:
        text = pattern.sub(spelling, text)
    text = _FLOAT.sub(r'\1 \\times 10^{\2}', _ORDINAL.sub('', text))
    text = _OPENING_ZERO.sub('0.', _SPACES.sub(lambda match: {'\\\\': '\\\\', '\\!': ''}.get(match[0], ' '), text))
    return re.sub(' +', ' ', text).lstrip(_STARTS).rstrip(_ENDS)


def words(text: str) -> str:
    """A text answer in lower-case words: '\\text{ (East) }.' -> 'east'; '\\text{4:30 p.m.}' -> '4:30 pm'."""
    text = normalise(text).replace('\\text{', ' ').replace('\\usd', ' ')
    text = re.sub(r"[\"'`*]|\\[ ]?", ' ', re.sub('[{}]', '', text)).replace('.', '').casefold().strip()
    text = re.sub(r'^\(([^()]*)\)$', r'\1', text)
    text = re.sub(r'^\s*(?:the|an?)\s+', '', text)
    return ' '.join(re.sub(r'\s*([,:;])\s*', r'\1', text).split()).strip(_ENDS)


def _narrow(character: str) -> str:
    category = unicodedata.category(character)
    if category in ('Cf', 'Cc', 'Cs', 'Co', 'Cn') or '\ufe00' <= character <= '\ufe0f':
        return ' ' if character in '\n\t\r\x00' else ''
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(('<wide>', '<narrow>')) or (decomposition and decomposition[0] != '<'):
        return unicodedata.normalize('NFKC', character)
    if decomposition.startswith('<fraction>'):
        over, under = unicodedata.normalize('NFKC', character).split('\u2044')
        return f'\\frac{{{over}}}{{{under}}}' if under else character
    return ' ' if category == 'Zs' else character
