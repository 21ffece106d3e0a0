"""Told to stop: SIGTERM to any process of a run ends all of them behind the same step."""
import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Inside `with`, SIGTERM no longer kills: `agreed` tells of it.

    Of several processes jax's preemption service agrees on the step (about 10 us a call, and no collective); it has taken the
    signal over since jax.distributed.initialize.
    """

    def __init__(self):
        self._told, self._before = False, None

    def agreed(self, step: int) -> bool:
        """Whether all processes stop behind this step; each asks once a step, with the same numbers."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._told

    def _tell(self, *unused) -> None:
        self._told = True

    def __enter__(self) -> 'Preemption':
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, *unused) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
