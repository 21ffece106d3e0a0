"""fit: steps of a compiled update with checkpoints, metrics and one progress line; starts again where it stopped."""
import dataclasses
import time
from typing import Callable

import jax
import numpy as np

from mathrl.checkpoint import Checkpoints, shapes_like
from mathrl.metrics import Progress, Writer
from mathrl.train.flops import mfu
from mathrl.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long a run goes on, and how often it saves (in steps); the last step is always saved."""
    steps: int
    save_every: int = 100
    keep: int | None = 2
    log_every: int = 10

    def __post_init__(self):
        if self.steps < 1 or self.save_every < 1 or self.log_every < 1:
            raise ValueError(f'steps, save_every and log_every must be at least 1; got {self}')


def fit(name: str, workdir, state: TrainState, advance: Callable, schedule: Schedule, *, extra: dict | None = None,
        meta: dict | None = None, shown: tuple[str, ...] = ('loss',), flops: float = 0) -> TrainState:
    """Runs advance(state, step) -> (state, metrics dict, tokens) from the last checkpoint to schedule.steps.

    extra: further trees saved with the state and handed back through resume(); meta: JSON beside each checkpoint (the
    gin config); flops: of one step on all devices, of which the logs have mfu. advance depends on (state, step)
    alone, so a killed run, started again, ends with the same numbers. A loss or gradient norm that is not finite ends
    the run, and nothing saved before is lost.
    """
    with Checkpoints(workdir / 'checkpoints', schedule.keep) as checkpoints, \
            Writer(workdir, resume_step=int(state.step)) as writer, \
            Progress(name, schedule.steps, start=int(state.step), enabled=jax.process_index() == 0) as progress:
        last_good, show = int(state.step), None
        logged, logged_at, new_tokens = int(state.step), time.perf_counter(), 0
        for step in range(int(state.step), schedule.steps):
            state, metrics, tokens = advance(state, step)
            done, new_tokens = step + 1, new_tokens + tokens
            log = done % schedule.log_every == 0 or done == schedule.steps
            save = done % schedule.save_every == 0 or done == schedule.steps
            if log or save:      # before a save too: else checkpoints of NaN would push out the last good one
                values = {key: float(value) for key, value in jax.device_get(metrics).items()}
                _refuse_not_finite(name, values, last_good, done)
                last_good = done
            if log:
                # Over all steps since the last line: a step returns before it is computed.
                seconds = time.perf_counter() - logged_at
                writer.write(step, {**values, 'seconds': seconds / (done - logged), 'tokens_per_s': new_tokens / seconds,
                                    **mfu(flops * (done - logged), seconds)})
                logged, logged_at, new_tokens = done, time.perf_counter(), 0
                show = {key: values[key] for key in shown}
            progress.update(done, show, tokens=tokens)
            if save:
                checkpoints.save(done, {**_trees(state), **(extra or {})}, meta or {})
    return state


def resume(workdir, state: TrainState, extra: dict | None = None) -> tuple[TrainState, dict]:
    """(state, extra) of the last checkpoint in workdir, or those given where there is none yet."""
    extra = extra or {}
    with Checkpoints(workdir / 'checkpoints') as checkpoints:
        step = checkpoints.latest()
        if step is None:
            return state, extra
        trees = checkpoints.restore(step, shapes_like({**_trees(state), **extra}))
    restored = TrainState(step=trees['optimizer']['step'], params=trees['params'], opt_state=trees['optimizer']['state'])
    return restored, {name: trees[name] for name in extra}


def _trees(state: TrainState) -> dict:
    return {'params': state.params, 'optimizer': {'step': state.step, 'state': state.opt_state}}


def _refuse_not_finite(name: str, values: dict, last_good: int, step: int) -> None:
    for key in ('loss', 'grad_norm'):
        if key in values and not np.isfinite(values[key]):
            raise FloatingPointError(f'{name}: {key} is {values[key]} after step {step}; it was finite after step {last_good}; '
                                     f'the last checkpoint before that stands')
