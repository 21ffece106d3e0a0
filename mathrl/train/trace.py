"""A trace of a few steps by jax.profiler, in workdir/profile: TensorBoard's profile page and Perfetto read it."""
import os
import shutil
import tempfile

import jax
from etils import epath


class Trace:
    """steps: (first, end), counted from 0: first to end - 1 are traced, on every process; () traces none.

    A first step compiles, so it is best left out. To an object store the files are copied at the end.
    """

    def __init__(self, workdir: epath.PathLike, steps: tuple[int, ...]):
        if steps and (len(steps) != 2 or not 0 <= steps[0] < steps[1]):
            raise ValueError(f'profile={steps}: the first step and the one behind the last were wanted, such as (10, 13)')
        self._folder, self._steps, self._local = epath.Path(workdir) / 'profile', steps, ''

    def before(self, step: int) -> None:
        """Before a step is started; a run that goes on in the middle traces what is left."""
        if self._steps and self._steps[0] <= step < self._steps[1] and not self._local:
            remote = '://' in os.fspath(self._folder)
            self._local = tempfile.mkdtemp(prefix='profile-') if remote else os.fspath(self._folder)
            jax.profiler.start_trace(self._local)

    def behind(self, done: int, metrics) -> None:
        """done steps are started; metrics: what the last of them gives."""
        if self._local and done >= self._steps[1]:
            jax.block_until_ready(metrics)
            self._end()

    def __enter__(self) -> 'Trace':
        return self

    def __exit__(self, *unused) -> None:
        if self._local:
            self._end()

    def _end(self) -> None:
        jax.profiler.stop_trace()
        local, self._local = epath.Path(self._local), ''
        if local != self._folder:
            for path in local.rglob('*'):
                if path.is_file():
                    target = self._folder / path.relative_to(local)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.copy(target, overwrite=True)
            shutil.rmtree(local)
        self._steps = ()
