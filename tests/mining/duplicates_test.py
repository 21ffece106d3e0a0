"""Duplicates by URL and by content, with reductions run in plain Python: one page each, and who stands for whom."""
import pickle
import random

import pytest

from mathrl.mining import duplicates, stages
from mathrl.mining.duplicates import Deduplication


class Engine:
    """Engine.regroup without Beam: dicts group, and the order of shards, keys and values is shuffled."""

    def __init__(self, seed=0):
        self.rng, self.runs = random.Random(seed), 0

    def regroup(self, shards, mapped, reductions, written, name=''):
        self.runs += 1
        found = [pair for shard in shards for pair in mapped(shard)]
        for reduction in [*reductions, written]:
            self.rng.shuffle(found)
            groups = {}
            for key, value in found:
                groups.setdefault(key, []).append(pickle.loads(pickle.dumps(value)))
            found = [pair for key, values in groups.items() for pair in reduction(key, values) or ()]


def prose(seed, changes=0, length=120):
    rng = random.Random(seed)
    words = [''.join(rng.choices('abcdefghijklmnop', k=rng.randint(3, 8))) for _ in range(length)]
    for at in random.Random(changes).sample(range(length), changes):
        words[at] = f'other{changes}'
    return ' '.join(words)


def page(record_id, url, text, date='2024-01-01T00:00:00Z'):
    return {'record_id': record_id, 'url': url, 'date': date, 'text': text, 'language': 'en'}


def fault(record_id, url, date='2025-01-01T00:00:00Z'):
    return {'record_id': record_id, 'url': url, 'date': date, 'reason': 'bad_record', 'detail': ''}


@pytest.fixture
def run(tmp_path):
    """(pages left, {record_id: duplicate_of} by URL, the same by content) of rows laid into shards."""
    def run(rows, shards=3, seed=0, engine=None):
        folder = tmp_path / f'{len(list(tmp_path.iterdir()))}'
        texts, by_url, clusters, by_content = (stages.open_stage(folder, name, {}) for name in
                                               ('texts', 'by_url', 'clusters', 'by_content'))
        rows = random.Random(seed).sample(rows, len(rows))
        for shard in range(shards):
            stages.write_rows(texts.path(shard), rows[shard::shards])
        engine = engine or Engine(seed)
        duplicates.by_url(engine, texts, by_url, range(shards))
        duplicates.by_content(engine, texts, by_url, clusters, by_content, range(shards), Deduplication())
        left = {row['record_id'] for shard in range(shards)
                for _, row in duplicates.pages(texts, shard, by_url, by_content)}
        of = [{rows[shard::shards][number]['record_id']: standing for shard in range(shards)
               for number, standing, *_ in duplicates.duplicates(stage, shard)} for stage in (by_url, by_content)]
        return left, *of
    return run


@pytest.mark.parametrize('seed', range(5))
def test_of_one_url_the_newest_capture_stands(run, seed):
    rows = [page('old', 'http://www.a.org/x/', prose(1), '2023-01-01T00:00:00Z'),
            page('new', 'https://a.org/x', prose(2), '2024-05-01T00:00:00Z'),
            page('tracked', 'https://a.org/x?utm_source=y', prose(3), '2024-04-01T00:00:00Z'),
            page('same time 2', 'https://b.org', prose(4)), page('same time 1', 'http://b.org/', prose(5)),
            page('alone', 'https://a.org/X', prose(6))]
    left, by_url, by_content = run(rows, seed=seed)
    assert left == {'new', 'same time 1', 'alone'}
    assert by_url == {'old': 'new', 'tracked': 'new', 'same time 2': 'same time 1'} and by_content == {}


@pytest.mark.parametrize('seed', range(5))
def test_of_one_content_the_shortest_url_stands(run, seed):
    rows = [page('print', 'https://a.org/x/print', prose(1)), page('page', 'https://a.org/x', prose(1)),
            page('mirror', 'https://mirror.example.org/x', prose(1, changes=1)),
            page('other', 'https://a.org/y', prose(2)),
            page('half', 'https://a.org/z', prose(1)[:400] + prose(3)[:400])]
    left, by_url, by_content = run(rows, seed=seed)
    assert left == {'page', 'other', 'half'}
    assert by_url == {} and by_content == {'print': 'page', 'mirror': 'page'}


@pytest.mark.parametrize('seed', range(5))
def test_a_page_with_faults_takes_no_part(run, seed):
    rows = [fault('broken', 'https://a.org/x'), page('good', 'https://a.org/x', prose(1)),
            fault('broken too', 'https://b.org'), fault('broken again', 'https://b.org')]
    left, by_url, by_content = run(rows, seed=seed)
    assert left == {'good'} and by_url == by_content == {}


@pytest.mark.parametrize('seed', range(5))
def test_who_stands_is_never_left_out_itself(run, seed):
    rows = [page('old mirror', 'https://mirror.org/x', prose(1), '2023-01-01T00:00:00Z'),
            page('mirror', 'http://mirror.org/x/', prose(1)), page('page', 'https://a.org', prose(1)),
            page('old page', 'http://a.org', prose(7), '2020-01-01T00:00:00Z'),
            page('lone', 'https://c.org', prose(9)),
            page('old lone', 'https://c.org', prose(9), '2020-01-01T00:00:00Z')]
    left, by_url, by_content = run(rows, seed=seed)
    assert left == {'page', 'lone'}
    assert by_url == {'old mirror': 'mirror', 'old page': 'page', 'old lone': 'lone'}
    # The mirror's older capture follows it.
    assert by_content == {'mirror': 'page', 'old mirror': 'page', 'old page': 'page'}


@pytest.mark.parametrize('shards', [1, 2, 7])
def test_clusters_of_many_sizes_end_as_one_page_each(run, shards):
    rows, standing = [], {}
    for cluster in range(20):
        for copy in range(cluster + 1):
            name = f'{cluster}/{copy:02d}'
            rows.append(page(name, f'https://site{copy:02d}.org/{cluster}', prose(cluster)))
            standing[name] = f'{cluster}/00'
    left, _, by_content = run(rows, shards=shards, seed=shards)
    assert left == set(standing.values())
    assert by_content == {name: of for name, of in standing.items() if name != of}


@pytest.mark.parametrize('seed', range(3))
def test_a_chain_is_one_cluster_though_its_ends_are_unlike(run, seed):
    words = prose(1, length=600).split()
    rows = [page(f'{i:02d}', f'https://a.org/{i:02d}', ' '.join(words[i * 12:i * 12 + 200])) for i in range(24)]
    engine = Engine(seed)
    left, _, by_content = run(rows, seed=seed, engine=engine)
    assert engine.runs > 3, 'this chain was to need more than one pipeline'
    assert left == {'00'} and by_content == {f'{i:02d}': '00' for i in range(1, 24)}


def test_finished_stages_are_not_done_again(run, tmp_path):
    texts = stages.open_stage(tmp_path / 'x', 'texts', {})
    done = [stages.open_stage(tmp_path / 'x', name, {}) for name in ('by_url', 'clusters', 'by_content')]
    for stage in done:
        stage.finish({})
    engine = Engine()
    duplicates.by_url(engine, texts, done[0], [0])
    duplicates.by_content(engine, texts, *done, [0], Deduplication())
    assert engine.runs == 0
