"""Which pages stand for others: first by URL, then by content; what is left out names the page that stands for it.

Of one URL the newest capture stands, of pages of like content the one with the shortest URL (see dedup). Records
that are no page (bad, too short, too slow) take no part, so a broken capture never stands for a good one.
"""
import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable, Iterator

from mathrl.mining import dedup, stages, urls
from mathrl.mining.pipeline import Engine
from mathrl.mining.stages import Stage

STAR_ROUNDS = 3   # of one pipeline; a chain of n pages takes about log2 n, and what is not done goes round again


@dataclasses.dataclass(frozen=True)
class Deduplication:
    """Near-duplicates by MinHash: permutations = values a signature, shingle = tokens a shingle, bands x rows values
    make the buckets, threshold = Jaccard from which two pages are one, max_comparisons bounds a hot bucket's work."""
    permutations: int = dedup.PERMUTATIONS
    shingle: int = dedup.SHINGLE
    bands: int = dedup.BANDS
    rows: int = dedup.ROWS
    threshold: float = dedup.THRESHOLD
    max_comparisons: int = dedup.MAX_COMPARISONS
    seed: int = 0


def pages(texts: Stage, shard: int, *left_out: Stage) -> Iterator[tuple[int, dict]]:
    """(row number, row) of a shard's pages with text, without the duplicates that the stages `left_out` found."""
    without = {row for stage in left_out for row, *_ in duplicates(stage, shard)}
    for number, row in enumerate(stages.read_rows(texts.path(shard))):
        if 'text' in row and number not in without:
            yield number, row


def duplicates(stage: Stage, shard: int) -> list[tuple[int, str, int, int]]:
    """(row number, record_id of the page that stands for it, its shard, its row number) of a shard's duplicates."""
    path = stage.path(shard)   # a shard without any has no file
    return list(map(tuple, stages.read_rows(path))) if path.exists() else []


def by_url(engine: Engine, texts: Stage, stage: Stage, shards: list[int]) -> None:
    """Fills `stage` with the duplicates by URL."""
    if stage.result is None:
        engine.regroup(shards, functools.partial(_url_keys, texts), [_losers],
                       functools.partial(_write, stage), stage.name)
        stage.finish({})


def by_content(engine: Engine, texts: Stage, url_stage: Stage, clusters: Stage, stage: Stage, shards: list[int],
               settings: Deduplication) -> None:
    """Fills `clusters` with connected components of like pages, then `stage` with all but one page of each.

    With a page that is left out go those that it stands for by URL: they too are told which page is left.
    """
    if clusters.result is None:
        start = functools.partial(_band_keys, texts, url_stage, settings)
        first = [functools.partial(_bucket_edges, settings)]
        while True:
            engine.regroup(shards, start, [*first, *[_large_star, _small_star] * STAR_ROUNDS, _labels],
                           functools.partial(_write_edges, clusters), clusters.name)
            if not any(clusters.path(shard, 'unstable').exists() for shard in shards):
                break
            start, first = functools.partial(_both_ends, clusters), []
        clusters.finish({})
    if stage.result is None:
        engine.regroup(shards, functools.partial(_cluster_keys, texts, url_stage, clusters), [_with_twins, _losers],
                       functools.partial(_write, stage), stage.name)
        stage.finish({})


# ---- by URL
def _url_keys(texts: Stage, shard: int) -> Iterator[tuple[bytes, tuple]]:
    for number, row in pages(texts, shard):
        key = hashlib.blake2b(urls.normalize(row['url']).encode('utf-8', 'surrogatepass'), digest_size=16).digest()
        yield key, (dedup.url_rank(row['date'], row['record_id']), row['record_id'], shard, number)


def _losers(key, members: Iterable[tuple]) -> Iterator[tuple[int, tuple]]:
    """(rank, record_id, shard, row) of one cluster -> (shard, (row, the lowest rank's record_id, shard, row)) of others."""
    del key
    _, standing, shard, number = dedup.keep_first(members)
    for _, _, other_shard, other_number in members:
        if (other_shard, other_number) != (shard, number):
            yield other_shard, (other_number, standing, shard, number)


def _write(stage: Stage, shard: int, rows: Iterable) -> None:
    stages.write_rows(stage.path(shard), sorted(rows))


# ---- by content
def _band_keys(texts: Stage, url_stage: Stage, settings: Deduplication, shard: int) -> Iterator[tuple[int, tuple]]:
    for number, row in pages(texts, shard, url_stage):
        signature = dedup.signature(row['text'], settings.permutations, settings.shingle, settings.seed)
        sketch = dedup.sketch(signature)
        for bucket in dedup.bands(signature, settings.bands, settings.rows):
            yield bucket, ((shard, number), sketch)


def _bucket_edges(settings: Deduplication, bucket: int, members: Iterable[tuple]) -> Iterator[tuple]:
    del bucket
    for one, other in dedup.edges_of_bucket(_Ranked(members), settings.threshold, settings.max_comparisons):
        yield one, other
        yield other, one


class _Ranked:
    """(key, sketch) as (key, sketch, rank), which can be read again and again."""

    def __init__(self, members: Iterable[tuple]):
        self.members = members

    def __iter__(self):
        return ((tuple(key), sketch, tuple(key)) for key, sketch in self.members)


def _large_star(key: tuple, neighbours: Iterable[tuple]) -> Iterator[tuple]:
    """Edges at both their ends -> edges at their larger end."""
    return dedup.large_star(key, neighbours)


def _small_star(key: tuple, neighbours: Iterable[tuple]) -> Iterator[tuple]:
    """Edges at their larger end -> edges at both their ends."""
    for larger, smaller in dedup.small_star(key, neighbours):
        yield larger, smaller
        yield smaller, larger


def _labels(key: tuple, neighbours: Iterable[tuple]) -> Iterator[tuple[int, tuple]]:
    """-> (shard, (row, the cluster's label, whether it is final)); edges, where the components are not done."""
    shard, number = key
    smallest = min(neighbours)
    if dedup.is_star(key, neighbours):
        yield shard, (number, min(key, smallest), True)
    else:
        for neighbour in set(neighbours):
            if neighbour < key:
                yield shard, (number, neighbour, False)


def _write_edges(clusters: Stage, shard: int, rows: Iterable[tuple]) -> None:
    rows = sorted(rows)
    stages.write_rows(clusters.path(shard), rows)
    unstable = clusters.path(shard, 'unstable')
    if all(final for _, _, final in rows):
        unstable.unlink(missing_ok=True)
    else:
        stages.write_text(unstable, '')


def _both_ends(clusters: Stage, shard: int) -> Iterator[tuple[tuple, tuple]]:
    for number, label, _ in duplicates(clusters, shard):
        one, other = (shard, number), tuple(label)
        if one != other:
            yield one, other
            yield other, one


def _cluster_keys(texts: Stage, url_stage: Stage, clusters: Stage, shard: int) -> Iterator[tuple[tuple, tuple]]:
    """(shard, row) of a page -> (label, rank...) of itself, (None, last rank...) of each page that it stands for."""
    labels = {number: tuple(label) for number, label, _ in duplicates(clusters, shard)}
    if labels:
        for number, row in pages(texts, shard):
            if number in labels:
                rank = dedup.content_rank(urls.normalize(row['url']), row['date'], (shard, number))
                yield (shard, number), (labels[number], rank, row['record_id'], shard, number)
    for number, _, other_shard, other_number in duplicates(url_stage, shard):
        yield (other_shard, other_number), (None, (math.inf,), '', shard, number)


def _with_twins(key, members: Iterable[tuple]) -> Iterator[tuple[tuple, tuple]]:
    del key
    label = next((label for label, *_ in members if label is not None), None)
    if label is not None:
        for _, *member in members:
            yield label, tuple(member)
