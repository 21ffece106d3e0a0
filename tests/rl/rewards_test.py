"""Rewards from texts to the arrays of an experience."""
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.problems.extract import boxed
from mathrl.problems.types import Problem
from mathrl.problems.verdict import grade_boxed as grade
from mathrl.rl.rewards import Outputs, Scored, TextReward, Weighted, boxed_format, experience, overlong, rule
from mathrl.sampling.rollout import Rollouts

EOS = 1


class Letters:
    """A tokenizer of single characters."""
    eos_id, pad_id, stop_ids = EOS, 0, (EOS,)

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


def rewarded(rollouts, problems, reward=None):
    return experience(Outputs(rollouts, problems, Letters()), reward or rule(grade))[0]


PROBLEMS = [Problem('6 * 7?', '42'), Problem('1 / 2?', '\\frac{1}{2}')]


@pytest.mark.parametrize('output, reward', [
    ('so \\boxed{42}.', 1.0), ('\\boxed{41} no, \\boxed{42}', 1.0), ('\\boxed{43}', 0.0),
    ('\\boxed{42} no, \\boxed{41}', 0.0), ('42', 0.0), ('The answer is 42.', 0.0), ('', 0.0), ('\\boxed{}', 0.0),
    ('\\boxed{42', 0.0)])
def test_rule_reads_the_last_box_and_nothing_else(output, reward):
    assert rule(grade).of(PROBLEMS[0], output, 9) == reward


def test_rule_takes_other_rewards():
    reward = rule(grade, right=2.0, wrong=-0.5).of
    assert reward(PROBLEMS[0], '\\boxed{42}', 9) == 2.0 and reward(PROBLEMS[0], 'no box', 6) == -0.5


def test_rule_hands_the_grader_output_reference_and_problem():
    seen = []

    def recording(output, reference, problem):
        seen.append((output, reference, problem))
        return grade(output, reference, problem)
    rule(recording).of(PROBLEMS[0], 'text', 4)
    assert seen == [('text', '42', '6 * 7?')]


def test_each_output_is_rewarded_at_its_last_token():
    texts = [['\\boxed{42}|', 'boxed 42|', '|'], ['x\\boxed{0.5}|', '\\boxed{1/2} ok', '\\boxed{42}|']]
    last_QG, right_QG = [[10, 8, 0], [12, 13, 10]], [[1, 0, 0], [1, 1, 0]]
    rollouts = make_rollouts(texts, tokens=14)
    found = rewarded(rollouts, PROBLEMS)
    for q, g in np.ndindex(2, 3):
        ends_T, rewards_T = np.zeros(14), np.zeros(14)
        ends_T[last_QG[q][g]], rewards_T[last_QG[q][g]] = 1, right_QG[q][g]
        np.testing.assert_array_equal(found.step_ends_QGT[q, g], ends_T)
        np.testing.assert_array_equal(found.rewards_QGT[q, g], rewards_T)
    assert found.old_logps_QGT is None, "which an update takes for itself"
    assert found.rewards_QGT.dtype == jnp.float32


def test_truncated_output_is_rewarded_by_what_it_says():
    texts = [['\\boxed{42}tail', 'tail \\boxed{4', '\\boxed{42}|']]
    found = rewarded(make_rollouts(texts, tokens=14), PROBLEMS[:1])
    assert np.asarray(found.rewards_QGT[0, :, 13]).tolist() == [1, 0, 0]
    assert np.asarray(found.step_ends_QGT[0, :, 13]).tolist() == [1, 1, 0]


def test_what_follows_the_end_is_not_read():
    found = rewarded(make_rollouts([['\\boxed{42}|3}', 'no|\\boxed{42}']], tokens=14), PROBLEMS[:1])
    assert np.asarray(found.rewards_QGT.sum(-1)).tolist() == [[1, 0]]


@pytest.mark.parametrize('questions, outputs', [(8, 2), (2, 8), (4, 4)])
def test_rows_keep_their_problem_and_their_layout_on_eight_devices(questions, outputs):
    problems = [Problem(f'{q}?', str(q)) for q in range(questions)]
    texts = [[f'\\boxed{{{q if g % 2 else g + 90}}}|' for g in range(outputs)] for q in range(questions)]
    rollouts, mesh = make_rollouts(texts), sharding.make_mesh(4, 2)
    tokens_QGT = sharding.place(mesh, np.asarray(rollouts.tokens_QGT), 'QGT')
    found = rewarded(rollouts.replace(tokens_QGT=tokens_QGT), problems)
    assert found.rewards_QGT.sharding == tokens_QGT.sharding
    assert len(found.rewards_QGT.sharding.device_set) == 8
    expected_QG = np.broadcast_to(np.arange(outputs) % 2, (questions, outputs))
    np.testing.assert_array_equal(np.asarray(found.rewards_QGT).sum(-1), expected_QG)


# ---- several rewards


def at_steps(name, rewards_QGT):
    """A reward with a step wherever there is a number."""
    rewards_QGT = np.array(rewards_QGT, np.float32)
    ends_QGT = (~np.isnan(rewards_QGT)).astype(np.int32)

    class Steps:
        def __call__(self, outputs):
            return Scored(jnp.nan_to_num(rewards_QGT), jnp.asarray(ends_QGT))
    steps = Steps()
    steps.name = name
    return steps


def test_weighted_rewards_add_at_every_step_of_either():
    no = np.nan
    process = at_steps('process', [[[no, 0.5, no, 1.0], [no, no, 0.25, no]]])
    length = TextReward('length', lambda problem, text, tokens: tokens)
    found, by_name = experience(Outputs(make_rollouts([['abc|', 'ab|']], tokens=4), PROBLEMS[:1], Letters()),
                                Weighted([process, length], [2.0, -0.1]))
    np.testing.assert_allclose(found.rewards_QGT, [[[0, 1.0, 0, 2.0 - 0.4], [0, 0, 0.5 - 0.3, 0]]], rtol=1e-6)
    np.testing.assert_array_equal(found.step_ends_QGT, [[[0, 1, 0, 1], [0, 0, 1, 0]]])
    np.testing.assert_allclose(by_name['process'], [[1.5, 0.25]])
    np.testing.assert_allclose(by_name['length'], [[4, 3]])


def test_a_weight_on_a_single_reward_counts():
    found = rewarded(make_rollouts([['\\boxed{42}|', 'x|']]), PROBLEMS[:1], Weighted([rule(grade)], [0.5]))
    assert np.asarray(found.rewards_QGT.sum(-1)).tolist() == [[0.5, 0]]


def test_weights_and_names_are_checked():
    with pytest.raises(ValueError, match='1 rewards came with 2 weights'):
        Weighted([rule(grade)], [1.0, 2.0])
    with pytest.raises(ValueError, match='rule, rule'):
        Weighted([rule(grade), rule(grade)], [1.0, 2.0])


def test_format_asks_for_an_answer_of_any_kind():
    reward = boxed_format(boxed, good=0.1).of
    assert [reward(None, text, 1) for text in ('\\boxed{7}', '7', '')] == [0.1, 0.0, 0.0]


def test_overlong_is_gradual_as_in_dapo():
    reward = overlong(max_tokens=20, buffer=4).of      # free up to 16 tokens
    assert [reward(None, '', tokens) for tokens in (3, 16, 17, 18, 20)] == [0.0, 0.0, -0.25, -0.5, -1.0]
    with pytest.raises(ValueError, match='buffer=0'):
        overlong(20, 0)
