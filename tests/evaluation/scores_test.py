"""mathrl/evaluation/scores.py: estimators against enumeration, intervals against simulation."""

import itertools
import json
import math

import numpy as np
import pytest

from mathrl.evaluation import scores


@pytest.mark.parametrize('samples', [1, 2, 5, 7])
def test_pass_at_k_is_the_mean_over_all_subsets(samples):
    for correct, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        right = [index < correct for index in range(samples)]
        wanted = np.mean([any(subset) for subset in itertools.combinations(right, k)])
        assert scores.pass_at_k(samples, correct, k) == pytest.approx(wanted, abs=1e-12)


def test_pass_at_k_stays_exact_for_many_samples():
    assert scores.pass_at_k(2000, 1, 1000) == pytest.approx(0.5, abs=1e-12)


def test_pass_at_k_refuses_the_impossible():
    for samples, correct, k in ((4, 2, 5), (4, 2, 0), (0, 0, 1)):
        with pytest.raises(ValueError, match='k='):
            scores.pass_at_k(samples, correct, k)
    with pytest.raises(ValueError, match='5 of 4'):
        scores.pass_at_k(4, 5, 1)


@pytest.mark.parametrize('answers, right, wanted', [
    (['4', '4', '5'], '4', 1.0),
    (['4', '5', '5'], '4', 0.0),
    (['4', '5'], '4', 0.5),  # a tie: the expectation
    (['6', '5', '4'], '4', 1 / 3),
    (['4', '4', '5', '5', '6'], '4', 0.5),  # only the tied ones count
    ([None, None, '4'], '4', 1.0),  # no answer is no vote
    (['', None], '4', 0.0),
    (['4'], '4', 1.0),
])
def test_maj_at_k_by_hand(answers, right, wanted):
    correct = [answer == right for answer in answers]
    assert scores.maj_at_k(answers, correct, len(answers)) == pytest.approx(wanted)


def test_maj_at_k_takes_the_first_k_and_does_not_depend_on_their_order():
    answers, correct = ['4', '4', '5', '5', '5'], [True, True, False, False, False]
    assert scores.maj_at_k(answers, correct, 3) == 1.0
    assert scores.maj_at_k(answers, correct, 5) == 0.0
    orders = itertools.permutations(list(zip(answers, correct)))
    assert {scores.maj_at_k(*zip(*order), 5) for order in orders} == {0.0}
    with pytest.raises(ValueError, match='k=6 with 5 samples'):
        scores.maj_at_k(answers, correct, 6)


def test_interval_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values_N1 = (rng.random((150, 1)) < 0.3).astype(float)
        [[low, high]] = scores.bootstrap_intervals(values_N1, seed=trial, resamples=400)
        covered += low <= 0.3 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_interval_is_near_the_normal_one_and_seeded():
    values_N2 = np.random.default_rng(1).random((400, 2))
    intervals = scores.bootstrap_intervals(values_N2, seed=3)
    half = 1.96 * values_N2.std(axis=0) / math.sqrt(400)
    np.testing.assert_allclose(intervals[:, 0], values_N2.mean(axis=0) - half, atol=0.1 * half.max())
    np.testing.assert_allclose(intervals[:, 1], values_N2.mean(axis=0) + half, atol=0.1 * half.max())
    np.testing.assert_array_equal(intervals, scores.bootstrap_intervals(values_N2, seed=3))
    assert not np.array_equal(intervals, scores.bootstrap_intervals(values_N2, seed=4))


def test_interval_of_one_problem_or_constant_scores_has_no_width():
    np.testing.assert_array_equal(scores.bootstrap_intervals([[0.25]]), [[0.25, 0.25]])
    np.testing.assert_array_equal(scores.bootstrap_intervals(np.ones((9, 1))), [[1.0, 1.0]])
    with pytest.raises(ValueError, match='both 1 or more'):
        scores.bootstrap_intervals(np.zeros((0, 2)))


def answer(text, right='4', length=10, truncated=False):
    return {'text': f'so {text}', 'extracted': text, 'correct': text == right, 'length': length,
            'truncated': truncated}


def record(greedy, texts, language='en', **fields):
    return {'language': language, 'greedy': None if greedy is None else answer(greedy),
            'outputs': [answer(text) for text in texts], **fields}


def test_summary_by_hand():
    records = [record('4', ['4', '4', '5', None]), record('5', ['5', '5', '5', '4'], language='zh')]
    records[0]['outputs'][3] |= {'length': 30, 'truncated': True}
    summary = scores.summarize(records, model='runs/sft', temperature=1)
    assert {name: summary[name] for name in ('model', 'questions', 'samples', 'temperature')} == {
        'model': 'runs/sft', 'questions': 2, 'samples': 4, 'temperature': 1.0}
    assert [summary[name] for name in ('accuracy', 'greedy', 'maj@4', 'pass@4')] == [0.375, 0.5, 0.5, 1.0]
    assert (summary['mean_length'], summary['truncated'], summary['no_answer']) == (12.5, 0.125, 0.125)
    assert list(summary['by_language']) == ['en', 'zh']
    english = summary['by_language']['en']
    assert (english['questions'], english['accuracy'], english['maj@4']) == (1, 0.5, 1.0)
    for part in (summary, *summary['by_language'].values()):
        for name, (low, high) in part['intervals'].items():
            assert low <= part[name] <= high
    json.dumps(summary, allow_nan=False)


def test_benchmarks_and_their_levels_are_scored_alone():
    records = [record('4', ['4', '5'], benchmark='math', level='Level 2'),
               record('5', ['5', None], benchmark='math', level='Level 1'),
               record('5', ['4', '4'], benchmark='math', level='Level 2'),
               record('4', ['5', '5'], 'zh', benchmark='cmath', level=''),
               record('4', ['4', '4'], 'zh', benchmark='other', level='Level 1')]
    records[0]['outputs'][0]['length'] = 50
    summary = scores.summarize(records, model='m', temperature=1.0)
    assert list(summary['by_benchmark']) == ['math', 'cmath', 'other']
    math_scores = summary['by_benchmark']['math']
    assert (math_scores['questions'], math_scores['accuracy'], math_scores['pass@2']) == (3, 0.5, 2 / 3)
    assert math_scores['no_answer'] == pytest.approx(1 / 6)
    assert list(math_scores['by_level']) == ['Level 1', 'Level 2']
    level = math_scores['by_level']['Level 2']
    assert (level['questions'], level['greedy'], level['accuracy'], level['mean_length']) == (2, 0.5, 0.75, 20.0)
    low, high = level['intervals']['accuracy']
    assert low < 0.75 < high
    assert 'by_level' not in summary['by_benchmark']['cmath']
    alone = scores.summarize(records[:3], model='m', temperature=1.0)
    assert {name: alone[name] for name in math_scores if name != 'by_level'} == {
        name: value for name, value in math_scores.items() if name != 'by_level'}
    json.dumps(summary, allow_nan=False)


def test_records_without_a_benchmark_have_none():
    assert scores.summarize([record('4', ['4'])], model='m', temperature=1.0)['by_benchmark'] == {}


def test_equal_answers_vote_together():
    one = record(None, ['5', '4', '4.0', '5', '8/2', None])
    for output in one['outputs'][1:3] + one['outputs'][4:5]:
        output |= {'correct': True}
    majority = lambda: scores.summarize([one], model='m', temperature=1.0)['maj@6']
    assert majority() == 0.0
    for output, vote in zip(one['outputs'], ['5', '4', '4', '5', '4', None]):
        output['vote'] = vote
    assert majority() == 1.0
    one['outputs'][4]['vote'] = ''      # no class: it votes as '8/2'
    assert majority() == 0.5


def test_k_may_be_smaller_than_the_number_of_outputs():
    summary = scores.summarize([record('4', ['5', '4', '4', '4'])], model='m', temperature=1.0, k=1)
    assert summary['maj@1'] == 0.0
    assert summary['pass@1'] == pytest.approx(summary['accuracy'])


def test_greedy_alone_and_samples_alone():
    summary = scores.summarize([record('4', []), record('5', [])], model='m', temperature=0.0)
    assert summary['greedy'] == 0.5 and summary['samples'] == 0 and 'accuracy' not in summary
    assert summary['mean_length'] == 10
    summary = scores.summarize([record(None, ['4'])], model='m', temperature=1.0)
    assert summary['accuracy'] == 1.0 and 'greedy' not in summary


@pytest.mark.parametrize('records, message', [
    ([], 'at least one'),
    ([record('4', ['4']), record('4', ['4', '4'])], 'from 1 to 2 outputs'),
    ([record('4', ['4']), record(None, ['4'])], 'all or none'),
    ([record(None, [])], 'nothing to score'),
])
def test_records_that_cannot_be_scored(records, message):
    with pytest.raises(ValueError, match=message):
        scores.summarize(records, model='m', temperature=1.0)
