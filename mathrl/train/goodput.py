"""Where the wall time of a run goes: steps, and what keeps it from them. All the time is in exactly one part."""
import collections
import contextlib
import time
from collections.abc import Callable, Iterator

from jax import monitoring

from mathrl import cpu

# jax reports these as it compiles: tracing, lowering, XLA or the compilation cache.
COMPILE_EVENTS = ('/jax/core/compile/jaxpr_trace_duration', '/jax/core/compile/jaxpr_to_mlir_module_duration',
                  cpu.COMPILE_EVENT)
PARTS = ('steps', 'compile', 'input', 'checkpoint', 'evaluation')
_active: list['Goodput'] = []


class Goodput:
    """Counts while it is entered. What is compiled meanwhile counts as compile wherever that happens.

    A step returns before it is computed, so what is waited for while a device works ('input') costs a step nothing until
    the device is idle: the share of input is the most that better input could win.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock, self._seconds, self._inside = clock, collections.Counter(), ['steps']
        self._began = self._since = clock()

    def shares(self) -> dict[str, float]:
        """{'goodput/steps': 0.9, 'goodput/compile': 0.1, ...}: of the time since the beginning, 1 in all."""
        self._turn()
        whole = max(self._since - self._began, 1e-9)
        return {f'goodput/{part}': self._seconds[part] / whole for part in PARTS}

    def line(self) -> str:
        """'90.0% steps, 10.0% compile'"""
        shares = {name.removeprefix('goodput/'): share for name, share in self.shares().items()}
        return ', '.join(f'{share:.1%} {part}' for part, share in shares.items() if part == 'steps' or share >= 0.0005)

    @contextlib.contextmanager
    def spent(self, part: str) -> Iterator[None]:
        if part not in PARTS:
            raise ValueError(f'unknown part {part!r} of the time; there are: {", ".join(PARTS)}')
        self._turn()
        self._inside.append(part)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def _turn(self) -> None:
        now = self._clock()
        self._seconds[self._inside[-1]] += now - self._since
        self._since = now

    def _compiled(self, event: str, seconds: float, **unused) -> None:
        if event in COMPILE_EVENTS:
            self._seconds['compile'] += seconds
            self._seconds[self._inside[-1]] -= seconds

    def __enter__(self) -> 'Goodput':
        monitoring.register_event_duration_secs_listener(self._compiled)
        _active.append(self)
        return self

    def __exit__(self, *unused) -> None:
        _active.remove(self)
        monitoring.unregister_event_duration_listener(self._compiled)


def spent(part: str):
    """`with spent('input'):` counts for the run that is in fit() now; outside of one it does nothing."""
    return _active[-1].spent(part) if _active else contextlib.nullcontext()
