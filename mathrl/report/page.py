"""The report's page: key figures, curves, table, sample questions, times, configurations; a string of HTML."""
import dataclasses
from typing import Sequence

from mathrl.report import compared, goodput, multi_chart, paper_scores, plots, rollouts_script, rollouts_section, tables
from mathrl.report.markup import document, escape
from mathrl.report.rollouts_source import Group
from mathrl.report.samples import samples_section
from mathrl.report.sources import Evaluation, Run


@dataclasses.dataclass(frozen=True)
class Curve:
    """How a metric is shown; share: a fraction, shown in percent; smooth: with a mean over neighbours."""
    title: str
    note: str = ''
    share: bool = False
    smooth: bool = True


RL_CURVES = {
    'reward': Curve('Reward', 'mean over the sampled outputs'),
    'accuracy': Curve('Accuracy', 'sampled answers to held-out questions', share=True),
    'kl': Curve('KL to the reference', 'nats a token, k3 estimate'),
    'length': Curve('Output length', 'tokens, mean'),
    'entropy': Curve('Entropy', 'nats a token'),
    'truncated': Curve('Cut off', 'share of outputs at the token limit', share=True),
    'grad_norm': Curve('Gradient norm', 'before clipping'),
    'all_equal': Curve('Groups without a signal', 'share whose rewards are all equal', share=True),
    'reward_std': Curve('Spread of the rewards', 'standard deviation'),
}
OTHER_CURVES = {
    'loss': Curve('Loss'),
    'clip_share': Curve('Clipped', 'share of tokens outside the clip range', share=True),
    'ratio': Curve('Ratio to the sampling policy', 'mean over tokens'),
    'logp_gap': Curve('Sampler to trainer', 'mean absolute gap of log-probs, nats a token'),
    'advantage_std': Curve('Spread of the advantages', 'standard deviation'),
    'length_max': Curve('Longest output', 'tokens'),
    'mfu': Curve('FLOPs used', 'share of the devices’ peak', share=True),
    'update_mfu': Curve('FLOPs used in updates', 'share of the devices’ peak', share=True),
    'learning_rate': Curve('Learning rate', smooth=False), 'seconds': Curve('Time a step', 'seconds'),
    'tokens_per_s': Curve('Speed', 'tokens/s'),
    'rollout_tokens_per_s': Curve('Sampling speed', 'tokens/s'),
    'update_tokens_per_s': Curve('Update speed', 'tokens/s'),
    'update_fill': Curve('Filled', 'share of the update’s positions that hold a token', share=True),
}
LM_CURVES = {'loss': Curve('Loss', 'nats a token')}
RUN_TITLES = {'pretrain': 'Pre-training', 'sft': 'Supervised fine-tuning', 'rl': 'Reinforcement learning',
              'grpo': 'GRPO'}


def render(*, title: str, runs: Sequence[Run], evaluations: Sequence[Evaluation],
           stages: Sequence[tuple[str, float]], config: str = '', rollouts: Sequence[Group] = (), all_rollouts: bool = True,
           refresh: float = 0) -> str:
    """The whole page. The first evaluation counts as before, the last as after; anything may be empty.

    all_rollouts: no others were kept; refresh: seconds after which a browser loads the page anew (0: it does not).
    """
    before = evaluations[0] if len(evaluations) > 1 else None
    after = evaluations[-1] if evaluations else None
    alike = {}
    for run in runs:
        alike.setdefault(compared.program(run), []).append(run)
    alone = [same[0] for same in alike.values() if len(same) == 1]
    learned = [run for run in alone if 'reward' in run.series]
    taught = [run for run in alone if 'reward' not in run.series]
    sections = [_header(title, before, after, stages)]
    if rollouts:
        sections.append('<nav class="jump"><a href="#rollouts">Rollouts</a></nav>')
    for same in alike.values():
        if len(same) > 1:
            shown = RL_CURVES if any('reward' in run.series for run in same) else LM_CURVES
            sections.append(compared.section(same, shown, OTHER_CURVES | RL_CURVES))
    sections += [_curves(run) for run in learned]
    sections += [_losses(taught)] if taught else []
    if after:
        sections += ['<section><h2>Scores</h2><p class="note">Intervals: 95%, by bootstrap over the questions.</p>'
                     + tables.scores_table(evaluations) + tables.answers_table(evaluations) + '</section>',
                     paper_scores.table(evaluations), samples_section(before, after)]
    sections.append(goodput.section(runs))
    if stages:
        sections.append('<section><h2>Where the time went</h2>' + tables.times_table(stages) + '</section>')
    sections.append(_configurations(runs, evaluations, config))
    sections.append(rollouts_section.section(rollouts, all_rollouts))     # the last: it grows as it is scrolled
    script = rollouts_script.SCRIPT if rollouts else ''
    return document(title, '\n'.join(section for section in sections if section),
                    multi_chart.STYLE + goodput.STYLE + (rollouts_section.STYLE if rollouts else ''), script, refresh)


def _header(title: str, before: Evaluation | None, after: Evaluation | None, stages) -> str:
    facts = []
    if after:
        languages = [f'{scores["questions"]} {tables.LANGUAGES.get(language, language)}'
                     for language, scores in after.scores['by_language'].items()]
        facts.append(f'{after.scores["questions"]} held-out questions'
                     + (f' ({", ".join(languages)})' if len(languages) > 1 else ''))
        if after.scores['samples']:
            facts.append(f'{after.scores["samples"]} samples each at temperature {after.scores["temperature"]:g}')
    if stages:
        facts.append(f'{tables.duration(sum(seconds for _, seconds in stages))} for all stages')
    return (f'<header><h1>{escape(title)}</h1>' + (f'<p class="lede">{_lede(before, after)}</p>' if after else '')
            + (f'<p class="facts">{escape(" · ".join(facts))}</p>' if facts else '')
            + (tables.tiles(before, after) if after else '') + '</header>')


def _lede(before: Evaluation | None, after: Evaluation) -> str:
    """One sentence that says what came out."""
    name = after.score_names[0]
    value = f'<b class="after">{tables.percent(after.scores[name])}</b>'
    what = {'accuracy': 'Sampled accuracy', 'greedy': 'Greedy accuracy'}.get(name, name)
    if not before or name not in before.scores:
        return f'{what} of <b class="after">{escape(after.name)}</b> is {value}.'
    if name == 'accuracy':
        change, interval = tables.accuracy_change(before, after)
    else:
        change, interval = after.scores[name] - before.scores[name], None
    verb = 'stays at' if round(change, 3) == 0 else 'rises to' if change > 0 else 'falls to'
    sure = '' if not interval else (
        f' (95% interval {tables.points(interval[0])} to {tables.points(interval[1])})')
    return (f'{what} {verb} {value} after <b class="after">{escape(after.name)}</b>, from '
            f'<b class="before">{tables.percent(before.scores[name])}</b> after '
            f'<b class="before">{escape(before.name)}</b>: {tables.points(change)} points{sure}.')


def _curves(run: Run) -> str:
    """The section of a run that learned from rewards."""
    shown = [_chart(run, name, curve, 'after') for name, curve in RL_CURVES.items() if name in run.series]
    count = max(len(steps) for steps, _ in run.series.values())
    return (f'<section><h2>{escape(RUN_TITLES.get(run.name, run.name))}</h2>'
            f'<p class="note">{_smoothing_note(count)}</p><div class="charts">{"".join(shown)}</div>'
            + _more([(run, 'after')], RL_CURVES) + '</section>')


def _losses(runs: Sequence[Run]) -> str:
    """One section for all runs that learned from text; their losses side by side."""
    shown = []
    for run in runs:
        curve = Curve(f'{RUN_TITLES.get(run.name, run.name)}: loss', 'nats a token')
        shown.append(_chart(run, 'loss', curve, _colour(run)))
    return ('<section><h2>Learning from text</h2><p class="note">Bold: the mean over neighbours, its last value '
            f'written; faint: each logged step.</p><div class="charts">{"".join(shown)}</div>'
            + _more([(run, _colour(run)) for run in runs], ['loss']) + '</section>')


def _colour(run: Run) -> str:
    return 'before' if run.name == 'sft' else 'plain'


def _more(runs, already) -> str:
    """The other curves, folded away; metrics that nobody described bear their own name."""
    charts = [_chart(run, name, _named(run, name, len(runs) > 1), colour) for run, colour in runs
              for name in sorted(run.series) if name not in already and not name.startswith(goodput.PREFIX)]
    if not charts:
        return ''
    return f'<details><summary>More curves</summary><div class="charts">{"".join(charts)}</div></details>'


def _named(run: Run, name: str, with_run: bool) -> Curve:
    curve = OTHER_CURVES.get(name) or RL_CURVES.get(name) or Curve(name)
    if not with_run:
        return curve
    return dataclasses.replace(curve, title=f'{run.name}: {curve.title}')


def _chart(run: Run, name: str, curve: Curve, colour: str) -> str:
    steps, values = run.series.get(name, ([], []))
    picture = plots.line_chart(steps, values, label=curve.title, share=curve.share, smooth=curve.smooth)
    return (f'<figure class="chart {colour}"><h3>{escape(curve.title)}</h3>'
            f'<div class="note">{escape(curve.note)}</div>'
            + (picture or '<div class="none">nothing to draw yet</div>') + '</figure>')


def _smoothing_note(count: int) -> str:
    window = plots.smoothing_window(count)
    return (f'{count} logged steps.' if window == 1 else f'{count} logged steps. Bold: the mean over {window} '
            'neighbours, its last value written; faint: each step.')


def _configurations(runs: Sequence[Run], evaluations: Sequence[Evaluation], config: str) -> str:
    texts = [(f'run {run.name}', run.config) for run in runs]
    texts += [(f'evaluation {evaluation.name}', evaluation.config) for evaluation in evaluations]
    texts.append(('this report', config))
    folded = ''.join(f'<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>'
                     for name, text in texts if text.strip())
    return f'<section><h2>Configurations</h2>{folded}</section>' if folded else ''
