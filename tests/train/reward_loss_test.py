"""Losses of reward models against the written equations, and their limit cases."""
import jax
import numpy as np
import pytest

from mathrl.train.reward_loss import binary, pairwise

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(2, 3, 4)).astype('f4') * 3, RNG.random((2, 3, 4)).astype('f4')
ENDS = np.array([[[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]]], np.int32)


def slow_binary():
    total = 0.0
    for place in zip(*np.nonzero(ENDS)):
        p, y = 1 / (1 + np.exp(-np.float64(LOGITS[place]))), LABELS[place]
        total -= y * np.log(p) + (1 - y) * np.log(1 - p)
    return total, ENDS.sum()


def slow_pairwise():
    total, count = 0.0, 0
    for q in range(2):
        last = {g: np.flatnonzero(ENDS[q, g])[-1] for g in range(3) if ENDS[q, g].any()}
        for i, ti in last.items():
            for j, tj in last.items():
                if LABELS[q, i, ti] > LABELS[q, j, tj]:
                    gap = np.float64(LOGITS[q, i, ti]) - LOGITS[q, j, tj]
                    total, count = total + np.log1p(np.exp(-gap)), count + 1
    return total, count


@pytest.mark.parametrize('loss, slow', [(binary, slow_binary), (pairwise, slow_pairwise)])
def test_as_written(loss, slow):
    np.testing.assert_allclose(loss(LOGITS, LABELS, ENDS), slow(), rtol=1e-5)


@pytest.mark.parametrize('loss', [binary, pairwise])
def test_what_stands_at_no_step_end_does_not_matter_even_infinite(loss):
    wild = np.where(ENDS == 1, LOGITS, np.inf).astype('f4')
    labels = np.where(ENDS == 1, LABELS, np.nan).astype('f4')
    np.testing.assert_array_equal(loss(wild, labels, ENDS), loss(np.where(ENDS == 1, LOGITS, 0), LABELS, ENDS))
    gradient = jax.grad(lambda x: loss(x, labels, ENDS)[0])(wild)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('loss', [binary, pairwise])
def test_no_output_at_all_is_a_sum_of_0_over_0(loss):
    np.testing.assert_array_equal(loss(LOGITS, LABELS, np.zeros_like(ENDS)), (0, 0))


def test_equal_labels_are_no_pair():
    assert pairwise(LOGITS, np.ones_like(LABELS), ENDS)[1] == 0
