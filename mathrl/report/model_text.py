r"""A model's text as HTML: fenced code as code, formulas as MathML, all the rest as it stands, escaped.

Formulas stand in $..$, $$..$$, \(..\), \[..\], \begin{align}..\end{align} and its like, or in a bare \boxed{..}.
"""
import re
from collections.abc import Iterator
from typing import NamedTuple

from mathrl.report.latex import ENVIRONMENTS, MAX_CHARACTERS, STYLE as FORMULA_STYLE, mathml
from mathrl.report.markup import escape

WIDE = 40   # an inline formula of more characters may be wider than a phone
_CODE = re.compile(r'```([a-zA-Z0-9+-]*)[ \t]*\n(.*?)(?:\n?```|\Z)', re.DOTALL)
_BEGIN = r'\\begin\{(' + '|'.join(map(re.escape, sorted(ENVIRONMENTS))) + r')\}'
_OPENING = re.compile(r'\\\\|\\\$|\\\(|\\\[|\$\$|\$|\\boxed ?\{|' + _BEGIN)
_CLOSING = {'\\(': '\\)', '\\[': '\\]', '$$': '$$'}
_DOLLAR = re.compile(r'(?<!\\)\$')
_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)

STYLE = FORMULA_STYLE + '''
.prose .display { display: block; overflow-x: auto; overflow-y: hidden; padding: 6px 0; white-space: normal; }
.prose .wide { display: inline-block; max-width: 100%; overflow-x: auto; overflow-y: hidden; vertical-align: middle; }
.prose .tex { font: 13px/1.5 var(--mono); color: var(--plain); }
.prose .code { white-space: pre; margin: 6px 0; background: var(--page); }
.prose .code i { display: block; font: 12px var(--sans); color: var(--soft); margin-bottom: 4px; }
'''


class Piece(NamedTuple):
    """kind: 'text', 'code', 'inline' or 'block' (formulas); source: as written; inside: the formula, or the code's language."""
    kind: str
    source: str
    inside: str = ''


def pieces(text: str) -> Iterator[Piece]:
    """The text in order; line breaks around code and display formulas are left out."""
    end = 0
    for code in _CODE.finditer(text):
        yield from _prose(text[end:code.start()].removesuffix('\n'))
        yield Piece('code', code[2], code[1])
        end = code.end() + (text[code.end():code.end() + 1] == '\n')
    yield from _prose(text[end:])


def to_html(text: str) -> str:
    r"""'So \(x<2\).' -> 'So <math …>…</math>.', to stand in an element of class prose."""
    return ''.join(piece_to_html(piece) for piece in pieces(text))


def piece_to_html(piece: Piece) -> str:
    match piece.kind:
        case 'text':
            return escape(piece.source)
        case 'code':
            label = f'<i>{escape(piece.inside)}</i>' if piece.inside else ''
            return f'<pre class="code">{label}{escape(piece.source)}</pre>'
    return _formula(piece.inside, piece.source, piece.kind == 'block')


def answer_to_html(answer: str) -> str:
    """A bare answer: a formula where it holds anything of LaTeX, else as it stands."""
    if answer.startswith(('$', '\\(', '\\[')):
        return ''.join(map(piece_to_html, _prose(answer)))
    drawn = mathml(answer) if re.search(r'[\\^_]', answer) else None
    return drawn or escape(answer)


def _prose(text: str) -> Iterator[Piece]:
    end, braces = 0, _closing_braces(text)
    while opening := _OPENING.search(text, end):
        start, (inner_end, after) = opening.start(), _extent(text, opening, braces)
        if after is None:
            yield Piece('text', text[end:opening.end()])
            end = opening.end()
            continue
        whole = opening[0].startswith(('\\begin', '\\boxed'))
        block = opening[0] in ('$$', '\\[') or opening[1] is not None
        source, before = text[start:after], text[end:start]
        yield Piece('text', before.rstrip() if block else before)
        yield Piece('block' if block else 'inline', source, source if whole else text[opening.end():inner_end])
        end = after
        if block:
            end += len(text[end:]) - len(text[end:].lstrip('\n'))
    yield Piece('text', text[end:])


def _formula(formula: str, source: str, block: bool) -> str:
    drawn = mathml(formula, block)
    if drawn is None:
        return f'<span class="tex{" display" if block else ""}">{escape(source)}</span>'
    if block:
        return f'<span class="display">{drawn}</span>'
    return f'<span class="wide">{drawn}</span>' if len(formula) > WIDE else drawn


def _extent(text: str, opening: re.Match, braces: dict[int, int]) -> tuple[int, int | None]:
    """Where the formula's inside ends, and where all of it; (0, None) where nothing opens or the end is missing."""
    start, limit = opening.end(), opening.end() + MAX_CHARACTERS
    if opening[0].startswith('\\boxed'):
        end = braces.get(start - 1)
        return (end, end + 1) if end is not None and end < limit else (0, None)
    if opening[0] == '$':
        dollar = _DOLLAR.search(text, start, limit)
        end = dollar.start() if dollar else start
        return (end, end + 1) if _is_inline(text[start:end], text[end + 1:end + 2]) else (0, None)
    closing = _CLOSING.get(opening[0]) or (f'\\end{{{opening[1]}}}' if opening[1] else None)
    end = -1 if closing is None else text.find(closing, start, limit)
    return (end, end + len(closing)) if end > start else (0, None)


def _is_inline(inside: str, following: str) -> bool:
    """Whether text between two dollars is a formula rather than prices: '$5 and $6'."""
    return not (inside.strip() != inside or not inside or '\n\n' in inside or following.isdigit())


def _closing_braces(text: str) -> dict[int, int]:
    """The place of each opening brace -> that of its closing one."""
    pairs, opened = {}, []
    for found in _BRACE.finditer(text):
        if found[0] == '{':
            opened.append(found.start())
        elif found[0] == '}' and opened:
            pairs[opened.pop()] = found.start()
    return pairs
