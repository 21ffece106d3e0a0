"""Where each run's wall time went, by its last metrics: steps, compiling, input, checkpoints, evaluation."""
from collections.abc import Sequence

from mathrl.report.markup import escape
from mathrl.report.sources import Run

PREFIX = 'goodput/'
PARTS = {'steps': 'steps', 'compile': 'compiling', 'input': 'waiting for input', 'checkpoint': 'checkpoints',
         'evaluation': 'evaluation'}
STYLE = '''
.goodput { display: flex; height: 14px; gap: 1px; min-width: 120px; } .goodput i { display: block; background: currentColor; }
.goodput .g-steps { color: var(--right); } .goodput .g-compile { color: var(--before); }
.goodput .g-input { color: var(--wrong); }
.goodput .g-checkpoint { color: var(--after); } .goodput .g-evaluation { color: var(--plain); }
'''


def shares(run: Run) -> dict[str, float]:
    """{'steps': 0.9, ...} since the run was last started; {} where it did not say."""
    found = {name.removeprefix(PREFIX): values[-1] for name, (_, values) in run.series.items()
             if name.startswith(PREFIX)}
    return {part: found[part] for part in PARTS if part in found}


def section(runs: Sequence[Run]) -> str:
    known = {run.name: shares(run) for run in runs if shares(run)}
    if not known:
        return ''
    heads = ''.join(f'<th class="number">{title}</th>' for title in PARTS.values())
    rows = ''.join(
        f'<tr><th>{escape(name)}</th>' + ''.join(f'<td class="number">{found.get(part, 0):.1%}</td>' for part in PARTS)
        + '<td class="picture"><div class="goodput">'
        + ''.join(f'<i class="g-{part}" style="width:{100 * max(share, 0):.2f}%"></i>' for part, share in found.items())
        + '</div></td></tr>' for name, found in known.items())
    return ('<section><h2>Time in steps</h2><p class="note">Of the wall time of a run since it was last started.</p>'
            f'<div class="scroll"><table><thead><tr><th>run</th>{heads}<th class="picture"></th></tr></thead><tbody>{rows}</tbody>'
            '</table></div></section>')
