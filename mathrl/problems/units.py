"""Units of measure: which two name the same quantity, and by which factor they differ."""
from fractions import Fraction
import re

_SCALES = {
    'length': {'mm millimeter millimetre 毫米': '1/1000', 'cm centimeter centimetre 厘米 公分': '1/100',
               'dm decimeter 分米': '1/10',
               'm meter metre 米': '1', 'km kilometer kilometre 千米 公里': '1000', 'inch inche in': '127/5000',
               'ft foot feet 英尺': '381/1250', 'yd yard': '1143/1250', 'mi mile 英里': '1609344/1000'},
    'time': {'s sec second 秒': '1', 'min minute 分钟': '60', 'h hr hour 小时 时': '3600', 'day 天 日': '86400',
             'week 周 星期': '604800', 'month 个月 月': '2629800', 'yr year 年': '31557600'},
    'mass': {'mg milligram 毫克': '1/1000', 'g gm gram 克': '1', 'kg kilogram 千克 公斤': '1000', 'ton tonne 吨': '1000000',
             'oz ounce': '28.349523125', 'lb pound 磅': '453.59237'},
    'dollars': {'usd dollar buck': '1', 'cent': '1/100'},
    'yuan': {'yuan 元 块': '1', '角': '1/10', '分': '1/100'},
    'angle': {'degree deg 度': '1', 'radian rad 弧度': '0'},
    'capacity': {'l liter litre 升': '1', 'ml milliliter millilitre 毫升': '1/1000', 'gal gallon': '3.785411784'},
}
UNITS = {name: (dimension, Fraction(scale)) for dimension, names in _SCALES.items()
         for group, scale in names.items() for name in group.split()}
_POWERS = {'square': 2, 'sq': 2, 'squared': 2, 'cubic': 3, 'cu': 3, 'cubed': 3, '平方': 2, '立方': 3}
_CHINESE = re.compile('(平方|立方)?(?:' + '|'.join(name for name in UNITS if not name.isascii()) + ')')
LETTERS = frozenset(name for name in UNITS if len(name) == 1 and name.isascii())     # also names of variables


def unit(text: str) -> tuple[str, Fraction] | None:
    """('length2', 1/10000) for 'square centimeters', 'cm^2' and '平方厘米'; None for what is no unit here ('dogs').

    Per-units are units of their own, told apart by their words: 'miles per hour' -> ('miles per hour', 1).
    """
    text = re.sub(r'[.{}()]|\\text', ' ', text).strip()
    if text.casefold() in ('mph', 'kmh'):
        text = {'mph': 'mile per hour', 'kmh': 'km per hour'}[text.casefold()]
    over, slash, under = re.sub(r'\s+per\s+|\s*[/每]\s*', '/', text).partition('/')
    if slash:
        over, under = unit(over), unit(under)
        return (f'{over[0]} per {under[0]}', over[1] / under[1]) if over and under and under[1] else None
    power = 1
    if match := re.search(r'\s*\^\s*([1-9])$', text):
        power, text = int(match[1]), text[:match.start()]
    if match := _CHINESE.fullmatch(text):
        power, text = _POWERS.get(match[1], power), text[len(match[1] or ''):]
    words = text.split() if text in UNITS else text.casefold().split()
    power = max([power, *(_POWERS[word] for word in words if word in _POWERS)])
    words = [word for word in words if word not in _POWERS]
    if len(words) != 1:
        return None
    known = UNITS.get(words[0]) or UNITS.get(words[0].removesuffix('s')) or UNITS.get(words[0].removesuffix('es'))
    if not known:
        return None
    return known[0] + (str(power) if power > 1 else ''), known[1] ** power


def is_unit(word: str) -> bool:
    return unit(word) is not None


def factor(given: str, wanted: str) -> Fraction | None:
    """How many `wanted` one `given` makes: ('m', 'cm') -> 100, ('m', 'kg') -> None; 1 where either is no known unit."""
    given, wanted = unit(given), unit(wanted)
    if given is None or wanted is None:
        return Fraction(1)
    if given[0] != wanted[0]:
        return None
    if given[1] == wanted[1]:
        return Fraction(1)
    return given[1] / wanted[1] if given[1] and wanted[1] else None
