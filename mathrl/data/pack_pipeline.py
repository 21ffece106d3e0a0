"""A task packed in parts: each part of the task's rows becomes one ArrayRecord file, whatever process packs it.

The parts are given by the task's files (or by number), never by how many workers there are, so the bytes do not depend
on them. A file and its counts appear whole or not at all; what is there from the same plan is not made again.
"""
import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable

from etils import epath

from mathrl.data import packed, tasks
from mathrl.data.packing import Counts, pack

PARTS = 'parts'     # the folder of what is finished
FIRST = 8           # examples by which a changed task is known


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is packed, and how. examples: taken in all (0: all there are)."""
    task: tasks.Task | tasks.Mixture
    folder: str
    row_length: int
    parts: int
    epochs: int
    examples: int
    seed: int
    open_rows: int
    split: str


def run(plan: Plan, each: Callable[[Callable[[int], None], Iterable[int]], None]) -> tuple[Counts, list[dict]]:
    """Packs what is not packed yet, by each(function, parts); returns the sums, and of the files name, rows, bytes, sha256.

    each: calls the function for every part, in this process or, as mining's Engine does, on Beam's workers.
    """
    folder = epath.Path(plan.folder)
    open_folder(plan)
    missing = [part for part in range(plan.parts) if not _record(folder, part).exists()]
    each(functools.partial(pack_part, plan), missing)
    counts, files = Counts(), []
    for part in range(plan.parts):
        found = json.loads(_record(folder, part).read_text())
        counts = Counts(**{name: getattr(counts, name) + found['counts'][name] for name in found['counts']})
        files += found['files']
    return counts, files


def open_folder(plan: Plan) -> None:
    """Empties the folder of what another plan, or the same for other inputs, has left."""
    folder, known = epath.Path(plan.folder), fingerprint(plan)
    mark = folder / PARTS / 'plan.json'
    (folder / packed.MANIFEST).unlink(missing_ok=True)   # while it is written it is no packed folder
    if mark.exists() and json.loads(mark.read_text())['fingerprint'] == known:
        return
    for old in folder.glob('rows-*.arrayrecord*'):
        old.unlink()
    if mark.parent.exists():
        mark.parent.rmtree()
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps({'fingerprint': known}) + '\n')


def fingerprint(plan: Plan) -> str:
    """Of the settings, the vocabulary, the files with their sizes, and the first examples, in which templates show."""
    fields = [field.name for field in dataclasses.fields(plan) if field.name not in ('task', 'folder')]
    first = [tasks.examples(one, plan.seed, split=plan.split, shuffle=False) for one in tasks.parts(plan.task)]
    examples = [dataclasses.asdict(example) for found in first for example in itertools.islice(found, FIRST)]
    known = json.dumps([[getattr(plan, name) for name in fields], plan.task.name, tasks.tokenizer_of(plan.task).digest,
                        tasks.inputs(plan.task), examples])
    return hashlib.sha256(known.encode()).hexdigest()


def pack_part(plan: Plan, part: int) -> None:
    """Writes the part's rows, then the record that it is finished."""
    folder, counts = epath.Path(plan.folder), Counts()
    share = plan.examples // plan.parts + (part < plan.examples % plan.parts)
    found = tasks.examples(plan.task, plan.seed, plan.epochs, plan.split, (part, plan.parts))
    taken = itertools.islice(found, share if plan.examples else None)
    rows = pack(taken, plan.row_length, counts, tasks.tokenizer_of(plan.task).pad_id, plan.open_rows)
    files = [packed.write_file(folder / f'rows-{part:05d}.arrayrecord', itertools.chain([row], rows), plan.row_length)
             for row in itertools.islice(rows, 1)]
    path = _record(folder, part)
    partial = path.parent / f'{path.name}.partial'
    partial.write_text(json.dumps({'counts': dataclasses.asdict(counts), 'files': files}) + '\n')
    partial.replace(path)


def _record(folder: epath.Path, part: int) -> epath.Path:
    return folder / PARTS / f'{part:05d}.json'
