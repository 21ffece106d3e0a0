"""WARC -> scored text on one core, by its parts, next to plain resiliparse and trafilatura; prints one JSON line last.

  python tests/benchmarks/mining.py [--warcs '../shared/data/crawl/*.warc.gz'] [--rounds 3] [--trafilatura 200]

Pages per second of CPU time, medians over the rounds, in which the programs take turns. The classifier is the paper's
(dim 256) with 200,000 buckets, trained on the spot to tell pages with formulas from the rest. Peers extract from the same
decoded pages: resiliparse's plain text without and with main_content, and trafilatura, where it is installed (in another
environment: run this with that Python), on the first so many pages.
"""
import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from resiliparse.extract.html2text import extract_plain_text  # noqa: E402

from mathrl.mining import classifier, decontaminate, dedup, features, pages, stages, urls, warc  # noqa: E402
from mathrl.mining.charset import decode  # noqa: E402
from mathrl.mining.extract import extract  # noqa: E402


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--warcs', default='../shared/data/crawl/*.warc.gz')
    parser.add_argument('--benchmarks', default='../shared/data/problems/*.jsonl')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--trafilatura', type=int, default=200, help='pages that it is given; 0 leaves it out')
    return parser.parse_args()


def read(addresses: list[str]) -> list[warc.Page]:
    return [item for address in addresses for item in warc.read_warc(address) if isinstance(item, warc.Page)]


def texts_of(found: list[warc.Page]) -> list[str]:
    rows = [pages.row(page, pages.Extraction(min_characters=1)) for page in found]
    return [row.get('text', '') for row in rows]


def trained(texts: list[str], folder: str):
    """A classifier of the real size; what it tells apart does not matter here."""
    rows = []
    for number, text in enumerate(texts[:800]):
        words, marks = features.tokens(text)
        rows.append([number, int(f'{features.MARK}formula' in marks), 'en', ' '.join(words), ' '.join(marks)])
    stages.write_rows(f'{folder}/examples.jsonl', rows)
    classifier.train([f'{folder}/examples.jsonl'], f'{folder}/model.bin', classifier.FastText(buckets=200_000, min_updates=1), folder)
    return classifier.load(f'{folder}/model.bin')


def chain(addresses: list[str], model) -> int:
    """What the stages do with a page until it has its score; the number of pages."""
    count, settings = 0, pages.Extraction()
    for address in addresses:
        for item in warc.read_warc(address):
            row = pages.row(item, settings)
            if 'text' in row:
                classifier.score(model, features.line(row['text'], True))
            count += 1
    return count


def tasks(asked: argparse.Namespace, addresses: list[str], model, found: list[warc.Page], texts: list[str]) -> dict:
    """name -> a function that does the work once and returns for how many pages."""
    decoded = [decode(page.html, page.charset) for page in found]
    lines = [features.line(text) for text in texts]
    index = decontaminate.build(sorted(map(str, pathlib.Path().glob(asked.benchmarks))))

    def each(function, items):
        for item in items:
            function(item)
        return len(items)

    def minhash(text):
        signature = dedup.signature(text)
        dedup.bands(signature)
        dedup.sketch(signature)

    done = {
        'chain': lambda: chain(addresses, model),
        'read': lambda: len(read(addresses)),
        'extract': lambda: each(lambda page: extract(page.html, page.charset), found),
        'language': lambda: each(features.language, texts),
        'tokens': lambda: each(features.tokens, texts),
        'score': lambda: each(lambda line: classifier.score(model, line), lines),
        'url_keys': lambda: each(lambda page: urls.normalize(page.url), found),
        'minhash': lambda: each(minhash, texts),
        'decontaminate': lambda: each(lambda text: decontaminate.contamination(text, index), texts),
        'resiliparse': lambda: each(extract_plain_text, decoded),
        'resiliparse_main_content': lambda: each(lambda page: extract_plain_text(page, main_content=True), decoded),
    }
    if asked.trafilatura and importlib.util.find_spec('trafilatura'):
        import trafilatura
        done['trafilatura'] = lambda: each(trafilatura.extract, decoded[:asked.trafilatura])
    return done


def main() -> None:
    asked = flags()
    addresses = warc.find_warcs([asked.warcs])
    found = read(addresses)
    texts = texts_of(found)
    with tempfile.TemporaryDirectory() as folder:
        speeds = {}
        for name, task in tasks(asked, addresses, trained(texts, folder), found, texts).items():
            speeds[name] = (task, [])
        for number in range(asked.rounds):
            for name, (task, measured) in speeds.items():
                start = time.process_time()
                count = task()
                measured.append(count / (time.process_time() - start))
                print(f'round {number + 1}: {name} {measured[-1]:.0f} pages/s', file=sys.stderr, flush=True)
    medians = {name: round(statistics.median(measured), 1) for name, (_, measured) in speeds.items()}
    print(json.dumps({'benchmark': 'mining', 'pages': len(found), 'html_bytes': sum(len(page.html) for page in found),
                      'text_bytes': sum(len(text.encode()) for text in texts), 'pages_per_s': medians,
                      'chain_to_resiliparse': round(medians['chain'] / medians['resiliparse'], 3)}))


if __name__ == '__main__':
    main()
