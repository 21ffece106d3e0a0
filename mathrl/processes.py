"""One process among those of a run: joins them, and ends within seconds with one sentence when another of them is gone.

jax's client ends its process by abort() and a stack dump when it has lost the others. So the program runs in a child, which
its parent watches: it passes signals on, holds the dump back, says what happened and exits with the code that launchers
start again.
"""
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable

RESTART = 75                # EX_TEMPFAIL: launchers start the run again, launch/exit_codes.py
HEARTBEAT_SECONDS = 15      # a machine that is silent for so long is gone; a process that dies is noticed at once or then
LEAVE_SECONDS = 1.0         # so that processes that fail alike say so, before one finds the others gone
PR_SET_PDEATHSIG = 1        # Linux: the signal that a process gets when its parent dies
_DUMP = re.compile(rb'F\d{4} [\d:.]+ .*Terminating process because the JAX distributed service')
_LOST = re.compile(r'Gloo |Socket closed|Connection (?:closed|reset|refused)|UNAVAILABLE|ABORTED|heartbeat|another task died|'
                   r'DEADLINE_EXCEEDED|Barrier', re.IGNORECASE)


def join(address: str | None, count: int | None, index: int | None, wait_seconds: int) -> int:
    """Joins the other processes (all None: found through the cluster's own variables); this one's index."""
    import jax
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(address, count, index, initialization_timeout=wait_seconds,
                               heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    return jax.process_index()


def lost(error: BaseException) -> str:
    """One sentence where the error says that another process is gone; '' for any other error."""
    errors = sys.modules.get('jax.errors')
    if errors is None or not isinstance(error, errors.JaxRuntimeError) or not _LOST.search(str(error)):
        return ''
    return _gone(str(error).splitlines()[0])


def watched() -> Callable[[int], None]:
    """Goes on in a child, which gets the function that ends it with an exit code at once; the parent stays here to its end."""
    codes_out, codes_in = os.pipe()
    errors_out, errors_in = os.pipe()
    die_too = dies_with_parent()
    child = os.fork()
    if child == 0:
        os.close(codes_out)
        os.dup2(errors_in, 2)
        os.close(errors_out)
        os.close(errors_in)
        if os.environ.get('TF_CPP_MIN_LOG_LEVEL') != '0':       # jax sets 1, which a program that starts this one hands on
            os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'            # of what C++ logs, the last words alone
        die_too()
        return lambda code: _leave(codes_in, code)
    os.close(codes_in)
    os.close(errors_in)
    sys.exit(_watch(child, codes_out, errors_out))


def _leave(codes_in: int, code: int) -> None:
    """Past jax's farewell at exit, which waits for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(codes_in, bytes([code]))
    time.sleep(LEAVE_SECONDS)
    os._exit(code)


def _watch(child: int, codes_out: int, errors_out: int) -> int:
    """The exit code of the child; what it writes to stderr is passed on, but for the dump."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _pass_on(child, number))
    dump = []
    reader = threading.Thread(target=_forward, args=(errors_out, dump), daemon=True)
    reader.start()
    _, status = os.waitpid(child, 0)
    reader.join(2.0)      # longer only where a grandchild holds it open
    told = os.read(codes_out, 1)
    if told:
        return told[0]
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGABRT and dump:
        text = b''.join(dump).decode(errors='replace')
        never = 'RegisterTask' in text
        reasons = [line for line in text.splitlines() if re.search('absl::Status|Socket closed|unhealthy', line)]
        reason = reasons[0].rpartition('absl::Status: ')[2].strip()[:200] if reasons else ''
        print(f'error: {"the processes of the run did not all come up in time" if never else _gone(reason)}', file=sys.stderr)
        return RESTART
    return 128 - code if code < 0 else code


def _gone(reason: str) -> str:
    told = f' ({reason.strip()})' if reason else ''
    return f'another process of the run is gone{told}; the same command goes on from the last checkpoint'


def _forward(errors_out: int, dump: list[bytes]) -> None:
    with os.fdopen(errors_out, 'rb') as errors:
        for line in errors:
            if not line.startswith(b'error: ') and (dump or _DUMP.match(line)):     # main may find the loss in the same moment
                dump.append(line)
            else:
                os.write(2, line)


def _pass_on(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass


def dies_with_parent() -> Callable[[], None]:
    """What a child of this process calls first, so that it is killed where this one is (Linux; elsewhere nothing)."""
    if not sys.platform.startswith('linux'):
        return lambda: None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def hook():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    return hook
