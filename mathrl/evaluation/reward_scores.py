"""How good a reward model is on labelled outputs that it was not trained on."""
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

# How the scores of an output's steps become one: its weakest step (Math-Shepherd), its last, or all of them being right.
AGGREGATES: dict[str, Callable] = {'min': np.min, 'last': lambda scores: scores[-1], 'product': np.prod}


@dataclasses.dataclass(frozen=True)
class Judged:
    """An output: whether it is right, and a label (0 to 1, 0: wrong) and a probability for each of its steps."""
    correct: bool
    labels: np.ndarray
    probabilities: np.ndarray


def reward_scores(outputs: Sequence[Judged], aggregate: str) -> dict[str, float]:
    """accuracy of the steps; auc of right above wrong outputs; first_wrong, the share of wrong outputs whose first wrong
    step was found, and first_wrong_chance, the share that a random step of each would find.

    accuracy: a step's probability lies on its label's side of a half. first_wrong: the first step below a half, else the
    last, is the first one with the label 0. What cannot be said of these outputs is left out.
    """
    if aggregate not in AGGREGATES:
        raise ValueError(f'unknown aggregate {aggregate!r}; there are: {", ".join(AGGREGATES)}')
    labels, probabilities = (np.concatenate([getattr(one, name) for one in outputs]) for name in ('labels', 'probabilities'))
    found = {'accuracy': float(np.mean((labels > 0.5) == (probabilities > 0.5)))}
    whole = np.array([AGGREGATES[aggregate](one.probabilities) for one in outputs])
    correct = np.array([one.correct for one in outputs], bool)
    if correct.any() and not correct.all():
        found['auc'] = auc(whole[correct], whole[~correct])
    several = [one for one in outputs if not one.correct and len(one.labels) > 1 and (one.labels == 0).any()]
    if several:
        hits = [first_below(one.probabilities) == np.argmax(one.labels == 0) for one in several]
        found['first_wrong'] = float(np.mean(hits))
        found['first_wrong_chance'] = float(np.mean([1 / len(one.labels) for one in several]))
    return found


def first_below(probabilities: np.ndarray) -> int:
    """The first step that is more likely wrong than right, the last where none is."""
    below = np.flatnonzero(probabilities < 0.5)
    return int(below[0]) if len(below) else len(probabilities) - 1


def auc(above: np.ndarray, below: np.ndarray) -> float:
    """The chance that one of `above` has a higher score than one of `below`; equal scores count half (Mann and Whitney)."""
    ordered = np.sort(below)
    lower, not_higher = np.searchsorted(ordered, above, 'left'), np.searchsorted(ordered, above, 'right')
    return float(np.mean(lower + not_higher) / (2 * len(below)))
