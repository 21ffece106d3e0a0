"""What is kept of a sweep's trials: trials/<number>/trial.json, log.txt and what the program writes."""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from launch.secret_values import redact
from launch.sweep_file import Objective, Sweep

SHOWN_LINES = 15        # of the log of a failed trial
ENDED = ('done', 'failed', 'pruned')


@dataclasses.dataclass
class Trial:
    """state: running (also of a sweep that was killed), done, failed, pruned; macros hold literals, as --gin.NAME= takes them."""
    number: int
    macros: dict[str, str]
    folder: pathlib.Path
    state: str = 'running'
    value: float | None = None
    reason: str = ''
    seconds: float = 0.0

    @property
    def log(self) -> pathlib.Path:
        return self.folder / 'log.txt'

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {'number': self.number, 'macros': self.macros, 'state': self.state, 'value': self.value, 'reason': self.reason,
                'seconds': round(self.seconds, 1)}
        write_json(self.folder / 'trial.json', kept)

    def title(self) -> str:
        """'trial 3 (KL_COEF=0.04 LEARNING_RATE=0.0001)'"""
        return f'trial {self.number} ({" ".join(f"{name}={value}" for name, value in self.macros.items())})'


def read(workdir: pathlib.Path) -> list[Trial]:
    """By number."""
    found = []
    for path in workdir.glob('trials/*/trial.json'):
        kept = json.loads(path.read_text(encoding='utf-8'))
        found.append(Trial(folder=path.parent, **kept))
    return sorted(found, key=lambda trial: trial.number)


def new(workdir: pathlib.Path, number: int, macros: Mapping[str, str]) -> Trial:
    return Trial(number, dict(macros), workdir / 'trials' / f'{number:03}')


@contextlib.contextmanager
def claimed(workdir: pathlib.Path, sweep: Sweep) -> Iterator[None]:
    """The folder for one sweep alone, which is the same as before; a killed one leaves nothing locked.

    Raises:
        ValueError: another process runs it, or it was begun with other settings.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f'a sweep is running in {workdir} already.') from None
        path, settings = workdir / 'sweep.json', sweep.settings()
        if path.exists():
            before = json.loads(path.read_text(encoding='utf-8'))
            changed = [name for name in settings if before.get(name) != settings[name]]
            if changed:
                raise ValueError(f'the sweep in {workdir} was begun with {changed[0]} = {before.get(changed[0])}, and it is now '
                                 f'{settings[changed[0]]}: take another --workdir.')
        write_json(path, settings)
        yield


def objective_of(trial: Trial, objective: Objective) -> float:
    """The number; of a .jsonl file that of the last line that has it.

    Raises:
        ValueError: no such file or key, or no finite number.
    """
    path = trial.folder / objective.file
    if not path.is_file():
        raise ValueError(f'the program ended well and wrote no {objective.file}')
    values = [value for value in (_at(content, objective.keys) for content in _contents(path)) if value is not None]
    if not values:
        raise ValueError(f'{objective.file} holds no {".".join(objective.keys)}')
    value = values[-1]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f'{objective} is {value}, which is no finite number')
    return float(value)


def reported(trial: Trial, name: str, after: int) -> list[tuple[int, float]]:
    """(step, value) of the metric in metrics.jsonl, of steps behind `after`; a half-written last line is left out."""
    path = trial.folder / 'metrics.jsonl'
    lines = _contents(path) if path.is_file() else []
    return [(line['step'], line[name]) for line in lines
            if line.get('step', -1) > after and isinstance(line.get(name), (int, float))]


def last_lines(trial: Trial) -> str:
    """Of the log, without what looks like a secret."""
    if not trial.log.is_file():
        return ''
    lines = trial.log.read_bytes()[-20_000:].decode(errors='replace').splitlines()
    return redact('\n'.join([line for line in lines if line.strip()][-SHOWN_LINES:]))


def write_json(path: pathlib.Path, value: Any) -> None:
    """The file is there as a whole or not at all."""
    partial = path.with_name(f'{path.name}.partial')
    with open(partial, 'w', encoding='utf-8') as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write('\n')
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _contents(path: pathlib.Path) -> list[dict]:
    text = path.read_text(encoding='utf-8', errors='replace')
    if path.suffix == '.json':
        try:
            return [json.loads(text)]
        except ValueError:
            raise ValueError(f'{path.name} is no JSON') from None
    complete = text[:text.rfind('\n') + 1].splitlines()
    return [json.loads(line) for line in complete if line.strip()]


def _at(content: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return None
        content = content[key]
    return content
