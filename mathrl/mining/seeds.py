"""The seeds: pages known to be mathematics, as texts or as URLs of pages of the crawl."""
import functools

import numpy as np
from etils import epath

from mathrl import records
from mathrl.mining import features, stages, urls
from mathrl.mining.stages import Stage


def read(path, stage: Stage) -> dict:
    """Reads a JSONL file whose lines hold `text` or `url` into the stage: examples of texts, hashes of URLs.

    Returns {texts, urls}: how many of each. ValueError where a line holds neither, or the file nothing.
    """
    if stage.result is not None:
        return stage.result
    hashes, examples = set(), {}
    for number, row in records.numbered_rows(path):
        text, url = row.get('text'), row.get('url')
        if isinstance(text, str) and text.strip():
            examples[stages.stable_hash('seed', text)] = example(text, features.language(text))
        elif isinstance(url, str) and url.strip():
            hashes.add(url_hash(url))
        else:
            raise ValueError(f"{path} line {number}: neither 'text' nor 'url' holds anything; a seed is one of the "
                             f'two; the line has: {", ".join(row) or "no fields"}')
    stages.write_rows(stage.path('texts'), ([key, 1, *rest] for key, rest in sorted(examples.items())))
    with stage.path('urls', 'npy').open('wb') as file:
        np.save(file, np.array(sorted(hashes), np.uint64))
    return stage.finish({'texts': len(examples), 'urls': len(hashes)})


def url_hash(url: str) -> int:
    return stages.stable_hash(urls.normalize(url))


@functools.lru_cache(maxsize=2)
def seed_urls(path: str) -> frozenset[int]:
    """The hashes of the seeds' URLs, once a process."""
    with epath.Path(path).open('rb') as file:
        return frozenset(np.load(file, allow_pickle=False).tolist())


def example(text: str, language: str) -> tuple[str, str, str]:
    """(language, words, marks) of a text: what the classifier is trained on, the words apart."""
    words, marks = features.tokens(text)
    return language, ' '.join(words), ' '.join(marks)
