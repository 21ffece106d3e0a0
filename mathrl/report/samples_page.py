"""samples.html: the problems and outputs of an evaluation to read and filter, or those of two runs side by side."""
from collections.abc import Sequence

from etils import epath

from mathrl.report import sample_cards, sample_filters, samples_source
from mathrl.report.markup import document, escape
from mathrl.report.samples_source import CHANGES, Limits, Page
from mathrl.report.tables import LANGUAGES

KINDS = {'right': 'Right', 'wrong': 'Wrong', 'none': 'No answer', 'cut': 'Cut off'}
STYLE = sample_filters.STYLE + sample_cards.STYLE + '''
.tally td small { display: inline; min-width: 0; }
@media (max-width: 700px) {
  .tally { font-size: 13px; } .tally td small { display: block; }
  .tally th.number { white-space: normal; } .tally th, .tally td { padding-right: 6px; font-size: 12px; }
}
'''


def write_samples_page(path: epath.PathLike, rows_path: epath.PathLike, against: epath.PathLike | None = None,
                       limits: Limits = Limits()) -> None:
    """Writes the page of rows_path, a samples.jsonl; against: that of an earlier run, to compare with.

    ValueError where a file holds no such rows, or the two have no problem in common.
    """
    page = samples_source.read(rows_path, against, limits)
    names = _names(against, rows_path) if against else [epath.Path(rows_path).parent.name]
    epath.Path(path).write_text(render(page, names, limits), encoding='utf-8')


def render(page: Page, names: Sequence[str], limits: Limits = Limits()) -> str:
    """names: of the run, or of the earlier and the later one."""
    compared = len(names) == 2
    title = f'Samples: {" and ".join(name for name in names if name)}'.removesuffix(': ')
    if compared:
        cards = [sample_cards.pair_card(page.earlier[sample.key], sample, number, names)
                 for number, sample in enumerate(page.samples, start=1)]
    else:
        cards = [sample_cards.card(sample, number) for number, sample in enumerate(page.samples, start=1)]
    body = (f'<h1>{escape(title)}</h1>{_changes(page, names) if compared else _counts(page)}'
            f'<p class="facts">{escape(_left_out(page, limits))}</p>{_controls(page, compared)}'
            f'<div class="samples">{"".join(cards)}</div>')
    return document(title, body, STYLE, sample_filters.SCRIPT)


def _names(against: epath.PathLike, rows_path: epath.PathLike) -> list[str]:
    """The runs' folders; the paths where those have one name."""
    names = [epath.Path(path).parent.name for path in (against, rows_path)]
    return names if names[0] != names[1] and all(names) else [str(against), str(rows_path)]


def _counts(page: Page) -> str:
    heads = ''.join(f'<th class="number">{title}</th>' for title in ('Problems', 'Outputs', *KINDS.values()))
    rows = [(benchmark or 'all', [f'{count["problems"]:,}', f'{count["outputs"]:,}',
                                  *(_of(count[kind], count['outputs']) for kind in KINDS)])
            for benchmark, count in page.counts.items()]
    return _table(heads, rows)


def _changes(page: Page, names: Sequence[str]) -> str:
    heads = ''.join(f'<th class="number">{escape(title)}</th>'
                    for title in ('Problems', *(change.capitalize() for change in CHANGES.values()), *names))
    rows = []
    for benchmark, count in page.counts.items():
        number, rights = count['problems'], count['both right']
        shares = [f'{(rights + count[change]) / number:.1%}' for change in ('became wrong', 'became right')]
        numbers = [f'{count[change]:,}' for change in CHANGES.values()]
        rows.append((benchmark or 'all', [f'{number:,}', *numbers, *shares]))
    return ('<p class="note">A problem counts as right where the greedy output is, or the first one where none is '
            'greedy.</p>' + _table(heads, rows))


def _table(heads: str, rows: list[tuple[str, list[str]]]) -> str:
    cells = [''.join(f'<td class="number">{value}</td>' for value in values) for _, values in rows]
    lines = ''.join(f'<tr><th>{escape(name)}</th>{line}</tr>' for (name, _), line in zip(rows, cells))
    return ('<div class="scroll"><table class="tally"><thead><tr><th>Benchmark</th>'
            f'{heads}</tr></thead><tbody>{lines}</tbody></table></div>')


def _of(part: int, whole: int) -> str:
    return f'{part:,}<small>{part / whole:.1%}</small>'


def _left_out(page: Page, limits: Limits) -> str:
    """What of the file is on the page, in words."""
    problems = sum(count['problems'] for count in page.counts.values())
    sampled = max(count['sampled'] for count in page.counts.values())
    told = []
    if len(page.samples) < problems:
        first = 'changed ones first' if page.earlier else 'the first of each benchmark'
        told.append(f'{len(page.samples):,} of {problems:,} problems are shown below, {first}.')
    if sampled > limits.outputs:
        told.append(f'Of up to {sampled:,} sampled outputs of a problem, the first {limits.outputs:,} are shown.')
    if page.unmatched:
        told.append(f'{page.unmatched:,} problems that only one of the runs has are left out.')
    if told:
        told.append('The table counts all that were read.')
    return ' '.join([*told, f'Texts are cut after {limits.characters:,} characters.'])


def _controls(page: Page, compared: bool) -> str:
    if compared:
        found = [CHANGES[page.earlier[sample.key].outputs[0].correct, sample.outputs[0].correct] for sample in page.samples]
        kinds = {'': ('All', len(found))} | {change.replace(' ', '-'): (change.capitalize(), found.count(change))
                                             for change in CHANGES.values()}
    else:
        outputs = [output.kinds for sample in page.samples for output in sample.outputs]
        kinds = {'': ('All', len(outputs))} | {kind: (title, sum(kind in output for output in outputs))
                                               for kind, title in KINDS.items()}
    values = {name: sorted({getattr(sample, name) for sample in page.samples} - {''})
              for name in ('benchmark', 'level', 'language')}
    return sample_filters.controls(kinds, {name: [(value, LANGUAGES.get(value, value) if name == 'language' else value)
                                                  for value in found] for name, found in values.items()})
