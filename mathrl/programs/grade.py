"""Grades a JSONL file of outputs from anywhere: id, problem, reference, output -> id, correct, extracted, reason."""
import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterator

from etils import epath

from mathrl.metrics import Progress
from mathrl.problems import grading_pool
from mathrl.problems.types import Verdict
from mathrl.problems.verdict import EXTRACTIONS
from mathrl.records import numbered_rows, parse_line

FIELDS = ('id', 'problem', 'reference', 'output')
VERDICT_FIELDS = ('correct', 'extracted', 'reason')


def run(*, workdir, outputs: str, verdicts: str = '', workers: int = 0, seconds: float = 10.0, memory_gb: float = 1.0,
        extraction: str = 'answer', config: str = '', dry_run: bool = False) -> None:
    """Writes `verdicts` ('': verdicts.jsonl in workdir), whole or not at all, and workdir/summary.json.

    What a stopped run has graded stays in <verdicts>.<digest>.partial, and the next run goes on from there if outputs,
    settings and the grader's code are the same (a local file only). ValueError names file and line of what is no output.
    """
    del config
    if extraction not in EXTRACTIONS:
        raise ValueError(f'unknown extraction {extraction!r}; there are: {", ".join(EXTRACTIONS)}')
    target = epath.Path(verdicts or epath.Path(workdir) / 'verdicts.jsonl')
    if dry_run:
        print(f'grade: {outputs}, to {target}')
        return
    pool = grading_pool.GradingPool(workers=workers, seconds=seconds, memory_bytes=int(memory_gb * 1e9),
                                    extraction=extraction)

    # ---- the whole input once, so that its faults show before hours of grading
    count, digest = 0, hashlib.sha256(f'{seconds} {memory_gb} {extraction} {_grader_digest()}'.encode())
    for row in _rows(outputs):
        digest.update(json.dumps([row.id, *row.item]).encode())
        count += 1
    _check_target(target, outputs)

    # ---- what an earlier run has graded, then the rest
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _open_partial(target, digest.hexdigest()[:12])
    rows, tally = _rows(outputs), Tally()
    for verdict in _graded(partial):
        tally.add(next(rows), verdict)
    if tally.outputs:
        print(f'grade: goes on behind {tally.outputs} outputs that are graded already')
    with partial.open('ab') as file, pool, Progress('grade', count, 'output', start=tally.outputs) as progress:
        rows, ahead = itertools.tee(rows)
        for row, verdict in zip(rows, pool.grade_each(one.item for one in ahead)):
            line = {'id': row.id} | dataclasses.asdict(verdict)
            file.write(json.dumps(line, ensure_ascii=False).encode() + b'\n')
            file.flush()
            tally.add(row, verdict)
            progress.update(tally.outputs)
    partial.replace(target)
    (epath.Path(workdir) / 'summary.json').write_text(json.dumps(tally.summary(), indent=1) + '\n')
    print(f'grade: {tally}; in {target}')


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the input. label: whether it is said there to be correct; None where nothing is said."""
    id: str | int | float
    output: str
    reference: str
    problem: str
    label: bool | None

    @property
    def item(self) -> grading_pool.Item:
        return self.output, self.reference, self.problem


@dataclasses.dataclass
class Tally:
    """What is counted of the verdicts, and of their agreement with the labels where there are any."""
    outputs: int = 0
    correct: int = 0
    reasons: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    labelled: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def add(self, row: Row, verdict: Verdict) -> None:
        self.outputs += 1
        self.correct += verdict.correct
        self.reasons[verdict.reason] += 1
        if row.label is not None:
            self.labelled += 1
            self.false_positives += verdict.correct and not row.label
            self.false_negatives += row.label and not verdict.correct

    @property
    def agreement(self) -> float:
        return 1 - (self.false_positives + self.false_negatives) / self.labelled

    def summary(self) -> dict:
        """summary.json."""
        found = {'outputs': self.outputs, 'correct': self.correct, 'reasons': dict(self.reasons.most_common())}
        return found if not self.labelled else found | {
            'labelled': self.labelled, 'agreement': self.agreement, 'false_positives': self.false_positives,
            'false_negatives': self.false_negatives}

    def __str__(self) -> str:
        reasons = ', '.join(f'{count} {reason}' for reason, count in self.reasons.most_common())
        text = f'{self.outputs} outputs, {self.correct / self.outputs:.1%} correct ({reasons})'
        return text if not self.labelled else (
            f'{text}; {self.agreement:.4f} agreement with {self.labelled} labels ({self.false_positives} false '
            f'positives, {self.false_negatives} false negatives)')


def _rows(path: str) -> Iterator[Row]:
    for number, row in numbered_rows(path, FIELDS):
        where, reference = f'{path} line {number}', row['reference']
        if _is_number(reference):
            reference = repr(reference)
        for name, value in (('problem', row['problem']), ('reference', reference), ('output', row['output'])):
            if not isinstance(value, str):
                raise ValueError(f'{where}: field {name!r} is {value!r:.60}; text was wanted')
        if not reference.strip():
            raise ValueError(f"{where}: field 'reference' is empty; the right answer was wanted")
        if not isinstance(row['id'], str) and not _is_number(row['id']):
            raise ValueError(f"{where}: field 'id' is {row['id']!r:.60}; text or a number was wanted")
        label = row.get('correct')
        if label not in (None, False, True):
            raise ValueError(f"{where}: field 'correct' is {label!r:.60}; true, false or no such field was wanted")
        yield Row(row['id'], row['output'], reference, row['problem'], None if label is None else bool(label))


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _grader_digest() -> str:
    """Of all code that a verdict can depend on."""
    sources = sorted(pathlib.Path(grading_pool.__file__).parent.glob('*.py'))
    return hashlib.sha256(b''.join(source.read_bytes() for source in sources)).hexdigest()


def _check_target(target: epath.Path, outputs: str) -> None:
    if target.is_dir():
        raise ValueError(f'{target} is a folder; a file for the verdicts was wanted')
    if target.resolve() == epath.Path(outputs).resolve():
        raise ValueError(f'{target} holds the outputs; another file for the verdicts was wanted')


def _open_partial(target: epath.Path, digest: str) -> epath.Path:
    """The file that verdicts are added to until it is whole; those of other inputs and settings are removed."""
    partial = target.parent / f'{target.name}.{digest}.partial'
    for other in target.parent.glob(f'{target.name}.*.partial'):
        if other != partial or '://' in str(target):   # an object store cannot append
            other.unlink()
    return partial


def _graded(partial: epath.Path) -> Iterator[Verdict]:
    """What it holds; a last line that was not written whole is cut off."""
    if not partial.exists():
        return
    whole = 0
    with partial.open('rb') as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b'\n'):
                break
            row = parse_line(line, f'{partial} line {number}', VERDICT_FIELDS)
            yield Verdict(*(row[field] for field in VERDICT_FIELDS))
            whole += len(line)
    os.truncate(partial, whole)
