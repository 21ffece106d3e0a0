"""A page's text as the line of tokens that fastText sees: words, formulas, concepts, code.

Departs from the paper, which gives fastText the text: a formula becomes a token of its own and of its commands,
a term of mathematics also the token of its concept in any language, and code is one token a block, since code is
what a bag of words takes for mathematics. The words of a language can be left out where nothing is known of it.
"""
import re

from resiliparse.parse.lang import detect_fast

from mathrl.mining.glossary import CONCEPT_OF_STRING, CONCEPT_OF_WORD, EAST_ASIAN, STRINGS

MARK = '\ue000'            # opens every token that is no word; it cannot stand in a text (private use)
MAX_CHARACTERS = 20_000    # what comes later in a page is not looked at
MAX_TOKENS, HEAD_TOKENS = 400, 240   # of a page, and of its first half if it is long
COMMANDS_PER_FORMULA = 6
CHARACTERS_PER_TOKEN = (7, 4)   # about, without and with East Asian writing: a guess at how far to read
LEAST_SUMMARIES = 4        # of a short page, whose few words say little
TOKENS_PER_SUMMARY = 12    # how often the densities are repeated: fastText averages over tokens

# Lengths are bounded, so that unclosed delimiters cost no quadratic time. A pattern whose every alternative begins with
# a character lets `re` skip to it, so a lookbehind stands after the `$` that it is about.
_FORMULA = re.compile(
    r'\$\$.{1,2000}?\$\$|\\\(.{1,1000}?\\\)|\\\[.{1,2000}?\\\]'
    r'|\\begin\{([a-z]{3,12}\*?)\}.{1,2000}?\\end\{\1\}'
    r'|\$(?<![\\$\w]\$)(?=[^\s$])[^$\n]{1,300}+(?<=[^\s\\])\$(?![\d$])', re.DOTALL)
_COMMAND = re.compile(r'[\\=<>+^_](?:(?<=\\)[a-zA-Z]{2,}|(?<!\\))')
_TOKEN = re.compile(rf'[a-z]+[^\W\d_]*|[{EAST_ASIAN}]|\d+|[^\W\d_]+')
_TYPOGRAPHY = '\u2019\u201c\u201d\u2013\u2014\u2018\u2026\xa0\u2022\xb7'   # often all of an English text that is not ASCII
_ASCII = {code: '0' if chr(code).isdigit() else chr(code).lower() if chr(code).isalpha() else ' ' for code in range(128)}
_DIGITS = re.compile('0+')
_SPACE = re.compile(r'\s')
_EAST_ASIAN, _KANA, _HANGUL = (
    re.compile(f'[{script}][{script}]*+') for script in (EAST_ASIAN, '\u3040-\u30ff', '\uac00-\ud7af'))   # runs of them
_SYMBOLS = {'=': 'eq', '<': 'lt', '>': 'gt', '+': 'plus', '^': 'sup', '_': 'sub'}
_CODE_MARK = f'{MARK}code'
_MARKS = {_CODE_MARK: _CODE_MARK} | {word: f'{MARK}is_{concept}' for word, concept in CONCEPT_OF_WORD.items()}


def _without_code(text: str, instead: str) -> str:
    if '```' not in text:
        return text
    parts = f'\n{text}'.split('\n```')   # by turns outside and inside of a block
    unclosed = instead if len(parts) % 2 == 0 else ''
    return f'\n{instead}'.join(parts[::2])[1:] + unclosed


def language(text: str) -> str:
    """ISO 639-1 code of a text's language, formulas and code aside; 'unknown' where nothing can be told.

    '设 $x$ 是实数' -> 'zh'; by script for Chinese, Japanese and Korean, else as Resiliparse's n-grams say.
    """
    text = _without_code(text[:2 * 2000], ' ')
    text = (_FORMULA.sub(' ', text) if _may_hold_formulas(text) else text)[:2000]
    if not any(map(str.isalpha, text)):
        return 'unknown'
    east_asian = 0 if text.isascii() else _count(_EAST_ASIAN, text)
    if east_asian and east_asian > 0.2 * sum(map(str.isalpha, text)):
        if _count(_HANGUL, text) > 0.3 * east_asian:
            return 'ko'
        return 'ja' if _count(_KANA, text) > 0.1 * east_asian else 'zh'
    return detect_fast(text)[0]


def _count(runs: re.Pattern, text: str) -> int:
    return sum(map(len, runs.findall(text)))


def _may_hold_formulas(text: str) -> bool:
    """Whether it is worth searching: one character is found in a fiftieth of the time that a pattern takes."""
    return '$' in text or '\\' in text


def _formula_marks(formula: str) -> list[str]:
    commands = _COMMAND.findall(formula)[:COMMANDS_PER_FORMULA]
    return [f'{MARK}formula', *[MARK + (_SYMBOLS.get(name) or name[1:].lower()) for name in commands]]


def _density(count: int, words: int) -> int:
    """0 for none, else 1 to 5 by powers of 3: below 1 %, 3 %, 9 %, 27 %, above."""
    share = count / max(words, 20)
    return 0 if not count else 1 + sum(share >= limit for limit in (.01, .03, .09, .27))


def tokens(text: str) -> tuple[list[str], list[str]]:
    """(words, marks) of a page: its words, numbers as 0, and the tokens that hold in any language.

    'Let $x^2 = 4$.' -> (['let'], ['\\ue000formula', '\\ue000sup', '\\ue000eq', '\\ue000is_suppose', densities...])
    """
    text = _without_code(text[:MAX_CHARACTERS].replace(MARK, ' '), f' {_CODE_MARK} ')
    words, marks, formulas, concepts, taken = [], [], 0, 0, 0
    east_asian = not text.isascii() and _EAST_ASIAN.search(text)
    size = CHARACTERS_PER_TOKEN[bool(east_asian)]
    for part, most in _parts(text):
        formulas_here, concepts_here, taken_here = _read(part, most - taken, size, words, marks)
        formulas, concepts, taken = formulas + formulas_here, concepts + concepts_here, taken + taken_here
    length = len(words)
    if east_asian:
        spelled = _FORMULA.sub(lambda match: f' {" ".join(_formula_marks(match[0]))} ', text)
        strings = STRINGS.findall(spelled[:2 * MAX_TOKENS])
        marks += [f'{MARK}is_{CONCEPT_OF_STRING[term]}' for term in strings]
        concepts += len(strings)
        length = sum(1 for word in words if word > '\u3040') // 2 + sum(1 for word in words if word <= '\u3040')
    summary = [f'{MARK}formulas{_density(formulas, length)}', f'{MARK}concepts{_density(concepts, length)}']
    return words, marks + summary * max(LEAST_SUMMARIES, taken // TOKENS_PER_SUMMARY)


def _parts(text: str) -> list[tuple[str, int]]:
    """A text, or the halves of a longer one: a page may come to its mathematics late. With each, how many tokens may
    have been taken after it."""
    half = _SPACE.search(text, len(text) // 2) if len(text) > 4 * MAX_TOKENS else None
    return [(text[:half.start()], HEAD_TOKENS), (text[half.start():], MAX_TOKENS)] if half else [(text, MAX_TOKENS)]


def _read(text: str, room: int, size: int, words: list[str], marks: list[str]) -> tuple[int, int, int]:
    """Appends the first `room` tokens of a text to words and marks; returns (formulas, concepts, tokens) among them."""
    formulas, concepts, left, end = 0, 0, room, 0
    for formula in _FORMULA.finditer(text) if _may_hold_formulas(text) else ():
        found = _between(text, end, formula.start(), left, size)
        concepts += _sort(found, words, marks)
        left -= len(found)
        if left <= 0:
            break
        found, end = _formula_marks(formula[0])[:left], formula.end()
        marks += found
        formulas += 1
        left -= len(found)
    else:
        found = _between(text, end, len(text), left, size)
        concepts += _sort(found, words, marks)
        left -= len(found)
    return formulas, concepts, room - left


def _between(text: str, start: int, end: int, room: int, size: int) -> list[str]:
    """The first `room` tokens of text[start:end], of which, at `size` characters a token, little more is looked at."""
    found = []
    while start < end and len(found) < room:
        space = _SPACE.search(text, start + max(size * (room - len(found)), 200), end)
        stop = space.start() if space else end
        found += _split(text[start:stop])
        start = stop
    return found[:room]


def _split(text: str) -> list[str]:
    """All tokens of a text, lower-case, numbers as 0."""
    first, *rest = text.split(_CODE_MARK) if _CODE_MARK in text else (text,)
    found = _words(first)
    for part in rest:
        found.append(_CODE_MARK)
        found += _words(part)
    return found


def _words(text: str) -> list[str]:
    plain = text
    if not text.isascii():
        for character in _TYPOGRAPHY:
            plain = plain.replace(character, ' ')
    if not plain.isascii():
        found = _TOKEN.findall(text.lower())
        return ['0' if not token.isalpha() and token[0].isdigit() else token for token in found]
    plain = plain.translate(_ASCII)   # as the pattern does it, in a third of the time
    return (_DIGITS.sub(' 0 ', plain) if '0' in plain else plain).split()


def _sort(found: list[str], words: list[str], marks: list[str]) -> int:
    """Appends tokens to words and, code and concepts, to marks; returns the number of concepts."""
    blocks, before = found.count(_CODE_MARK), len(marks)
    marks += filter(None, map(_MARKS.get, found))
    if blocks:
        found = [token for token in found if token != _CODE_MARK]
    words += found
    return len(marks) - before - blocks


def line(text: str, with_words: bool = True) -> list[str]:
    """The tokens of the line for the classifier; none where words do not count and nothing else is there."""
    words, marks = tokens(text)
    if with_words:
        return words + marks
    return marks if len(set(marks)) > 2 else []   # the densities, both none
