"""Mines a math corpus out of WARC files into <workdir>: corpus/, pages.jsonl, report.html (PAPER.md, section 1)."""
import dataclasses
import functools
import json
import os
import time
from collections.abc import Sequence

from mathrl.mining import corpus, decontaminate, duplicates, pages, rounds, seeds, stages, warc
from mathrl.mining.classifier import FastText
from mathrl.mining.crawl import Crawl, Rounds
from mathrl.mining.duplicates import Deduplication
from mathrl.mining.pages import Extraction
from mathrl.mining.pipeline import Engine
from mathrl.report import mining_page, mining_source


def run(*, workdir, warcs: Sequence[str], seed_file: str, benchmarks: Sequence[str] = (),
        extraction: Extraction = Extraction(), deduplication: Deduplication = Deduplication(),
        collection: Rounds = Rounds(), fasttext: FastText = FastText(), ngram: int = 10, min_ngram: int = 3,
        han_ngram: int = 16, ngram_bits: float = 80.0, annotations: str = '', attended: bool = False,
        beam_options: str = '', workers: int = 0, config: str = '', dry_run: bool = False) -> None:
    """warcs: WARC files, globs, addresses or lists of paths. seed_file, benchmarks: JSONL, see `seeds`, `decontaminate`.

    annotations: TSV of URL prefixes that a person judged, for every round. attended: stop after each round until its
    annotations.tsv is written. beam_options: Beam's own, '' for this machine with `workers` processes (0: one a core).
    """
    started = time.time()
    addresses = warc.find_warcs(warcs)
    if dry_run:
        print(f'mine: {len(addresses)} WARC files, seeds {seed_file}, {len(benchmarks)} benchmarks, to {workdir}')
        return
    engine = Engine(beam_options, workers, os.devnull if '://' in str(workdir) else str(workdir / 'workers.log'))
    shards, folder, timed = tuple(range(len(addresses))), workdir / 'stages', _Stopwatch()

    # ---- what a person gives, read first: its faults show in seconds
    known = stages.open_stage(folder, 'seeds', {'seeds': _digest(seed_file)})
    given = seeds.read(seed_file, known)
    index_path = ''
    if benchmarks:
        sizes = {'ngram': ngram, 'min_ngram': min_ngram, 'han_ngram': han_ngram, 'bits': ngram_bits}
        grams = stages.open_stage(folder, 'benchmarks', sizes | {'files': [_digest(path) for path in benchmarks]})
        index_path = str(grams.path('index', 'npz'))
        if grams.result is None:
            decontaminate.build(benchmarks, **sizes).save(index_path)
            grams.finish({})
    if fasttext.threads != 1:
        print(f'mine: fastText with {fasttext.threads} threads is not deterministic: two runs will give two corpora')

    # ---- WARC -> text
    texts = stages.open_stage(folder, 'texts', {'warcs': addresses} | dataclasses.asdict(extraction))
    if texts.result is None:
        pages.write_addresses(texts.path('warcs', 'txt'), addresses)
        function = functools.partial(pages.extract_warc, addresses_path=str(texts.path('warcs', 'txt')), stage=texts,
                                     settings=extraction)
        engine.each(function, texts.unfinished(shards, 'counts.json'), 'extract',
                    lambda: len(shards) - len(texts.unfinished(shards, 'counts.json')))
        texts.finish({'pages': 0} | pages.count(texts, shards))
    read = sum(texts.result.values())
    timed('extract', read)
    if not texts.result['pages']:
        raise ValueError(f'none of the {read} records of {len(addresses)} WARC files is a page with text: {texts.result}')

    # ---- duplicates
    by_url = stages.open_stage(folder, 'duplicates_url', {}, texts)
    clusters = stages.open_stage(folder, 'clusters', dataclasses.asdict(deduplication), by_url)
    by_content = stages.open_stage(folder, 'duplicates_content', {}, clusters)
    duplicates.by_url(engine, texts, by_url, shards)
    timed('duplicates by URL', texts.result['pages'])
    duplicates.by_content(engine, texts, by_url, clusters, by_content, shards, deduplication)
    timed('duplicates by content', texts.result['pages'])

    # ---- rounds
    crawl = Crawl(texts, by_url, by_content, known, shards)
    done = rounds.run(engine, crawl, workdir / 'rounds', collection, fasttext, annotations, attended, timed)
    _say_rounds(done, given)
    if not done[-1].annotations:
        where = workdir / 'rounds' / f'{done[-1].number}'
        print(f'mine: waiting for a person: copy {where / "domains_to_review.tsv"} to {where / "annotations.tsv"}, '
              'set its last column (math) to 0 or 1, and give the same command again')
        return

    # ---- the corpus
    written = stages.open_stage(folder, 'written', {'index': grams.fingerprint if benchmarks else '',
                                                    'rounds': [one.threshold for one in done]}, done[-1].scores)
    target = workdir / 'corpus'
    if len(written.unfinished(shards)) == len(shards) and target.exists():
        target.rmtree()   # of other settings
    target.mkdir(parents=True, exist_ok=True)
    stages.sweep(workdir)
    stages.sweep(target)
    function = functools.partial(corpus.write_shard, crawl, done, index_path, list(map(corpus.snapshot, addresses)),
                                 written, str(target))
    engine.each(function, written.unfinished(shards), 'write', lambda: len(shards) - len(written.unfinished(shards)))
    corpus.join_lines(workdir / 'pages.jsonl', map(written.path, shards))
    timed('decontaminate and write', texts.result['pages'])

    # ---- the report
    summary = corpus.summarize(crawl, done, written) | {'seconds': round(time.time() - started, 1), 'stages': timed.stages}
    stages.write_text(workdir / 'mining.json', json.dumps(summary, ensure_ascii=False, indent=1) + '\n')
    html = mining_page.render(mining_source.read_mining(workdir), config)
    stages.write_text(workdir / 'report.html', html)
    print(f'mine: {summary["kept"]} of {summary["pages"]} pages kept, about {summary["tokens"]:,} tokens, in {target}; '
          f'{workdir / "report.html"}')


class _Stopwatch:
    """What each stage took in this run; one that was found finished took nothing."""

    def __init__(self):
        self.stages, self.last = [], time.monotonic()

    def __call__(self, name: str, items: int) -> None:
        now = time.monotonic()
        self.stages.append({'name': name, 'seconds': round(now - self.last, 2), 'items': items})
        print(f'{name}: {items} pages, {now - self.last:.1f} s', flush=True)
        self.last = now


def _digest(path: str) -> list:
    """What a file holds: with other content it is another file."""
    return [str(path), stages.file_hash(path)]


def _say_rounds(done: list, given: dict) -> None:
    for one in done:
        found = one.summary
        print(f'round {one.number}: {found["positives"]} examples of mathematics, {found["negatives"]} of the rest, '
              f'{found["collected"]} of {found["scored"]} pages collected from score {one.threshold:g} on, '
              f'{found["overlap"]:.1%} as before' + (f'; {found["stopped"]}' if found['stopped'] else ''))
    missing = given['urls'] - done[0].summary['seeds']
    if missing > 0:
        print(f'mine: {missing} of {given["urls"]} seed URLs are no page of the crawl with text, or stand for another')
