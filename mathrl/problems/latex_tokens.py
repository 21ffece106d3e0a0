"""LaTeX and plain formulas cut into tokens. Text only: nothing here has a value yet."""
import dataclasses
import re

from mathrl.problems.units import is_unit

MAX_LENGTH = 2000     # characters of an answer that is still read
MAX_TOKENS = 600
MAX_DIGITS = 400      # of one number


class Unreadable(ValueError):
    """The text is no formula that is understood here."""


class TooLarge(ValueError):
    """The formula is understood, and is larger than what is looked into."""


@dataclasses.dataclass(frozen=True)
class Token:
    """kind: number, name, function, command, word, unit, mark; `spaced`: white space stood before it."""
    kind: str
    text: str
    spaced: bool = False


GREEK = frozenset('\\' + name for name in (
    'alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi '
    'chi psi omega Delta Gamma Omega Phi Psi Sigma Theta Lambda ell hbar').split())
ARGUMENTS = GREEK | {'\\pi', '\\sqrt'}       # go on with the argument of a function that has no brackets
ACCENTS = frozenset(('\\overline', '\\bar', '\\hat', '\\widehat', '\\tilde', '\\dot', '\\underline', '\\boxed'))
PERIODS = ('\\overline', '\\dot', '\\bar')      # over the digits that repeat
LABELS = frozenset(('\\triangle', '\\angle', '\\mathbb', '\\circ', '\\square', '\\emptyset'))
FUNCTIONS = ('arcsin', 'arccos', 'arctan', 'arccot', 'sinh', 'cosh', 'tanh', 'sin', 'cos', 'tan', 'cot', 'sec', 'csc',
             'ln', 'log', 'lg', 'exp')
_PLAIN = {'sqrt': '\\sqrt', 'pi': '\\pi', 'infinity': '\\infty', 'infty': '\\infty', 'inf': '\\infty', 'oo': '\\infty',
          'theta': '\\theta', 'alpha': '\\alpha', 'beta': '\\beta'}
_RELATIONS = {'\\le': '<=', '\\ge': '>=', '\\lt': '<', '\\gt': '>', '\\ne': '!=', '\\approx': '~', '\\in': 'in',
              '\\equiv': '=', '\\to': '->', '\\rightarrow': '->', '\\simeq': '~', '\\sim': '~', '\\doteq': '~'}
_MARKS = {'\\cdot': '*', '\\times': '*', '\\ast': '*', '\\div': '/', '\\pm': '+-', '\\mp': '-+', '\\{': '\\{',
          '\\}': '\\}', '\\langle': '(', '\\rangle': ')', '\\cup': '\\cup', '\\|': '|', '\\#': ';',
          '\\colon': ':', '\\&': ',', '\\land': ',', '\\wedge': ',', '\\lor': ',', '\\vee': ',', '\\\\': '\\\\'}
_SIZES = frozenset(('sq', 'cu', 'square', 'cubic', 'per', 'unit', 'units'))
_SEPARATING = frozenset(('and', 'or', '和', '或', '与', '及', '以及', '或者', '且', ''))
_TOKEN = re.compile(r'''
    (?P<space>\s+)
  | (?P<text>\\text\{(?P<inside>[^{}]*)\})
  | (?P<command>\\[a-zA-Z]+|\\.)
  | (?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
  | (?P<letters>[a-zA-Z]+)
  | (?P<han>[㐀-鿿]+)
  | (?P<mark><=|>=|!=|=>|->|==|[-+*/^_=<>()\[\]{}|,;:!%&'.~?])
''', re.VERBOSE | re.DOTALL)


def tokenise(text: str) -> tuple[Token, ...]:
    """'2\\sin x\\text{ cm}' -> number 2, function sin, name x, unit cm. Raises Unreadable, TooLarge."""
    if len(text) > MAX_LENGTH:
        raise TooLarge(f'{len(text)} characters; at most {MAX_LENGTH} are read')
    tokens, place, spaced = [], 0, False
    while place < len(text):
        match = _TOKEN.match(text, place)
        if not match:
            raise Unreadable(f'{text[place]!r} is no part of a formula')
        place = match.end()
        if match['space']:
            spaced = True
            continue
        tokens += _tokens(match, spaced, tokens)
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooLarge(f'more than {MAX_TOKENS} tokens')
    return tuple(tokens)


def _tokens(match: re.Match, spaced: bool, before: list[Token]) -> list[Token]:
    kind, found = match.lastgroup if match.lastgroup != 'inside' else 'text', match[0]
    if kind == 'number':
        if len(found) > MAX_DIGITS:
            raise TooLarge(f'a number of {len(found)} digits')
        return [Token('number', found, spaced)]
    if match['text'] is not None:
        return _words(match['inside'], spaced)
    if kind == 'han':
        return _words(found, spaced)
    if kind == 'letters':
        return _letters(found, spaced, before)
    if kind == 'mark':
        return [] if found == '~' else [Token('mark', '=' if found == '==' else found, spaced)]
    return [_command(found, spaced)]


def _command(found: str, spaced: bool) -> Token:
    name = found[1:]
    if name in FUNCTIONS:
        return Token('function', name, spaced)
    if found in _RELATIONS:
        return Token('mark', _RELATIONS[found], spaced)
    if found in _MARKS:
        return Token('mark', _MARKS[found], spaced)
    if found in ('\\usd', '\\degree'):
        return Token('unit', name, spaced)
    if found == '\\text':
        raise Unreadable('text in text')
    return Token('command', found, spaced)


def _words(inside: str, spaced: bool) -> list[Token]:
    """Text inside a formula: \\text{ and } -> ',', \\text{ to } -> ':'; a variable's letter, a unit or words."""
    content = inside.strip()
    bare = content.strip(' ,;，').casefold()
    if bare in _SEPARATING:
        return [Token('mark', ',', spaced)] if content else []
    if bare == 'to':
        return [Token('mark', ':', spaced)]
    if is_unit(content):
        return [Token('unit', content, spaced)]
    if re.fullmatch('[a-zA-Z]', content):
        return [Token('name', content, spaced)]
    if re.fullmatch(r'-?[0-9]+(?:\.[0-9]+)?', content):
        return list(tokenise(content))
    return [Token('word', content, spaced)]


def _letters(found: str, spaced: bool, before: list[Token]) -> list[Token]:
    """A run of letters outside of \\text: words, functions or a product of variables: 'xln' -> x, ln."""
    after_value = bool(before) and (before[-1].kind in ('number', 'name', 'unit') or before[-1].text in ')]}%|')
    if found in ('and', 'or'):
        return [Token('mark', ',', spaced)]
    if found in ('in', 'I') and not spaced:
        return [Token('name', letter) for letter in found]
    if len(found) > 1 and after_value and is_unit(found):
        return [Token('unit', found, spaced)]
    if found in _SIZES and before:
        return [Token('unit', found, spaced)]
    if len(found) >= 4 and (spaced or not before) and not _begins_with_function(found):
        return [Token('word', found, spaced)]
    tokens, place = [], 0
    while place < len(found):
        name = next((name for name in (*FUNCTIONS, *_PLAIN) if found.startswith(name, place)), None)
        if name in FUNCTIONS:
            tokens.append(Token('function', name, spaced))
        elif name:
            tokens.append(_command(_PLAIN[name], spaced))
        else:
            tokens.append(Token('name', found[place], spaced))
        place += len(name or found[place])
    return tokens


def _begins_with_function(letters: str) -> bool:
    """'sinx', 'pir', 'sqrt', no 'pieces', 'single'."""
    return any(letters.startswith(name) and len(letters) <= len(name) + 1 for name in (*FUNCTIONS, *_PLAIN))
