"""Agreement of the grader with labelled outputs, and its cost; prints one JSON line.

  python tests/benchmarks/grading.py [--rows ../shared/data/grading/graded_dev.jsonl] [--show]

Rows hold problem, reference, output, correct and kind. Seconds are CPU time of this process, imports aside.
"""
import argparse
import collections
import json
import time

from mathrl import records
from mathrl.problems.verdict import grade


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', default='../shared/data/grading/graded_dev.jsonl')
    parser.add_argument('--show', action='store_true', help='print each row on which grader and label differ')
    return parser.parse_args()


def main(arguments: argparse.Namespace):
    rows = records.read_jsonl(arguments.rows, ('problem', 'reference', 'output', 'correct', 'kind'))
    grade('\\boxed{\\sqrt{2}}', '\\sqrt{3}')     # imports what is imported late
    table, slowest = collections.defaultdict(collections.Counter), 0.0
    start = time.process_time()
    for row in rows:
        before = time.process_time()
        verdict = grade(row['output'], row['reference'], row['problem'])
        slowest = max(slowest, time.process_time() - before)
        counts = table[row['kind']]
        counts['rows'] += 1
        counts['agree'] += verdict.correct == row['correct']
        counts['false_positives'] += verdict.correct and not row['correct']
        counts['false_negatives'] += row['correct'] and not verdict.correct
        if arguments.show and verdict.correct != row['correct']:
            print(row['kind'], 'label', row['correct'], repr(row['reference']), verdict, repr(row['output'][-160:]))
    seconds = time.process_time() - start
    kinds = {kind: {**counts, 'agreement': counts['agree'] / counts['rows']} for kind, counts in table.items()}
    print(json.dumps({'kinds': kinds, 'seconds_per_1000': 1000 * seconds / len(rows), 'slowest_s': slowest}))


if __name__ == '__main__':
    main(flags())
