"""Several runs of one program: what their configurations differ in, where they ended, and their curves in one chart each."""
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mathrl.report import goodput, multi_chart, plots
from mathrl.report.markup import escape
from mathrl.report.sources import Run

_BINDING = re.compile(r'^([\w./]+) = (.*(?:\n[ \t]+.*)*)', re.MULTILINE)
_PROGRAM = re.compile(r'^PROGRAM = @(\S+)', re.MULTILINE)


def program(run: Run) -> str:
    """'rl.run' of a configuration with PROGRAM = @rl.run; where there is none, whether it learned from rewards."""
    found = _PROGRAM.search(run.config)
    return found[1] if found else ('rl.run' if 'reward' in run.series else run.name)


def differences(configs: Sequence[str]) -> dict[str, list[str]]:
    """Setting -> its value in each configuration ('' where it is absent), of those whose values differ."""
    bindings = [dict(_BINDING.findall(config)) for config in configs]
    names = dict.fromkeys(name for one in bindings for name in one)
    found = {name: [one.get(name, '') for one in bindings] for name in names}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def section(runs: Sequence[Run], curves: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """curves, others: metric -> how it is shown (title, note, share, smooth), the latter folded away with all further metrics."""
    title = ', '.join(run.name for run in runs)
    charts = lambda names, described: ''.join(_chart(runs, name, described.get(name)) for name in names)
    known = [name for name in curves if any(name in run.series for run in runs)]
    further = sorted(name for name in {name for run in runs for name in run.series} - set(curves)
                     if not name.startswith(goodput.PREFIX))
    more = f'<div class="charts">{charts(further, others)}</div>'
    more = f'<details><summary>More curves</summary>{more}</details>' if further else ''
    return (f'<section class="compared"><h2>Compared: {escape(title)}</h2><p class="note">{_smoothing(runs)}</p>'
            f'{_table(runs, curves)}<div class="charts two">{charts(known, curves)}</div>{more}</section>')


def _table(runs: Sequence[Run], curves: Mapping[str, Any]) -> str:
    heads = ''.join(f'<th class="number">{multi_chart.swatch(place)}{escape(run.name)}</th>' for place, run in enumerate(runs))
    rows = [_row(name, [value or '–' for value in values]) for name, values in differences([run.config for run in runs]).items()]
    rows.append(_row('Steps', [_steps(run) for run in runs], 'first'))
    rows += [_row(curve.title, [_last(run, name, curve) for run in runs]) for name, curve in curves.items()
             if any(name in run.series for run in runs)]
    return (f'<div class="scroll"><table><thead><tr><th>settings that differ; last values</th>{heads}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div>')


def _row(title: str, values: Sequence[str], kind: str = '') -> str:
    cells = ''.join(f'<td class="number">{escape(value)}</td>' for value in values)
    return f'<tr class="{kind}"><th>{escape(title)}</th>{cells}</tr>'


def _steps(run: Run) -> str:
    last = max((steps[-1] for steps, _ in run.series.values()), default=-1)
    return f'{last + 1:,}'


def _smooth(values: Sequence[float], curve: Any) -> list[float]:
    count = sum(map(math.isfinite, values))
    return plots.smoothed(values, plots.smoothing_window(count) if curve is None or curve.smooth else 1)


def _last(run: Run, name: str, curve: Any) -> str:
    values = [value for value in _smooth(run.series.get(name, ([], []))[1], curve) if math.isfinite(value)]
    return plots.format_value(values[-1], curve.share) if values else '–'


def _chart(runs: Sequence[Run], name: str, curve: Any) -> str:
    series = {run.name: run.series.get(name, ([], [])) for run in runs}
    series = {run: (steps, _smooth(values, curve)) for run, (steps, values) in series.items()}
    return multi_chart.chart(curve.title if curve else name, series, x_label='step', share=bool(curve and curve.share))


def _smoothing(runs: Sequence[Run]) -> str:
    window = plots.smoothing_window(max((len(steps) for run in runs for steps, _ in run.series.values()), default=0))
    if window == 1:
        return 'Each logged step is drawn.'
    return f'Drawn is the mean over up to {window} neighbours; last values are its last.'
