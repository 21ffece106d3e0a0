"""What a study of methods compares: scores of each method and seed, curves over k, and intervals over problems and seeds."""
import dataclasses
from typing import Mapping, Sequence

import numpy as np

from mathrl.evaluation.scores import maj_at_k, pass_at_k
from mathrl.report.sources import Evaluation

Curve = tuple[list[float], list[float]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One method with one seed. right_NK: whether each output is right, problem by problem; maj and passed: score at each k.

    samples: outputs that training sampled, with those that labelled steps between iterations; curves: name -> (steps, values) of
    the training.
    """
    right_NK: np.ndarray
    ks: list[int]
    maj: list[float]
    passed: list[float]
    samples: int
    curves: Mapping[str, Curve]

    @property
    def accuracy(self) -> float:
        return float(self.right_NK.mean())

    def as_json(self) -> dict:
        return {'accuracy': self.accuracy, 'maj': self.maj[-1], 'pass': self.passed[-1], 'samples': self.samples,
                'maj_at': dict(zip(map(str, self.ks), self.maj)), 'pass_at': dict(zip(map(str, self.ks), self.passed))}


def outcome(evaluation: Evaluation, samples: int, curves: Mapping[str, Curve]) -> Outcome:
    """The scores of an evaluation at k = 1, 2, 4, .. up to its samples of a problem."""
    outputs = [row['outputs'] for row in evaluation.samples]
    if not outputs or not outputs[0]:
        raise ValueError(f'evaluation {evaluation.name!r} holds no sampled outputs; accuracy, maj@k and pass@k are made of '
                         'them')
    right_NK = np.array([[bool(output['correct']) for output in each] for each in outputs])
    ks = [2 ** power for power in range(right_NK.shape[1].bit_length()) if 2 ** power <= right_NK.shape[1]]
    votes = [[output.get('vote') or output['extracted'] for output in each] for each in outputs]
    maj = [float(np.mean([maj_at_k(vote, right, k) for vote, right in zip(votes, right_NK)])) for k in ks]
    passed = [float(np.mean([pass_at_k(len(right), int(right.sum()), k) for right in right_NK])) for k in ks]
    return Outcome(right_NK, ks, maj, passed, samples, curves)


def interval(by_seed: Sequence[Outcome]) -> tuple[float, float]:
    """95% interval of the mean accuracy."""
    return _bootstrap(np.stack([one.right_NK.mean(1) for one in by_seed]))


def difference(first: Sequence[Outcome], second: Sequence[Outcome]) -> tuple[float, float, float]:
    """(mean accuracy of the second less the first's, its 95% interval): the same problems and seeds of both, drawn together."""
    gap_SN = np.stack([after.right_NK.mean(1) - before.right_NK.mean(1) for before, after in zip(first, second, strict=True)])
    return float(gap_SN.mean()), *_bootstrap(gap_SN)


def _bootstrap(values_SN: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """95% percentile interval of the mean; seeds and problems are both drawn anew."""
    rng = np.random.default_rng(0)
    seeds, problems = values_SN.shape
    means = [values_SN[rng.integers(seeds, size=seeds)][:, rng.integers(problems, size=problems)].mean()
             for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
