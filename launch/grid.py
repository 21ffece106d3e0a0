"""The trials of a grid, in order; one that ended is not run again."""

import pathlib

from launch import trials
from launch.sweep_file import Sweep
from launch.trials import Trial


class Grid:
    """Says what to run next. A failed trial is kept as it is, unless retry_failed."""

    def __init__(self, sweep: Sweep, workdir: pathlib.Path, retry_failed: bool):
        kept = trials.read(workdir)
        known = {tuple(sorted(trial.macros.items())): trial for trial in kept}
        free = max((trial.number for trial in kept), default=-1) + 1
        self.trials: list[Trial] = []
        for macros in sweep.trials:
            trial = known.get(tuple(sorted(macros.items())))
            if trial is None:
                trial, free = trials.new(workdir, free, macros), free + 1
            self.trials.append(trial)
        self.total = len(self.trials)
        again = ('failed',) if retry_failed else ()
        self._waiting = [trial for trial in self.trials if trial.state not in trials.ENDED or trial.state in again]

    def peek(self) -> Trial | None:
        return self._waiting[0] if self._waiting else None

    def next(self) -> Trial | None:
        return self._waiting.pop(0) if self._waiting else None

    def watch(self, trial: Trial) -> bool:
        """Whether the trial is to be given up; a grid's never is."""
        return False

    def tell(self, trial: Trial) -> None:
        """A grid learns nothing."""
