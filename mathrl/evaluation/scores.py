"""Scores of a set of answered problems: accuracy, maj@k, pass@k, bootstrap intervals. NumPy alone.

A record is a dict as in samples.jsonl: {"language": "en", "greedy": {...} or None, "outputs": [{...}, ...]} and
maybe "benchmark" and "level" ('' for none). An answer is {"extracted": "12" (None or '' where nothing was found),
"correct": True, "length": 31 (tokens), "truncated": False} and maybe "vote", a text that equal answers share ("12" and
"12.0"). Other keys are left alone.
"""

import collections
import math
from typing import Any, Mapping, Sequence

import numpy as np

Record = Mapping[str, Any]


def maj_at_k(answers: Sequence[str | None], correct: Sequence[bool], k: int) -> float:
    """Is the most frequent of the first k answers right? For tied answers the expectation over a fair draw.

      maj_at_k(['4', '5', '4'], [True, False, True], 3) -> 1.0;  maj_at_k(['4', '5'], [True, False], 2) -> 0.5

    Answers are equal if their strings are. None and '' do not vote; where nobody votes the score is 0. Over all
    k-subsets of n samples the mean would have the same expectation and less variance; with k = n there is one subset.
    """
    _check_k(k, len(answers))
    votes = collections.defaultdict(list)
    for answer, right in zip(answers[:k], correct[:k]):
        if answer:
            votes[answer].append(bool(right))
    most = max(map(len, votes.values()), default=0)
    tied = [np.mean(rights) for rights in votes.values() if len(rights) == most]
    return float(np.mean(tied)) if tied else 0.0


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that k of the n samples, drawn without replacement, hold a correct one of the c.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374).
    """
    _check_k(k, samples)
    if not 0 <= correct <= samples:
        raise ValueError(f'{correct} of {samples} samples cannot be correct')
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def bootstrap_intervals(values_NM, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> np.ndarray:
    """Percentile bootstrap of the column means of values_NM (problems x scores): [M, 2], low and high.

    Problems are drawn, not samples: the samples of one problem depend on each other. All columns share the
    draws. A column with one value throughout has an interval of width 0, however few the problems.
    """
    values_NM = np.asarray(values_NM, np.float64)
    if values_NM.ndim != 2 or not len(values_NM):
        raise ValueError(f'values have shape {values_NM.shape}; wanted [problems, scores], both 1 or more')
    rng = np.random.default_rng(seed)
    count = len(values_NM)
    at_once = max(1, 2**20 // values_NM.size)
    means_RM = np.concatenate([
        values_NM[rng.integers(count, size=(min(at_once, resamples - done), count))].mean(axis=1)
        for done in range(0, resamples, at_once)])
    tail = 100 * (1 - level) / 2
    return np.percentile(means_RM, [tail, 100 - tail], axis=0).T


def problem_scores(records: Sequence[Record], k: int) -> dict[str, np.ndarray]:
    """Each score's value on each problem [N]; accuracy is the mean over a problem's outputs."""
    outputs = [record['outputs'] for record in records]
    scores = {}
    if outputs[0]:
        scores['accuracy'] = [np.mean([output['correct'] for output in each]) for each in outputs]
    if records[0]['greedy'] is not None:
        scores['greedy'] = [float(record['greedy']['correct']) for record in records]
    if outputs[0]:
        rights = [[bool(output['correct']) for output in each] for each in outputs]
        answers = [[_vote(output) for output in each] for each in outputs]
        scores[f'maj@{k}'] = [maj_at_k(answer, right, k) for answer, right in zip(answers, rights)]
        scores[f'pass@{k}'] = [pass_at_k(len(right), sum(right), k) for right in rights]
    return {name: np.asarray(values, np.float64) for name, values in scores.items()}


def summarize(records: Sequence[Record], *, model: str, temperature: float, k: int | None = None,
              seed: int = 0) -> dict[str, Any]:
    """The content of scores.json: all scores over all records, by_language, and by_benchmark with its by_level.

    k: of maj@k and pass@k (default: the number of outputs a problem). Every record has the same number of
    outputs, maybe 0, and either all or none have a greedy answer; scores without their data are left out.
    Lengths, truncation and missing answers are counted over the sampled outputs, or else over the greedy ones.
    """
    samples = _check_records(records)
    k = samples if k is None else k
    scores = {'model': str(model), 'samples': samples, 'temperature': float(temperature), **_group(records, k, seed)}
    languages = sorted(_by(records, 'language').items())
    scores['by_language'] = {language: _group(group, k, seed) for language, group in languages}
    scores['by_benchmark'] = {}
    for benchmark, group in _by(records, 'benchmark').items():
        levels = {level: _group(part, k, seed) for level, part in sorted(_by(group, 'level').items())}
        scores['by_benchmark'][benchmark] = _group(group, k, seed) | ({'by_level': levels} if levels else {})
    return scores


def _vote(output: Mapping[str, Any]) -> str | None:
    """What it votes for: its class of equal answers where it has one, else the answer's own string."""
    return output.get('vote') or output['extracted']


def _by(records: Sequence[Record], field: str) -> dict[str, list[Record]]:
    """Records by what they have in a field, in the order of the first; those that have nothing there are left out."""
    groups = collections.defaultdict(list)
    for record in records:
        if record.get(field):
            groups[record[field]].append(record)
    return groups


def _group(records: Sequence[Record], k: int, seed: int) -> dict[str, Any]:
    scores = problem_scores(records, k)
    intervals_MP = bootstrap_intervals(np.stack(list(scores.values()), axis=1), seed)
    answers = [answer for record in records for answer in (record['outputs'] or [record['greedy']])]
    return {'questions': len(records), **{name: float(values.mean()) for name, values in scores.items()},
            'intervals': {name: [float(low), float(high)] for name, (low, high) in zip(scores, intervals_MP)},
            'mean_length': float(np.mean([answer['length'] for answer in answers])),
            'truncated': float(np.mean([bool(answer['truncated']) for answer in answers])),
            'no_answer': float(np.mean([not answer['extracted'] for answer in answers]))}


def _check_records(records: Sequence[Record]) -> int:
    """The number of outputs of every record."""
    if not records:
        raise ValueError('no answered problems came; scores need at least one')
    counts = sorted({len(record['outputs']) for record in records})
    if len(counts) > 1:
        raise ValueError(f'problems have from {counts[0]} to {counts[-1]} outputs; wanted one number for all')
    if len({record['greedy'] is None for record in records}) > 1:
        raise ValueError('some problems have a greedy answer and some have none; wanted all or none')
    if not counts[0] and records[0]['greedy'] is None:
        raise ValueError('the problems have neither outputs nor a greedy answer: there is nothing to score')
    return counts[0]


def _check_k(k: int, samples: int) -> None:
    if not 1 <= k <= samples:
        raise ValueError(f'k={k} with {samples} samples a problem; k goes from 1 to the number of samples')
