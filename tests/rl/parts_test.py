"""How groups are cut into micro-batches and put together again."""
import math

import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.rl.parts import join_groups, map_groups, split_groups


@pytest.mark.parametrize('questions, outputs, parts',
                         [(4, 6, 1), (4, 6, 2), (4, 6, 4), (4, 6, 8), (4, 6, 24), (3, 4, 2), (3, 4, 6)])
def test_every_output_is_in_one_part_with_its_own_prompt(questions, outputs, parts):
    number_QG = np.arange(questions * outputs).reshape(questions, outputs)
    group = dict(number_QGT=number_QG[:, :, None], length_QG=100 + number_QG, prompt_QS=np.arange(questions)[:, None],
                 prompt_length_Q=200 + np.arange(questions))
    cut = split_groups(dict(inside=group), parts)['inside']
    number = np.asarray(cut['number_QGT'])
    assert sorted(number.ravel()) == list(range(questions * outputs))
    assert number.shape[0] == parts and number[0].size == questions * outputs // parts
    for part in range(parts):
        assert len(cut['prompt_QS'][part]) == questions // math.gcd(questions, parts), 'questions are cut first'
        for q, g in np.ndindex(*number.shape[1:3]):
            question = number[part, q, g, 0] // outputs
            assert cut['prompt_QS'][part, q, 0] == question and cut['prompt_length_Q'][part, q] == 200 + question
            assert cut['length_QG'][part, q, g] == 100 + number[part, q, g, 0]


@pytest.mark.parametrize('parts', [1, 2, 4, 8, 24])
def test_groups_are_joined_as_they_were(parts):
    x_QGT = np.arange(4 * 6 * 2).reshape(4, 6, 2)
    np.testing.assert_array_equal(join_groups(split_groups(dict(x_QGT=x_QGT), parts)['x_QGT'], 4, 6), x_QGT)


@pytest.mark.parametrize('parts', [1, 3, 12])
def test_a_function_of_every_part_is_that_of_the_whole(parts):
    x_QGT, prompt_Q = np.arange(3 * 4 * 2.0).reshape(3, 4, 2), np.arange(3.0)
    double = lambda part: 2 * part['x_QGT'] + part['prompt_Q'][:, None, None]
    whole = dict(x_QGT=jnp.asarray(x_QGT), prompt_Q=jnp.asarray(prompt_Q))
    np.testing.assert_array_equal(map_groups(double, whole, parts), 2 * x_QGT + prompt_Q[:, None, None])


def test_parts_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match='5 micro-batches do not divide 2 questions x 8 outputs'):
        split_groups(dict(x_QGT=np.zeros((2, 8, 1))), 5)
