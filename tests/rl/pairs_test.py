"""Pairs made of groups, by hand."""
import jax
import jax.numpy as jnp
import numpy as np

from mathrl.rl.pairs import best_with_worst
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts


def experience(rewards_QG, T=3):
    """Output g of question q is (10 q + g) throughout; lengths 1 .. T; rewards stand at the last token, noise elsewhere."""
    rewards_QG = np.asarray(rewards_QG, np.float32)
    Q, G = rewards_QG.shape
    tokens_QGT = np.broadcast_to((10 * np.arange(Q)[:, None] + np.arange(G))[..., None], (Q, G, T)).astype(np.int32)
    length_QG = (np.arange(Q * G).reshape(Q, G) % T + 1).astype(np.int32)
    trained_QGT = (np.arange(T) < length_QG[..., None]).astype(np.int32)
    ends_QGT = (np.arange(T) == length_QG[..., None] - 1).astype(np.int32)
    rewards_QGT = np.where(ends_QGT == 1, rewards_QG[..., None], 77).astype(np.float32)
    zeros_QGT = np.zeros((Q, G, T), np.float32)
    prompt_QS = np.arange(Q)[:, None].astype(np.int32)
    rollouts = Rollouts(prompt_QS, np.ones(Q, np.int32), tokens_QGT, length_QG, trained_QGT, zeros_QGT, zeros_QGT)
    return jax.tree.map(jnp.asarray, Experience(rollouts, zeros_QGT, rewards_QGT, ends_QGT))


def test_the_best_goes_with_the_worst():
    made = experience([[0.5, 3, 1, 2], [4, 1, 2, 3]])
    pairs = best_with_worst(made)
    np.testing.assert_array_equal(pairs.chosen_QGT[..., 0], [[1, 3], [10, 13]])
    np.testing.assert_array_equal(pairs.rejected_QGT[..., 0], [[0, 2], [11, 12]])
    np.testing.assert_array_equal(pairs.weights_QG, 1)
    np.testing.assert_array_equal(pairs.prompt_QS, made.rollouts.prompt_QS)
    for tokens_QGT, trained_QGT in ((pairs.chosen_QGT, pairs.chosen_trained_QGT),
                                    (pairs.rejected_QGT, pairs.rejected_trained_QGT)):
        for q, g in np.ndindex(2, 2):
            output = int(tokens_QGT[q, g, 0]) % 10
            np.testing.assert_array_equal(trained_QGT[q, g], made.rollouts.trained_QGT[q, output])


def test_pairs_without_a_difference_weigh_nothing():
    pairs = best_with_worst(experience([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]))
    np.testing.assert_array_equal(pairs.weights_QG, [[1, 0], [0, 0], [1, 1]])
    assert pairs.rejected_QGT[0, 0, 0] == 1


def test_no_output_is_in_two_pairs_and_an_odd_one_is_left_out():
    pairs = best_with_worst(experience([[2, 0, 1, 5, 3]]))
    assert pairs.chosen_QGT.shape == (1, 2, 3)
    np.testing.assert_array_equal(pairs.chosen_QGT[0, :, 0], [3, 4])
    np.testing.assert_array_equal(pairs.rejected_QGT[0, :, 0], [1, 2])
    tied = best_with_worst(experience([[1, 1, 1, 1, 1, 1]]))
    assert len({int(x) for x in np.concatenate([tied.chosen_QGT[0, :, 0], tied.rejected_QGT[0, :, 0]])}) == 6


def test_a_group_of_one_gives_no_pair():
    assert best_with_worst(experience([[1.0]])).weights_QG.shape == (1, 0)


def test_step_rewards_are_added_up():
    made = experience([[1, 2], [1, 2]])
    ends_QGT = made.step_ends_QGT.at[0, 0, :].set(1)
    rewards_QGT = jnp.where(made.step_ends_QGT == 1, made.rewards_QGT, 1.5)
    pairs = best_with_worst(made.replace(rewards_QGT=rewards_QGT, step_ends_QGT=ends_QGT))
    np.testing.assert_array_equal(pairs.chosen_QGT[..., 0], [[0], [11]])
