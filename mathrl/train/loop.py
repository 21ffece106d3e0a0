"""fit: steps of a compiled update with checkpoints, metrics and one progress line; starts again where it stopped."""
import dataclasses
import time
from typing import Callable

import jax
import numpy as np

from mathrl.checkpoint import Checkpoints, shapes_like
from mathrl.metrics import Progress, Writer
from mathrl.processes import RESTART
from mathrl.train import guard
from mathrl.train.flops import mfu
from mathrl.train.goodput import Goodput
from mathrl.train.preemption import Preemption
from mathrl.train.state import TrainState
from mathrl.train.trace import Trace


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long a run goes on, and how often it saves and measures (in steps); both happen behind the last step as well.

    keep: so many checkpoints stay, the last ones (None: all); best: a metric of measure() of which the best checkpoint stays
    too, 'accuracy' the highest and '-loss/math' the lowest ('': none does). most_skipped: so many steps in a row may be left
    out by the guard (train/guard.py) before the run stops. profile: (first, end) of the steps that jax.profiler traces, see
    train/trace.py.
    """
    steps: int
    save_every: int = 100
    keep: int | None = 2
    log_every: int = 10
    measure_every: int = 100
    best: str = ''
    most_skipped: int = 20
    profile: tuple[int, ...] = ()

    def __post_init__(self):
        if min(self.steps, self.save_every, self.log_every, self.measure_every, self.most_skipped) < 1:
            raise ValueError('steps, save_every, log_every, measure_every and most_skipped must be at least 1; '
                             f'got {self}')


def fit(name: str, workdir, state: TrainState, advance: Callable, schedule: Schedule, *, extra: dict | None = None,
        meta: dict | None = None, shown: tuple[str, ...] = ('loss',), flops: float = 0,
        measure: Callable | None = None) -> TrainState:
    """Runs advance(state, step) -> (state, metrics dict, tokens) from the last checkpoint to schedule.steps.

    extra: further trees saved with the state and handed back through resume(); meta: JSON beside each checkpoint (the
    gin config); flops: of one step on all devices, of which the logs have mfu; measure(state) -> metrics dict: every
    measure_every steps and behind the last. advance and measure depend on their arguments alone, so a killed run, started
    again, ends with the same numbers.

    A loss or gradient norm that is not finite ends the run, or, where a guard leaves such steps out, too many of them in a
    row do; nothing saved before is lost. SIGTERM to any process: all save behind the same step, and leave with
    SystemExit(RESTART).
    """
    with Checkpoints(workdir / 'checkpoints', schedule.keep, best=bool(schedule.best)) as checkpoints, \
            Writer(workdir, resume_step=int(state.step)) as writer, Preemption() as preemption, \
            Goodput() as goodput, Trace(workdir, schedule.profile) as trace, \
            Progress(name, schedule.steps, start=int(state.step), enabled=jax.process_index() == 0) as progress:
        writer.describe((meta or {}).get('config', ''), shown)
        last_good, show, told = int(state.step), None, False
        logged, logged_at, new_tokens = int(state.step), time.perf_counter(), 0
        for step in range(int(state.step), schedule.steps):
            trace.before(step)
            state, metrics, tokens = advance(state, step)
            trace.behind(step + 1, metrics)
            done, new_tokens = step + 1, new_tokens + tokens
            last = done == schedule.steps
            due = lambda every: done % every == 0 or last
            told, measured = preemption.agreed(done) and not last, {}
            log, save = due(schedule.log_every), due(schedule.save_every) or told
            if measure and due(schedule.measure_every):
                with goodput.spent('evaluation'):
                    measured = {key: float(value) for key, value in jax.device_get(measure(state)).items()}
            if log or save or measured:      # before a save too: else checkpoints of NaN would push out the last good one
                values = {key: float(value) for key, value in jax.device_get(metrics).items()} | guard.counts(state.opt_state)
                _refuse_not_finite(name, values, last_good, done, schedule.most_skipped)
                last_good = last_good if values.get('skipped_in_a_row') else done
            if log or measured:
                # Over all steps since the last line: a step returns before it is computed.
                seconds = time.perf_counter() - logged_at
                values |= mfu(flops * (done - logged), seconds)
                writer.write(step, {**values, **measured, 'seconds': seconds / (done - logged),
                                    'tokens_per_s': new_tokens / seconds, **goodput.shares()})
                logged, logged_at, new_tokens = done, time.perf_counter(), 0
                show = {key: values[key] for key in (*shown, 'mfu', 'update_mfu') if key in values}
            progress.update(done, show, tokens=tokens)
            # While steps are left out it is open whether the state is good: it does not push out an older one.
            if save and (last or told or last_good == done):
                with goodput.spent('checkpoint'):
                    checkpoints.save(done, {**_trees(state), **(extra or {})}, meta or {}, _score(schedule.best, measured))
            if told:
                break
    if jax.process_index() == 0:
        print(f'{name}: time went to {goodput.line()}', flush=True)
    if told:
        if jax.process_index() == 0:
            print(f'{name}: told to stop; saved behind step {done} of {schedule.steps}: the same command goes on', flush=True)
        raise SystemExit(RESTART)
    return state


def resume(workdir, state: TrainState, extra: dict | None = None) -> tuple[TrainState, dict]:
    """(state, extra) of the last checkpoint in workdir, or those given where there is none yet.

    Raises:
        ValueError: the last checkpoint is broken; the sentence names it, and the last step before it that is whole.
    """
    extra = extra or {}
    with Checkpoints(workdir / 'checkpoints', keep=None) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            return state, extra
        trees = checkpoints.restore(step, shapes_like({**_trees(state), **extra}), offer=True)
    restored = TrainState(step=trees['optimizer']['step'], params=trees['params'], opt_state=trees['optimizer']['state'])
    return restored, {name: trees[name] for name in extra}


def _trees(state: TrainState) -> dict:
    return {'params': state.params, 'optimizer': {'step': state.step, 'state': state.opt_state}}


def _score(best: str, measured: dict) -> float | None:
    """Of a checkpoint, the higher the better: {'-loss': 2.0} by '-loss' -> -2.0; None where it was not measured."""
    if not best or not measured:
        return None
    if best.removeprefix('-') not in measured:
        raise ValueError(f'best={best!r} is not measured; there are: {", ".join(measured)}')
    return -measured[best[1:]] if best.startswith('-') else measured[best]


def _refuse_not_finite(name: str, values: dict, last_good: int, step: int, most_skipped: int) -> None:
    skipped = values.get('skipped_in_a_row', 0)
    if skipped >= most_skipped:
        raise FloatingPointError(
            f'{name}: the last {skipped} steps up to step {step} were left out, their loss or gradient not finite or far too '
            f'large (the last: {_told(values)}); it was in order after step {last_good}; the last checkpoint before that stands')
    for key in ('loss', 'grad_norm'):
        if not skipped and key in values and not np.isfinite(values[key]):
            raise FloatingPointError(f'{name}: {key} is {values[key]} after step {step}; it was finite after step {last_good}; '
                                     f'the last checkpoint before that stands')


def _told(values: dict) -> str:
    return ', '.join(f'{key} {values[key]:.4g}' for key in ('loss', 'grad_norm') if key in values)
