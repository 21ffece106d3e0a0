"""Thresholds against a slow version, the examples of each round, and totals however pages lie in shards."""
import dataclasses
import random

import pytest

from mathrl.mining import domains, features, pages, scoring, seeds, stages
from mathrl.mining.crawl import Crawl, Round, Rounds

ALL = Rounds(positives=10 ** 9, seed=1)


def slow_threshold(counts, least, budget):
    """The lowest border of a bin, at least `least`, above which all pages together are within the budget."""
    borders = [least] + [number / len(counts) for number in range(len(counts) + 1) if number / len(counts) > least]
    for border in borders:
        inside = sum(tokens for number, (_, tokens) in enumerate(counts) if (number + 1) / len(counts) > border)
        if not budget or inside <= budget:
            return border


@pytest.mark.parametrize('seed', range(30))
def test_threshold_is_that_of_the_slow_version(seed):
    rng = random.Random(seed)
    bins = rng.choice([4, 10, 50])
    counts = [[1, rng.choice([0, 1, 7, 100])] for _ in range(bins)]
    total = sum(tokens for _, tokens in counts)
    for least in (0., .1, .33, .5, .98, 1.):
        for budget in (0, 1, total // 3, total // 2, total - 1, total, total + 1):
            found, wanted = (one(counts, least, budget) for one in (scoring.threshold_of, slow_threshold))
            assert found == wanted, (least, budget)


def test_a_budget_is_met_to_the_bin():
    counts = [[1, 10], [2, 20], [3, 30], [4, 40]]
    found = [scoring.threshold_of(counts, .25, budget) for budget in (0, 100, 90, 89, 70, 69, 40, 39, 1)]
    assert found == [.25, .25, .25, .5, .5, .75, .75, 1., 1.]


def test_a_budget_never_lowers_the_threshold():
    assert scoring.threshold_of([[1, 1]] * 10, .7, 10 ** 9) == .7


@pytest.mark.parametrize('pages,found', [
    ([4, 0, 0, 12], .25), ([1, 1, 1, 5], .5), ([0, 0, 0, 9], 1.), ([9, 0, 0, 0], .25)])
def test_a_quarter_of_the_pages_lies_below_the_lowest_quarter(pages, found):
    assert scoring.lowest_quarter([[n, 1] for n in pages]) == found


def test_bars_keep_every_page():
    counts = [[number % 3, 5] for number in range(scoring.BINS)]
    found = scoring.bars(counts)
    assert len(found['edges']) == len(found['counts']) + 1 == scoring.BARS + 1
    assert sum(found['counts']) == sum(n for n, _ in counts) and found['edges'][-1] == 1.


# ---- a crawl of two shards
TEXTS = [('m.org/a/1', 'A theorem about $x^2$.'), ('m.org/a/2', 'Another lemma $y$.'), ('s.org/1', 'Buy shoes here'),
         ('s.org/2', 'Costs: $x = 5$ dollars'), ('u.org/1', 'Some text'), ('u.org/2', 'Other text'),
         ('m.org/b/1', 'A proof.'), ('m.org/b/2', 'No proof.')]


@pytest.fixture
def crawl(tmp_path):
    open_ = [stages.open_stage(tmp_path, name, {}) for name in ('texts', 'by_url', 'by_content', 'seeds')]
    texts = open_[0]
    for shard in (0, 1):
        rows = [{'record_id': f'<{number}>', 'url': f'https://{url}', 'date': '', 'text': text, 'language': 'en'}
                for number, (url, text) in enumerate(TEXTS) if number % 2 == shard]
        rows.insert(1, {'record_id': f'<bad {shard}>', 'url': 'https://m.org/a/9', 'date': '', 'reason': 'timeout'})
        stages.write_rows(texts.path(shard), rows)
    stages.write_rows(tmp_path / 'seeds.jsonl', [{'url': 'http://www.m.org/a/1'}])
    seeds.read(str(tmp_path / 'seeds.jsonl'), open_[3])
    return Crawl(*open_, (0, 1))


@pytest.fixture
def last(crawl, tmp_path):
    """Makes a finished round: scores of URLs (else .5), annotated prefixes."""
    def last(scores, decided, reviewed=(), number=1):
        stage = stages.open_stage(tmp_path / f'{number}', 'scores', {'scores': list(scores.items())})
        for shard in crawl.shards:
            stages.write_rows(stage.path(shard), (
                [n, scores.get(row['url'].removeprefix('https://'), .5), pages.token_count(row['text']), row['url']]
                for n, row in crawl.pages(shard)))
        path = str(tmp_path / f'annotations{len(list(tmp_path.iterdir()))}.tsv')
        domains.write_annotations(path, decided)
        return Round(number, stage, .7, .2, .2, path, path, {'reviewed': list(reviewed)})
    return last


def examples(crawl, last=None, settings=ALL, rate=1.):
    """{words: label} of all shards."""
    stage = stages.open_stage(crawl.texts.folder + '/..', 'examples', {})
    for shard in crawl.shards:
        scoring.write_examples(crawl, last, stage, settings, rate, shard)
    return {words: label for shard in crawl.shards for _, label, _, words, _ in stages.read_rows(stage.path(shard))}


def words(url):
    return ' '.join(features.tokens(dict(TEXTS)[url])[0])


def test_round_1_learns_from_the_seeds_and_from_pages_without_formulas(crawl):
    assert examples(crawl) == {words('m.org/a/1'): 1} | dict.fromkeys(
        map(words, ('s.org/1', 'u.org/1', 'u.org/2', 'm.org/b/1', 'm.org/b/2')), 0)


def test_later_rounds_learn_from_annotated_prefixes_and_from_low_scores(crawl, last):
    scores = {'s.org/1': .19, 's.org/2': .1, 'u.org/1': .2, 'u.org/2': .9, 'm.org/a/2': .01}
    assert examples(crawl, last(scores, {'m.org/a': 1})) == {
        words('m.org/a/1'): 1, words('m.org/a/2'): 1, words('s.org/1'): 0, words('s.org/2'): 0}


def test_what_a_person_calls_no_mathematics_is_a_negative_at_any_score(crawl, last):
    found = examples(crawl, last({}, {'m.org': 1, 'm.org/b': 0, 'u.org': 0}))
    assert found == {words('m.org/a/1'): 1, words('m.org/a/2'): 1} | dict.fromkeys(
        map(words, ('m.org/b/1', 'm.org/b/2', 'u.org/1', 'u.org/2')), 0)


def test_a_seed_stays_a_positive_whatever_is_annotated(crawl, last):
    assert examples(crawl, last({}, {'m.org': 0}), rate=0) == {words('m.org/a/1'): 1}


def test_the_rate_bounds_negatives_and_positives_bound_annotated_pages(crawl, last):
    assert examples(crawl, rate=0) == {words('m.org/a/1'): 1}
    reviewed = [['m.org', 5, 5, [['m.org', 5, 5, 1.], ['m.org/a', 2, 2, 1.], ['m.org/b', 2, 2, 1.]]]]
    this = last({}, {'m.org/a': 1, 'm.org/b': 1, 'x.org': 1, 's.org': 0}, reviewed)
    shares = [scoring.positive_share({'m.org/a': 1, 'm.org/b': 1, 'x.org': 1, 's.org': 0}, this,
                                     dataclasses.replace(ALL, positives=n)) for n in (1, 2, 4, 100)]
    assert shares == [.25, .5, 1., 1.]
    assert examples(crawl, this, dataclasses.replace(ALL, positives=0), rate=0) == {words('m.org/a/1'): 1}


def test_each_round_samples_other_pages_and_the_same_ones_again(crawl, last):
    low = {url: .1 for url, _ in TEXTS}
    chosen = [frozenset(examples(crawl, last(low, {}, number=n), rate=.5)) for n in range(2, 12)]
    assert len(set(chosen)) > 3
    assert frozenset(examples(crawl, last(low, {}, number=2), rate=.5)) == chosen[0]


def test_totals_and_domains_of_a_round(crawl, last):
    this = last({'m.org/a/1': .1, 'm.org/a/2': .3, 's.org/2': .8, 'm.org/b/1': .15}, {'m.org': 1})
    pairs = [pair for shard in crawl.shards for pair in scoring.count_domains(crawl, None, this, shard)]
    random.Random(0).shuffle(pairs)
    values = lambda wanted: [value for key, value in pairs if key == wanted]
    (place, totals), = scoring.review(.1, 7, scoring.TOTALS, iter(values(scoring.TOTALS)))
    # The seed m.org/a/1 and, inside, a/2 and b/2; s.org/2 by its score.
    kept = ['m.org/a/1', 'm.org/a/2', 's.org/2', 'm.org/b/2']
    near = totals.pop('near')
    assert place == -1 and totals == {'scored': 8, 'collected': 4, 'new': 4, 'seeds': 1,
                                      'tokens': sum(pages.token_count(dict(TEXTS)[url]) for url in kept)}
    assert [url for _, url, *_ in near['kept']] == ['https://s.org/2', 'https://m.org/b/2', 'https://m.org/a/2']
    assert near['rejected'][0][1] in ('https://s.org/1', 'https://u.org/1', 'https://u.org/2')
    (place, row), = scoring.review(.1, 7, 'm.org', values('m.org'))
    assert place == stages.stable_hash('m.org') % 7 and row[:3] == ['m.org', 4, 3]
    assert list(scoring.review(.1, 7, 'u.org', values('u.org'))) == []


def test_what_the_round_before_had_is_not_new(crawl, last):
    before = last({'m.org/a/2': .9, 's.org/2': .1}, {})
    this = last({'m.org/a/2': .9, 's.org/2': .9}, {}, number=2)
    new = [value[0]['new'] for shard in crawl.shards
           for key, value in scoring.count_domains(crawl, before, this, shard) if key == scoring.TOTALS]
    assert new == [0, 1]


def test_a_page_is_counted_in_the_bin_whose_border_it_reaches(crawl, tmp_path, monkeypatch):
    # As floats, .57 * 10,000 and .0007 * 10,000 are less than 5,700 and 7.
    scores = iter([.57, .0007, 1., 0., .99995, .569999, .2900, .000099])
    monkeypatch.setattr(scoring.classifier, 'load', lambda path: None)
    monkeypatch.setattr(scoring.classifier, 'score', lambda model, line: next(scores))
    stage = stages.open_stage(tmp_path, 'scores', {})
    for shard in crawl.shards:
        scoring.write_scores(crawl, '', [], stage, shard)
    counts = scoring.sum_histograms(stage, crawl.shards)
    filled = {number: n for number, (n, _) in enumerate(counts) if n}
    assert filled == {5700: 1, 7: 1, 9999: 2, 0: 2, 5699: 1, 2900: 1}
    assert sum(tokens for _, tokens in counts) == sum(pages.token_count(text) for _, text in TEXTS)
    rows = [row for shard in crawl.shards for row in stages.read_rows(stage.path(shard))]
    threshold = scoring.threshold_of(counts, 0., sum(row[2] for row in rows if row[1] >= .57))
    assert threshold <= .57 and sum(row[2] for row in rows if row[1] >= threshold) <= sum(
        row[2] for row in rows if row[1] >= .57)


def test_histograms_sum_over_shards(tmp_path):
    stage = stages.open_stage(tmp_path, 'scores', {})
    for shard, text in enumerate(('{"0": [1, 5], "9999": [2, 7]}', '{"9999": [1, 1]}')):
        stages.write_text(stage.path(shard, 'histogram.json'), text)
    counts = scoring.sum_histograms(stage, [0, 1])
    assert len(counts) == scoring.BINS and (counts[0], counts[1], counts[9999]) == ([1, 5], [0, 0], [3, 8])
