"""Compares methods from one start: each is trained and evaluated with several seeds; ends in methods.json and report.html.

Every training and every evaluation is a stage (programs/stages.py), so a study that was stopped goes on where it was.
"""
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from mathrl.metrics import read_metrics
from mathrl.programs import stages
from mathrl.report import method_scores, methods_page, sources

BASELINE = 'sft'      # the name of the start itself, evaluated without training


def run(*, workdir: epath.Path, start: Sequence[tuple], model: str, methods: Mapping[str, tuple[str, dict[str, Any]]],
        seeds: Sequence[int], training: Mapping[str, Any], evaluation: tuple[str, dict[str, Any]], paper_order: Sequence[str],
        title: str, config: str = '', dry_run: bool = False) -> None:
    """Runs the stages `start`, then each method with each seed, and an evaluation of each and of `model`, the start.

    methods: name -> (gin file, its macros); training: macros of all of them; evaluation: (gin file, macros). In string values
    {workdir} stands for workdir. paper_order: names of methods, from the worst to the best of the paper's. A method of another
    paper need not be among them.
    """
    if not seeds or not methods:
        raise ValueError(f'methods={list(methods)}, seeds={list(seeds)}: one of each at least was wanted')
    if BASELINE in methods:
        raise ValueError(f'{BASELINE!r} is the start itself and no method to train; the methods are: {", ".join(methods)}')
    unknown = [name for name in paper_order if name not in {BASELINE, *methods}]
    if unknown:
        raise ValueError(f'paper_order names {unknown[0]!r}; the methods are: {BASELINE}, {", ".join(methods)}')
    evaluation_file, evaluation_macros = evaluation
    listed = list(start)
    for seed in seeds:      # a seed of all methods before the next: a study that is cut short still compares
        for name in (BASELINE, *methods):
            folder = model
            if name != BASELINE:
                gin_file, macros = methods[name]
                listed.append((f'{name}.{seed}', gin_file, {**training, 'MODEL': model, **macros, 'SEED': seed}))
                folder = f'{{workdir}}/{name}.{seed}'
            listed.append((f'{name}.{seed}.evaluate', evaluation_file, {**evaluation_macros, 'MODEL': folder, 'SEED': seed}))
    stages.run(workdir=workdir, stages=listed, dry_run=dry_run)
    if dry_run:
        return
    found = {name: {seed: _outcome(workdir, name, seed) for seed in seeds} for name in (BASELINE, *methods)}
    as_json = {name: {str(seed): one.as_json() for seed, one in by_seed.items()} for name, by_seed in found.items()}
    (workdir / 'methods.json').write_text(json.dumps(as_json, indent=1) + '\n')
    html = methods_page.render(title, found, paper_order, sources.read_stages(workdir), config)
    (workdir / 'report.html').write_text(html, encoding='utf-8')
    print(f'methods: {workdir / "methods.json"} and {workdir / "report.html"}')


def _outcome(workdir: epath.Path, name: str, seed: int) -> method_scores.Outcome:
    curves, samples = {}, 0
    if name != BASELINE:
        series = read_metrics(workdir / f'{name}.{seed}' / 'metrics.jsonl')
        samples = int(sum(line['samples'] + line.get('reward_model_samples', 0) for line in series))
        curves = {key: ([line['step'] for line in series], [line[key] for line in series]) for key in ('reward', 'length')}
    return method_scores.outcome(sources.read_evaluation(name, workdir / f'{name}.{seed}.evaluate'), samples, curves)
