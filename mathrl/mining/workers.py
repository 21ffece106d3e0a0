"""Beam's worker processes on this machine, watched: they end with the driver, and the driver ends with one of them.

Beam by itself waits for ever in both cases: a worker whose driver was killed stays, and a driver does not see that the
system killed a worker, say for its memory.
"""
import os
import shlex
import signal
import sys
import tempfile
import threading
import time

from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from mathrl import cpu

SECONDS_BETWEEN_LOOKS = 0.5
BEAMS_THREAD = 'run_worker'   # Beam starts a worker from a thread of this name, which fails if the worker does


class Workers:
    """Around the run of one pipeline. log: the file that the workers write what they have to say into.

    RuntimeError, in the thread that runs the pipeline, if a worker ends; only the main thread can be told.
    """

    def __init__(self, log: str):
        self.log, self.failure = log, ''

    def environment(self) -> SubprocessSDKEnvironment:
        """As that of Beam's mode multi_processing. Each page's text and tree are small pieces of fresh memory: huge pages fault
        it in faster, and a tenth more pages a second are extracted than in memory that is kept, as XLA likes it."""
        code = f'from mathrl.mining import workers; workers.main({os.getpid()}, {self.mark!r})'
        given = os.environ.get('GLIBC_TUNABLES')
        tunables = cpu.HUGE_PAGES if given in (None, cpu.kept_memory()) else given
        return SubprocessSDKEnvironment.from_command_string(f'export GLIBC_TUNABLES={shlex.quote(tunables)}; exec '
            f'{shlex.quote(sys.executable)} -c {shlex.quote(code)} 2>>{shlex.quote(self.log)}')

    def __enter__(self) -> 'Workers':
        self.folder = tempfile.TemporaryDirectory()
        self.mark = os.path.join(self.folder.name, 'running')   # the workers stop when it is gone
        open(self.mark, 'w').close()
        self.hook, threading.excepthook = threading.excepthook, self._thread_failed
        self.told = threading.current_thread() is threading.main_thread()
        if self.told:
            # Not SIGINT: a shell has what it starts in the background ignore that.
            self.handler = signal.signal(signal.SIGUSR1, self._raise)
        return self

    def __exit__(self, kind, *_) -> None:
        if self.told:
            signal.signal(signal.SIGUSR1, self.handler)
        threading.excepthook = self.hook
        self.folder.cleanup()
        if kind and self.failure:   # again, without Beam's frames
            raise RuntimeError(f'{self.failure} (-9: killed, mostly for want of memory); its last words may be in '
                               f'{self.log}; the same command goes on from here') from None

    def _thread_failed(self, thrown) -> None:
        if thrown.thread is None or thrown.thread.name != BEAMS_THREAD:
            self.hook(thrown)
            return
        if self.failure or not os.path.exists(self.mark) or str(thrown.exc_value).endswith(f' {-signal.SIGINT}'):
            return   # the others end after the first one; and Ctrl-C reaches driver and workers alike
        self.failure = str(thrown.exc_value)
        os.remove(self.mark)
        if self.told:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def _raise(self, *_) -> None:
        raise RuntimeError(self.failure)


def main(driver: int, mark: str) -> None:
    """A worker's main. It ends when the process `driver` is gone, or the file `mark`."""
    def watch():
        while os.getppid() == driver and os.path.exists(mark):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    sdk_worker_main.main(sys.argv)
