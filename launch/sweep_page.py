"""The page of a sweep: the best trial's settings, a table, parallel coordinates, curves, and why trials failed."""

import math
import pathlib
from collections.abc import Sequence

from launch import sweep_plots
from launch.sweep_file import Sweep
from launch.trials import Trial
from mathrl.report import plots
from mathrl.report.markup import document, escape
from mathrl.report.sources import read_run

FIRST_CURVES = ('accuracy', 'reward', 'loss', 'kl', 'entropy', 'length', 'grad_norm')
STYLE = '''
svg .other { stroke: var(--plain); stroke-width: 1.2; fill: none; opacity: .55; stroke-linejoin: round; }
svg .best { stroke: var(--after); stroke-width: 2.4; fill: none; stroke-linejoin: round; }
.coordinates { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 14px; margin-top: 16px;
  overflow-x: auto; }
.coordinates svg { min-width: 560px; }
.coordinates text.mark { paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
h3 + pre { margin: 4px 0 14px; }
tr.winner th, tr.winner td { color: var(--after); font-weight: 640; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
'''


def best(kept: Sequence[Trial], maximize: bool) -> Trial | None:
    done = [trial for trial in kept if trial.state == 'done']
    return (max if maximize else min)(done, key=lambda trial: trial.value, default=None)


def write(path: pathlib.Path, sweep: Sweep, kept: Sequence[Trial], total: int) -> None:
    partial = path.with_name(f'{path.name}.partial')
    partial.write_text(render(sweep, kept, total), encoding='utf-8')
    partial.replace(path)


def render(sweep: Sweep, kept: Sequence[Trial], total: int) -> str:
    """The whole page; trials that run, or none at all, are no hindrance."""
    begun = [trial for trial in kept if trial.folder.is_dir()]
    winner = best(begun, sweep.maximize)
    body = [_header(sweep, begun, total, winner), _best(sweep, winner), _coordinates(sweep, begun, winner),
            _table(sweep, begun, winner), _curves(sweep, begun, winner), _failures(begun)]
    return document(f'Sweep {sweep.name}', '\n'.join(filter(None, body)), STYLE)


def _header(sweep: Sweep, begun: Sequence[Trial], total: int, winner: Trial | None) -> str:
    counts = [(state, sum(trial.state == state for trial in begun)) for state in ('done', 'running', 'failed', 'pruned')]
    facts = [f'{count} {state}' for state, count in counts if count] + [f'{total} in all']
    lede = 'No trial has ended yet.'
    if winner:
        lede = (f'The {"highest" if sweep.maximize else "lowest"} {escape(sweep.objective.keys[-1])} is '
                f'<b class="after">{escape(plots.format_value(winner.value))}</b>, of trial {winner.number}.')
    return (f'<header><h1>Sweep {escape(sweep.name)}</h1><p class="lede">{lede}</p>'
            f'<p class="facts">{escape(" · ".join(facts))} · objective {escape(sweep.objective)}</p></header>')


def _best(sweep: Sweep, winner: Trial | None) -> str:
    if not winner:
        return ''
    lines = [*(f'--gin_file={file}' for file in sweep.gin_files),
             *(f'--gin.{name}={value}' for name, value in {**sweep.macros, **winner.macros}.items())]
    return f'<section><h2>The best settings</h2><pre>{escape(chr(10).join(lines))}</pre></section>'


def _varied(begun: Sequence[Trial]) -> list[str]:
    """The macros that are not the same in all trials."""
    names = list(dict.fromkeys(name for trial in begun for name in trial.macros))
    return [name for name in names if len(begun) == 1 or len({trial.macros.get(name) for trial in begun}) > 1]


def _coordinates(sweep: Sweep, begun: Sequence[Trial], winner: Trial | None) -> str:
    done = [trial for trial in begun if trial.state == 'done']
    axes = [sweep_plots.Axis(name, [sweep_plots.read_literal(trial.macros.get(name, 'None')) for trial in done])
            for name in _varied(done)]
    axes.append(sweep_plots.Axis(sweep.objective.keys[-1], [trial.value for trial in done]))
    picture = sweep_plots.parallel(axes, [_title(trial) for trial in done], done.index(winner) if winner else None)
    return '' if not picture else ('<section><h2>Macros and objective</h2><p class="note">A line a trial; the best one is bold.</p>'
                                   f'<div class="coordinates">{picture}</div></section>')


def _table(sweep: Sweep, begun: Sequence[Trial], winner: Trial | None) -> str:
    if not begun:
        return ''
    sign = -1 if sweep.maximize else 1
    ranked = sorted(begun, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0), trial.number))
    names = _varied(begun)
    head = ''.join(f'<th class="number">{escape(name)}</th>' for name in (sweep.objective.keys[-1], *names, 'time'))
    rows = []
    for trial in ranked:
        value = trial.state if trial.value is None else plots.format_value(trial.value, resolution=1e-4)
        cells = [value, *(trial.macros.get(name, '') for name in names), _clock(trial.seconds)]
        rows.append(f'<tr{" class=winner" if trial is winner else ""}><th>{trial.number}</th>'.replace('=winner', '="winner"')
                    + ''.join(f'<td class="number">{escape(cell)}</td>' for cell in cells) + '</tr>')
    return ('<section><h2>Trials</h2><div class="scroll"><table><thead><tr><th>trial</th>' + head
            + '</tr></thead><tbody>' + ''.join(rows) + '</tbody></table></div></section>')


def _curves(sweep: Sweep, begun: Sequence[Trial], winner: Trial | None) -> str:
    runs = [(trial, read_run(str(trial.number), trial.folder)) for trial in begun
            if (trial.folder / 'metrics.jsonl').is_file()]
    present = sorted({name for _, run in runs for name in run.series})
    first = [name for name in dict.fromkeys((sweep.objective.keys[-1], *FIRST_CURVES)) if name in present]
    charts = {name: _chart(name, runs, winner) for name in [*first, *(name for name in present if name not in first)]}
    shown = ''.join(charts[name] for name in first)
    more = ''.join(chart for name, chart in charts.items() if name not in first)
    if not runs:
        return ''
    return ('<section><h2>Curves</h2><p class="note">A line a trial, the mean over neighbours where there are many steps; the best '
            f'trial is bold.</p><div class="charts">{shown}</div>'
            + (f'<details><summary>More curves</summary><div class="charts">{more}</div></details>' if more else '') + '</section>')


def _chart(name: str, runs, winner: Trial | None) -> str:
    lines = [sweep_plots.Line(_title(trial), *run.series[name], trial is winner) for trial, run in runs if name in run.series]
    picture = sweep_plots.curves(lines, name)
    return (f'<figure class="chart"><h3>{escape(name)}</h3>' + (picture or '<div class="none">nothing to draw yet</div>')
            + '</figure>')


def _failures(begun: Sequence[Trial]) -> str:
    failed = [trial for trial in begun if trial.state == 'failed']
    if not failed:
        return ''
    return '<section><h2>Failed</h2>' + ''.join(
        f'<h3>{escape(_title(trial))}</h3><pre>{escape(trial.reason)}</pre>' for trial in failed) + '</section>'


def _title(trial: Trial) -> str:
    value = '' if trial.value is None or not math.isfinite(trial.value) else f': {plots.format_value(trial.value)}'
    return trial.title() + value


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
