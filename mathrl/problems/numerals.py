"""Numbers in Chinese characters and English words, written in digits."""
import re

_DIGITS = {character: value for value, characters in enumerate(
    ('零〇', '一壹', '二贰两', '三叁', '四肆', '五伍', '六陆', '七柒', '八捌', '九玖')) for character in characters}
_TENS = {'十': 10, '拾': 10, '百': 100, '佰': 100, '千': 1000, '仟': 1000}
_MYRIADS = {'万': 10 ** 4, '亿': 10 ** 8}
_RUN = f'[{"".join((*_DIGITS, *_TENS, *_MYRIADS))}]{{1,30}}'
_NUMBER = rf'(?:{_RUN}(?:点[{"".join(_DIGITS)}]{{1,20}})?)'
_EITHER = rf'(?:{_NUMBER}|[0-9]+(?:\.[0-9]+)?)'
_PERCENT = re.compile(rf'百分之({_EITHER})')
_FRACTION = re.compile(rf'({_EITHER})分之({_EITHER})')
_CHINESE = re.compile(_NUMBER)
_SCALED = re.compile(r'([0-9]+(?:\.[0-9]+)?) ?([万亿]{1,2})')
WORDS = {word: value for value, word in enumerate(
    'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen '
    'eighteen nineteen twenty'.split())}


def to_digits(text: str) -> str:
    """'三十二' -> '32'; '百分之二十' -> '20%'; '三分之二' -> '\\frac{2}{3}'; '1.5万' -> '15000'."""
    if not re.search('[零〇一二两三四五六七八九十百千万亿壹贰叁肆伍陆柒捌玖拾佰仟]', text):
        return text
    text = _PERCENT.sub(lambda match: _digits(match[1]) + '%', text)
    text = _FRACTION.sub(lambda match: f'\\frac{{{_digits(match[2])}}}{{{_digits(match[1])}}}', text)
    text = _SCALED.sub(_scaled, text)
    return _CHINESE.sub(lambda match: _digits(match[0]), text)


def chinese_number(text: str) -> int | None:
    """'三百零五' -> 305, '二〇二四' -> 2024; None where the characters make no number ('十百')."""
    if all(character in _DIGITS for character in text):
        return int(''.join(str(_DIGITS[character]) for character in text)) if text else None
    total, section, digit, last = 0, 0, None, 10 ** 9
    for character in text:
        if character in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[character]
        elif character in _TENS:
            place = _TENS[character]
            if place >= last or (digit is None and (section or place != 10)):
                return None
            section, digit, last = section + (1 if digit is None else digit) * place, None, place
        else:
            total = (total + section + (digit or 0)) * _MYRIADS[character]
            if not total:
                return None
            section, digit, last = 0, None, 10 ** 9
    return total + section + (digit or 0)


def english_number(word: str) -> int | None:
    """'four' -> 4, up to twenty."""
    return WORDS.get(word.casefold())


def _digits(text: str) -> str:
    if text[0] in '0123456789':
        return text
    whole, _, decimals = text.partition('点')
    value = chinese_number(whole)
    if value is None:
        return text
    return str(value) + ('.' + ''.join(str(_DIGITS[one]) for one in decimals) if decimals else '')


def _scaled(match: re.Match) -> str:
    whole, _, decimals = match[1].partition('.')
    places = 4 * match[2].count('万') + 8 * match[2].count('亿')
    if len(decimals) > places:
        return match[0]
    return (whole + decimals.ljust(places, '0')).lstrip('0') or '0'
