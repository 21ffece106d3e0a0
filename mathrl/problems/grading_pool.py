"""Grades in processes that can be killed: no output, however hostile, hangs, crashes or fills up the caller.

Each item has a limit of time on the clock, held by killing its process (a signal such as SIGALRM is not seen by C code,
nor by a thread), and one of memory. A process that ends is a verdict with a reason, and a fresh one takes its place.
"""
import collections
import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from mathrl.problems import grading_worker
from mathrl.problems.types import Verdict

Item = tuple[str, str, str]   # output, reference, problem

LOST = ('timeout', 'out of memory', 'worker died')   # reasons of a Verdict, beside the grader's own
GRADER = 'mathrl.problems.verdict:grade'
START_SECONDS = 120           # for imports, perhaps over a network
AHEAD = 1024                  # items read of a stream before the verdict of the first must be there
AT_ONCE = 32                  # items at most that wait in one process
READ_BYTES = 1 << 16
CODE = 'from mathrl.problems import grading_worker; grading_worker.main()'


class GradingPool:
    """Processes that grade, started when there is work for them.

      with GradingPool(seconds=5.0) as pool:
        pool.grade_all([('so \\\\boxed{42}', '42', '6 * 7?'), ('\\\\boxed{9^{9^9}}', '1', '')])
      -> [Verdict(True, '42', 'equal'), Verdict(False, None, 'timeout')]

    workers: processes, 0 for one a core. seconds: an item's limit on the clock; a busy machine needs room, or verdicts
    come to depend on its load. memory_bytes: what an item may take beside the libraries (Linux only). extraction: see
    verdict.grade. grader: 'module:function' to call instead of it, as grade(output, reference, problem, extraction=...);
    it must not catch MemoryError. Processes end with this one, whatever ends it. For one thread at a time.
    """

    def __init__(self, *, workers: int = 0, seconds: float = 10.0, memory_bytes: int = 1 << 30,
                 extraction: str = 'answer', grader: str = GRADER):
        if workers < 0 or seconds <= 0 or memory_bytes <= 0:
            raise ValueError(f'workers={workers}, seconds={seconds}, memory_bytes={memory_bytes}; 0 or more workers, '
                             'and limits above 0 were wanted')
        self._most = workers or cores()
        self._seconds = seconds
        self._given = {'grader': grader, 'settings': {'extraction': extraction}, 'seconds': seconds,
                       'memory_bytes': memory_bytes}
        self._workers: list[_Worker] = []
        self._waiting: collections.deque[_Task] = collections.deque()
        self._selector = selectors.DefaultSelector()
        self._looked = time.monotonic()

    def __call__(self, output: str, reference: str, problem: str = '') -> Verdict:
        """One verdict: so a pool stands where verdict.grade does, as in rewards.rule(pool)."""
        [verdict] = self.grade_all([(output, reference, problem)])
        return verdict

    def grade_all(self, items: Sequence[Item]) -> list[Verdict]:
        """Verdicts in the order of the items; what stands there twice is graded once."""
        with _window() as window:
            same: dict[Item, _Task] = {}
            window.extend(self._task(item, same) for item in items)
            return [self._first(window, same) for _ in items]

    def grade_each(self, items: Iterable[Item], ahead: int = AHEAD) -> Iterator[Verdict]:
        """Verdicts of a stream in its order, each as soon as it is there; at most `ahead` items are held.

        RuntimeError, also from the others, if a process ends, or takes longer than two minutes, before it can grade.
        """
        with _window() as window:
            same: dict[Item, _Task] = {}
            for item in items:
                window.append(self._task(item, same))
                self._turn(wait=False)
                while window and (window[0].verdict or len(window) >= ahead):
                    yield self._first(window, same)
            while window:
                yield self._first(window, same)

    def close(self) -> None:
        """Ends the processes, and with them the pool."""
        while self._workers:
            self._remove(self._workers[-1])
        self._selector.close()

    def __enter__(self) -> 'GradingPool':
        return self

    def __exit__(self, *unused) -> None:
        self.close()

    def _task(self, item: Item, same: dict[Item, '_Task']) -> '_Task':
        item = tuple(item)
        if len(item) != 3 or not all(isinstance(part, str) for part in item):
            raise TypeError(f'an item is {item!r:.200}; the texts (output, reference, problem) were wanted')
        if item not in same:
            same[item] = _Task(item)
            self._waiting.append(same[item])
        same[item].wanted += 1
        return same[item]

    def _first(self, window: collections.deque['_Task'], same: dict[Item, '_Task']) -> Verdict:
        while not window[0].verdict:
            self._turn(wait=True)
        task = window.popleft()
        task.wanted -= 1
        if not task.wanted:
            del same[task.item]
        return task.verdict

    def _turn(self, wait: bool) -> None:
        """Hands out work, takes in what is done, and ends what is overdue; waits until one of them happens."""
        # The clock stands still while nobody looks: else the caller's own pauses would be held against an item.
        for worker in self._workers:
            worker.since += time.monotonic() - self._looked
        self._hand_out()
        for key, _ in self._selector.select(self._patience() if wait else 0):
            worker = key.data
            if worker not in self._workers:            # lost a moment ago, by its other pipe
                continue
            if key.fileobj is worker.process.stdin:
                self._write(worker)
            elif not worker.read():
                self._lose(worker)
        for worker in list(self._workers):
            if worker.tasks and self._left(worker) <= 0:
                self._lose(worker, 'timeout')
        self._hand_out()                               # so that nobody is idle while the caller is away
        self._looked = time.monotonic()

    def _patience(self) -> float | None:
        return min((max(0., self._left(worker)) for worker in self._workers if worker.tasks), default=None)

    def _left(self, worker: '_Worker') -> float:
        return worker.since + (self._seconds if worker.ready else START_SECONDS) - time.monotonic()

    def _hand_out(self) -> None:
        """Gives each process enough to be busy while nobody looks, and less of it as the work comes to its end."""
        while self._waiting:
            worker = min(self._workers, key=lambda one: len(one.tasks), default=None)
            if (worker is None or worker.tasks) and len(self._workers) < self._most:
                worker = _Worker(self._given)
                self._workers.append(worker)
                self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            share = min(AT_ONCE, max(1, len(self._waiting) // (2 * self._most)))
            if len(worker.tasks) > share // 2:
                return
            while self._waiting and len(worker.tasks) < share:
                task = self._waiting.popleft()
                if task.wanted:
                    worker.take(task)
            self._write(worker)

    def _write(self, worker: '_Worker') -> None:
        """Sends what fits into the pipe; the selector tells when more fits."""
        blocked = worker.write()
        registered = worker.process.stdin in self._selector.get_map()
        if blocked and not registered:
            self._selector.register(worker.process.stdin, selectors.EVENT_WRITE, worker)
        elif registered and not blocked:
            self._selector.unregister(worker.process.stdin)

    def _lose(self, worker: '_Worker', reason: str = '') -> None:
        """The item it was at gets a verdict with the reason ('': how it ended), those behind it wait again."""
        at = worker.tasks[0] if worker.tasks else None
        status = self._remove(worker)
        if not worker.ready:
            raise RuntimeError(f'a grading process could not start (exit status {status}, {START_SECONDS} s at most); '
                               'what it said stands on standard error')
        if worker.tasks and worker.tasks[0] is at:     # else it was done after all, and the next is not to blame
            worker.tasks.popleft().verdict = Verdict(False, None, reason or _how(status))
        self._waiting.extendleft(reversed(worker.tasks))

    def _remove(self, worker: '_Worker') -> int:
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
        self._workers.remove(worker)
        return worker.end()


@dataclasses.dataclass(eq=False)
class _Task:
    """wanted: how many places wait for the verdict; with none it need not be graded."""
    item: Item
    wanted: int = 0
    verdict: Verdict | None = None


class _Worker:
    """A process and its tasks: what it was given and has not answered, the first of them at work since `since`."""

    def __init__(self, given: dict):
        lifeline, self._ours = os.pipe()               # it closes when this process ends
        paths = [path or os.getcwd() for path in sys.path]
        try:
            self.process = subprocess.Popen(
                [sys.executable, '-P', '-c', CODE, json.dumps(given | {'lifeline': lifeline})], bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lifeline],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)})
        finally:
            os.close(lifeline)
        os.set_blocking(self.process.stdin.fileno(), False)
        self.tasks: collections.deque[_Task] = collections.deque()
        self.ready, self.since = False, time.monotonic()
        self._unsent, self._unread = bytearray(), bytearray()

    def take(self, task: _Task) -> None:
        if not self.tasks and self.ready:
            self.since = time.monotonic()
        self.tasks.append(task)
        self._unsent += json.dumps(task.item).encode() + b'\n'

    def write(self) -> bool:
        """Whether something is left to be sent."""
        try:
            while self._unsent:
                del self._unsent[:os.write(self.process.stdin.fileno(), self._unsent)]
        except BlockingIOError:
            return True
        except BrokenPipeError:                        # it has ended, which reading will tell
            self._unsent.clear()
        return False

    def read(self) -> bool:
        """Takes in what there is; False at its end."""
        data = os.read(self.process.stdout.fileno(), READ_BYTES)
        *lines, self._unread = (self._unread + data).split(b'\n')
        for line in lines:
            if self.ready:
                self.tasks.popleft().verdict = Verdict(*json.loads(line))
            self.ready = True                          # the first line says so
            self.since = time.monotonic()
        return bool(data)

    def end(self) -> int:
        """Kills it if it is alive, takes in what it had done, and returns its exit status."""
        self.process.kill()
        while self.read():
            pass
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        os.close(self._ours)
        return status


def cores() -> int:
    """Those that this process may use, where the system tells (Linux), else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


@contextlib.contextmanager
def _window() -> Iterator[collections.deque[_Task]]:
    """Tasks that a caller waits for, until it does no longer."""
    window: collections.deque[_Task] = collections.deque()
    try:
        yield window
    finally:
        for task in window:
            task.wanted = 0


def _how(status: int) -> str:
    # The system kills what computes beyond its limit by SIGXCPU, and by SIGKILL when the machine's memory runs out.
    return {grading_worker.OUT_OF_MEMORY: 'out of memory', -signal.SIGKILL: 'out of memory',
            -signal.SIGXCPU: 'timeout'}.get(status, 'worker died')
