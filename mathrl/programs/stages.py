"""Runs several programs one after the other, each as a process of its own in a folder of its own.

The folder of a finished stage holds done.json, and the stage is skipped the next time; stages.json holds
the seconds of each, added up over restarts. A stopped stage goes on from its own checkpoints.
"""

import ast
import contextlib
import json
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from mathrl.processes import RESTART
from mathrl.programs.stage_process import run_teed

REPOSITORY = epath.Path(__file__).parents[2]
SAVE_SECONDS = 2  # how often stages.json is brought up to date
SHOWN_LINES = 15  # of the log of a failed stage


class Stage(NamedTuple):
    name: str
    gin_file: str
    macros: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """What done.json keeps of it, as JSON gives it back."""
        return json.loads(json.dumps({'gin_file': self.gin_file, 'macros': self.macros}))

    def command(self, workdir: epath.Path) -> list[str]:
        macros = {name: _filled(value, str(workdir)) for name, value in self.macros.items()}
        return [sys.executable, '-m', 'mathrl.main', f'--gin_file={self.gin_file}',
                *(f'--gin.{name}={value!r}' for name, value in macros.items()),
                f'--workdir={workdir / self.name}']


def run(*, workdir: epath.Path, stages: Sequence[tuple], config: str = '', dry_run: bool = False) -> None:
    """Runs the stages in order, skipping what is done.

    Args:
        workdir: stage `name` runs in workdir/name; its output goes to the log.txt there and to our stdout.
        stages: (name, gin_file) or (name, gin_file, {MACRO: value}), gin_file from here or from the
            repository root. In a string value, {workdir} stands for workdir.
        config: unused; every stage writes its own.
        dry_run: print the command lines and return.

    Raises:
        ValueError: a stage is not of that form, or differs from what its done.json says was run.
        SystemExit: a stage failed; says which, how, and the last lines of its log. RESTART: it was told to stop.
    """
    if '://' in str(workdir):
        raise ValueError(f'--workdir={workdir}: stages keeps logs, which only a local folder can append to.')
    stages = _checked(stages)
    done = _done(stages, workdir)
    if dry_run:
        for stage in stages:
            state = 'done' if stage.name in done else 'to run'
            print(f'{stage.name} ({state}): {shlex.join(stage.command(workdir))}')
        return
    times = _Times(workdir / 'stages.json', stages, done)
    with _exit_on_sigterm():
        for number, stage in enumerate(stages, start=1):
            head = f'[{number}/{len(stages)}] {stage.name}'
            if stage.name in done:
                print(f'{head}: done before', flush=True)
                continue
            print(f'{head}: {stage.gin_file}, {_clock(times.total())} so far', flush=True)
            _run_stage(stage, workdir, times)
            seconds = times.seconds(stage.name)
            print(f'{head}: done in {_clock(seconds)}, {_clock(times.total())} in all', flush=True)


def _run_stage(stage: Stage, workdir: epath.Path, times: '_Times') -> None:
    folder = workdir / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    with times.timing(stage.name) as tick:
        exit_code = run_teed(stage.command(workdir), folder / 'log.txt', tick)
    if exit_code == RESTART:
        print(f'stage {stage.name} was told to stop; the same command goes on with it', flush=True)
        raise SystemExit(RESTART)
    if exit_code:
        times.set_state(stage.name, 'failed')
        raise SystemExit(_failure(stage, folder / 'log.txt', exit_code))
    _write_json(folder / 'done.json', {**stage.record(), 'seconds': times.seconds(stage.name)})
    times.set_state(stage.name, 'done')


def _failure(stage: Stage, log: epath.Path, exit_code: int) -> str:
    how = f'exit code {exit_code}' if exit_code > 0 else f'signal {signal.Signals(-exit_code).name}'
    lines = log.read_bytes().decode(errors='replace').splitlines()[-SHOWN_LINES:]
    return '\n  '.join([f'error: stage {stage.name} ended with {how}; {log} ends:', *lines])


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """SIGTERM raises SystemExit, so that the running stage is stopped first."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _checked(stages: Sequence[tuple]) -> list[Stage]:
    checked = []
    for entry in stages:
        if not (isinstance(entry, (tuple, list)) and len(entry) in (2, 3) and isinstance(entry[0], str)
                and isinstance(entry[1], str) and all(isinstance(macros, dict) for macros in entry[2:])):
            raise ValueError(f'stage {entry!r} is neither (name, gin_file) nor (name, gin_file, '
                             '{MACRO: value}).')
        stage = Stage(*entry[:2], *entry[2:] or ({},))
        if not re.fullmatch(r'\w[\w.-]*', stage.name) or stage.name in [other.name for other in checked]:
            raise ValueError(f'stage name {stage.name!r} is taken or is no plain folder name.')
        if not any((folder / stage.gin_file).exists() for folder in (epath.Path(), REPOSITORY)):
            raise ValueError(f'stage {stage.name}: there is no file {stage.gin_file}, '
                             f'here or in {REPOSITORY}.')
        for name, value in stage.macros.items():
            _check_literal(stage.name, name, value)
        checked.append(stage)
    return checked


def _check_literal(stage: str, name: str, value: Any) -> None:
    try:
        if ast.literal_eval(repr(value)) == value:
            return
    except (ValueError, SyntaxError):
        pass
    raise ValueError(f'stage {stage}: {name} = {value!r} cannot be passed on, since it is no literal.')


def _done(stages: list[Stage], workdir: epath.Path) -> dict[str, float]:
    """Name -> seconds of the stages that are done."""
    done = {}
    for stage in stages:
        path = workdir / stage.name / 'done.json'
        if not path.exists():
            continue
        recorded = json.loads(path.read_text())
        done[stage.name] = recorded.pop('seconds')
        if recorded != stage.record():
            raise ValueError(f'stage {stage.name} was run as {recorded} and is now {stage.record()}: '
                             f'take another --workdir, or remove {path.parent} and those of later stages.')
    return done


def _filled(value: Any, workdir: str) -> Any:
    """The value with {workdir} replaced in every string of it."""
    match value:
        case str():
            return value.replace('{workdir}', workdir)
        case dict():
            return {key: _filled(item, workdir) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_filled(item, workdir) for item in value)
    return value


class _Times:
    """stages.json: {'stages': [{'name', 'seconds', 'state'}], 'seconds'}, kept up to date.

    state is waiting, running, stopped, failed or done; SIGKILL of this process leaves it at running.
    """

    def __init__(self, path: epath.Path, stages: list[Stage], done: dict[str, float]):
        before = json.loads(path.read_text())['stages'] if path.exists() else []
        # A stage that was done and is not any more was taken back, and starts from nothing.
        kept = {row['name']: row['seconds'] for row in before if row['state'] != 'done'}
        kept |= done
        self._path = path
        self._rows = {stage.name: {'name': stage.name, 'seconds': kept.get(stage.name, 0.0),
                                   'state': 'done' if stage.name in done else 'waiting'} for stage in stages}
        self._save()

    def seconds(self, name: str) -> float:
        return self._rows[name]['seconds']

    def total(self) -> float:
        return round(sum(row['seconds'] for row in self._rows.values()), 1)

    def set_state(self, name: str, state: str) -> None:
        self._rows[name]['state'] = state
        self._save()

    @contextlib.contextmanager
    def timing(self, name: str) -> Iterator[Callable[[], None]]:
        """Adds the seconds inside to the stage's; the function it gives saves them now and then."""
        row, before, began = self._rows[name], self.seconds(name), time.monotonic()
        saved = began
        self.set_state(name, 'running')

        def tick():
            nonlocal saved
            now = time.monotonic()
            row['seconds'] = round(before + now - began, 1)
            if now - saved > SAVE_SECONDS:
                saved = now
                self._save()

        try:
            yield tick
        finally:
            tick()
            self.set_state(name, 'stopped')

    def _save(self) -> None:
        _write_json(self._path, {'stages': list(self._rows.values()), 'seconds': self.total()})


def _write_json(path: epath.Path, value: Any) -> None:
    """The file is there as a whole or not at all."""
    partial = path.parent / f'{path.name}.partial'
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + '\n')
    partial.replace(path)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
