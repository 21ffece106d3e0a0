"""Held-out figures of a reward model, on hand-worked outputs."""
import numpy as np
import pytest

from mathrl.evaluation.reward_scores import Judged, auc, first_below, reward_scores


def judged(correct, labels, probabilities):
    return Judged(correct, np.array(labels, float), np.array(probabilities, float))


OUTPUTS = [judged(True, [1, 1], [0.9, 0.8]),
           judged(False, [1, 0], [0.7, 0.3]),                # found
           judged(False, [1, 0, 0, 0], [0.2, 0.6, 0.1, 0.1]),      # taken for the step before
           judged(False, [1, 1, 1, 0], [0.95, 0.9, 0.9, 0.85])]    # no step is below a half: the last


def test_hand_worked():
    found = reward_scores(OUTPUTS, 'min')
    assert found['accuracy'] == pytest.approx((2 + 2 + 2 + 3) / 12)
    assert found['auc'] == pytest.approx(2 / 3)
    assert found['first_wrong'] == pytest.approx(2 / 3)
    assert found['first_wrong_chance'] == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)


@pytest.mark.parametrize('aggregate, expected', [('min', [0.5, 0.2]), ('last', [0.6, 0.4]), ('product', [0.3, 0.08])])
def test_aggregates(aggregate, expected):
    """The AUC tells which number an output gets: a third output between the other two by each aggregate."""
    first, second = judged(True, [1, 1], [0.5, 0.6]), judged(False, [1, 0], [0.2, 0.4])
    between = judged(False, [1], [np.mean(expected)])
    assert reward_scores([first, second], aggregate)['auc'] == 1
    assert reward_scores([judged(False, [1, 0], [0.5, 0.6]), judged(True, [1], [np.mean(expected)])], aggregate)['auc'] == 0
    assert reward_scores([judged(True, [1, 1], [0.2, 0.4]), between], aggregate)['auc'] == 0


def test_what_cannot_be_said_is_left_out():
    assert set(reward_scores([OUTPUTS[0]], 'min')) == {'accuracy'}
    assert set(reward_scores([OUTPUTS[0], judged(False, [0], [0.1])], 'min')) == {'accuracy', 'auc'}


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(ValueError, match="unknown aggregate 'mean'; there are: min, last, product"):
        reward_scores(OUTPUTS, 'mean')


def test_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 6, 20) / 5, rng.integers(0, 6, 30) / 5
    pairs = (above[:, None] > below).mean() + (above[:, None] == below).mean() / 2
    assert auc(above, below) == pytest.approx(pairs)


def test_first_below():
    assert [first_below(np.array(x)) for x in ([0.9, 0.4, 0.1], [0.9, 0.5], [0.1])] == [1, 1, 0]
