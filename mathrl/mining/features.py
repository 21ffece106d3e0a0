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
MAX_TOKENS = 600
COMMANDS_PER_FORMULA = 6
LEAST_SUMMARIES = 4        # of a short page, whose few words say little
TOKENS_PER_SUMMARY = 12    # how often the densities are repeated: fastText averages over tokens

# Lengths are bounded, so that unclosed delimiters cost no quadratic time.
_FORMULA = re.compile(
    r'\$\$(.{1,2000}?)\$\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,2000}?)\\\]'
    r'|\\begin\{([a-z]{3,12}\*?)\}.{1,2000}?\\end\{\4\}'
    r'|(?<![\\$\w])\$(?=[^\s$])[^$\n]{1,300}?(?<=[^\s\\])\$(?![\d$])', re.DOTALL)
_CODE = re.compile(r'^```.*?(?:^```|\Z)', re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r'\\[a-zA-Z]{2,}|[=<>+^_]')
_TOKEN = re.compile(rf'{MARK}\w+|[{EAST_ASIAN}]|\d+|[^\W\d_]+')
_EAST_ASIAN = re.compile(f'[{EAST_ASIAN}]')
_SYMBOLS = {'=': 'eq', '<': 'lt', '>': 'gt', '+': 'plus', '^': 'sup', '_': 'sub'}


def language(text: str) -> str:
    """ISO 639-1 code of a text's language, formulas and code aside; 'unknown' where nothing can be told.

    '设 $x$ 是实数' -> 'zh'; by script for Chinese, Japanese and Korean, else as Resiliparse's n-grams say.
    """
    text = _FORMULA.sub(' ', _CODE.sub(' ', text[:4 * 2000]))[:2000]
    letters = sum(map(str.isalpha, text))
    east_asian = ''.join(_EAST_ASIAN.findall(text))
    if not letters:
        return 'unknown'
    if len(east_asian) > 0.2 * letters:
        kana = sum('\u3040' <= character <= '\u30ff' for character in east_asian)
        hangul = sum('\uac00' <= character for character in east_asian)
        if hangul > 0.3 * len(east_asian):
            return 'ko'
        return 'ja' if kana > 0.1 * len(east_asian) else 'zh'
    return detect_fast(text)[0]


def _formula_tokens(match: re.Match) -> str:
    commands = _COMMAND.findall(match[0])[:COMMANDS_PER_FORMULA]
    return ''.join([f' {MARK}formula', *(f' {MARK}{_SYMBOLS.get(name, name[1:])}' for name in commands), ' '])


def _density(count: int, words: int) -> int:
    """0 for none, else 1 to 5 by powers of 3: below 1 %, 3 %, 9 %, 27 %, above."""
    share = count / max(words, 20)
    return 0 if not count else 1 + sum(share >= limit for limit in (.01, .03, .09, .27))


def tokens(text: str) -> tuple[list[str], list[str]]:
    """(words, marks) of a page: its words, numbers as 0, and the tokens that hold in any language.

    'Let $x^2 = 4$.' -> (['let'], ['\\ue000formula', '\\ue000sup', '\\ue000eq', '\\ue000is_suppose', densities...])
    """
    text = _CODE.sub(f' {MARK}code ', text[:MAX_CHARACTERS].replace(MARK, ' '))
    text = _FORMULA.sub(_formula_tokens, text)
    found = _TOKEN.findall(text.lower())[:MAX_TOKENS]
    words, marks, formulas, concepts = [], [], 0, 0
    for token in found:
        if token[0] == MARK:
            marks.append(token)
            formulas += token == f'{MARK}formula'
        elif token[0].isdigit():
            words.append('0')
        else:
            words.append(token)
            concept = CONCEPT_OF_WORD.get(token)
            if concept:
                marks.append(f'{MARK}is_{concept}')
                concepts += 1
    length = len(words)
    if _EAST_ASIAN.search(text):
        strings = STRINGS.findall(text[:2 * MAX_TOKENS])
        marks += [f'{MARK}is_{CONCEPT_OF_STRING[term]}' for term in strings]
        concepts += len(strings)
        length = sum(1 for word in words if word > '\u3040') // 2 + sum(1 for word in words if word <= '\u3040')
    summary = [f'{MARK}formulas{_density(formulas, length)}', f'{MARK}concepts{_density(concepts, length)}']
    return words, marks + summary * max(LEAST_SUMMARIES, len(found) // TOKENS_PER_SUMMARY)


def line(text: str, with_words: bool = True) -> str:
    """The line for fastText."""
    words, marks = tokens(text)
    return ' '.join(words + marks if with_words else marks)
