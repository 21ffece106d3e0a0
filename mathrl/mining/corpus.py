"""The corpus and the account: what is kept, each page's reason, and the figures of the report.

A page is kept if the last round collected it (or it is a seed) and no benchmark is in it. `round` is the first round
that collected it. Departs from the paper in nothing; it does not say what becomes of pages that an early round
collected and the last one does not: here the last classifier, which saw most, decides.
"""
import collections
import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from mathrl.mining import decontaminate, duplicates, grams, pages, seeds, stages
from mathrl.mining.crawl import Crawl, Round
from mathrl.mining.stages import Stage

DUPLICATE_URL, DUPLICATE_CONTENT = 'duplicate_url', 'duplicate_content'
CONTAMINATED, LOW_SCORE = 'contaminated', 'low_score'
CORPUS_LEVEL = 9      # of zstd: written once, read often
AROUND = 120          # characters shown on either side of a benchmark's n-gram
SHOWN = 600           # characters shown of a page
CONTAMINATED_SHOWN = 30
_GAP = r'(?:\\[a-zA-Z]+|[\W_]){0,40}'

SNAPSHOT = re.compile(r'CC-MAIN-\d{4}-\d{2}')


def snapshot(address: str) -> str:
    """The crawl a WARC is of: '.../CC-MAIN-2023-06/segments/...' -> 'CC-MAIN-2023-06', 'crawl-00001.warc.gz' -> 'crawl'."""
    found = SNAPSHOT.search(address)
    stem = re.sub(r'\.warc(\.\w+)?$', '', address.rpartition('/')[2])   # epath knows no https://
    return found[0] if found else re.sub(r'[-_.]?\d+$', '', stem) or stem


def part_name(shard: int, shards: int) -> str:
    return f'part-{shard:05d}-of-{shards:05d}.jsonl.zst'


@functools.lru_cache(maxsize=1)
def _index(path: str) -> decontaminate.Index:
    """The benchmarks' n-grams, once a process."""
    return decontaminate.load(path)


def write_shard(crawl: Crawl, rounds: Sequence[Round], index_path: str, snapshots: Sequence[str], stage: Stage,
                folder: str, shard: int) -> None:
    """Writes the shard's part of the corpus, its lines of pages.jsonl and its figures, in this order."""
    account = Account(snapshots[shard])
    lines = []
    kept = _kept(crawl, rounds, index_path, account, lines, shard)
    stages.write_rows(epath.Path(folder) / part_name(shard, len(crawl.shards)), kept, CORPUS_LEVEL)
    stages.write_text(stage.path(shard, 'account.json'), json.dumps(account.figures()))
    stages.write_rows(stage.path(shard), lines)


def _kept(crawl: Crawl, rounds: Sequence[Round], index_path: str, account: 'Account', lines: list[dict],
          shard: int) -> Iterator[dict]:
    """The shard's rows of the corpus; lines and account are filled on the way."""
    twins = {number: (DUPLICATE_CONTENT, of) for number, of, *_ in duplicates.duplicates(crawl.by_content, shard)}
    for number, of, *_ in duplicates.duplicates(crawl.by_url, shard):
        twins[number] = DUPLICATE_URL, twins[number][1] if number in twins else of
    scores = [dict(one.scored(shard)) for one in rounds]
    for number, row in enumerate(stages.read_rows(crawl.texts.path(shard))):
        line = {'url': row['url'], 'record_id': row['record_id'], 'score': None, 'round': None, 'kept': False,
                'reason': row.get('reason')}
        lines.append(line)
        if 'text' not in row:
            line['detail'] = row['detail']
        elif number in twins:
            line['reason'], line['duplicate_of'] = twins[number]
        else:
            line['score'] = scores[-1][number]
            is_seed = seeds.url_hash(row['url']) in crawl.seed_urls()
            collected = [one.number for one, found in zip(rounds, scores)
                         if is_seed or one.collects(row['url'], found[number])]
            if not collected or collected[-1] != rounds[-1].number:
                line['reason'] = LOW_SCORE
            elif index_path and (hit := decontaminate.contamination(row['text'], _index(index_path))):
                line['reason'], line['detail'] = CONTAMINATED, f'{hit.benchmark} line {hit.line}: {hit.ngram}'
                account.contaminated.append({'url': row['url'], 'record_id': row['record_id'], 'ngram': hit.ngram,
                                             'benchmark': hit.benchmark, 'excerpt': excerpt(row['text'], hit.ngram)})
            else:
                line['round'], line['kept'] = collected[0], True
                yield {'url': row['url'], 'text': row['text'], 'score': line['score'], 'language': row['language'],
                       'round': line['round'], 'snapshot': account.snapshot, 'record_id': row['record_id'],
                       'date': row['date']}
        account.add(line, row)


class Account:
    """Counts of one shard, which sum up over shards."""

    def __init__(self, snapshot: str):
        self.snapshot, self.contaminated = snapshot, []
        self.reasons, self.details, self.parts = collections.Counter(), collections.Counter(), collections.Counter()

    def add(self, line: dict, row: dict) -> None:
        self.reasons[line['reason'] or 'kept'] += 1
        if 'text' not in row:
            self.details[f"{line['reason']}\t{line['detail']}"] += 1
        elif line['kept']:
            size = len(row['text'].encode('utf-8', 'replace'))
            for part in ('all\t', f"language\t{row['language']}", f'snapshot\t{self.snapshot}'):
                self.parts[f'{part}\tpages'] += 1
                self.parts[f'{part}\ttokens'] += pages.token_count(row['text'])
            self.parts['all\t\tbytes'] += size

    def figures(self) -> dict:
        return {'reasons': self.reasons, 'details': self.details, 'parts': self.parts,
                'contaminated': self.contaminated[:CONTAMINATED_SHOWN]}


def excerpt(text: str, ngram: str) -> str:
    """The piece of a text around an n-gram, whose characters may stand there with markup and commands between them."""
    wanted = _GAP.join(re.findall(r'[^\W_]', ngram))
    for spelling in (text, grams.normalise(text)):   # the n-gram is of the second, where \alpha is one letter
        found = re.search(wanted, spelling, re.IGNORECASE)
        if found:
            return spelling[max(0, found.start() - AROUND):found.end() + AROUND]
    return text[:2 * AROUND]


# ---- sums over shards
def summarize(crawl: Crawl, rounds: Sequence[Round], stage: Stage) -> dict:
    """The figures of mining.json that come from the pages."""
    reasons, details, parts, contaminated = collections.Counter(), collections.Counter(), collections.Counter(), []
    for shard in crawl.shards:
        figures = json.loads(stage.path(shard, 'account.json').read_text())
        reasons.update(figures['reasons'])
        details.update(figures['details'])
        parts.update(figures['parts'])
        contaminated += figures['contaminated']
    by_detail = collections.defaultdict(dict)
    for key, count in sorted(details.items()):
        reason, _, detail = key.partition('\t')
        by_detail[reason][detail] = count
    last = rounds[-1].summary
    return {
        'pages': sum(reasons.values()), 'kept': reasons.pop('kept', 0), 'tokens': parts['all\t\ttokens'],
        'corpus_bytes': parts['all\t\tbytes'], 'by_reason': dict(sorted(reasons.items())), 'by_detail': by_detail,
        'by_language': _by(parts, 'language'), 'by_snapshot': _by(parts, 'snapshot'),
        'rounds': [{name: value for name, value in one.summary.items() if name not in ('near', 'reviewed', 'prefixes')}
                   for one in rounds],
        'domains': [{'domain': domain, 'pages': n, 'collected': m, 'share': round(m / n, 4), 'math': True}
                    for domain, n, m, _ in sorted(last['reviewed'], key=lambda row: (-row[2], row[0]))[:50]],
        'prefixes': last['prefixes'],
        'near_threshold': {side: [_sample(crawl, page) for page in found] for side, found in last['near'].items()},
        'contaminated': contaminated[:CONTAMINATED_SHOWN],
        'duplicates': {'url': reasons[DUPLICATE_URL], 'content': reasons[DUPLICATE_CONTENT]}}


def _by(parts: collections.Counter, kind: str) -> dict:
    found = collections.defaultdict(dict)
    for key, count in parts.items():
        one, name, field = key.split('\t')
        if one == kind:
            found[name][field] = count
    return dict(sorted(found.items(), key=lambda item: (-item[1]['pages'], item[0])))


def _sample(crawl: Crawl, page: Sequence) -> dict:
    _, url, score, shard, wanted = page
    text, language = next((row['text'], row['language']) for number, row
                          in enumerate(stages.read_rows(crawl.texts.path(shard))) if number == wanted)
    return {'url': url, 'score': score, 'language': language, 'text': text[:SHOWN]}


def join_lines(path, parts: Iterable) -> None:
    """One JSONL file out of many, whole or not at all."""
    stages.write_rows(path, (row for part in parts for row in stages.read_rows(part)))
