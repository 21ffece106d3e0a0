"""The page of a study of methods: which is best and how sure that is, what training and voting look like."""
from typing import Mapping, Sequence

import numpy as np

from mathrl.report import markup, multi_chart, tables
from mathrl.report.markup import escape
from mathrl.report.method_scores import Outcome, difference, interval
from mathrl.report.plots import change_picture, smoothed, smoothing_window

Found = Mapping[str, Mapping[int, Outcome]]


def render(title: str, found: Found, paper_order: Sequence[str], stages: Sequence[tuple[str, float]], config: str) -> str:
    """found: method -> seed -> its outcome; the first method is the start itself. paper_order: from the worst to the best."""
    ranked = sorted(found, key=lambda name: -_accuracy(found[name]))
    seeds = len(next(iter(found.values())))
    problems, outputs = next(iter(next(iter(found.values())).values())).right_NK.shape
    body = [f'<h1>{escape(title)}</h1>',
            f'<p class="lede">{len(found) - 1} methods from one start, {seeds} seeds each. From best to worst: '
            f'{escape(" > ".join(ranked))}.</p>',
            f'<p class="facts">Accuracy is the mean over {outputs} samples of each of {problems} held-out problems and over '
            'seeds; intervals are 95%, from drawing seeds and problems anew.</p>',
            _table(found, ranked), _order(found, paper_order), _training(found), _voting(found),
            f'<section><h2>Time</h2>{tables.times_table(stages)}</section>',
            '<section><h2>Configuration</h2><details><summary>this study</summary>'
            f'<pre>{escape(config)}</pre></details></section>']
    return markup.document(title, '\n'.join(body), multi_chart.STYLE)


def _accuracy(by_seed: Mapping[int, Outcome]) -> float:
    return float(np.mean([one.accuracy for one in by_seed.values()]))


def _table(found: Found, ranked: Sequence[str]) -> str:
    rows, start = [], _accuracy(next(iter(found.values())))
    for name in ranked:
        by_seed = list(found[name].values())
        low, high = interval(by_seed)
        each = ', '.join(tables.percent(one.accuracy) for one in by_seed)
        last = lambda scores: tables.percent(float(np.mean(scores)))
        rows.append(f'<tr><th>{escape(name)}</th><td class="number">{tables.percent(_accuracy(found[name]))}</td>'
                    f'<td class="number">{tables.percent(low)}–{tables.percent(high)}</td>'
                    f'<td class="picture">{change_picture(start, _accuracy(found[name]), [None, (low, high)])}</td>'
                    f'<td class="number">{each}</td><td class="number">{last([one.maj[-1] for one in by_seed])}</td>'
                    f'<td class="number">{last([one.passed[-1] for one in by_seed])}</td>'
                    f'<td class="number">{round(np.mean([one.samples for one in by_seed])):,}</td></tr>')
    k = next(iter(found[ranked[0]].values())).ks[-1]
    heads = ('accuracy', '95%', 'from the start (ring)', 'each seed', f'maj@{k}', f'pass@{k}', 'outputs sampled')
    return ('<section><h2>Methods</h2><div class="scroll"><table><thead><tr><th>method</th>'
            + ''.join(f'<th class="number">{head}</th>' for head in heads)
            + f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>')


def _order(found: Found, paper_order: Sequence[str]) -> str:
    """The paper's order, neighbour by neighbour: is the better one better here, and by how much?"""
    rows = []
    for worse, better in zip(paper_order, paper_order[1:]):
        gap, low, high = difference(list(found[worse].values()), list(found[better].values()))
        verdict, colour = 'not told apart', 'plain'
        if low > 0:
            verdict, colour = 'as in the paper', 'right'
        elif high < 0:
            verdict, colour = 'the other way round', 'wrong'
        rows.append(f'<tr><th>{escape(better)} &gt; {escape(worse)}</th><td class="number">{tables.points(gap)}</td>'
                    f'<td class="number">{tables.points(low)} to {tables.points(high)}</td>'
                    f'<td class="{colour}">{verdict}</td></tr>')
    here = sorted(paper_order, key=lambda name: -_accuracy(found[name]))
    return (f'<section><h2>Beside the paper</h2><p class="note">The paper: {escape(" > ".join(reversed(paper_order)))}. '
            f'Here: {escape(" > ".join(here))}.</p><div class="scroll"><table class="small"><thead><tr><th>the paper says</th>'
            '<th class="number">points here</th><th class="number">95%</th><th>so</th></tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div></section>')


def _training(found: Found) -> str:
    charts = []
    for key, label in (('reward', 'Reward of what is sampled'), ('length', 'Length, tokens')):
        series = {}
        for name, by_seed in found.items():
            series[name] = [], []      # a method has one colour in all charts, also where it has no curve
            if curves := [one.curves[key] for one in by_seed.values() if key in one.curves]:
                values = np.mean([curve[1] for curve in curves], axis=0)
                series[name] = curves[0][0], smoothed(values, smoothing_window(len(values)))
        charts.append(multi_chart.chart(label, series, x_label='step'))
    return ('<section><h2>Training</h2><p class="note">Means over seeds. Rewards of different kinds are not compared by '
            f'their height.</p><div class="charts">{"".join(charts)}</div></section>')


def _voting(found: Found) -> str:
    """maj@k and pass@k over k for the start and every method, as in the paper's figure 7."""
    charts = []
    for title, pick in (('maj@k', lambda one: one.maj), ('pass@k', lambda one: one.passed)):
        series = {name: (next(iter(by_seed.values())).ks, np.mean([pick(one) for one in by_seed.values()], axis=0))
                  for name, by_seed in found.items()}
        charts.append(multi_chart.chart(title, series, x_label='k', share=True, logarithmic=True))
    return ('<section><h2>Voting and best of k</h2><p class="note">In the paper reinforcement learning raises maj@k and not '
            f'pass@k.</p><div class="charts">{"".join(charts)}</div></section>')
