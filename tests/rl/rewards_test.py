"""Rewards from texts to the arrays of an experience."""
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.problems.types import Problem
from mathrl.problems.verdict import grade_boxed as grade
from mathrl.rl.rewards import outcome_experience, rule
from mathrl.sampling.rollout import Rollouts

EOS = 1


class Letters:
    """A tokenizer of single characters."""
    eos_id, pad_id = EOS, 0

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        assert EOS not in ids, 'the end token is not text'
        return ''.join(map(chr, ids))


def make_rollouts(texts, tokens=16):
    """texts[q][g] -> Rollouts; '|' stands for the end token, what follows it for padding."""
    ids = [[[EOS if letter == '|' else ord(letter) for letter in text] for text in group] for group in texts]
    tokens_QGT = np.array([[row + [EOS] * (tokens - len(row)) for row in group] for group in ids], np.int32)
    length = lambda row: row.index(EOS) + 1 if EOS in row else len(row)
    length_QG = np.array([[length(row) for row in group] for group in ids], np.int32)
    trained_QGT = (np.arange(tokens) < length_QG[..., None]).astype(np.int32)
    logps_QGT = -np.ones(tokens_QGT.shape, np.float32)
    prompt_QS = np.ones((len(texts), 2), np.int32)
    return Rollouts(*map(jnp.asarray, (prompt_QS, np.array([2] * len(texts)), tokens_QGT, length_QG, trained_QGT,
                                       2 * logps_QGT, logps_QGT)))


PROBLEMS = [Problem('6 * 7?', '42'), Problem('1 / 2?', '\\frac{1}{2}')]


@pytest.mark.parametrize('output, reward', [
    ('so \\boxed{42}.', 1.0), ('\\boxed{41} no, \\boxed{42}', 1.0), ('\\boxed{43}', 0.0),
    ('\\boxed{42} no, \\boxed{41}', 0.0), ('42', 0.0), ('The answer is 42.', 0.0), ('', 0.0), ('\\boxed{}', 0.0), ('\\boxed{42', 0.0)])
def test_rule_reads_the_last_box_and_nothing_else(output, reward):
    assert rule(grade)(PROBLEMS[0], output) == reward


def test_rule_takes_other_rewards():
    reward = rule(grade, right=2.0, wrong=-0.5)
    assert reward(PROBLEMS[0], '\\boxed{42}') == 2.0 and reward(PROBLEMS[0], 'no box') == -0.5


def test_rule_hands_the_grader_output_reference_and_problem():
    seen = []

    def recording(output, reference, problem):
        seen.append((output, reference, problem))
        return grade(output, reference, problem)
    rule(recording)(PROBLEMS[0], 'text')
    assert seen == [('text', '42', '6 * 7?')]


def test_each_output_is_rewarded_at_its_last_token():
    texts = [['\\boxed{42}|', 'boxed 42|', '|'], ['x\\boxed{0.5}|', '\\boxed{1/2} ok', '\\boxed{42}|']]
    last_QG, right_QG = [[10, 8, 0], [12, 13, 10]], [[1, 0, 0], [1, 1, 0]]
    rollouts = make_rollouts(texts, tokens=14)
    experience = outcome_experience(rollouts, PROBLEMS, rule(grade), Letters())
    for q, g in np.ndindex(2, 3):
        ends_T, rewards_T = np.zeros(14), np.zeros(14)
        ends_T[last_QG[q][g]], rewards_T[last_QG[q][g]] = 1, right_QG[q][g]
        np.testing.assert_array_equal(experience.step_ends_QGT[q, g], ends_T)
        np.testing.assert_array_equal(experience.rewards_QGT[q, g], rewards_T)
    np.testing.assert_array_equal(experience.old_logps_QGT, rollouts.policy_logps_QGT)
    assert experience.rewards_QGT.dtype == jnp.float32


def test_truncated_output_is_rewarded_by_what_it_says():
    texts = [['\\boxed{42}tail', 'tail \\boxed{4', '\\boxed{42}|']]
    experience = outcome_experience(make_rollouts(texts, tokens=14), PROBLEMS[:1], rule(grade), Letters())
    assert np.asarray(experience.rewards_QGT[0, :, 13]).tolist() == [1, 0, 0]
    assert np.asarray(experience.step_ends_QGT[0, :, 13]).tolist() == [1, 1, 0]


def test_what_follows_the_end_is_not_read():
    experience = outcome_experience(make_rollouts([['\\boxed{42}|3}', 'no|\\boxed{42}']], tokens=14), PROBLEMS[:1],
                                    rule(grade), Letters())
    assert np.asarray(experience.rewards_QGT.sum(-1)).tolist() == [[1, 0]]


@pytest.mark.parametrize('questions, outputs', [(8, 2), (2, 8), (4, 4)])
def test_rows_keep_their_problem_and_their_layout_on_eight_devices(questions, outputs):
    problems = [Problem(f'{q}?', str(q)) for q in range(questions)]
    texts = [[f'\\boxed{{{q if g % 2 else g + 90}}}|' for g in range(outputs)] for q in range(questions)]
    rollouts, mesh = make_rollouts(texts), sharding.make_mesh(4, 2)
    tokens_QGT = sharding.place(mesh, np.asarray(rollouts.tokens_QGT), 'QGT')
    experience = outcome_experience(rollouts.replace(tokens_QGT=tokens_QGT), problems, rule(grade), Letters())
    assert experience.rewards_QGT.sharding == tokens_QGT.sharding
    assert len(experience.rewards_QGT.sharding.device_set) == 8
    expected_QG = np.broadcast_to(np.arange(outputs) % 2, (questions, outputs))
    np.testing.assert_array_equal(np.asarray(experience.rewards_QGT).sum(-1), expected_QG)
