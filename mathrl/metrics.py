"""What a run says of itself: Mean (a pytree for jitted code), Writer (metrics.jsonl, TensorBoard), Progress.

jax and tensorboardX are imported where they are used: what only reads metrics (the report) needs neither.
"""

import ast
import collections
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import time
from typing import Any, Mapping, NamedTuple, Sequence

from etils import epath
import numpy as np

SYNC_SECONDS = 30  # how often the files of a run on an object store are copied there
LINE_SECONDS = 10  # between two progress lines where there is no terminal
REDRAW_SECONDS = 0.2
_MACRO = re.compile(r'^([A-Z][A-Z0-9_]*) = (.+)$', re.MULTILINE)


class Mean(NamedTuple):
    """A weighted mean on its way: total = sum(values * weights), weight = sum(weights), both float32 scalars.

    A NamedTuple is a pytree to jax without registration, so a Mean is carried through jit, scan and psum.
    """

    total: Any
    weight: Any

    @classmethod
    def empty(cls) -> 'Mean':
        return cls(np.float32(0), np.float32(0))

    def add(self, values, weights=1.0) -> 'Mean':
        """Adds values of any shape; weights broadcasts to it. Entries of weight 0 may be NaN."""
        import jax.numpy as jnp
        values = jnp.asarray(values, jnp.float32)
        weights = jnp.broadcast_to(jnp.asarray(weights, jnp.float32), values.shape)
        total = jnp.where(weights == 0, 0.0, values * weights).sum()
        return Mean(self.total + total, self.weight + weights.sum())

    def merge(self, other: 'Mean') -> 'Mean':
        return Mean(self.total + other.total, self.weight + other.weight)

    def compute(self):
        """total / weight; NaN where nothing was added."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return self.total / self.weight


class Writer:
    """Writes metrics to workdir/metrics.jsonl and as TensorBoard events to workdir, on process 0 alone.

    A line is {"step": 3, "loss": 1.25}. JSON has no NaN: what is not finite is written as the string "NaN",
    "Infinity" or "-Infinity", and read_metrics turns it back into a float.

    resume_step is the first step that this process will write (0: a new run). Lines of that step or a later
    one, left by a killed run, are cut: the file becomes the one that an uninterrupted run writes.

    An object store cannot append: for a workdir such as gs://bucket/run the files are written to a temporary
    folder and copied to workdir every 30 seconds and on close().
    """

    def __init__(self, workdir: epath.PathLike, resume_step: int = 0):
        import jax
        self._active = jax.process_index() == 0
        self._tensorboard = self._remote = None
        if not self._active:
            return
        folder = epath.Path(workdir)
        if _is_remote(folder):
            self._remote, folder = folder, epath.Path(tempfile.mkdtemp(prefix='metrics-'))
            if (self._remote / 'metrics.jsonl').exists():
                (self._remote / 'metrics.jsonl').copy(folder / 'metrics.jsonl')
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._synced = time.monotonic()
        path = folder / 'metrics.jsonl'
        _cut(path, resume_step)
        self._file = open(path, 'a', encoding='utf-8')
        self._tensorboard = _open_tensorboard(folder, resume_step)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes one line; each value is a number or an array that holds one."""
        if not self._active:
            return
        import jax
        values = {name: _number(name, value) for name, value in jax.device_get(dict(values)).items()}
        line = {'step': int(step)} | {name: _encode(value) for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + '\n')
        self._file.flush()
        if self._tensorboard:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, int(step))
        if self._remote and time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()

    def write_text(self, step: int, name: str, text: str) -> None:
        """Shows text, such as a sampled answer, in TensorBoard; metrics.jsonl holds numbers only."""
        if self._tensorboard:
            # Markdown's block of code keeps line breaks, and shows what a model wrote as it is.
            block = '\n'.join('    ' + line for line in text.splitlines())
            self._tensorboard.add_text(name, block, int(step))

    def describe(self, config: str, metrics: Sequence[str]) -> None:
        """Shows a gin config in TensorBoard: as text, and its macros as hyperparameters beside the metrics named."""
        if self._tensorboard and config:
            from tensorboardX import summary
            self.write_text(0, 'config', config)
            start_and_plan = summary.hparams(macros(config), dict.fromkeys(metrics, 0.0))[:2]
            for part in start_and_plan:
                self._tensorboard.file_writer.add_summary(part)

    def close(self) -> None:
        if not self._active or self._file.closed:
            return
        self._file.close()
        if self._tensorboard:
            self._tensorboard.close()
            self._tensorboard = None
        if self._remote:
            self._sync()
            shutil.rmtree(self._folder)

    def _sync(self) -> None:
        if self._tensorboard:
            self._tensorboard.flush()
        for path in self._folder.iterdir():
            path.copy(self._remote / path.name, overwrite=True)
        self._synced = time.monotonic()

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, *unused) -> None:
        self.close()


def read_metrics(path: epath.PathLike) -> list[dict[str, float]]:
    """The lines of a metrics.jsonl, NaN and infinities as floats; a half-written last line is left out.

    Raises ValueError, with the file and the line, where any other line is not an object with a "step".
    """
    return [values for _, values in _read_lines(epath.Path(path))]


class Progress:
    """One line on how far a piece of work is: step, rate, chosen metrics, tokens/s, elapsed, time left.

      with Progress('sft', total=300, start=resumed_at) as progress:
        for step in range(resumed_at, 300):
          ...
          progress.update(step + 1, {'loss': loss}, tokens=batch_tokens)

    A terminal's line is redrawn at most 5 times a second; elsewhere a plain line comes about every 10
    seconds, and one at the end. A closed stdout silences it; enabled=False (all processes but one) does too.
    """

    def __init__(self, name: str, total: int, unit: str = 'step', start: int = 0, enabled: bool = True,
                 stream=None, clock=time.monotonic):
        self._name, self._total, self._unit = name, total, unit
        self._stream = (stream or sys.stdout) if enabled else None
        self._clock, self._began = clock, clock()
        self._start, self._step, self._tokens, self._metrics = start, start, 0, {}
        # The rate is that of the last updates: a first step with its compilation must not spoil it for long.
        self._marks = collections.deque([(self._began, start, 0)], maxlen=30)
        self._shown = self._began
        self._width = 0
        try:
            self._terminal = self._stream is not None and self._stream.isatty()
        except ValueError:
            self._stream, self._terminal = None, False

    def update(self, step: int, metrics: Mapping[str, float] | None = None, tokens: int = 0) -> None:
        """step: units done so far; metrics: what to show; tokens: how many came since the last call."""
        now = self._clock()
        self._step, self._metrics = step, dict(metrics or self._metrics)
        self._tokens += tokens
        self._marks.append((now, step, self._tokens))
        if now - self._shown >= (REDRAW_SECONDS if self._terminal else LINE_SECONDS):
            self._show(now)

    def close(self) -> None:
        """Prints the last line; after it nothing more is printed."""
        self._show(self._clock(), end=True)
        self._stream = None

    def _show(self, now: float, end: bool = False) -> None:
        if self._stream is None:
            return
        self._shown = now
        columns = shutil.get_terminal_size().columns - 1 if self._terminal else 10_000
        text = self._line(now, end, columns)
        if self._terminal:
            text, self._width = '\r' + text.ljust(self._width), len(text)
        try:
            self._stream.write(text + ('\n' if end or not self._terminal else ''))
            self._stream.flush()
        except (OSError, ValueError) as error:
            if isinstance(error, BrokenPipeError):
                _discard(self._stream)
            self._stream = None

    def _line(self, now: float, end: bool, columns: int) -> str:
        then, step, tokens = (self._began, self._start, 0) if end else self._marks[0]
        seconds = max(now - then, 1e-9)
        rate = (self._step - step) / seconds
        # A slow rate reads better the other way round.
        speed = f'{rate:.3g} {self._unit}/s' if rate >= 1 or rate <= 0 else f'{1 / rate:.3g} s/{self._unit}'
        head = f'{self._name} {self._step}/{self._total} {self._unit}'
        tail = f'{_clock_time(now - self._began)} elapsed'
        if rate > 0 and not end:
            tail += f', {_clock_time((self._total - self._step) / rate)} left'
        middle = [speed] + ([f'{_short((self._tokens - tokens) / seconds)} tokens/s'] if self._tokens else [])
        middle += [f'{name} {float(value):.4g}' for name, value in self._metrics.items()]
        while middle and len('  '.join([head, *middle, tail])) > columns:
            middle.pop()
        return '  '.join([head, *middle, tail])[:columns]

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *unused) -> None:
        self.close()


def macros(config: str) -> dict[str, float | bool | str]:
    """The uppercase names of a gin config that are bound to literals: 'STEPS = 3\\nB = @f' -> {'STEPS': 3}."""
    found = {}
    for name, text in _MACRO.findall(config):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):   # a reference
            continue
        found[name] = value if isinstance(value, (bool, int, float, str)) else text
    return found


def _is_remote(folder: epath.Path) -> bool:
    return '://' in os.fspath(folder)


def _encode(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return 'NaN' if math.isnan(value) else ('Infinity' if value > 0 else '-Infinity')


def _number(name: str, value: Any) -> float:
    if np.size(value) != 1:
        raise ValueError(f'metric {name!r} has shape {np.shape(value)}; a metric is one number')
    return float(np.reshape(value, ()))


def _read_lines(path: epath.Path) -> list[tuple[str, dict[str, float]]]:
    """Each good line beside its values."""
    lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
    found = []
    for index, line in enumerate(lines):
        try:
            values = json.loads(line)
            numbers = {name: float(value) for name, value in values.items()}
            found.append((line, numbers | {'step': int(values['step'])}))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if not line.endswith('\n'):  # the last one, half written
                break
            raise ValueError(f'{path} line {index + 1} is not a line of metrics, such as '
                             f'{{"step": 3, "loss": 1.25}}: {line.strip()[:80]!r}') from error
    return found


def _cut(path: epath.Path, resume_step: int) -> None:
    """Keeps the lines before resume_step; the file is replaced whole, so that a kill here loses nothing."""
    if not path.exists():
        return
    kept = [line.rstrip('\n') + '\n' for line, values in _read_lines(path) if values['step'] < resume_step]
    temporary = path.parent / 'metrics.jsonl.partial'
    temporary.write_text(''.join(kept), encoding='utf-8')
    temporary.replace(path)


def _open_tensorboard(folder: epath.Path, resume_step: int):
    try:
        import tensorboardX
    except ImportError:
        logging.getLogger(__name__).warning('no tensorboardX: metrics go to metrics.jsonl alone')
        return None
    # purge_step has TensorBoard hide what a killed run wrote from that step on.
    return tensorboardX.SummaryWriter(os.fspath(folder), purge_step=resume_step)


def _discard(stream) -> None:
    """Points a broken pipe's descriptor at /dev/null: else Python fails on exit, when it flushes stdout."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass


def _short(number: float) -> str:
    for size, letter in ((1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
        if number >= size:
            return f'{number / size:.3g}{letter}'
    return f'{number:.3g}'


def _clock_time(seconds: float) -> str:
    seconds = int(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f'{hours}:{minutes:02d}:{seconds % 60:02d}' if hours else f'{minutes}:{seconds % 60:02d}'
