"""Bars as inline SVG: a histogram of scores with its threshold, and columns, one for each round."""
import math
from typing import Sequence

from mathrl.report.markup import escape
from mathrl.report.plots import format_ticks, format_value, svg_text, ticks

WIDTH, BODY = 440, 140       # BODY: from the axis up to the highest tick
LEFT, RIGHT, BOTTOM = 44, 10, 36
MOST_TORN = 4                # bars; the highest after them is the usual height
TEAR_FROM, TEAR_TO = 4, 1.5  # if the highest is over 4 usual heights, all over 1.5 are torn
ROW = 14                     # between two rows of text above the bars
LETTER = 7.9                 # the width of a digit where a narrow screen has the larger letters


def histogram(edges: Sequence[float], counts: Sequence[float], threshold: float | None, *, label: str,
              x_label: str = 'score, from 0 (not mathematics) to 1 (mathematics)', y_label: str = 'pages') -> str:
    """Counts between edges, the bars from the threshold on in colour; '' where every count is 0.

    Few bars far above all others are torn: drawn to the top with a gap, their count written above, so that the
    low ones beside the threshold can be read. ValueError unless there is one edge more than counts.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f'a histogram got {len(counts)} counts and {len(edges)} edges; it needs one edge more '
                         'than counts')
    if not any(counts):
        return ''
    if threshold is not None and not edges[0] <= threshold <= edges[-1]:
        threshold = None
    y_ticks = ticks(0, drawn_limit(counts), 4, integers=True)

    def x_at(score):
        return LEFT + (WIDTH - LEFT - RIGHT) * (score - edges[0]) / (edges[-1] - edges[0])

    bins = list(zip(edges, edges[1:], counts))
    torn = [(x_at(low), x_at(high), f'{count:,}') for low, high, count in bins if count > y_ticks[-1]]
    written, rows = _above(torn)
    top = 8 + ROW * (rows + (threshold is not None))
    parts = _frame(edges, y_ticks, x_at, top, x_label, y_label)
    for low, high, count in bins:
        height = BODY * min(count / y_ticks[-1], 1)
        parts += _bar(low, high, threshold, height, top + BODY, x_at) if count else []
    parts += [_tear(left, right, top) for left, right, _ in torn]
    parts += [svg_text(x, top - 4 - ROW * row, text, anchor) for x, row, text, anchor in written]
    if threshold is not None:
        parts += _threshold(x_at(threshold), threshold, top)
    return _svg(WIDTH, top + BODY + BOTTOM, label, parts)


def drawn_limit(counts: Sequence[float]) -> float:
    """The highest count drawn in full: [900, 3, 10, 9, 12, 8, 5, 7, 700] -> 12, [5, 900] -> 900."""
    falling = sorted((count for count in counts if count), reverse=True)
    if len(falling) <= 2 * MOST_TORN or falling[0] <= TEAR_FROM * falling[MOST_TORN]:
        return falling[0]
    return next(count for count in falling if count <= TEAR_TO * falling[MOST_TORN])


def columns(names: Sequence[str], values: Sequence[float | None], *, label: str, share: bool = False,
            lower: Sequence[float] | None = None) -> str:
    """A column for each name with its value written above; None is written as a dash.

    share: values are fractions of a column of full height. lower: how much of each column, from below, is pale.
    """
    width, height, top, bottom = 260, 150, 20, 22
    known = [value for value in values if value is not None]
    full = 1.0 if share else max(known, default=0) or 1.0
    slot, base, parts = (width - 8) / len(names), height - bottom, []
    bar = min(52.0, 0.66 * slot)

    def rect(kind, middle, low, high):
        size = (base - top) / full
        return (f'<rect class="{kind}" x="{middle - bar / 2:.1f}" y="{base - high * size:.1f}" width="{bar:.1f}" '
                f'height="{(high - low) * size:.2f}"/>')

    for index, (name, value) in enumerate(zip(names, values)):
        middle, pale = 4 + slot * (index + 0.5), lower[index] if lower else 0
        if value is not None:
            parts += [rect('bar pale', middle, 0, pale)] if pale else []
            parts.append(rect('bar above', middle, pale, value))
        above = base - (base - top) * (value or 0) / full - 5
        parts.append(svg_text(middle, above, _value(value, share), 'middle', 'last'))
        parts.append(svg_text(middle, base + 15, escape(name), 'middle'))
    parts.append(f'<line class="axis" x1="4" x2="{width - 4}" y1="{base}" y2="{base}"/>')
    described = ', '.join(f'{name} {_value(value, share)}' for name, value in zip(names, values))
    return _svg(width, height, f'{label}: {described}', parts)


def _value(value: float | None, share: bool) -> str:
    if value is None:
        return '–'
    return f'{value:,}' if not share and value < 1e5 else format_value(value, share)


def _bar(low, high, threshold, height, base, x_at) -> list[str]:
    """One rectangle, or two of one height where the threshold lies inside the bin."""
    cut = low if threshold is None else min(max(threshold, low), high)
    gap = min(1.0, 0.15 * (x_at(high) - x_at(low)))
    spans = [('below', x_at(low), x_at(cut) - (gap if cut == high else 0)), ('above', x_at(cut), x_at(high) - gap)]
    return [f'<rect class="bar {kind}" x="{left:.2f}" y="{base - height:.2f}" width="{right - left:.2f}" '
            f'height="{height:.2f}"/>' for kind, left, right in spans if right - left > 0.01]


def _above(torn) -> tuple[list[tuple[float, int, str, str]], int]:
    """Where the numbers of torn bars go: (x, row, text, anchor) with no two on each other, and how many rows."""
    placed, ends = [], []
    for left, right, text in torn:
        half = LETTER * len(text) / 2
        x = min(max((left + right) / 2, LEFT + half), WIDTH - RIGHT - half)
        row = next((row for row, end in enumerate(ends) if end < x - half), len(ends))
        ends[row:row + 1] = [x + half + 4]
        placed.append((x, row, text, 'middle'))
    return placed, len(ends)


def _tear(left: float, right: float, top: float) -> str:
    return f'<line class="tear" x1="{left - 1:.1f}" x2="{right:.1f}" y1="{top + 15}" y2="{top + 9}"/>'


def _threshold(x: float, threshold: float, top: float) -> list[str]:
    anchor, shift = ('start', -3) if x < WIDTH / 2 else ('end', 3)
    return [f'<line class="threshold" x1="{x:.2f}" x2="{x:.2f}" y1="16" y2="{top + BODY}"/>',
            svg_text(x + shift, 11, f'threshold {threshold:.3g}', anchor, 'limit')]


def _frame(edges, y_ticks, x_at, top, x_label, y_label) -> list[str]:
    base, parts = top + BODY, []
    for tick, text in zip(y_ticks, format_ticks(y_ticks)):
        y = base - BODY * tick / y_ticks[-1]
        parts.append(f'<line class="{"grid" if tick else "axis"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/>' + svg_text(LEFT - 7, y + 4, text, 'end'))
    for tick in ticks(edges[0], edges[-1], 5):
        if edges[0] - 1e-9 <= tick <= edges[-1] + 1e-9:
            parts.append(svg_text(x_at(tick), base + 15, f'{tick:.4g}', 'middle'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(svg_text(middle, base + 31, escape(x_label), 'middle'))
    parts.append(svg_text(LEFT - 7, top - 12 if top > 22 else 8, escape(y_label), 'end'))
    return parts


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (f'<svg viewBox="0 0 {width} {math.ceil(height)}" role="img" aria-label="{escape(label)}">'
            + ''.join(parts) + '</svg>')
