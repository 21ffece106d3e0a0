"""WARC -> scored text on one core, by its parts, next to resiliparse and trafilatura; prints one JSON line last.

  python tests/benchmarks/mining.py [--warcs '../shared/data/crawl/*.warc.gz'] [--rounds 3]
  python tests/benchmarks/mining.py --peer_python=PYTHON [--peer_pages 200]     # with trafilatura and lxml_html_clean

All take turns, --rounds times; figures are medians of pages per second, by CPU time and by wall time. `chain` is what the
goal is about: read, extract, language, features, score (dim 256, 200,000 buckets; trained on the spot to tell pages with
formulas from the rest, untimed). Peers get the same decoded pages; trafilatura, which is slow, only some of them, and is
compared with ours on the same ones. The other stages follow, and what a snapshot of Common Crawl would take of each.
"""
import argparse
import contextlib
import glob
import hashlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOAL = 800                 # pages per core-second
SNAPSHOT = 3_000_000_000   # pages
ROUNDS = 4                 # of the classifier
COLLECTED = 0.02           # share of a snapshot that is decontaminated and written, at most
EXAMPLES = 600             # pages that the classifier learns from


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--warcs', nargs='+', default=['../shared/data/crawl/*.warc.gz'])
    parser.add_argument('--problems', default='../shared/data/problems/*.jsonl', help='to decontaminate against')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--peer_python', default='')
    parser.add_argument('--peer_pages', type=int, default=200)
    parser.add_argument('--peer', default='', help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- clocks
def cpu_seconds() -> float:
    """Of this process and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(task, items: int) -> dict:
    cpu, wall = cpu_seconds(), time.perf_counter()
    task()
    return {'items': items, 'cpu_s': cpu_seconds() - cpu, 'wall_s': time.perf_counter() - wall}


def each(function, items):
    """A task: function(item) of all items."""
    def task():
        for item in items:
            function(item)
    return task


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in open('/proc/cpuinfo', encoding='utf-8'):
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return 'unknown'


# ---- a peer, in its own Python, which has none of ours
def peer(path: str) -> dict:
    import trafilatura
    pages = [json.loads(line) for line in open(path, encoding='utf-8')]
    trafilatura.extract(pages[0])
    found = timed(each(trafilatura.extract, pages), len(pages))
    return found | {'version': trafilatura.__version__}


def run_peer(python: str, path: str) -> dict:
    done = subprocess.run([python, __file__, f'--peer={path}'], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f'{python} with trafilatura failed:\n{done.stderr[-3000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


# ---- ours
def trained(texts: list[str], folder: str):
    from mathrl.mining import classifier, features, stages
    rows = []
    for number, text in enumerate(texts[::max(1, len(texts) // EXAMPLES)]):
        words, marks = features.tokens(text)
        rows.append([number, int(f'{features.MARK}formula' in marks), 'en', ' '.join(words), ' '.join(marks)])
    stages.write_rows(f'{folder}/examples.jsonl', rows)
    settings = classifier.FastText(buckets=200_000, min_updates=1)
    classifier.train([f'{folder}/examples.jsonl'], f'{folder}/model.bin', settings, folder)
    return classifier.load(f'{folder}/model.bin')


def tasks(asked: argparse.Namespace, addresses: list[str], folder: str) -> tuple[dict, dict]:
    """({name: (task, pages it goes over)}, {what was read}); peer pages are left in the folder."""
    from resiliparse.extract.html2text import extract_plain_text

    from mathrl.mining import classifier, decontaminate, dedup, features, pages, stages, urls, warc
    from mathrl.mining.charset import decode
    from mathrl.mining.corpus import CORPUS_LEVEL
    from mathrl.mining.extract import page_text

    settings = pages.Extraction()
    found = [item for address in addresses for item in warc.read_warc(address) if isinstance(item, warc.Page)]
    rows = [row for row in (pages.row(page, settings) for page in found) if 'text' in row]
    texts = [row['text'] for row in rows]
    model, lines = trained(texts, folder), list(map(features.line, texts))
    decoded = [decode(page.html, page.charset) for page in found]
    some = range(0, len(found), max(1, len(found) // asked.peer_pages))
    with open(f'{folder}/peer.jsonl', 'w', encoding='utf-8') as file:
        file.writelines(json.dumps(decoded[i]) + '\n' for i in some)
    texts_path, kept_path = f'{folder}/texts.jsonl.zst', f'{folder}/corpus.jsonl.zst'
    stages.write_rows(texts_path, rows)
    stages.write_rows(kept_path, rows, CORPUS_LEVEL)
    stages.write_text(f'{folder}/warcs.txt', '\n'.join(addresses))

    def chain():
        for address in addresses:   # a WARC is extracted as a whole, then scored, as the stages do it
            extracted = [pages.row(item, settings) for item in warc.read_warc(address)]
            for row in extracted:
                if 'text' in row:
                    classifier.score(model, features.line(row['text']))

    def read():
        for address in addresses:
            for _ in warc.read_warc(address):
                pass

    def extract_page(page):
        with contextlib.suppress(ValueError):
            page_text(page.html, page.charset)

    def url_key(row):
        return hashlib.blake2b(urls.normalize(row['url']).encode('utf-8', 'surrogatepass'), digest_size=16).digest()

    def band_keys(row):
        signature = dedup.signature(row['text'])
        return [(key, dedup.sketch(signature)) for key in dedup.bands(signature)]

    def extract_stage():
        stage = stages.open_stage(folder, 'texts', {})
        for shard in range(len(addresses)):
            pages.extract_warc(shard, addresses_path=f'{folder}/warcs.txt', stage=stage, settings=settings)

    done = {
        'chain': (chain, len(found)),
        'resiliparse': (each(extract_plain_text, decoded), len(found)),
        'resiliparse_main_content': (each(lambda page: extract_plain_text(page, main_content=True), decoded), len(found)),
        'read': (read, len(found)),
        'extract': (each(extract_page, found), len(found)),
        'extract_peer_pages': (each(extract_page, [found[i] for i in some]), len(some)),
        'language': (each(features.language, texts), len(texts)),
        'tokens': (each(features.line, texts), len(texts)),
        'score': (each(lambda line: classifier.score(model, line), lines), len(texts)),
        'extract_stage': (extract_stage, len(found)),       # as mining runs it: pages in a child process, texts to a file
        'reread': (lambda: list(stages.read_rows(texts_path)), len(rows)),
        'url_keys': (each(url_key, rows), len(rows)),
        'minhash': (each(band_keys, rows), len(rows)),
        'write': (lambda: stages.write_rows(kept_path, rows, CORPUS_LEVEL), len(rows)),
    }
    problems = sorted(glob.glob(os.path.join(ROOT, asked.problems)))
    if problems:
        index = decontaminate.build(problems)
        done['decontaminate'] = (each(lambda text: decontaminate.contamination(text, index), texts), len(texts))
    about = {'pages': len(found), 'with_text': len(rows), 'html_bytes': sum(len(page.html) for page in found),
             'warc_bytes': sum(os.path.getsize(address) for address in addresses),
             'text_bytes': sum(len(text.encode()) for text in texts), 'texts_file_bytes': os.path.getsize(texts_path),
             'corpus_file_bytes': os.path.getsize(kept_path),
             'tokens_per_line': round(statistics.mean(map(len, lines))),
             'url_key_bytes': shuffled_bytes([(url_key(row), ((0, '', row['record_id']), row['record_id'], 90_000, n))
                                              for n, row in enumerate(rows[:200])]),
             'band_key_bytes': shuffled_bytes([(key, ((90_000, n), sketch)) for n, row in enumerate(rows[:200])
                                               for key, sketch in band_keys(row)]), 'band_keys': len(band_keys(rows[0]))}
    return done, about


def shuffled_bytes(pairs: list[tuple]) -> int:
    """Mean size of a pair as Beam's default coder writes it."""
    from apache_beam.coders import FastPrimitivesCoder
    coder = FastPrimitivesCoder()
    return round(statistics.mean(len(coder.encode(key)) + len(coder.encode(value)) for key, value in pairs))


def snapshot(rates: dict, about: dict) -> dict:
    """Core-hours and bytes for 3 B pages: every page is extracted, hashed and scored in each round; of what is collected,
    COLLECTED of all, every page is decontaminated and written. All stages after the first read the texts again."""
    def hours(*names, times=1.0):
        return round(sum(SNAPSHOT / rates[name] for name in names if name in rates) * times / 3600)

    per_page = SNAPSHOT / about['pages']
    return {'pages': SNAPSHOT,
            'core_hours': {'extract': hours('extract_stage'), 'duplicates_url': hours('reread', 'url_keys'),
                           'duplicates_content': hours('reread', 'minhash'),
                           f'{ROUNDS}_rounds': hours('reread', 'tokens', 'score', times=ROUNDS),
                           'corpus': hours('reread') + hours('decontaminate', 'write', times=COLLECTED)},
            'gigabytes': {'warcs_read': round(about['warc_bytes'] * per_page / 1e9),
                          'texts_stored': round(about['texts_file_bytes'] * per_page / 1e9),
                          'url_keys_shuffled': round(about['url_key_bytes'] * SNAPSHOT / 1e9),
                          'band_keys_shuffled': round(about['band_key_bytes'] * about['band_keys'] * SNAPSHOT / 1e9),
                          'corpus_stored': round(about['corpus_file_bytes'] * per_page * COLLECTED / 1e9)}}


def measure(asked: argparse.Namespace) -> dict:
    from mathrl.mining import warc
    if asked.peer_python:   # a fault there shows before the minutes that the rest takes
        subprocess.run([asked.peer_python, '-c', 'import trafilatura'], check=True)
    addresses, load = warc.find_warcs(asked.warcs), os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        work, about = tasks(asked, addresses, folder)
        rounds = {name: [] for name in work}
        versions = {}
        for number in range(asked.rounds):
            for name, (task, items) in work.items():
                rounds[name].append(timed(task, items))
            if asked.peer_python:
                found = run_peer(asked.peer_python, f'{folder}/peer.jsonl')
                versions['trafilatura'] = found.pop('version')
                rounds.setdefault('trafilatura', []).append(found)
            print(f'round {number + 1}: ' + ', '.join(f'{name} {each[-1]["items"] / each[-1]["cpu_s"]:.0f}'
                                                      for name, each in rounds.items()), file=sys.stderr, flush=True)
    by_cpu, by_wall = ({name: round(statistics.median(one['items'] / one[clock] for one in found), 1)
                        for name, found in rounds.items()} for clock in ('cpu_s', 'wall_s'))
    ratios = {'chain_to_resiliparse': by_cpu['chain'] / by_cpu['resiliparse'],
              'extract_to_resiliparse': by_cpu['extract'] / by_cpu['resiliparse'],
              'extract_to_resiliparse_main_content': by_cpu['extract'] / by_cpu['resiliparse_main_content'],
              'chain_to_goal': by_cpu['chain'] / GOAL}
    if 'trafilatura' in by_cpu:
        ratios['extract_to_trafilatura'] = by_cpu['extract_peer_pages'] / by_cpu['trafilatura']
    return {'benchmark': 'mining', **about, 'processor': processor(), 'load_before_and_after': [round(load[0], 1), round(os.getloadavg()[0], 1)],
            'cores': os.cpu_count(), 'rounds': asked.rounds, 'peer_pages': rounds['extract_peer_pages'][0]['items'],
            'trafilatura': versions.get('trafilatura', 'left out: no --peer_python was given'),
            'pages_per_core_s': by_cpu, 'pages_per_s': by_wall, 'ratios': {name: round(x, 3) for name, x in ratios.items()},
            'chain_rounds': [round(one['items'] / one['cpu_s']) for one in rounds['chain']],
            'snapshot': snapshot(by_cpu, about)}


if __name__ == '__main__':
    arguments = flags()
    sys.path.insert(0, str(ROOT))
    if not arguments.peer and 'GLIBC_TUNABLES' not in os.environ:   # as mining's workers have it
        from mathrl.cpu import HUGE_PAGES
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {'GLIBC_TUNABLES': HUGE_PAGES})
    print(json.dumps(peer(arguments.peer) if arguments.peer else measure(arguments)))
