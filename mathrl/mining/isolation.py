"""Runs a generator in a child process, so that an item which hangs, crashes or eats the memory is abandoned alone.

The child is a fresh interpreter, never a fork: the parent may be a Beam worker full of gRPC threads. It writes what it
begins and what it has done into a pipe, and nobody waits for an answer; the pipe's size is the back-pressure.
"""

import contextlib
import fcntl
import logging
import marshal
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mathrl.problems.grading_worker import end_with_parent, limit_memory

R = TypeVar('R')
Make = Callable[[int | None], Iterator[int | R]]

STALL = 10                 # an item may last this many times `seconds` on the clock: a busy machine is no fault of it
PIPE_BYTES = 1 << 20
BATCH_SECONDS = .004       # between two looks into the pipe: one wake-up for several items
CODE = 'from mathrl.mining import isolation; isolation.child()'
BEGIN, RESULT, LOST, END, BUG = range(5)
LENGTH = struct.Struct('<I')


class Stopped(RuntimeError):
    """The child failed outside of any item; there is nothing to go on from."""


def guarded(make: Make, *, seconds: float, memory_bytes: int, lost: Callable[[int, str], R]) -> Iterator[R]:
    """What `make` yields, in order, and `lost(token, why)` in the place of each item that had to be abandoned.

    `make(after)` yields for each item first its token, an int that no other item has, then, when the work is done, its
    result: what marshal can write (dict, list, str, bytes, numbers, None), no int. With after=None it begins with the
    first item, else with the one behind the item `after`. It is pickled by reference, so it is a function of a module
    that can be imported, or functools.partial of one.

    An item is lost with why = 'timeout' after `seconds` of CPU time, or STALL times as much on the clock; 'memory' after
    it took `memory_bytes` of address space more than the child had when it began its first item (Linux only), or was
    killed by the system; 'crashed' after any other death or exception, whose traceback is logged. seconds <= 0 runs
    `make` in this process, where only exceptions are caught. Raises Stopped, with the child's traceback, for what goes
    wrong between items, after a second try if the child just died.

        def squares(after):
            for number in range(0 if after is None else after + 1, 3):
                yield number
                yield {'square': number ** 2 if number != 1 else os.abort()}
        guarded(squares, ..., lost=lambda token, why: {'lost': why})
        ->  {'square': 0}, {'lost': 'crashed'}, {'square': 4}
    """
    if seconds <= 0:
        yield from _in_process(make, lost)
        return
    after, tried = None, False
    while True:
        with contextlib.closing(_Child(make, after, memory_bytes)) as running:
            yield from running.results(seconds, lost)
        if running.why == 'end':
            return
        if running.token is not None:
            yield lost(running.token, running.why)
            after, tried = running.token, False
        elif running.after == after and tried:
            raise Stopped(f'the child ended twice ({running.why}) between items, behind token {after}')
        else:
            after, tried = running.after, running.after == after


class _Child:
    """A child and what is known of it. after: the last item that is over. token: the one it works on, None between."""

    def __init__(self, make: Make, after: int | None, memory_bytes: int):
        paths = [path or os.getcwd() for path in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, '-P', '-c', CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)})
        self.after, self.token, self.why, self.cpu, self.unread = after, None, '', 0., bytearray()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(pickle.dumps((make, after, memory_bytes)))
        with contextlib.suppress(AttributeError, OSError):          # not Linux, or more than a user may have
            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def results(self, seconds: float, lost: Callable[[int, str], R]) -> Iterator[R]:
        """What is done until the child ends; `why` then says how."""
        while not self.why:
            yield from self._messages(self._read(seconds), lost)
        if self.why == 'timeout':
            token = self.token
            self.process.kill()
            while data := self.process.stdout.read(PIPE_BYTES):
                yield from self._messages(data, lost)
            if self.token != token:              # it was done after all, and the next one is not to blame
                self.token = None

    def _read(self, seconds: float) -> bytes:
        """What the child wrote next; b'' with `why` set after its end or when its time is up."""
        time.sleep(BATCH_SECONDS)
        poll, began = select.poll(), time.monotonic()
        poll.register(self.process.stdout, select.POLLIN)
        while not poll.poll(1000 * min(max(.02, seconds / 4), 1)):
            # Between items it reads, perhaps from a slow network: there only computing counts, and ten times longer.
            patience = seconds if self.token is not None else STALL * seconds
            waited = time.monotonic() - began if self.token is not None else 0
            if waited > STALL * seconds or _cpu_seconds(self.process.pid) - self.cpu > patience:
                self.why = 'timeout'
                return b''
        data = os.read(self.process.stdout.fileno(), PIPE_BYTES)
        if not data:
            self.why = 'memory' if self.process.wait() == -signal.SIGKILL else 'crashed'
        return data

    def _messages(self, data: bytes, lost: Callable[[int, str], R]) -> Iterator[R]:
        self.unread += data
        while len(self.unread) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self.unread)[0]
            if len(self.unread) < end:
                return
            kind, value, cpu = marshal.loads(self.unread[LENGTH.size:end])
            del self.unread[:end]
            if kind == BEGIN:
                self.token, self.cpu = value, cpu
            elif kind == END:
                self.why = 'end'
            elif kind == BUG:
                raise Stopped(f'in the child:\n{value}')
            else:
                token, self.token, self.cpu = self.token, None, cpu
                yield value if kind == RESULT else lost(token, value)
                self.after = token

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def _cpu_seconds(pid: int) -> float:
    """CPU time of another process; 0 where the system does not tell (then only the clock counts)."""
    try:
        return time.clock_gettime(~pid << 3 | 2)          # what clock_getcpuclockid gives on Linux
    except OSError:
        return 0.


def _events(make: Make, after: int | None) -> Iterator[tuple[int, Any]]:
    """(kind, value) of what happens. After an exception in an item it goes on with the next; others are raised."""
    while True:
        token = None
        try:
            for thing in make(after):
                if isinstance(thing, int) and thing == after:
                    raise ValueError(f'make({after}) begins with that item; the one behind it was wanted')
                if isinstance(thing, int):
                    token = thing
                    yield BEGIN, token
                else:
                    yield RESULT, thing
                    after, token = token, None
            return
        except MemoryError:
            if token is None:
                raise
            why = 'memory'
        except Exception:
            if token is None:
                raise
            why = 'crashed'
            logging.warning('item %d is lost:\n%s', token, traceback.format_exc())
        yield LOST, why
        after = token


def _in_process(make: Make, lost: Callable[[int, str], R]) -> Iterator[R]:
    token = None
    for kind, value in _events(make, None):
        if kind == BEGIN:
            token = value
        else:
            yield value if kind == RESULT else lost(token, value)


def child():
    """The child's main: answers on what is its standard output at the start; prints go to standard error."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)          # the parent, who gets it too, ends the child
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def send(kind: int, value: Any):
        message = marshal.dumps((kind, value, time.process_time()))
        view = memoryview(LENGTH.pack(len(message)) + message)
        while view:
            view = view[os.write(pipe, view):]

    try:
        make, after, memory_bytes = pickle.load(sys.stdin.buffer)
        end_with_parent(0)
        limited = False
        for kind, value in _events(make, after):
            if not limited and kind == BEGIN:
                limit_memory(memory_bytes)
                limited = True
            send(kind, value)
            if (kind, value) == (LOST, 'memory'):         # what is left of it would narrow the items behind
                os._exit(0)
        send(END, None)
    except BrokenPipeError:
        pass
    except BaseException:
        send(BUG, traceback.format_exc())
    os._exit(0)                                           # without waiting for threads of libraries
