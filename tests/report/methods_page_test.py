"""The page of a study of methods: scores, intervals, the paper's order, and that names are only text."""
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mathrl.report import method_scores, methods_page
from mathrl.report.method_scores import Outcome, difference, interval, outcome
from mathrl.report.sources import Evaluation


def made(share, seed, samples=640, problems=200, outputs=8):
    right_NK = np.random.default_rng(seed).random((problems, outputs)) < share
    ks = [1, 2, 4, 8]
    return Outcome(right_NK, ks, [share] * 4, [min(1.0, share + 0.1 * place) for place in range(4)], samples,
                   {'reward': ([0, 1, 2], [0.1, 0.2, share]), 'length': ([0, 1, 2], [30, 31, 32])})


FOUND = {'sft': {seed: made(0.4, seed, 0) for seed in range(3)},
         'rft': {seed: made(0.5, 10 + seed) for seed in range(3)},
         'grpo_outcome': {seed: made(0.8, 20 + seed) for seed in range(3)}}


def rows(output):
    return [{'problem': str(n), 'answer': '1', 'language': 'en', 'greedy': None, 'outputs': [
        {'correct': right, 'extracted': answer} for right, answer in each]} for n, each in enumerate(output)]


def test_scores_at_each_k_are_those_of_the_outputs():
    samples = rows([[(True, '1'), (False, '2'), (True, '1'), (False, '3')], [(False, '5')] * 4])
    found = outcome(Evaluation('rft', {}, samples, ''), 64, {})
    assert found.ks == [1, 2, 4] and found.accuracy == 0.25
    assert found.maj == [0.5, 0.25, 0.5]              # of the first two votes one is right: half a win
    np.testing.assert_allclose(found.passed, [0.25, (1 - 1 / 6) / 2, 0.5])
    assert found.as_json() == {'accuracy': 0.25, 'maj': 0.5, 'pass': 0.5, 'samples': 64,
                               'maj_at': {'1': 0.5, '2': 0.25, '4': 0.5}, 'pass_at': {'1': 0.25, '2': found.passed[1], '4': 0.5}}


def test_an_evaluation_without_samples_is_refused():
    with pytest.raises(ValueError, match="'rft' holds no sampled outputs"):
        outcome(Evaluation('rft', {}, rows([[], []]), ''), 0, {})


def test_intervals_hold_the_mean_and_grow_with_the_spread_of_seeds():
    same = [made(0.5, 0)] * 3
    apart = [made(share, 0) for share in (0.3, 0.5, 0.7)]
    low, high = interval(same)
    assert low < same[0].accuracy < high and high - low < 0.1
    wide = interval(apart)
    assert wide[1] - wide[0] > 3 * (high - low)


def test_difference_is_paired():
    """The same problems are hard for both: the gap is surer than either accuracy."""
    hard_N1 = np.random.default_rng(0).random((300, 1))
    outputs = lambda shift: [Outcome(hard_N1 + shift + np.zeros((1, 8)) > 0.5, [1], [0], [0], 0, {}) for _ in range(3)]
    gap, low, high = difference(outputs(0.0), outputs(0.05))
    one = interval(outputs(0.0))
    assert low <= gap <= high and gap > 0 and high - low < 0.7 * (one[1] - one[0])


def test_page_ranks_the_methods_and_says_what_the_paper_said():
    page = methods_page.render('Methods', FOUND, ['rft', 'grpo_outcome'], [('rft.0', 12.0)], '# config')
    ElementTree.fromstring(page.replace('<!DOCTYPE html>', ''))
    assert 'grpo_outcome &gt; rft &gt; sft' in page
    assert 'as in the paper' in page and 'the other way round' not in page
    turned = methods_page.render('Methods', FOUND, ['grpo_outcome', 'rft'], [('rft.0', 12.0)], '')
    assert 'the other way round' in turned


def test_names_are_text():
    found = {'sft': FOUND['sft'], '<script>alert(1)</script>': FOUND['rft']}
    page = methods_page.render('<b>', found, [], [('x', 1.0)], '<script>')
    assert '<script>alert' not in page and '<title>&lt;b&gt;</title>' in page
