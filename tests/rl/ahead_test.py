"""Rewards begun before all outputs were there: the same numbers, each output read once, errors where they belong."""
import os
import sys
import threading

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.rl.ahead import Ahead
from mathrl.rl.rewards import Outputs, TextReward, Weighted, experience

sys.path.append(os.path.dirname(__file__))
from rewards_test import PROBLEMS, Letters, make_rollouts

TEXTS = [['\\boxed{42}|', 'aa|', 'aa|'], ['x\\boxed{0.5}|', 'bbb', '|']]


def rewarded(reward, begun=(), texts=TEXTS):
    """The experience where the groups of the questions `begun` were rewarded ahead, and ahead's scores."""
    rollouts, mesh = make_rollouts(texts), sharding.make_mesh(1, 1, 1, devices=jax.devices()[:1])
    tokens_QGT, length_QG = np.asarray(rollouts.tokens_QGT), np.asarray(rollouts.length_QG)
    with Ahead(reward, PROBLEMS, Letters(), mesh, tokens_QGT.shape) as ahead:
        for question in begun:
            ahead.begin(question, tokens_QGT[question], length_QG[question])
        return experience(Outputs(rollouts, PROBLEMS, Letters(), ahead.scores), reward)[0], ahead.scores


def recording(seen: list) -> TextReward:
    def of(problem, text, tokens):
        seen.append((threading.current_thread() is threading.main_thread(), problem.answer, text))
        return len(text) + 10 * tokens
    return TextReward('length', of)


def test_the_same_rewards_and_each_text_is_read_once():
    seen, plain = [], []
    found, _ = rewarded(recording(seen), begun=(1,))
    wanted, _ = rewarded(recording(plain))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert {here for here, _, text in seen if text in ('bbb', '', 'x\\boxed{0.5}')} == {False}
    assert {here for here, answer, _ in seen if answer == '42'} == {True}
    assert sorted(one[1:] for one in seen) == sorted(one[1:] for one in plain)


def test_weighted_rewards_are_begun_each():
    weighted = Weighted([recording([]), TextReward('one', lambda *unused: 1.0)], [0.5, 2.0])
    found, scores = rewarded(weighted, begun=(0, 1))
    jax.tree.map(np.testing.assert_array_equal, found, rewarded(weighted)[0])
    assert {name for name, _, _ in scores} == {'length', 'one'}
    assert len(scores) == 2 * 5, 'equal outputs of a question are read once'


def test_an_error_is_raised_where_the_score_is_read():
    def of(problem, text, tokens):
        raise ValueError(f'no reward for {text!r}')
    with pytest.raises(ValueError, match="no reward for 'aa'"):
        rewarded(TextReward('broken', of), begun=(0,), texts=[['aa|'], ['b|']])
