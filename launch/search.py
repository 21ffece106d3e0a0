"""The trials that Optuna asks for; its journal is a file in the sweep's folder, written by this process alone."""

import pathlib

from launch import trials
from launch.sweep_file import Sweep, literals
from launch.trials import Trial


class Search:
    """Says what to run next, until so many trials have ended.

    A trial that ended and was not told (the sweep was killed in between) is told at the start; one that ran is run again
    with the same macros and in the same folder, where it goes on.
    """

    def __init__(self, sweep: Sweep, workdir: pathlib.Path, retry_failed: bool):
        optuna = _optuna()
        journal = workdir / 'optuna.jsonl'
        cut_torn_line(journal)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
        self._study = optuna.create_study(storage=storage, study_name=sweep.name, load_if_exists=True, sampler=sweep.sampler,
                                          pruner=sweep.pruner, direction='maximize' if sweep.maximize else 'minimize')
        if self._study.get_trials(deepcopy=False):
            self._study.sampler.reseed_rng()    # the same seed again would ask the same again
        self._sweep, self._workdir, self.total = sweep, workdir, sweep.count
        kept = {trial.number: trial for trial in trials.read(workdir)}
        self.trials: list[Trial] = []
        self._waiting: list[Trial] = []
        self._asked, self._seen = {}, {}
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state == optuna.trial.TrialState.RUNNING:
                self._take(optuna.trial.Trial(self._study, frozen._trial_id), kept.get(frozen.number))
            else:
                if frozen.number not in kept:
                    raise ValueError(f'{journal} knows trial {frozen.number}, and its folder is gone: take another --workdir.')
                self.trials.append(kept[frozen.number])
                # Optuna takes nothing back: another trial runs in a failed one's place.
                self.total += retry_failed and frozen.state == optuna.trial.TrialState.FAIL

    def peek(self) -> Trial | None:
        if not self._waiting and len(self.trials) < self.total:
            self._take(self._study.ask(), None)
        return self._waiting[0] if self._waiting else None

    def next(self) -> Trial | None:
        return self._waiting.pop(0) if self.peek() else None

    def watch(self, trial: Trial) -> bool:
        """Tells the pruner what the trial has reported since; whether it gives the trial up."""
        if not self._sweep.report:
            return False
        asked = self._asked[trial.number]
        for step, value in trials.reported(trial, self._sweep.report, self._seen.get(trial.number, -1)):
            asked.report(value, step)
            self._seen[trial.number] = step
        return asked.should_prune()

    def tell(self, trial: Trial) -> None:
        states = _optuna().trial.TrialState
        if trial.state == 'done':
            self._study.tell(trial.number, trial.value)
        else:
            self._study.tell(trial.number, state=states.PRUNED if trial.state == 'pruned' else states.FAIL)

    def _take(self, asked, trial: Trial | None) -> None:
        """Of a trial that was asked before, Optuna answers what it answered then."""
        if trial is None:
            macros = literals(self._sweep.suggest(asked), 'suggest(trial)')
            both = sorted(set(macros) & set(self._sweep.macros))
            if both:
                raise ValueError(f'{both[0]} is in MACROS and in what suggest(trial) returns.')
            trial = trials.new(self._workdir, asked.number, macros)
            trial.save()
        self._asked[trial.number] = asked
        self.trials.append(trial)
        if trial.state in trials.ENDED:
            self.tell(trial)
        else:
            self._waiting.append(trial)


def cut_torn_line(journal: pathlib.Path) -> None:
    """A kill may leave half a line at the end; what is appended to it could never be read again."""
    if journal.exists():
        content = journal.read_bytes()
        if not content.endswith(b'\n'):
            with open(journal, 'r+b') as file:
                file.truncate(content.rfind(b'\n') + 1)


def _optuna():
    try:
        import optuna
    except ModuleNotFoundError:
        raise ValueError('a search needs Optuna, which is not installed: bash launch/environment.sh sweep') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
