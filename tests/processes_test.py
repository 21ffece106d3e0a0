"""The parent that watches a process among several: the dump of a lost one becomes a sentence, signals go on, codes come back."""
import os
import signal
import subprocess
import sys
import time

import pytest

DUMP = '''F1125 03:14:45.031017   12597 client.h:80] Terminating process because the JAX distributed service detected fatal errors.
{cause}
*** Check failure stack trace: ***
    @     0x7f30eea40634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
'''
LOST = 'absl::Status: UNAVAILABLE: The following tasks are unhealthy'
NEVER = 'RPC: /xla.coordination.CoordinationService/RegisterTask'


@pytest.fixture
def start(repository):
    """start(program) -> the process that ran `leave = processes.watched()` before the program."""
    def begin(program, **environment):
        head = 'import os, signal, sys, time\nfrom mathrl import processes\nleave = processes.watched()\n'
        return subprocess.Popen([sys.executable, '-u', '-c', head + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**os.environ, 'PYTHONPATH': str(repository), **environment})
    return begin


def ended(process):
    """(exit code, stdout, stderr)"""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def aborts(cause: str) -> str:
    return f'os.write(2, b"a line before\\n" + {DUMP.format(cause=cause).encode()!r}); os.abort()'


def test_the_dump_of_a_lost_process_is_one_sentence_and_the_code_to_start_again(start):
    code, _, errors = ended(start(aborts(LOST)))
    assert code == 75
    assert errors == ('a line before\nerror: another process of the run is gone (UNAVAILABLE: The following tasks are unhealthy); '
                      'the same command goes on from the last checkpoint\n')


def test_so_is_that_of_one_that_never_came(start):
    code, _, errors = ended(start(aborts(NEVER)))
    assert code == 75 and errors.endswith('\nerror: the processes of the run did not all come up in time\n')


def test_an_abort_for_another_reason_stays_one(start):
    assert ended(start('os.write(2, b"assertion failed\\n"); os.abort()')) == (128 + signal.SIGABRT, '', 'assertion failed\n')


@pytest.mark.parametrize('program, code', [('', 0), ('sys.exit(3)', 3), ('1 / 0', 1), ('os.kill(os.getpid(), signal.SIGKILL)', 137),
                                           ('leave(2)', 2)])
def test_exit_codes_come_back(start, program, code):
    assert ended(start(program))[0] == code


def test_what_a_process_says_of_its_end_counts_more_than_what_the_library_does_behind_it(start):
    program = f'import threading; threading.Timer(0.2, lambda: [{aborts(LOST).replace("; ", ", ")}]).start(); leave(2)'
    code, _, errors = ended(start(program))
    assert code == 2 and 'gone' not in errors


def test_signals_go_on_to_the_child(start):
    process = start('signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print("up"); time.sleep(60)')
    assert process.stdout.readline() == 'up\n'
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 75


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='a signal at the death of the parent is known to Linux alone')
def test_a_killed_parent_takes_the_child_along(start):
    process = start('print(os.getpid()); time.sleep(60)')
    child = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=10)      # until the child has closed its output too
    for _ in range(100):
        if not os.path.exists(f'/proc/{child}') or open(f'/proc/{child}/stat').read().rpartition(')')[2].split()[0] == 'Z':
            return
        time.sleep(0.05)
    raise AssertionError('the child lives on')


def test_errors_of_the_collectives_are_those_of_a_lost_process():
    import jax
    from mathrl import processes
    lost = jax.errors.JaxRuntimeError('UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:28387\nmore')
    assert processes.lost(lost) == ('another process of the run is gone (UNKNOWN: Gloo all-reduce failed: Connection closed by peer '
                                    '[127.0.0.1]:28387); the same command goes on from the last checkpoint')
    assert processes.lost(jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')) == ''
    assert processes.lost(ValueError('Connection closed by peer')) == ''
