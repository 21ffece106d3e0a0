"""A problem, an attempt at it, and what a grader said: plain values that every part of the house hands on."""
import dataclasses
import logging

from mathrl import records


@dataclasses.dataclass(frozen=True)
class Problem:
    """`answer` is the reference, always right; `solution` is a worked one, '' where there is none.

    `level` is what scores are broken down by within a benchmark ('Level 3', 'grade 2', a subject), or ''.
    """
    problem: str
    answer: str
    source: str = ''
    solution: str = ''
    level: str = ''


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One output of a model: its text, the answer read off it (None: there is none), whether it is right."""
    text: str
    answer: str | None
    correct: bool


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`reason` is one of a few fixed words (verdict.REASONS; grading_pool.LOST), so that verdicts can be counted by it."""
    correct: bool
    extracted: str | None
    reason: str


def read_problems(path) -> list[Problem]:
    """Problems of a JSONL file: `problem`, `answer` and perhaps `source` (else `benchmark`), `solution`, `level`.

    {"problem": "1+1?", "answer": 2} -> Problem('1+1?', '2'). A problem whose answer is null or empty is left
    out, with a warning, since nothing can be graded by it. ValueError names the file, the line and the field.
    """
    problems, without = [], []
    for number, row in records.numbered_rows(path, ('problem', 'answer')):
        if row['answer'] is None or row['answer'] == '':
            without.append(number)
        else:
            problems.append(problem_of(row, f'{path} line {number}'))
    if not problems:
        raise ValueError(f'{path}: none of its {len(without)} problems has an answer')
    if without:
        logging.warning('%s: left out %d problems without an answer, the first in line %d',
                        path, len(without), without[0])
    return problems


def problem_of(row: dict, where: str) -> Problem:
    """The problem of a row that has `problem` and an answer; `where` (file and line) opens the message of the ValueError."""
    answer = row['answer']
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = repr(answer)
    source, solution = row.get('source', row.get('benchmark', '')), row.get('solution', '')
    level = row.get('level')
    fields = {'problem': row['problem'], 'answer': answer, 'source': source, 'solution': solution,
              'level': '' if level is None else str(level)}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f'{where}: field {name!r} is {value!r:.60}; text was wanted')
        if name in ('problem', 'answer') and not value.strip():
            raise ValueError(f'{where}: field {name!r} is empty')
    return Problem(**fields)
