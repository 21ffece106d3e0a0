"""Several curves in one chart, with a legend that names them."""
import math
from typing import Mapping, Sequence

from mathrl.report.markup import escape
from mathrl.report.plots import format_ticks, svg_text, ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 300, 44, 12, 10, 24
COLOURS = 8      # classes c0 .. c7; more curves are dashed
STYLE = '''
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; margin-top: 6px; }
.swatch-line { display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle;
  background: currentColor; }
.c0 { color: #59616b; } .c1 { color: #a65a0e; } .c2 { color: #0b6a85; } .c3 { color: #1b7443; }
.c4 { color: #b3322a; } .c5 { color: #6d4aa0; } .c6 { color: #b0357f; } .c7 { color: #7a7a12; }
@media (prefers-color-scheme: dark) {
  .c0 { color: #a9b4c0; } .c1 { color: #e6a356; } .c2 { color: #5fc0de; } .c3 { color: #63cf93; }
  .c4 { color: #f28b82; } .c5 { color: #b79be6; } .c6 { color: #ee8cc6; } .c7 { color: #cfcf5f; }
}
svg .dashed { stroke-dasharray: 5 4; }
'''


def chart(title: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x_label: str, share: bool = False,
          logarithmic: bool = False) -> str:
    """A figure of name -> (x, y); share: y is a fraction, shown in percent; logarithmic: of x, which is above 0."""
    place = math.log2 if logarithmic else float
    numbers = {name: number for number, name in enumerate(series)}     # a curve without points keeps its colour free
    points = {name: [(place(x), float(y)) for x, y in zip(*both) if math.isfinite(y)] for name, both in series.items()}
    points = {name: some for name, some in points.items() if some}
    if not points:
        return f'<figure class="chart"><h3>{escape(title)}</h3><div class="none">nothing to draw yet</div></figure>'
    every = [point for some in points.values() for point in some]
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_low, y_high = min(y for _, y in every), max(y for _, y in every)
    y_ticks = ticks(y_low, y_high if y_high > y_low else y_low + 1, 5)
    x_span = x_high - x_low or 1.0
    x_at = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / x_span
    y_at = lambda y: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
    parts = []
    for tick, text in zip(y_ticks, format_ticks(y_ticks, share)):
        parts += [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_at(tick):.1f}" y2="{y_at(tick):.1f}"/>',
                  svg_text(LEFT - 6, y_at(tick) + 4, text, 'end')]
    for x, text in _x_ticks(x_low, x_high, logarithmic):
        parts.append(svg_text(x_at(x), HEIGHT - 6, text, 'middle'))
    for name, some in points.items():
        number = numbers[name]
        drawn = ' '.join(f'{x_at(x):.1f},{y_at(y):.1f}' for x, y in some)
        dashed = ' dashed' if number >= COLOURS else ''
        parts.append(f'<g class="c{number % COLOURS}"><polyline class="curve{dashed}" points="{drawn}"/></g>')
    legend = ''.join(f'<span>{swatch(numbers[name])}{escape(name)}</span>' for name in points)
    described = f'{title} over {x_label}: {", ".join(points)}'
    return (f'<figure class="chart"><h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(described)}">{"".join(parts)}</svg><div class="note">{escape(x_label)}</div>'
            f'<div class="legend">{legend}</div></figure>')


def swatch(number: int) -> str:
    """The colour of curve number 0, 1, ..."""
    return f'<i class="swatch-line c{number % COLOURS}"></i>'


def _x_ticks(low: float, high: float, logarithmic: bool) -> list[tuple[float, str]]:
    if logarithmic:
        return [(power, f'{2 ** power:g}') for power in range(math.ceil(low), math.floor(high) + 1)]
    found = ticks(low, high if high > low else low + 1, 6, integers=True)
    return [(tick, f'{tick:g}') for tick in found if low <= tick <= high]
