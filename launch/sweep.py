"""Runs a sweep: trials as processes of their own, as many at once as asked for, and a page that compares them."""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from launch import command_line, exit_codes, grid, processes, search, secret_values, sweep_file, sweep_page, tpu, trials
from launch.run_arguments import REPOSITORY
from launch.sweep_file import Sweep
from launch.trials import Trial

DESCRIPTION = """\
python -m launch.sweep FILE [--parallel N] [--workdir DIR] [what launch.tpu takes, such as --backend=tpu_vm --tpu=v5p-8]

Runs the trials of FILE (launch/sweeps/kl.py shows a grid, launch/sweeps/search.py a search) and writes sweep.html in DIR.
The same command again goes on where a stopped sweep left off; a trial that ended is not run again."""
POLL_SECONDS = 0.1
WATCH_SECONDS = 2.0         # between two looks at a trial's metrics, for a pruner
PAGE_SECONDS = 20.0         # between two pages while trials run


@dataclasses.dataclass
class Running:
    """process: None while it waits to be started again."""
    trial: Trial
    process: subprocess.Popen | None
    began: float
    before: float           # seconds of earlier starts
    restarts: int = 0
    watched: float = 0.0
    again_at: float = 0.0

    def count_time(self) -> None:
        self.trial.seconds = self.before + time.monotonic() - self.began


class Runner:
    """One sweep in one folder."""

    def __init__(self, sweep: Sweep, source, command: Callable[[Trial], Sequence[str]], workdir: pathlib.Path, parallel: int,
                 max_restarts: int, say: Callable[[str], None]):
        self._sweep, self._source, self._command, self._say = sweep, source, command, say
        self._workdir, self._parallel, self._max_restarts = workdir, parallel, max_restarts
        self._page_made = 0.0
        self._running: list[Running] = []

    def run(self) -> None:
        """To the end of the last trial; whatever interrupts it stops the trials that run."""
        try:
            while True:
                while len(self._running) < self._parallel and (trial := self._source.next()):
                    self._running.append(Running(trial, self._start(trial), time.monotonic(), trial.seconds))
                    self._say(f'{trial.title()}: started; its output is in {trial.log}')
                if not self._running:
                    break
                time.sleep(POLL_SECONDS)
                for running in list(self._running):
                    self._look(running)
                self._write_page(PAGE_SECONDS)
        finally:
            processes.stop([running.process for running in self._running if running.process])
            for running in self._running:
                running.count_time()
                running.trial.save()
            self._write_page(0.0)

    def _start(self, trial: Trial) -> subprocess.Popen:
        trial.state, trial.reason, trial.value = 'running', '', None
        trial.save()
        with open(trial.log, 'ab') as log:
            return processes.start(self._command(trial), _environment(self._workdir), log)

    def _look(self, running: Running) -> None:
        if running.process is None:
            if time.monotonic() >= running.again_at:
                running.process = self._start(running.trial)
            return
        code = running.process.poll()
        if code is None:
            if time.monotonic() - running.watched > WATCH_SECONDS:
                running.watched = time.monotonic()
                if self._source.watch(running.trial):
                    processes.stop([running.process])
                    self._end(running, 'pruned', 'the pruner gave it up')
            return
        processes.stop([running.process])       # and what it left behind
        if exit_codes.starts_again(code) and running.restarts < self._max_restarts:
            running.restarts += 1
            wait = exit_codes.wait_seconds(running.restarts)
            self._say(f'{running.trial.title()}: {exit_codes.meaning(code)}; started again in {wait:.0f} s')
            running.process, running.again_at = None, time.monotonic() + wait
            return
        if code:
            self._end(running, 'failed', f'it {exit_codes.meaning(code)}\n{trials.last_lines(running.trial)}'.strip())
            return
        try:
            running.trial.value = trials.objective_of(running.trial, self._sweep.objective)
        except ValueError as error:
            self._end(running, 'failed', str(error))
            return
        self._end(running, 'done', '')

    def _end(self, running: Running, state: str, reason: str) -> None:
        trial = running.trial
        trial.state, trial.reason = state, reason
        running.count_time()
        trial.save()
        self._running.remove(running)
        self._source.tell(trial)
        ended = sum(one.state in trials.ENDED for one in self._source.trials)
        what = f'{self._sweep.objective.keys[-1]} {trial.value:.6g}' if state == 'done' else f'{state}: {reason.splitlines()[-1]}'
        self._say(f'{trial.title()}: {what}, {trial.seconds:.0f} s ({ended} of {self._source.total} ended)')

    def _write_page(self, at_least: float) -> None:
        if time.monotonic() - self._page_made >= at_least:
            sweep_page.write(self._workdir / 'sweep.html', self._sweep, self._source.trials, self._source.total)
            self._page_made = time.monotonic()


def commands(sweep: Sweep, passed_on: Sequence[str], bucket: str) -> Callable[[Trial], list[str]]:
    """A trial's command; passed_on: launch.tpu's flags, none for a process of mathrl.main here."""
    def command(trial: Trial) -> list[str]:
        macros = {**sweep.macros, **trial.macros}
        if sweep.command:
            return [str(part) for part in sweep.command(macros, trial.folder)]
        arguments = [*(f'--gin_file={file}' for file in sweep.gin_files),
                     *(f'--gin.{name}={value}' for name, value in macros.items())]
        if not passed_on:
            return [sys.executable, '-m', 'mathrl.main', *arguments, f'--workdir={trial.folder}']
        if not bucket:
            return [sys.executable, '-m', 'launch.tpu', *passed_on, '--go', '--', *arguments, f'--workdir={trial.folder}']
        return [sys.executable, '-m', 'launch.tpu', *passed_on, f'--name=mathrl-{_dashed(sweep.name)}-{trial.number:03}',
                f'--fetch={trial.folder}', '--go', '--', *arguments, f'--workdir={bucket.rstrip("/")}/{trial.number:03}']
    return command


def main(argv: Sequence[str]) -> int:
    """0: every trial ended well or was pruned; 1: one failed.

    Raises:
        ValueError: one sentence for the user.
    """
    flags, passed_on = _flags(argv)
    sweep = sweep_file.load(flags.file)
    workdir = pathlib.Path(flags.workdir or f'runs/sweep_{sweep.name}')
    command = commands(sweep, passed_on, flags.bucket)
    if flags.parallel < 1:
        raise ValueError('--parallel is at least 1.')
    with trials.claimed(workdir, sweep):
        source = (search.Search if sweep.suggest else grid.Grid)(sweep, workdir, flags.retry_failed)
        _check_first(sweep, source, command, passed_on, workdir)
        restarts = 0 if passed_on else exit_codes.MAX_RESTARTS      # launch.tpu has restarts of its own
        Runner(sweep, source, command, workdir, flags.parallel, restarts, command_line.say).run()
    best = sweep_page.best(source.trials, sweep.maximize)
    failed = sum(trial.state == 'failed' for trial in source.trials)
    if best:
        command_line.say(f'best: {best.title()}, {sweep.objective.keys[-1]} {best.value:.6g}')
    command_line.say(f'{workdir / "sweep.html"} compares them' + (f'; {failed} failed, and --retry_failed runs those again' if failed else ''))
    return 1 if failed else 0


def _flags(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Ours, and what goes to launch.tpu."""
    parser = tpu.Flags(prog='launch.sweep', usage=argparse.SUPPRESS, description=DESCRIPTION, allow_abbrev=False,
                       formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', metavar='FILE', help='a Python file that describes the sweep')
    parser.add_argument('--parallel', type=int, default=1, metavar='N', help='trials at once (default 1)')
    parser.add_argument('--workdir', metavar='DIR', help='a folder here (default runs/sweep_FILE)')
    parser.add_argument('--bucket', default='', metavar='gs://BUCKET/DIR', help='for tpu_vm and gke: where the trials write')
    parser.add_argument('--retry_failed', action='store_true', help='run failed trials again')
    flags, passed_on = parser.parse_known_args(argv)
    backend = next((one for one in passed_on if one.startswith('--backend')), '')
    if passed_on and not backend:
        raise ValueError(f'{passed_on[0]} is no flag of a sweep, and launch.tpu takes it with --backend alone (see --help).')
    refused = [one for one in passed_on if one.split('=')[0] in ('--go', '--name', '--fetch', '--')]
    if refused:
        raise ValueError(f'{refused[0].split("=")[0]} is set for each trial by the sweep: leave it out.')
    if backend and (backend != '--backend=local') != bool(flags.bucket):
        raise ValueError('--bucket=gs://... goes with --backend=tpu_vm or --backend=gke (joined by =), and they with it: there, '
                         'trials write to a bucket.')
    return flags, passed_on


def _check_first(sweep: Sweep, source, command, passed_on: Sequence[str], workdir: pathlib.Path) -> None:
    """A dry run of the first trial: what is wrong with all of them is said once, before any runs."""
    first = source.peek()
    if first is None or sweep.command or any(trial.state == 'done' for trial in source.trials):
        return
    line = command(first)
    if passed_on:
        line.remove('--go')
    else:
        line.append('--dry_run')
    done = subprocess.run(line, env=_environment(workdir), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace')
    if done.returncode:
        told = [text for text in done.stderr.splitlines() if text.strip()] or ['it failed without a word']
        raise ValueError(f'{first.title()} would not run: {secret_values.redact(told[-1]).removeprefix("error: ")}')


def _environment(workdir: pathlib.Path) -> dict[str, str]:
    """Trials share what they compile: most of it is the same."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    cache = {'JAX_COMPILATION_CACHE_DIR': str((workdir / 'compilation_cache').absolute())}
    return {**cache, **os.environ, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1'}


def _dashed(name: str) -> str:
    return name.lower().replace('_', '-')[:24]


if __name__ == '__main__':
    command_line.run(main, 'stopped; the same command goes on from here')
