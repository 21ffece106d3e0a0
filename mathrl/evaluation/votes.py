"""What outputs vote for in maj@k: equal answers have one vote, however they are written ('0.5' and '\\\\frac{1}{2}')."""
import itertools
from typing import Any, Callable, Sequence


def add_votes(rows: Sequence[dict[str, Any]], grade_all: Callable[[list[tuple[str, str, str]]], list]) -> None:
    """Gives each of a row's outputs its `vote`: the reference if it is right, else the first output's equal answer.

    None where there is no answer. Wrong answers are compared, by grade_all as of problems/grading_pool.py, where that can
    decide the vote: some output is right, and the wrong ones are not fewer.
    """
    pairs = []
    for place, row in enumerate(rows):
        for output in row['outputs']:
            output['vote'] = row['answer'] if output['correct'] else output['extracted']
        wrong = [output['extracted'] for output in row['outputs'] if not output['correct'] and output['extracted']]
        if 0 < sum(output['correct'] for output in row['outputs']) <= len(wrong):
            pairs += [(place, *pair) for pair in itertools.combinations(dict.fromkeys(wrong), 2)]
    verdicts = grade_all([(f'\\boxed{{{later}}}', earlier, rows[place]['problem']) for place, earlier, later in pairs])
    equal = {}
    for (place, earlier, later), verdict in zip(pairs, verdicts):
        if verdict.correct:
            equal.setdefault((place, later), earlier)       # pairs come in the order of their first members
    for place, row in enumerate(rows):
        for output in row['outputs']:
            if not output['correct']:
                output['vote'] = equal.get((place, output['vote']), output['vote'])
