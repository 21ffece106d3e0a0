"""Worked examples that a few-shot prompt opens with: ours lie in exemplars_*.py, others are read from a file."""
import dataclasses

from mathrl import records


@dataclasses.dataclass(frozen=True)
class Exemplar:
    """solution: what a model is to write, without the sentence that gives the answer; of a program, its code."""
    problem: str
    solution: str
    answer: str


def read_exemplars(path) -> tuple[Exemplar, ...]:
    """Exemplars of a JSONL file with `problem`, `solution` and `answer`, all text. ValueError names file and line."""
    exemplars = []
    for number, row in records.numbered_rows(path, ('problem', 'solution', 'answer')):
        fields = {name: row[name] for name in ('problem', 'solution', 'answer')}
        for name, value in fields.items():
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f'{path} line {number}: field {name!r} is {value!r:.60}; text was wanted')
        exemplars.append(Exemplar(**fields))
    return tuple(exemplars)
