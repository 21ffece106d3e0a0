"""What each round does with one shard: its examples for the classifier, its scores, its share of the counts."""
import json
from collections.abc import Iterable, Iterator

from mathrl.mining import classifier, domains, features, pages, seeds, stages
from mathrl.mining.crawl import Crawl, Round, Rounds
from mathrl.mining.stages import Stage

BINS = 10_000         # of the histogram of scores from which a token budget's threshold is read
BARS = 50             # of the histogram that the report shows
NEAR = 8              # pages shown on either side of the threshold
TOTALS = ''           # the key, no domain's, under which a round's totals are summed


# ---- examples
def write_examples(crawl: Crawl, last: Round | None, stage: Stage, settings: Rounds, rate: float, shard: int) -> None:
    """Rows [hash, label, language, words, marks] of the shard's positives and of its sample of negatives."""
    stages.write_rows(stage.path(shard), _examples(crawl, last, settings, rate, shard))


def _examples(crawl: Crawl, last: Round | None, settings: Rounds, rate: float, shard: int) -> Iterator[list]:
    decided = domains.annotations(last.annotations) if last else {}
    scored = dict(last.scored(shard)) if last else {}
    number = last.number if last else 0
    share = positive_share(decided, last, settings) if last else 1.0
    for row_number, row in crawl.pages(shard):
        judged = domains.judged(row['url'], decided)
        is_seed = seeds.url_hash(row['url']) in crawl.seed_urls()
        key = stages.stable_hash(row['record_id'], settings.seed, number)
        place = key / 2 ** 64
        if is_seed or judged:
            if is_seed or place < share:
                yield [key, 1, *seeds.example(row['text'], row['language'])]
        elif place < rate:
            language, words, marks = seeds.example(row['text'], row['language'])
            clear = (scored[row_number] < last.clear_score if last
                     else f'{features.MARK}formula ' not in marks)
            if clear or judged == 0:
                yield [key, 0, language, words, marks]


def positive_share(decided: dict[str, int], last: Round, settings: Rounds) -> float:
    """Which share of the annotated pages is taken, so that there are about `positives`."""
    counted = {prefix: n for row in last.summary['reviewed'] for prefix, n, _, _ in row[3]}
    total = sum(counted.get(prefix, 0) for prefix, math in decided.items() if math)
    return min(1.0, settings.positives / max(total, 1))


# ---- scores
def write_scores(crawl: Crawl, model_path: str, languages: list[str], stage: Stage, shard: int) -> None:
    """Rows [row number, score, tokens, url], and the shard's histogram {bin: [pages, tokens]}."""
    model = classifier.load(model_path)
    histogram, rows = {}, []
    for number, row in crawl.pages(shard):
        line = features.line(row['text'], row['language'] in languages)
        score, tokens = classifier.score(model, line), pages.token_count(row['text'])
        rows.append([number, score, tokens, row['url']])
        # Scores are millionths, and .57 * BINS is 5699.99...: a bin too low, its page would not count for the budget.
        counts = histogram.setdefault(min(round(score * 1_000_000) * BINS // 1_000_000, BINS - 1), [0, 0])
        counts[0] += 1
        counts[1] += tokens
    stages.write_text(stage.path(shard, 'histogram.json'), json.dumps(histogram))
    stages.write_rows(stage.path(shard), rows)


def sum_histograms(stage: Stage, shards: Iterable[int]) -> list[list[int]]:
    counts = [[0, 0] for _ in range(BINS)]
    for shard in shards:
        for number, (n, tokens) in json.loads(stage.path(shard, 'histogram.json').read_text()).items():
            counts[int(number)][0] += n
            counts[int(number)][1] += tokens
    return counts


def threshold_of(counts: list[list[int]], least: float, token_budget: float) -> float:
    """The least score of a page to be collected: `least`, or higher where the best pages fill the budget sooner.

    counts: [pages, tokens] of each of equal bins of scores from 0 to 1. A bin that would overrun the budget is out.
    """
    total = 0
    for number in range(len(counts) - 1, -1, -1):
        total += counts[number][1]
        if token_budget and total > token_budget:
            return max(least, (number + 1) / len(counts))
        if number / len(counts) <= least:
            break
    return least


def lowest_quarter(counts: list[list[int]]) -> float:
    """A score that at least a quarter of the pages lie below."""
    total, below = sum(n for n, _ in counts), 0
    for number, (n, _) in enumerate(counts):
        below += n
        if below * 4 >= total:
            return (number + 1) / len(counts)
    return 1.0


def bars(counts: list[list[int]]) -> dict:
    width = len(counts) // BARS
    return {'edges': [bar / BARS for bar in range(BARS + 1)],
            'counts': [sum(n for n, _ in counts[bar * width:(bar + 1) * width]) for bar in range(BARS)]}


# ---- domains and totals
def count_domains(crawl: Crawl, last: Round | None, this: Round, shard: int) -> Iterator[tuple]:
    known, wanted = crawl.seed_urls(), []
    before = dict(last.scored(shard)) if last else {}
    totals = {'scored': 0, 'collected': 0, 'tokens': 0, 'new': 0, 'seeds': 0}
    near = {'kept': [], 'rejected': []}
    for number, score, tokens, url in stages.read_rows(this.scores.path(shard)):
        is_seed = seeds.url_hash(url) in known
        collected = is_seed or this.collects(url, score)
        wanted.append((url, score, collected))
        totals['scored'] += 1
        totals['seeds'] += is_seed
        totals['collected'] += collected
        totals['tokens'] += tokens * collected
        totals['new'] += collected and not (last and (is_seed or last.collects(url, before[number])))
        if not is_seed:
            near['kept' if collected else 'rejected'].append((abs(score - this.threshold), url, score, shard, number))
    yield from domains.count_shard(wanted)
    yield TOTALS, (totals, {side: sorted(found)[:NEAR] for side, found in near.items()})


def review(share: float, partitions: int, domain: str, values: Iterable) -> Iterator[tuple]:
    if domain == TOTALS:
        values = list(values)
        totals = {name: sum(part[name] for part, _ in values) for name in values[0][0]}
        near = {side: sorted(page for _, part in values for page in part[side])[:NEAR] for side in values[0][1]}
        yield -1, totals | {'near': near}
    else:
        row = domains.review_row(domain, values, share)
        if row:
            yield stages.stable_hash(domain) % partitions, row


def write_review(stage: Stage, partition: int, rows: Iterable) -> None:
    name = 'totals' if partition < 0 else partition
    stages.write_rows(stage.path(name), sorted(rows, key=lambda row: row[0] if partition >= 0 else ''))


