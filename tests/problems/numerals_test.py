"""Chinese numerals and English number words."""
import pytest

from mathrl.problems.numerals import chinese_number, english_number, to_digits


def spelled(number: int) -> str:
    """The usual spelling below one hundred million, by place."""
    digits, result = '零一二三四五六七八九', ''
    for scale, name in ((10_000, '万'), (1, '')):
        part = number // scale % 10_000
        if not part:
            continue
        if result and part < 1000:
            result += '零'
        gap = False
        for place, mark in ((1000, '千'), (100, '百'), (10, '十'), (1, '')):
            digit = part // place % 10
            if digit:
                result += ('零' if gap else '') + digits[digit] + mark
                gap = False
            elif part % place and part >= place:
                gap = True
        result += name
    return result or '零'


@pytest.mark.parametrize('number', [
    *range(0, 121), 200, 305, 999, 1000, 1001, 1010, 1100, 2024, 9999, 10_000, 10_050, 12_345, 30_000_000, 56_780_009])
def test_numbers_come_back(number):
    assert chinese_number(spelled(number)) == number and to_digits(spelled(number)) == str(number)


@pytest.mark.parametrize('text, wanted', [
    ('十', 10), ('十五', 15), ('二〇二四', 2024), ('两百', 200), ('一亿', 10 ** 8), ('十百', None), ('二十三百', None), ('五五十', None),
    ('百', None),
    ('万', None), ('', None)])
def test_short_spellings_and_what_is_none(text, wanted):
    assert chinese_number(text) == wanted


@pytest.mark.parametrize('text, wanted', [
    ('百分之二十', '20%'), ('百分之12.5', '12.5%'), ('三分之二', '\\frac{2}{3}'), ('1.5万', '15000'), ('3亿', '300000000'),
    ('三点一四', '3.14'),
    ('三十二元', '32元'), ('x+1', 'x+1'), ('0.5万', '5000'), ('1.23456万', '1.23456万')])
def test_text_with_numbers(text, wanted):
    assert to_digits(text) == wanted


def test_english_words():
    assert english_number('Four') == 4 and english_number('twenty') == 20 and english_number('many') is None
