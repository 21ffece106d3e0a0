"""Pictures of many trials as inline SVG: one line a trial over steps, and parallel coordinates."""

import ast
import math
from collections.abc import Sequence
from typing import NamedTuple

from mathrl.report import plots
from mathrl.report.markup import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 184, 44, 16, 8, 22
LOG_FROM = 20       # a macro whose values span more than this factor has a logarithmic axis


class Line(NamedTuple):
    """One trial's metric; best: drawn over the others."""
    title: str
    steps: Sequence[float]
    values: Sequence[float]
    best: bool


def curves(lines: Sequence[Line], label: str) -> str:
    """A chart with a line a trial, smoothed as the report's are; '' without any finite value."""
    lines = [line for line in lines if any(map(math.isfinite, line.values))]
    if not lines:
        return ''
    drawn = [(line, plots.smoothed(list(line.values), plots.smoothing_window(len(line.values)))) for line in lines]
    finite = [value for _, values in drawn for value in values if math.isfinite(value)]
    x_low, x_high = _apart(min(min(line.steps) for line in lines), max(max(line.steps) for line in lines))
    y_ticks = plots.ticks(*_apart(min(finite), max(finite)), 4)
    x_at = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / (x_high - x_low)
    y_at = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
    parts = []
    for tick, text in zip(y_ticks, plots.format_ticks(y_ticks)):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_at(tick):.1f}" y2="{y_at(tick):.1f}"/>')
        parts.append(plots.svg_text(LEFT - 6, y_at(tick) + 4, text, 'end'))
    for tick in plots.ticks(x_low, x_high, 4, integers=True):
        if x_low <= tick <= x_high:
            parts.append(plots.svg_text(x_at(tick), HEIGHT - 6, plots.format_value(tick), 'middle'))
    for line, values in sorted(drawn, key=lambda pair: pair[0].best):
        for piece in plots.pieces(list(zip(line.steps, values))):
            path = ' '.join(f'{x_at(x):.1f},{y_at(y):.1f}' for x, y in piece)
            parts.append(f'<polyline class="{"best" if line.best else "other"}" points="{path}">'
                         f'<title>{escape(line.title)}</title></polyline>')
    return _svg(WIDTH, HEIGHT, label, parts)


class Axis(NamedTuple):
    """values: one a trial, numbers or anything else; objective: the last axis."""
    name: str
    values: Sequence[object]


def parallel(axes: Sequence[Axis], titles: Sequence[str], best: int | None) -> str:
    """Parallel coordinates: a line a trial through its value on every axis; '' with fewer than two axes or trials."""
    if len(axes) < 2 or len(titles) < 2:
        return ''
    width, height, top, bottom, side = 80 + 200 * len(axes), 260, 34, 14, 70
    xs = [side + (width - 2 * side) * index / (len(axes) - 1) for index in range(len(axes))]
    parts, texts, places = [], [], []
    for x, axis in zip(xs, axes):
        at, marks = _scale(axis.values)
        y_at = lambda share: height - bottom - (height - top - bottom) * share
        places.append([y_at(at(value)) for value in axis.values])
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - bottom}"/>')
        parts.append(plots.svg_text(x, 14, escape(axis.name), 'middle', 'last'))
        texts += [plots.svg_text(x + 6, y_at(share) + 4, escape(text), 'start', 'mark') for share, text in marks]
    order = sorted(range(len(titles)), key=lambda index: index == best)
    for index in order:
        path = ' '.join(f'{x:.1f},{column[index]:.1f}' for x, column in zip(xs, places))
        parts.append(f'<polyline class="{"best" if index == best else "other"}" points="{path}">'
                     f'<title>{escape(titles[index])}</title></polyline>')
    return _svg(width, height, 'each trial through its macros and its objective', parts + texts)


def read_literal(text: str) -> object:
    """'0.04' -> 0.04; what is no literal stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _scale(values: Sequence[object]):
    """(value -> 0 to 1, [(share, text)] to write beside the axis)."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in values)
    distinct = list(dict.fromkeys(values if numbers else map(repr, values)))
    if not numbers:
        share = {value: (index + .5) / len(distinct) for index, value in enumerate(distinct)}
        return lambda value: share[repr(value)], [(share[value], value.strip('\'"')[:18]) for value in distinct]
    low, high = min(distinct), max(distinct)
    log = low > 0 and high / low >= LOG_FROM
    place = math.log if log else float
    start, length = place(low), place(high) - place(low)
    at = lambda value: (place(value) - start) / length if length else .5
    shown = sorted(distinct) if len(distinct) <= 5 else [low, math.sqrt(low * high) if log else (low + high) / 2, high]
    return at, [(at(value), plots.format_value(value)) for value in shown]


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1))


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" style="max-width: {1.2 * width:.0f}px"'     # few axes do not make large letters
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
