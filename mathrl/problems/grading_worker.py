"""A process that grades: items come in as lines on its standard input, verdicts go out as lines, in order.

What hangs, eats memory or crashes takes this process along and nothing else; grading_pool starts, watches and kills it.
"""
import contextlib
import fcntl
import importlib
import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable

OUT_OF_MEMORY = 3      # exit status
READY = b'ready\n'
# What loads the libraries that a grader imports late, so that no item pays for it.
FIRST_ITEMS = [('\\boxed{\\frac{x^2-1}{2}}', '0.5(x-1)(x+1)', 'x?'), ('\\boxed{(1, 2]}', '[1,2)', 'Which interval?'),
               ('答案是3。', '3', '几个？')]


def main() -> None:
    """argv: {"grader", "settings", "seconds", "memory_bytes", "lifeline"} as JSON; see grading_pool.

    An item is a line [output, reference, problem], a verdict a line [correct, extracted, reason].
    """
    given = json.loads(sys.argv[1])
    answers = os.dup(1)
    os.dup2(2, 1)                                       # what a library prints is no answer
    end_with_parent(given['lifeline'])
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the parent, who gets it too, ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    grade = _grader(given['grader'])
    for item in FIRST_ITEMS:
        grade(*item, **given['settings'])
    limit_memory(given['memory_bytes'])
    _write(answers, READY)
    try:
        for line in sys.stdin.buffer:
            _limit_computing(given['seconds'])
            verdict = grade(*json.loads(line), **given['settings'])
            _write(answers, json.dumps([verdict.correct, verdict.extracted, verdict.reason]).encode() + b'\n')
    except MemoryError:
        os._exit(OUT_OF_MEMORY)                         # what is left of it would narrow the items behind
    except BrokenPipeError:                             # the parent went while this wrote
        os._exit(1)


def end_with_parent(lifeline: int) -> None:
    """Has the system kill this process when the other end of the pipe `lifeline` closes, by whatever death.

    A thread that waits for it would not run while C code holds the interpreter lock, and the parent-death signal of
    Linux comes when the parent's thread ends, not the process.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):                                    # it has closed already
        os._exit(1)


def _grader(name: str) -> Callable:
    module, _, function = name.partition(':')
    return getattr(importlib.import_module(module), function)


def limit_memory(more_bytes: int) -> None:
    """Lets this process take so much address space more than it has now (Linux only)."""
    with contextlib.suppress(FileNotFoundError):        # no /proc: not Linux, where no such limit holds
        with open('/proc/self/statm') as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, used + more_bytes)


def _limit_computing(seconds: float) -> None:
    """The system ends an item that computes for ever even while the parent does not look."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds) + 1)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _write(pipe: int, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(pipe, view):]
