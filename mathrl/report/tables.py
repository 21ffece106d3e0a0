"""The numbers of a report: summary.json, the key figures, the table before/after, where the time went."""
from typing import Sequence

import numpy as np

from mathrl.evaluation.scores import bootstrap_intervals
from mathrl.report.markup import escape
from mathrl.report.plots import change_picture
from mathrl.report.sources import Evaluation

LANGUAGES = {'en': 'English', 'zh': 'Chinese'}


def summarize(evaluations: Sequence[Evaluation], seconds: float | None) -> dict:
    """summary.json: <evaluation>_<score> for every evaluation and score, by_language, questions, seconds."""
    summary, by_language = {}, {}
    for evaluation in evaluations:
        names = evaluation.score_names
        summary |= {f'{evaluation.name}_{name}': evaluation.scores[name] for name in names}
        for language, scores in evaluation.scores['by_language'].items():
            by_language.setdefault(language, {}).update(
                {f'{evaluation.name}_{name}': scores[name] for name in names})
    if evaluations:
        summary |= {'by_language': by_language, 'questions': evaluations[-1].scores['questions']}
    return summary | ({} if seconds is None else {'seconds': round(seconds, 1)})


def score_title(name: str) -> str:
    return {'accuracy': 'Accuracy', 'greedy': 'Greedy'}.get(name, name)


def score_note(name: str, scores: dict) -> str:
    """What a score is, in a few words."""
    if name == 'accuracy':
        return f'mean over {scores["samples"]} samples'
    kind, _, k = name.partition('@')
    return {'greedy': 'the likeliest answer', 'maj': f'majority of {k} samples',
            'pass': f'any of {k} samples right'}[kind]


def accuracy_change(before: Evaluation, after: Evaluation) -> tuple[float, list[float] | None]:
    """The change of accuracy and its 95% interval over problems, paired; None if the problems are not the same."""
    change = after.scores['accuracy'] - before.scores['accuracy']
    asked = [[row['problem'] for row in evaluation.samples] for evaluation in (before, after)]
    if not asked[0] or asked[0] != asked[1]:
        return change, None
    shares_BN = [[np.mean([output['correct'] for output in row['outputs']]) for row in evaluation.samples]
                 for evaluation in (before, after)]
    [interval] = bootstrap_intervals(np.subtract(shares_BN[1], shares_BN[0])[:, None])
    return change, [float(limit) for limit in interval]


def percent(value: float) -> str:
    return f'{100 * value:.1f}%'


def points(change: float) -> str:
    """A change of a share, in percentage points with a real minus sign."""
    return f'{"−" if round(change, 3) < 0 else "+"}{abs(100 * change):.1f}'


def tiles(before: Evaluation | None, after: Evaluation) -> str:
    """The key figures: each score after, from what it came, its interval, and the same for each language."""
    made = []
    for name in after.score_names:
        value = after.scores[name]
        earlier = before.scores.get(name) if before else None
        was = '' if earlier is None else f'<span>{points(value - earlier)} from {percent(earlier)}</span>'
        made.append(f'<div class="tile"><h3>{escape(score_title(name))}</h3>'
                    f'<div class="note">{escape(score_note(name, after.scores))}</div>'
                    f'<div class="figure"><strong class="after">{percent(value)}</strong>{was}'
                    f'<small>interval {_span(after.scores, name) or "unknown"}</small></div>'
                    f'<div class="languages">{_languages(before, after, name)}</div></div>')
    return f'<div class="tiles">{"".join(made)}</div>'


def _languages(before: Evaluation | None, after: Evaluation, name: str) -> str:
    lines = []
    for language, scores in after.scores['by_language'].items():
        earlier = before.scores['by_language'].get(language, {}).get(name) if before else None
        values = ('' if earlier is None else f'{percent(earlier)} → ') + percent(scores[name])
        lines.append(f'<div><span>{escape(LANGUAGES.get(language, language))}</span><span>{values}</span></div>')
    return ''.join(lines)


def scores_table(evaluations: Sequence[Evaluation]) -> str:
    """Every score, in all and in each language, with its interval; the change from the first to the last."""
    after = evaluations[-1]
    colours = (['before'] + ['plain'] * (len(evaluations) - 2) + ['after'])[-len(evaluations):]
    heads = ''.join(f'<th class="number"><i class="key {colour}"></i>{escape(evaluation.name)}</th>'
                    for evaluation, colour in zip(evaluations, colours))
    heads += '<th class="number">points</th>' if len(evaluations) > 1 else ''
    rows = []
    for name in after.score_names:
        rows.append(_row(score_title(name), 'first', name, [evaluation.scores for evaluation in evaluations]))
        for language in after.scores['by_language']:
            parts = [evaluation.scores['by_language'].get(language, {}) for evaluation in evaluations]
            rows.append(_row(LANGUAGES.get(language, language), 'part', name, parts))
    return (f'<div class="scroll"><table><thead><tr><th>score</th>{heads}'
            '<th class="picture"><span><b>0%</b><b>50%</b><b>100%</b></span></th></tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div>')


def answers_table(shown: Sequence[Evaluation]) -> str:
    """What the outputs look like: length, cut off, without an answer."""
    heads = ''.join(f'<th class="number">{escape(evaluation.name)}</th>' for evaluation in shown)
    kinds = (('mean_length', 'Mean length, tokens', '{:.1f}'), ('truncated', 'Cut off at the limit', '{:.1%}'),
             ('no_answer', 'Without an answer', '{:.1%}'))
    rows = ''.join(f'<tr><th>{title}</th>' + ''.join(
        f'<td class="number">{form.format(evaluation.scores[key]) if key in evaluation.scores else "–"}</td>'
        for evaluation in shown) + '</tr>' for key, title, form in kinds)
    return (f'<div class="scroll"><table class="small"><thead><tr><th>outputs</th>{heads}</tr></thead>'
            f'<tbody>{rows}</tbody></table></div>')


def times_table(stages: Sequence[tuple[str, float]]) -> str:
    longest = max([seconds for _, seconds in stages] + [1e-9])
    rows = ''.join(f'<tr><td>{escape(name)}</td><td class="number">{duration(seconds)}</td><td><span class="bar" '
                   f'style="width:{100 * seconds / longest:.1f}%"></span></td></tr>' for name, seconds in stages)
    return f'<table class="times"><tbody>{rows}</tbody></table>'


def duration(seconds: float) -> str:
    """83 -> '1 min 23 s'."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {seconds % 60} s' if minutes else f'{seconds} s'


def _span(scores: dict, name: str) -> str:
    """The interval of a score, in percent; '' where there is none."""
    interval = scores.get('intervals', {}).get(name)
    return f'{100 * interval[0]:.1f}–{100 * interval[1]:.1f}' if interval else ''


def _row(title: str, kind: str, name: str, shown: Sequence[dict]) -> str:
    values = [scores.get(name) for scores in shown]
    cells = ''.join(f'<td class="number">{"–" if value is None else percent(value)}'
                    f'<small>{_span(scores, name)}</small></td>' for value, scores in zip(values, shown))
    first = values[0] if len(values) > 1 else None
    if len(values) > 1:
        cells += f'<td class="number">{"–" if None in (first, values[-1]) else points(values[-1] - first)}</td>'
    intervals = [scores.get('intervals', {}).get(name) for scores in (shown[0], shown[-1])]
    picture = '' if values[-1] is None else change_picture(first, values[-1], intervals)
    return f'<tr class="{kind}"><th>{escape(title)}</th>{cells}<td class="picture">{picture}</td></tr>'
