"""Line charts and before/after pictures as inline SVG; colours and fonts come from the page's style."""
import math
from typing import Sequence

import numpy as np

from mathrl.report.markup import escape

WIDTH, HEIGHT = 340, 184
LEFT, RIGHT, TOP, BOTTOM = 40, 48, 8, 22
SMOOTH_FROM = 30   # with fewer points the line itself is drawn, and nothing behind it
POINTS = 400       # more than this many are drawn as the range of each of so many bins


def line_chart(steps: Sequence[int], values: Sequence[float], *, label: str, share: bool = False,
               smooth: bool = True, x_label: str = 'step') -> str:
    """An SVG of values over steps, the smoothed line before the faint raw one; '' without any finite value.

    NaN is a gap. share: values are fractions, shown in percent. The drawn line's last value is written beside it.
    """
    points = [(float(step), value) for step, value in zip(steps, values)]
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    if not finite:
        return ''
    window = smoothing_window(len(finite)) if smooth else 1
    line = list(zip([step for step, _ in points], smoothed([value for _, value in points], window)))
    x_low, x_high = _widened(finite[0][0], finite[-1][0], 1.0)
    x_low = 0.0 if 0 < x_low <= x_high / 10 else x_low
    y_ticks = ticks(*_value_range([value for _, value in finite], share), 4)
    x_ticks = [tick for tick in ticks(x_low, x_high, 5, integers=True) if x_low <= tick <= x_high]

    def x_at(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - x_low) / (x_high - x_low)

    def y_at(value):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])

    parts = _axes(x_ticks, y_ticks, x_at, y_at, share, x_label)
    if window > 1:
        parts += [_path(piece, x_at, y_at, 'raw') for piece in pieces(points)]
    for piece in pieces(line):
        parts.append(_path(piece, x_at, y_at, 'curve'))
    if len(finite) < SMOOTH_FROM:
        parts += [_dot(x_at(step), y_at(value), 1.9) for step, value in finite]
    else:
        parts += [_dot(x_at(piece[0][0]), y_at(piece[0][1]), 1.2) for piece in pieces(line) if len(piece) == 1]
    step, last = next(point for point in reversed(line) if math.isfinite(point[1]))
    written = format_value(last, share, resolution=(y_ticks[1] - y_ticks[0]) / 10)
    parts += [_dot(x_at(step), y_at(last), 3), svg_text(x_at(step) + 7, y_at(last) + 4, written, 'start', 'last')]
    described = f'{label}: {written} at {x_label} {step:g}'
    return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">'
            + ''.join(parts) + '</svg>')


def change_picture(before: float | None, after: float, intervals: Sequence[Sequence[float] | None]) -> str:
    """Before (a ring) and after (a dot) on an axis from 0 to 1, with the interval of each as a pale bar."""
    width, height, middle = 300, 22, 11

    def at(value):
        return 8 + (width - 16) * min(max(value, 0.0), 1.0)

    parts = [f'<line class="grid" x1="{at(x):.1f}" x2="{at(x):.1f}" y1="0" y2="{height}"/>'
             for x in (0, .25, .5, .75, 1)]
    if before is not None:
        parts.append(f'<line class="change" x1="{at(before):.1f}" x2="{at(after):.1f}" '
                     f'y1="{middle}" y2="{middle}"/>')
    for value, interval, colour in zip((before, after), intervals, ('before', 'after')):
        if value is None:
            continue
        whisker = '' if not interval else (f'<line class="whisker" x1="{at(interval[0]):.1f}" '
                                           f'x2="{at(interval[1]):.1f}" y1="{middle}" y2="{middle}"/>')
        mark = 'ring' if colour == 'before' else 'dot'
        parts.append(f'<g class="{colour}">{whisker}'
                     f'<circle class="{mark}" cx="{at(value):.1f}" cy="{middle}" r="4.5"/></g>')
    described = format_value(after, True) if before is None else (
        f'from {format_value(before, True)} to {format_value(after, True)}')
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(described)}">'
            + ''.join(parts) + '</svg>')


def smoothing_window(count: int) -> int:
    """How many points the bold line averages: an odd number near a 25th of them, 1 if they are few."""
    return 1 if count < SMOOTH_FROM else 2 * max(1, count // 50) + 1


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean over the window centred on each point, cut at the ends; NaN is left out and stays NaN."""
    if window == 1:
        return list(values)
    values, ones = np.asarray(values, float), np.ones(window)
    finite = np.isfinite(values)
    sums = np.convolve(np.where(finite, values, 0.0), ones, 'same')
    counts = np.convolve(finite.astype(float), ones, 'same')
    return np.where(finite, sums / np.maximum(counts, 1.0), np.nan).tolist()


def pieces(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The runs of finite points between NaN gaps."""
    found = [[]]
    for point in points:
        if math.isfinite(point[1]):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [piece for piece in found if piece]


def ticks(low: float, high: float, count: int, integers: bool = False) -> list[float]:
    """About count round numbers (1, 2, 2.5, 5 times a power of ten) from at most low to at least high."""
    rough = 0.85 * (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    step = math.ceil(step) if integers else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def format_value(value: float, share: bool = False, resolution: float = math.inf) -> str:
    """A number as a person would write it: 0.93 -> '93.0%' (share), 12345 -> '12.3k', 0.000123 -> '1.23e-4'.

    At least three digits, and as many as it takes to tell values apart that differ by resolution.
    """
    sign, size = ('−' if value < 0 else ''), abs(value)
    if share:
        return f'{sign}{100 * size:.{max(1, _decimals(100 * resolution))}f}%'
    if size >= 1e9 or 0 < size < 1e-3 and resolution > size / 1000:
        return sign + _exponent(size)
    scale, letter = (1e6, 'M') if size >= 1e6 else (1e3, 'k') if size >= 1e3 else (1.0, '')
    digits = max(0, 2 - math.floor(math.log10(max(size / scale, 0.1))), _decimals(resolution / scale))
    text = _trimmed(f'{size / scale:.{digits}f}')
    return (sign if float(text) else '') + text + letter


def _decimals(resolution: float) -> int:
    """How many decimals show steps of this size."""
    return 0 if resolution >= 1 else min(12, math.ceil(-math.log10(resolution) - 1e-9))


def _trimmed(text: str) -> str:
    return text.rstrip('0').rstrip('.') if '.' in text else text


def _exponent(size: float) -> str:
    digits, power = f'{size:.2e}'.split('e')
    return f'{_trimmed(digits)}e{int(power)}'


def format_ticks(values: Sequence[float], share: bool = False) -> list[str]:
    """All ticks of an axis in one form."""
    size, step = max(abs(value) for value in values), values[1] - values[0]
    if share:
        decimals = next(d for d in range(9) if d == 8 or abs(round(100 * step, d) - 100 * step) < 1e-4 * step)
        return [f'{100 * value:.{decimals}f}%'.replace('-', '−') for value in values]
    if size < 0.01 and step > size / 1000:
        return [('−' if value < 0 else '') + (_exponent(abs(value)) if value else '0') for value in values]
    return [format_value(value, resolution=step / 10) for value in values]


def _value_range(values: Sequence[float], share: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if 0 <= low < high / 2 or share and low >= 0:
        low = 0.0   # a curve that comes near zero is read against zero
    if share and 0.7 < high <= 1:
        high = 1.0
    return _widened(low, high, 0.01 if share else abs(high) / 10 or 1.0)


def _widened(low: float, high: float, by: float) -> tuple[float, float]:
    if high - low > max(1e-9 * max(abs(low), abs(high)), 1e-300):
        return low, high
    return (low if low == 0 else low - by), high + by


def _axes(x_ticks, y_ticks, x_at, y_at, share, x_label) -> list[str]:
    parts, right = [], WIDTH - RIGHT
    for tick, text in zip(y_ticks, format_ticks(y_ticks, share)):
        y = y_at(tick)
        kind = 'axis' if tick == y_ticks[0] else 'grid'
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(svg_text(LEFT - 7, y + 4, text, 'end'))
    base = HEIGHT - BOTTOM
    for tick in x_ticks:
        x = x_at(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 4}"/>')
        parts.append(svg_text(x, base + 16, format_value(tick), 'middle'))
    parts.append(svg_text(right + 16, base + 16, escape(x_label), 'start'))
    return parts


def svg_text(x: float, y: float, text: str, anchor: str, kind: str = '') -> str:
    """A text element; the text is markup already, so escape what came from outside."""
    kind = f' class="{kind}"' if kind else ''
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{text}</text>'


def _dot(x: float, y: float, radius: float) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _path(points, x_at, y_at, kind: str) -> str:
    drawn = ' '.join(f'{x_at(x):.1f},{y_at(y):.1f}' for x, y in _thinned(points))
    return f'<polyline class="{kind}" points="{drawn}"/>'


def _thinned(points) -> list[tuple[float, float]]:
    """The lowest and the highest point of each bin: what many points look like at this size, peaks included."""
    if len(points) <= 2 * POINTS:
        return points
    size, kept = math.ceil(len(points) / POINTS), [points[0]]
    for begin in range(0, len(points), size):
        part = points[begin:begin + size]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept + [points[-1]]
