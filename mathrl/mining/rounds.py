"""The rounds: examples from what is known, a classifier, scores of all pages, domains, new seeds (PAPER.md, section 1).

Round 1 knows the seeds; each later round also the pages below the URL prefixes that were annotated as mathematics
after the round before. Departs from the paper in what counts as no mathematics: its random pages are hardly ever
mathematics, those of a small, dense crawl often are. So a random page is a negative in round 1 only if it has no
formula, and later only if the last classifier gave it less than `clear_score`; of a whole Common Crawl that leaves
out about one page in a hundred.
"""
import dataclasses
import functools
import time
from collections.abc import Callable

from etils import epath

from mathrl.mining import classifier, domains, scoring, stages
from mathrl.mining.classifier import FastText
from mathrl.mining.crawl import Crawl, Round, Rounds
from mathrl.mining.pipeline import Engine


def run(engine: Engine, crawl: Crawl, folder, settings: Rounds, fasttext: FastText, annotations: str,
        attended: bool, timed: Callable[[str, int], None]) -> list[Round]:
    """All rounds, or those until the last one is waiting for a person (its `annotations` is '')."""
    done = []
    for number in range(1, settings.rounds + 1):
        done.append(_round(engine, crawl, epath.Path(folder) / f'{number}', number, done, settings, fasttext,
                           annotations, attended))
        timed(f'round {number}', done[-1].summary['scored'])
        if done[-1].summary['stopped'] or not done[-1].annotations:
            break
    return done


def _round(engine: Engine, crawl: Crawl, folder: epath.Path, number: int, done: list[Round], settings: Rounds,
           fasttext: FastText, annotations: str, attended: bool) -> Round:
    last, started = done[-1] if done else None, time.monotonic()
    chosen = dataclasses.asdict(settings)
    decided = epath.Path(last.annotations).read_text() if last else ''
    examples = stages.open_stage(folder, 'examples', {'rounds': chosen, 'annotations': decided},
                                 last.scores if last else crawl.by_content)

    # ---- examples
    if examples.result is None:
        function = functools.partial(scoring.write_examples, crawl, last, examples, settings, settings.negatives / max(crawl.texts.result['pages'], 1))
        engine.each(function, examples.unfinished(crawl.shards), f'round {number}: examples',
                    lambda: len(crawl.shards) - len(examples.unfinished(crawl.shards)))
        examples.finish({})

    # ---- the classifier
    fasttext = dataclasses.replace(fasttext, min_updates=settings.first_updates) if number == 1 else fasttext
    model = stages.open_stage(folder, 'model', dataclasses.asdict(fasttext), examples)
    if model.result is None:
        files = [crawl.seeds.path('texts'), *map(examples.path, crawl.shards)]
        print(f'round {number}: training', flush=True)
        model.finish(classifier.train(files, model.path('model', 'bin'), fasttext, epath.Path(model.folder)))
    learned = model.result

    # ---- scores of all pages, and the threshold
    scores = stages.open_stage(folder, 'scores', {}, model)
    if scores.result is None:
        function = functools.partial(scoring.write_scores, crawl, str(model.path('model', 'bin')), learned['languages'], scores)
        engine.each(function, scores.unfinished(crawl.shards), f'round {number}: scores',
                    lambda: len(crawl.shards) - len(scores.unfinished(crawl.shards)))
        counts = scoring.sum_histograms(scores, crawl.shards)
        scores.finish({'threshold': scoring.threshold_of(counts, settings.threshold, settings.token_budget),
                       'lowest_quarter': scoring.lowest_quarter(counts), 'histogram': scoring.bars(counts)})
    threshold = scores.result['threshold']
    inside = settings.inside_threshold if threshold == settings.threshold else threshold
    # In a crawl that is nearly all alike, the first scores are too: its lowest quarter has to do for the rest.
    clear = max(settings.clear_score, scores.result['lowest_quarter'])
    this = Round(number, scores, threshold, inside, clear, last.annotations if last else '')

    # ---- domains
    reviewed = stages.open_stage(folder, 'domains', {'share': settings.domain_share, 'inside': inside}, scores)
    if reviewed.result is None:
        engine.regroup(crawl.shards, functools.partial(scoring.count_domains, crawl, last, this),
                       [functools.partial(scoring.review, settings.domain_share, len(crawl.shards))],
                       functools.partial(scoring.write_review, reviewed), f'round {number}: domains')
        reviewed.finish({})
    rows = [row for shard in crawl.shards if reviewed.path(shard).exists()
            for row in stages.read_rows(reviewed.path(shard))]
    totals = next(stages.read_rows(reviewed.path('totals')))

    # ---- which prefixes are mathematics
    rule = {}
    for row in rows:
        rule |= domains.decide(row, settings.prefix_share, settings.min_pages)
    domains.write_review(folder / 'domains_to_review.tsv', rows, rule)
    person = domains.read_annotations(annotations) if annotations else {}
    path = folder / 'annotations.tsv'
    if not attended:
        # The rule's 0 says too little to learn from: only a person's makes its pages negatives.
        domains.write_annotations(path, {prefix: 1 for prefix, math in rule.items() if math} | person)
    waiting = attended and not path.exists()
    decisions = {} if waiting else domains.read_annotations(path) | person

    summary = _summary(number, learned, totals, threshold, scores.result['histogram'], rows, decisions, settings)
    summary |= {'prefixes': _prefixes(rows, decisions, rule if not attended else {}, person), 'reviewed': rows,
                'seconds': round(time.monotonic() - started, 1)}
    return dataclasses.replace(this, annotations='' if waiting else str(path), summary=summary)


# ---- what the report shows
def _summary(number: int, learned: dict, totals: dict, threshold: float, histogram: dict, rows: list, decisions: dict,
             settings: Rounds) -> dict:
    collected = totals['collected']
    overlap = 1 - totals['new'] / collected if collected and number > 1 else 0.0
    stopped = ''
    if number > 1 and overlap >= settings.stop_overlap:
        stopped = f'{overlap:.1%} of the pages were already collected'
    elif number == settings.rounds:
        stopped = f'{number} rounds were asked for'
    rule = f'score of at least {settings.threshold:g}, below annotated prefixes {settings.inside_threshold:g}' + (
        f', at most {settings.token_budget:,.0f} tokens' if settings.token_budget else '')
    new_seeds = sum(n - m for row in rows for prefix, n, m, _ in row[3] if decisions.get(prefix))
    return {'round': number, 'seeds': totals['seeds'], 'positives': learned['math'], 'negatives': learned['other'],
            'languages': learned['languages'], 'epochs': learned['epochs'], 'threshold': threshold,
            'threshold_rule': rule, 'scored': totals['scored'], 'collected': collected, 'tokens': totals['tokens'],
            'new': totals['new'], 'overlap': round(overlap, 4), 'math_domains': len(rows),
            'annotated_prefixes': sum(decisions.values()), 'new_seeds': new_seeds, 'histogram': histogram, 'stopped': stopped,
            'near': totals['near']}


def _prefixes(rows: list, decisions: dict, rule: dict, person: dict) -> list[dict]:
    found = []
    for _, _, _, prefixes in rows:
        for prefix, n, m, mean in prefixes:
            if prefix in decisions:
                by = 'rule' if prefix in rule and prefix not in person else 'person'
                found.append({'prefix': prefix, 'pages': n, 'collected': m, 'mean_score': mean,
                              'math': decisions[prefix], 'by': by})
    return sorted(found, key=lambda item: (-item['collected'], item['prefix']))[:50]
