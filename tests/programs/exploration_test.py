"""Which groups are replaced, which problems a step takes."""
import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama
from mathrl.programs.exploration import Explorer, replacements
from mathrl.programs.training_problems import TrainingProblems
from mathrl.rl.rewards import TextReward
from mathrl.sampling.filters import Sampling
from mathrl.text import tokenizer as tokenizers


@pytest.mark.parametrize('equal, more_equal, chosen', [
    ([0, 1, 1], [1, 0, 1], [0, 4, 2]),       # one good one for two bad ones
    ([1, 0, 1], [0, 0, 0], [3, 1, 4]),
    ([0, 0], [0, 0], [0, 1]),
    ([1, 1], [1, 1], [0, 1]),
])
def test_all_equal_groups_give_way_to_new_ones_that_differ(equal, more_equal, chosen):
    assert replacements(np.array(equal, bool), np.array(more_equal, bool)).tolist() == chosen


@pytest.fixture
def problems(tiny):
    return TrainingProblems(tiny.problems, tokenizers.load(tiny.model), tiny.templates)


def test_a_pass_takes_every_problem_once_and_the_next_in_another_order(problems):
    passes = [np.concatenate([problems.rows(7, step, 4) for step in range(first, first + 4)]) for first in (0, 4)]
    assert all(sorted(rows) == list(range(16)) for rows in passes)
    assert passes[0].tolist() != passes[1].tolist()


def test_spare_problems_are_not_the_steps_own_and_differ_by_turn(problems):
    taken = problems.rows(7, 0, 4)
    turns = [problems.spare_rows(7, 0, turn, taken, 4) for turn in (1, 2)]
    assert not set(taken) & (set(turns[0]) | set(turns[1])) and turns[0].tolist() != turns[1].tolist()
    np.testing.assert_array_equal(turns[0], problems.spare_rows(7, 0, 1, taken, 4))


def test_another_turn_has_random_numbers_of_its_own(tiny, problems):
    """For the same problems, even."""
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    model = Llama(tiny.config)
    reward = TextReward('none', lambda problem, text, tokens: 0.0)
    explore = Explorer(model, mesh, tokenizers.load(tiny.model), problems, Sampling(), 2, 2, 4, seed=0)
    with jax.set_mesh(mesh):
        params = jax.jit(model.init)(jax.random.key(0))
        first, again, other = (explore.groups(params, reward, jax.random.key(0), 0, np.array([3, 5]), turn)[0] for turn in (0, 0, 1))
    tokens = lambda groups: np.asarray(groups.rollouts.tokens_QGT)
    assert np.array_equal(tokens(first), tokens(again)) and not np.array_equal(tokens(first), tokens(other))


def test_too_few_problems_are_one_sentence(problems):
    with pytest.raises(ValueError, match='holds 16 problems; a step wants 17'):
        problems.check(17)


def test_padded_prompts_are_those_of_the_rows(problems):
    prompt_QS, length_Q = problems.padded(np.array([3, 0]))
    assert prompt_QS[0, :length_Q[0]].tolist() == problems.prompts[3] and prompt_QS.shape == (2, problems.width)
