"""The account sums to all pages, each with its reason; snapshots, excerpts, and what stands in the corpus."""
import collections
import json

import pytest

from mathrl.mining import corpus, decontaminate, domains, pages, seeds, stages
from mathrl.mining.crawl import Crawl, Round

PROBLEM = 'A farmer has seventeen sheep and buys nine more sheep at the market on a rainy Tuesday morning'


@pytest.mark.parametrize('address,name', [
    ('s3://commoncrawl/crawl-data/CC-MAIN-2023-06/segments/1.8/warc/CC-MAIN-2023-00000.warc.gz', 'CC-MAIN-2023-06'),
    ('/data/MINICRAWL-dev-00002.warc.gz', 'MINICRAWL-dev'), ('crawl-00001.warc.gz', 'crawl'), ('crawl.warc', 'crawl'),
    ('https://data.commoncrawl.org/CC-MAIN-2024-10/x.warc.gz', 'CC-MAIN-2024-10'),
    ('https://x.org/a_12.warc.zst', 'a'), ('00001.warc.gz', '00001'), ('x/my.warc.files/part.3.warc.gz', 'part')])
def test_the_snapshot_is_in_the_name(address, name):
    assert corpus.snapshot(address) == name


@pytest.mark.parametrize('written', [
    PROBLEM, PROBLEM.upper(), PROBLEM.replace(' ', '\n'), PROBLEM.replace(' ', '   \n\n  '),
    PROBLEM.replace('seventeen sheep', '**seventeen** _sheep_').replace('nine', '$\\textbf{nine}$'),
    PROBLEM.replace('more sheep', '\\emph{more} \\quad sheep')])
def test_an_excerpt_holds_the_gram(tmp_path, written):
    found = excerpt(tmp_path, PROBLEM, written)
    for word in 'seventeen sheep nine more'.split():
        assert word in found.lower()
    assert found in 'Nothing of it here. ' * 50 + written + ' The end.' * 50


@pytest.mark.parametrize('problem,written,held', [
    ('设函数在区间上连续且可导，证明存在一点使得导数等于零', '设函数在\n区间上**连续**且可导， 证明存在一点使得导数等于零', '连续'),
    ('Let $\\alpha + \\beta = 7$ and suppose that $\\alpha \\beta = 12$ holds, compute all of them now',
     'Let \\(\\alpha + \\beta = 7\\) and suppose that \\(\\alpha\\beta=12\\) holds, compute all of them now', 'suppose'),
    ('Let $\\alpha + \\beta = 7$ and suppose that $\\alpha \\beta = 12$ holds, compute all of them now',
     'Let α + β = 7 and suppose that αβ = 12 holds, compute all of them now', 'suppose'),
    ('What is \\frac{1}{2} of the number 1{,}000 plus three more than twenty five apples',
     'What is \\dfrac12 of the number 1,000 plus three more than twenty five apples', 'number')])
def test_an_excerpt_holds_grams_of_chinese_and_of_formulas(tmp_path, problem, written, held):
    assert held in excerpt(tmp_path, problem, written)


def excerpt(folder, problem, written):
    stages.write_rows(folder / 'b.jsonl', [{'problem': problem, 'answer': '1'}])
    text = 'Nothing of it here. ' * 50 + written + ' The end.' * 50
    hit = decontaminate.contamination(text, decontaminate.build([str(folder / 'b.jsonl')]))
    found = corpus.excerpt(text, hit.ngram)
    assert len(found) < 800
    return found


def test_an_excerpt_of_a_gram_that_is_not_found_is_the_beginning():
    assert corpus.excerpt('abc ' * 1000, 'x (y) [z') == ('abc ' * 1000)[:240]


# ---- a crawl of two shards
ROWS = [
    ('seed', 'https://m.org/a/1', 'A theorem.', .1), ('high', 'https://b.org/1', '定理 ' * 9, .9),
    ('low', 'https://b.org/2', 'Shoes.', .3), ('inside', 'https://m.org/a/2', 'A lemma.', .3),
    ('outside', 'https://m.org/b', 'News.', .1), ('copied', 'https://c.org/1', f'So: {PROBLEM}. Solve it.', .95),
    ('early', 'https://d.org/1', 'A game.', .2), ('twin', 'https://e.org/1', 'A theorem.', .9),
    ('old', 'https://e.org/1/', 'A theorem, once.', .9), ('mirror', 'https://f.org/1', 'A lemma.', .9)]
FAULTS = [('bad', 'bad_record', 'HTTP status 404'), ('slow', 'timeout', 'more than 10 s'),
          ('short', 'too_short', 'fewer than 40 characters'), ('bad too', 'bad_record', 'HTTP status 404')]


@pytest.fixture
def written(tmp_path):
    """(crawl, rounds, stage, folder of the corpus), both shards written."""
    texts, by_url, by_content, known, stage, first, second = (stages.open_stage(tmp_path, name, {}) for name in (
        'texts', 'by_url', 'by_content', 'seeds', 'written', 'scores 1', 'scores 2'))
    stages.write_rows(tmp_path / 'seeds.jsonl', [{'url': 'm.org/a/1'}])
    seeds.read(str(tmp_path / 'seeds.jsonl'), known)
    rows = [{'record_id': name, 'url': url, 'date': '2024', 'text': text, 'language': 'zh' if '定' in text else 'en'}
            for name, url, text, _ in ROWS]
    rows += [{'record_id': name, 'url': f'https://x.org/{name}', 'date': '', 'reason': reason, 'detail': detail}
             for name, reason, detail in FAULTS]
    twins = {'twin': (by_content, 'seed'), 'mirror': (by_content, 'inside')}
    for shard in (0, 1):
        chosen = rows[shard::2]
        stages.write_rows(texts.path(shard), chosen)
        left = {'old': (by_url, 'twin')} | twins
        for of in (by_url, by_content):
            found = [(n, standing, 0, 0) for n, row in enumerate(chosen) for name, (one, standing) in left.items()
                     if one == of and name == row['record_id']]
            if of == by_content:   # the page for which `old` stands back is itself left out
                found += [(n, 'seed', 0, 0) for n, row in enumerate(chosen) if row['record_id'] == 'old']
            if found:
                stages.write_rows(of.path(shard), found)
        crawl = Crawl(texts, by_url, by_content, known, (0, 1))
        scores = {name: score for name, _, _, score in ROWS}
        for number, scored in enumerate((first, second), start=1):
            stages.write_rows(scored.path(shard), [
                [n, .9 if number == 1 and row['record_id'] == 'early' else scores[row['record_id']], 1, row['url']]
                for n, row in crawl.pages(shard)])
    domains.write_annotations(tmp_path / 'annotations.tsv', {'m.org/a': 1})
    near = {'kept': [(.2, 'https://b.org/1', .9, 1, 0)], 'rejected': []}
    summary = {'round': 2, 'near': near, 'prefixes': [], 'reviewed': [['b.org', 2, 1, []], ['m.org', 3, 2, []]]}
    rounds = [Round(1, first, .7, .2, .2, '', 'a', summary),
              Round(2, second, .7, .2, .2, str(tmp_path / 'annotations.tsv'), 'a', summary)]
    decontaminate.build([str(benchmark(tmp_path))]).save(str(tmp_path / 'index.npz'))
    (tmp_path / 'corpus').mkdir()
    for shard in (0, 1):
        corpus.write_shard(crawl, rounds, str(tmp_path / 'index.npz'), ['one', 'two'], stage, str(tmp_path / 'corpus'),
                           shard)
    return crawl, rounds, stage, tmp_path / 'corpus'


def benchmark(folder):
    stages.write_rows(folder / 'b.jsonl', [{'problem': PROBLEM, 'answer': '26'}])
    return folder / 'b.jsonl'


def lines_of(written):
    return {line['record_id']: line for shard in (0, 1) for line in stages.read_rows(written[2].path(shard))}


def test_every_page_has_one_line_and_its_reason(written):
    lines = lines_of(written)
    assert {name: line['reason'] for name, line in lines.items()} == {
        'seed': None, 'high': None, 'inside': None, 'low': 'low_score', 'outside': 'low_score', 'early': 'low_score',
        'copied': 'contaminated', 'twin': 'duplicate_content', 'old': 'duplicate_url', 'mirror': 'duplicate_content',
        'bad': 'bad_record', 'slow': 'timeout', 'short': 'too_short', 'bad too': 'bad_record'}
    rounds = {name: line['round'] for name, line in lines.items() if line['kept']}
    assert rounds == {'seed': 1, 'high': 1, 'inside': 2}
    assert {name: line['duplicate_of'] for name, line in lines.items() if 'duplicate_of' in line} == {
        'twin': 'seed', 'old': 'seed', 'mirror': 'inside'}
    assert {name: line['score'] for name, line in lines.items() if line['score'] is not None} == {
        name: score for name, _, _, score in ROWS if name not in ('twin', 'old', 'mirror')}
    assert lines['slow']['detail'] == 'more than 10 s'
    assert lines['copied']['detail'].startswith('b line 1: a farmer has seventeen sheep')


def test_the_corpus_holds_what_is_kept(written):
    rows = {row['record_id']: row for path in sorted(written[3].iterdir()) for row in stages.read_rows(path)}
    assert [path.name for path in sorted(written[3].iterdir())] == [
        'part-00000-of-00002.jsonl.zst', 'part-00001-of-00002.jsonl.zst']
    assert rows['high'] == {'url': 'https://b.org/1', 'text': '定理 ' * 9, 'score': .9, 'language': 'zh', 'round': 1,
                            'snapshot': 'two', 'record_id': 'high', 'date': '2024'}
    assert set(rows) == {'seed', 'high', 'inside'} and rows['seed']['snapshot'] == 'one'


def test_the_account_sums_to_all_pages(written):
    crawl, rounds, stage, _ = written
    found = corpus.summarize(crawl, rounds, stage)
    texts = {name: text for name, _, text, _ in ROWS}
    kept = ('seed', 'high', 'inside')
    assert found['pages'] == len(ROWS) + len(FAULTS) == found['kept'] + sum(found['by_reason'].values())
    assert found['kept'] == 3
    assert found['by_reason'] == dict(collections.Counter(
        line['reason'] for line in lines_of(written).values() if line['reason']))
    assert found['by_detail'] == {'bad_record': {'HTTP status 404': 2}, 'timeout': {'more than 10 s': 1},
                                  'too_short': {'fewer than 40 characters': 1}}
    assert found['tokens'] == sum(pages.token_count(texts[name]) for name in kept)
    assert found['corpus_bytes'] == sum(len(texts[name].encode()) for name in kept)
    for parts in (found['by_language'], found['by_snapshot']):
        assert sum(part['pages'] for part in parts.values()) == 3
        assert sum(part['tokens'] for part in parts.values()) == found['tokens']
    assert found['by_language']['zh'] == {'pages': 1, 'tokens': pages.token_count('定理 ' * 9)}
    assert found['duplicates'] == {'url': 1, 'content': 2}
    assert [row['domain'] for row in found['domains']] == ['m.org', 'b.org']
    assert found['near_threshold'] == {'kept': [
        {'url': 'https://b.org/1', 'score': .9, 'language': 'zh', 'text': '定理 ' * 9}], 'rejected': []}
    hit, = found['contaminated']
    assert hit['record_id'] == 'copied' and hit['ngram'] in hit['excerpt'].lower()
    json.dumps(found)


def test_lines_of_all_shards_are_one_file_in_their_order(written, tmp_path):
    corpus.join_lines(tmp_path / 'pages.jsonl', map(written[2].path, (0, 1)))
    names = [json.loads(line)['record_id'] for line in (tmp_path / 'pages.jsonl').read_text().splitlines()]
    everything = [name for name, *_ in ROWS + FAULTS]
    assert names == everything[0::2] + everything[1::2]
