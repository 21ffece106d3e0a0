"""The reader of rollouts in a report: controls, and an empty list that the page's script fills as it is scrolled."""
from collections.abc import Sequence

from mathrl.report import model_text, rollouts_data, sample_filters
from mathrl.report.markup import escape
from mathrl.report.rollouts_source import Group

KINDS = {'': 'All', 'right': 'Right', 'wrong': 'Wrong', 'none': 'No answer', 'cut': 'Cut off'}
MIXED = {'': 'all groups', 'mixed': 'right and wrong ones', 'right': 'all right', 'wrong': 'none right'}
STRENGTHS = 4     # of the colours of advantages
_CHECKED = ' checked=""'
_PERCENT = (14, 26, 38, 50)

STYLE = sample_filters.STYLE + model_text.STYLE + '''
.rollout header b { color: var(--ink); font-weight: 620; }
.rollout .question { font-size: 16px; margin: 6px 0 10px; line-height: 1.6; }
.rollout .output { margin-top: 6px; padding: 2px 0 2px 12px; }
.rollout .output summary { font-size: 14px; font-weight: 400; color: var(--ink); font-variant-numeric: tabular-nums; }
.rollout .output summary > * { display: inline-block; margin-right: 9px; }
.rollout .prose { contain: paint; margin: 6px 0 8px; }
.rollout .link { font: 13px var(--sans); color: var(--after); background: none; border: 0; padding: 0; cursor: pointer; }
.rollout .link:hover { text-decoration: underline; }
.worth { border-radius: 4px; padding: 0 6px; } .span { border-radius: 2px; padding: 1px 0; box-decoration-break: clone; }
.earned { font: 11.5px var(--sans); color: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 0 4px;
  margin: 0 4px; background: var(--card); white-space: nowrap; }
.scale { display: inline-flex; gap: 2px; align-items: center; } .scale i { width: 18px; height: 11px; border-radius: 2px; }
#rollouts .filters { margin-left: 0; margin-right: 0; padding-left: 0; padding-right: 0; }
#rollouts .more { font: 14px var(--sans); margin: 16px auto 0; padding: 6px 14px; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; cursor: pointer; display: block; }
#rollouts .more[hidden] { display: none; }
''' + ''.join(f'.p{n} {{ background: color-mix(in srgb, var(--right) {share}%, transparent); }} '
              f'.m{n} {{ background: color-mix(in srgb, var(--wrong) {share}%, transparent); }}\n'
              for n, share in enumerate(_PERCENT, start=1))


def section(groups: Sequence[Group], whole: bool) -> str:
    """'' without groups; whole: these are all that were kept. The page needs STYLE and rollouts_script.SCRIPT."""
    if not groups:
        return ''
    outputs = sum(len(group.outputs) for group in groups)
    steps, runs = len({(group.run, group.step) for group in groups}), len({group.run for group in groups})
    of_runs = f' of {runs} runs' if runs > 1 else ''
    left_out = '' if whole else ' Further steps were kept and are left out.'
    shades = lambda sign, order: ''.join(f'<i class="{sign}{n}"></i>' for n in order)
    strengths = range(1, STRENGTHS + 1)
    legend = (f'<span class="scale">{shades("m", reversed(strengths))}{shades("p", strengths)}</span> from the most negative to '
              'the most positive')
    return (f'<section id="rollouts"><h2>Rollouts</h2><p class="note">{outputs:,} outputs to {len(groups):,} questions, kept at '
            f'{steps:,} steps{of_runs}.{left_out} Colours are advantages, relative to the largest of the group: {legend}.</p>'
            f'{_controls(groups)}<div class="samples" id="rollout-list"></div>'
            '<button type="button" class="more" id="more" hidden="">Show more</button>'
            '<noscript><p class="note">Rollouts are drawn by a script, and scripts are off.</p></noscript>'
            f'<script type="text/plain" id="rollout-data">{rollouts_data.encode(groups)}</script></section>')


def _controls(groups: Sequence[Group]) -> str:
    buttons = ''.join(f'<label><input type="radio" name="kind" value="{kind}"{_CHECKED * (not kind)}/>'
                      f'<span>{title} <small id="count-{kind}"></small></span></label>' for kind, title in KINDS.items())
    runs = list(dict.fromkeys(group.run for group in groups))
    steps = sorted({group.step for group in groups}, reverse=True)
    selects = _select('run', 'run', [('', 'all'), *((str(place), run) for place, run in enumerate(runs))]) if len(runs) > 1 else ''
    selects += _select('step', 'step', [('', 'all'), *((str(step), f'{step:,}') for step in steps)])
    selects += _select('mixed', 'groups', list(MIXED.items()))
    return ('<form class="filters" id="rollout-filters" hidden="">'
            f'<div class="chips" role="radiogroup" aria-label="Verdict">{buttons}</div><div class="row">'
            '<input type="search" id="rollout-search" placeholder="Search questions and outputs" '
            'aria-label="Search questions and outputs"/>'
            f'{selects}</div><div class="row"><span id="rollout-status" class="note" role="status"></span>'
            '<span class="actions"><label><input type="checkbox" id="rollout-source"/> LaTeX source</label></span></div></form>')


def _select(name: str, title: str, values: Sequence[tuple[str, str]]) -> str:
    options = ''.join(f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in values)
    return f'<label class="select">{title} <select name="{name}">{options}</select></label>'
