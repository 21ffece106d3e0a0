"""A process whose output goes to a log and to our own stdout, and which never outlives us."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from typing import IO

from etils import epath

from mathrl.processes import dies_with_parent

STOP_SECONDS = 10  # from SIGTERM to SIGKILL


def run_teed(command: Sequence[str], log: epath.Path, tick: Callable[[], None]) -> int:
    """Runs the command to its end and returns its exit code, -N if signal N killed it.

    Its output is appended to log; tick is called about once a second. Whatever interrupts this function
    (Ctrl-C, an exception of tick) stops the process and those it started; on Linux, SIGKILL of our process
    stops it too.
    """
    reader, writer = _terminal() if sys.stdout.isatty() else os.pipe()
    # A session of its own is a process group of its own, which can be killed as a whole.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.STDOUT,
                               start_new_session=True, preexec_fn=dies_with_parent())
    os.close(writer)
    try:
        with log.open('ab') as file:
            _tee(process, reader, file, tick)
        return process.wait()
    finally:
        _stop(process)
        os.close(reader)


def _tee(process: subprocess.Popen, reader: int, log: IO[bytes], tick: Callable[[], None]) -> None:
    line = b''
    while True:
        ready, _, _ = select.select([reader], [], [], 1.0)
        tick()
        if not ready:
            # A process that it left behind may hold the other end open.
            if process.poll() is not None:
                break
            continue
        chunk = _read(reader)
        if not chunk:
            break
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        *lines, line = (line + chunk).split(b'\n')
        # Of a progress line, drawn again and again after \r, the log keeps the last state.
        log.writelines(complete.rpartition(b'\r')[2] + b'\n' for complete in lines)
        log.flush()
    log.write(line.rpartition(b'\r')[2])


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 16)
    except OSError:  # how a terminal ends
        return b''


def _terminal() -> tuple[int, int]:
    """A terminal of the size of ours, so that the process draws its progress in place."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, termios.tcgetwinsize(sys.stdout.fileno()))
    attributes = termios.tcgetattr(writer)
    attributes[1] &= ~termios.OPOST  # else every \n becomes \r\n
    termios.tcsetattr(writer, termios.TCSANOW, attributes)
    return reader, writer


def _stop(process: subprocess.Popen) -> None:
    """Ends the process and its group, whether it still runs or left others behind."""
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
