"""Processes that live and die together, their output merged line by line."""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from launch.exit_codes import RESTART

STOP_SECONDS = 5.0      # from SIGTERM to SIGKILL
LEAVE_SECONDS = 60.0    # from the first that leaves to be started again to the last, which may still be saving
PR_SET_PDEATHSIG = 1    # Linux: the signal that a process gets when its parent dies


class Ended(NamedTuple):
    process: int
    code: int
    seconds: float


def run_together(commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]],
                 write: Callable[[str], None]) -> Ended | None:
    """Runs all commands at once; the first that fails ends the others, within about STOP_SECONDS.

    One that asks to be started again does not: the others were told so too, and have LEAVE_SECONDS to leave by themselves.

    write gets each line of output, '[2] ' of process 2 before it where there are several.
    Returns the failure that came first; None where all ended well. Whatever interrupts this stops them all.
    """
    began, started, output, first = time.monotonic(), [], selectors.DefaultSelector(), None
    try:
        for index, (command, environment) in enumerate(zip(commands, environments)):
            process = start(command, environment, stdout=subprocess.PIPE)
            os.set_blocking(process.stdout.fileno(), False)
            output.register(process.stdout, selectors.EVENT_READ, _Lines(f'[{index}] ' if len(commands) > 1 else '', write))
            started.append(process)
        while True:
            _forward(output, 0.1)
            codes = [process.poll() for process in started]
            seconds = time.monotonic() - began
            failed = [Ended(index, code, seconds) for index, code in enumerate(codes) if code]
            first = first or (failed[0] if failed else None)
            if first and (any(one.code != RESTART for one in failed) or seconds - first.seconds > LEAVE_SECONDS):
                return first
            if None not in codes:
                return first
    finally:
        stop(started)
        _forward(output, 0)
        for key in list(output.get_map().values()):
            key.data.end()
            key.fileobj.close()


def start(command: Sequence[str], environment: Mapping[str, str], stdout) -> subprocess.Popen:
    """A process in a group of its own that does not outlive us (on Linux, even if we are killed)."""
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT,
                            start_new_session=True, preexec_fn=_die_with_parent())


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """SIGTERM to every group that still runs, SIGKILL to what is left after STOP_SECONDS."""
    alive = [process for process in processes if process.poll() is None]
    _signal(alive, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while any(process.poll() is None for process in alive) and time.monotonic() < until:
        time.sleep(0.05)
    _signal(processes, signal.SIGKILL)      # and what they left behind
    for process in processes:
        process.wait()


def _signal(processes: Sequence[subprocess.Popen], number: int) -> None:
    for process in processes:
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):   # macOS: of a group of zombies
            pass


class _Lines:
    """Cuts a stream into lines; of a progress line, drawn again and again after \\r, the last state is kept."""

    def __init__(self, prefix: str, write: Callable[[str], None]):
        self._prefix, self._write, self._rest = prefix, write, b''

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b'\n')
        for line in lines:
            self._write(self._prefix + line.rstrip(b'\r').rpartition(b'\r')[2].decode(errors='replace'))

    def end(self) -> None:
        if self._rest:
            self.add(b'\n')


def _forward(output: selectors.BaseSelector, timeout: float) -> None:
    if not output.get_map():
        time.sleep(timeout)
    for key, _ in output.select(timeout) if output.get_map() else ():
        while data := key.fileobj.read(1 << 16):
            key.data.add(data)
        if data == b'':     # closed; None: nothing more for now
            key.data.end()
            output.unregister(key.fileobj)
            key.fileobj.close()


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith('linux'):
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def set_signal():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return set_signal
