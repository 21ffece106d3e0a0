"""A sweep, as its Python file describes it."""

import ast
import dataclasses
import importlib.util
import inspect
import pathlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launch import run_arguments, secret_values

WANTED = 'launch/sweeps/kl.py shows one'


@dataclasses.dataclass(frozen=True)
class Objective:
    """file: of a trial's folder; keys: the way to a number in it."""
    file: str
    keys: tuple[str, ...]

    def __str__(self):
        return f'{self.file}:{".".join(self.keys)}'


@dataclasses.dataclass(frozen=True)
class Sweep:
    """trials: of a grid; suggest, count, sampler, pruner: of a search. report: what a pruner looks at, in metrics.jsonl."""
    name: str
    gin_files: tuple[str, ...]
    macros: Mapping[str, str]
    objective: Objective
    maximize: bool
    trials: tuple[Mapping[str, str], ...] = ()
    suggest: Callable | None = None
    count: int = 0
    sampler: Any = None
    pruner: Any = None
    report: str = ''
    command: Callable[[Mapping[str, Any], pathlib.Path], Sequence[str]] | None = None

    def settings(self) -> dict[str, Any]:
        """What must not change between two starts in one folder."""
        return {'gin_files': list(self.gin_files), 'macros': dict(self.macros), 'objective': str(self.objective),
                'maximize': self.maximize, 'kind': 'search' if self.suggest else 'grid', 'own_command': self.command is not None}


def load(path: str) -> Sweep:
    """Runs the file and checks what it says.

    It sets GIN_FILES, OBJECTIVE ('scores.json:accuracy' or 'metrics.jsonl:reward', the last line that has it) and DIRECTION
    ('maximize', 'minimize'), perhaps MACROS (the same in every trial), and defines one of
        trials()        yields {MACRO: value}, one dict a trial
        suggest(trial)  returns {MACRO: value}, asking an Optuna trial; with TRIALS, perhaps SAMPLER, PRUNER and
                        REPORT (the metric of metrics.jsonl that the pruner looks at)
    command(macros, folder), if there, returns the program to run in place of mathrl.main.
    """
    module = _import(path)
    value = lambda name, default=None: getattr(module, name, default)
    command, suggest, trials = value('command'), value('suggest'), value('trials')
    files = tuple(value('GIN_FILES', ()))
    if not command and not files:
        raise ValueError(f'{path} sets no GIN_FILES; {WANTED}.')
    missing = [file for file in files if not run_arguments.find(file)]
    if missing:
        raise ValueError(f'{path}: GIN_FILES names {missing[0]}, which does not exist, here or in {run_arguments.REPOSITORY}.')
    if (suggest is None) == (trials is None):
        raise ValueError(f'{path} defines {"both" if trials else "neither"} trials() and suggest(trial); one is wanted: {WANTED}.'
                         .replace('neither trials() and', 'neither trials() nor'))
    if value('DIRECTION') not in ('maximize', 'minimize'):
        raise ValueError(f"{path}: DIRECTION = {value('DIRECTION')!r}; 'maximize' or 'minimize' is wanted.")
    if suggest and not (isinstance(value('TRIALS'), int) and value('TRIALS') > 0):
        raise ValueError(f'{path}: TRIALS = {value("TRIALS")!r}; a search needs the number of its trials.')
    fixed = literals(value('MACROS', {}), path)
    return Sweep(name=pathlib.Path(path).stem, gin_files=files, macros=fixed, objective=_objective(value('OBJECTIVE'), path),
                 maximize=value('DIRECTION') == 'maximize', trials=_grid(trials, fixed, path) if trials else (), suggest=suggest,
                 count=value('TRIALS', 0), sampler=value('SAMPLER'), pruner=value('PRUNER'), report=value('REPORT', ''),
                 command=command)


def literals(macros: Mapping[str, Any], where: str) -> dict[str, str]:
    """{'KL_COEF': 0.04, 'MODEL': 'runs/sft'} -> {'KL_COEF': '0.04', 'MODEL': "'runs/sft'"}, as --gin.NAME= takes them."""
    if not isinstance(macros, Mapping):
        raise ValueError(f'{where}: {macros!r} is no dict of macros.')
    found = {}
    for name, value in macros.items():
        if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z_][\w.]*', name):
            raise ValueError(f'{where}: {name!r} is no name of a macro.')
        try:
            same = ast.literal_eval(repr(value)) == value
        except (ValueError, SyntaxError):
            same = False
        if not same:
            raise ValueError(f'{where}: {name} = {value!r} cannot be passed on, since it is no literal.')
        found[name] = repr(value)
    secret_values.refuse(found, f'{where}: the setting')
    return found


def _grid(trials: Callable, fixed: Mapping[str, str], path: str) -> tuple[dict[str, str], ...]:
    if not inspect.isgeneratorfunction(trials):
        raise ValueError(f'{path}: trials() must yield dicts of macros, one a trial.')
    found = [literals(macros, f'{path}, trial {number}') for number, macros in enumerate(trials())]
    if not found:
        raise ValueError(f'{path}: trials() yields nothing.')
    for number, macros in enumerate(found):
        if macros in found[:number]:
            raise ValueError(f'{path}: trial {number} is the same as trial {found.index(macros)}: {macros}.')
        both = set(macros) & set(fixed)
        if both:
            raise ValueError(f'{path}: {sorted(both)[0]} is in MACROS and in trial {number}.')
    return tuple(found)


def _objective(text: Any, path: str) -> Objective:
    file, _, keys = str(text).partition(':')
    if not keys or not file.endswith(('.json', '.jsonl')) or pathlib.PurePath(file).is_absolute() or '..' in file:
        raise ValueError(f"{path}: OBJECTIVE = {text!r}; a file of the trial's folder and a key in it are wanted, such as "
                         "'scores.json:accuracy', 'summary.json:scores.grpo.accuracy' or 'metrics.jsonl:reward'.")
    return Objective(file, tuple(keys.split('.')))


def _import(path: str):
    if not pathlib.Path(path).is_file() or not path.endswith('.py'):
        raise ValueError(f'{path} is no sweep: a Python file is wanted; {WANTED}.')
    spec = importlib.util.spec_from_file_location(f'sweep_{pathlib.Path(path).stem}', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        if error.name != 'optuna':
            raise
        raise ValueError(f"{path} needs Optuna, which is not installed: bash launch/environment.sh sweep") from None
    return module
