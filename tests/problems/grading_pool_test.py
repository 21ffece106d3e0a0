"""Outputs that hang, crash or eat memory are lost alone; verdicts come in order; nothing is left behind."""
import contextlib
import gc
import importlib
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mathrl.problems import grading_pool
from mathrl.problems.grading_pool import GradingPool
from mathrl.problems.types import Verdict

# The workers import it by name, so it lies in a module of its own. An output says what its grading does.
GRADER = '''
import ctypes, os, signal, time
from mathrl.problems.types import Verdict

count = 0

def grade(output, reference, problem, extraction):
    global count
    count += 1
    what = output.split(' ')[0]
    if what == 'loop':
        while True: pass
    if what == 'pause':
        ctypes.PyDLL(None).pause()      # in C, with the interpreter lock
    if what == 'power':
        9 ** 9 ** 9
    if what == 'memory':
        len([bytes(1 << 20) for _ in range(1 << 12)])
    if what == 'exit':
        os._exit(7)
    if what == 'segfault':
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if what == 'raise':
        raise KeyError(output)
    if what == 'sleep':
        time.sleep(float(output.split(' ')[1]))
    if what == 'print':
        os.write(1, b'noise\\n' * 10)
    extracted = {'pid': str(os.getpid()), 'count': str(count), 'long': 'x' * 300_000}.get(what, output)
    return Verdict(output == reference, extracted, f'{problem} {extraction}')

def slow_start(output, reference, problem, extraction):
    time.sleep(.4)
    return Verdict(True, output, '')
'''


@pytest.fixture
def make_pool(tmp_path, monkeypatch):
    (tmp_path / 'test_grader.py').write_text(GRADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    with contextlib.ExitStack() as stack:
        def make(grader='test_grader:grade', **settings):
            settings = {'workers': 2, 'seconds': .5, 'memory_bytes': 1 << 29} | settings
            return stack.enter_context(GradingPool(grader=grader, **settings))
        yield make


def items(*outputs):
    return [(output, 'ok', 'p') for output in outputs]


def outcomes(verdicts):
    return [verdict.reason if verdict.reason in grading_pool.LOST else verdict.extracted for verdict in verdicts]


def children():
    """Pids of the processes that this one started, dead ones that nobody waited for included."""
    threads = pathlib.Path('/proc/self/task').iterdir()
    return {pid for thread in threads for pid in (thread / 'children').read_text().split()}


def descriptors():
    return len(os.listdir('/proc/self/fd'))


def test_verdicts_come_in_order_with_all_that_was_asked(make_pool):
    pool = make_pool(extraction='boxed', seconds=5)
    asked = [(f'{"sleep .05 " if number % 50 == 0 else ""}{number}', '7', f'"é\n{number}') for number in range(500)]
    verdicts = pool.grade_all(asked)
    assert verdicts == [Verdict(output == '7', output, f'{problem} boxed') for output, _, problem in asked]
    assert pool('ok', 'ok') == Verdict(True, 'ok', ' boxed')
    assert pool.grade_all([]) == []


@pytest.mark.parametrize('what, why', [
    ('loop', 'timeout'), ('pause', 'timeout'), ('power', 'timeout'), ('memory', 'out of memory'),
    ('kill', 'out of memory'), ('exit', 'worker died'), ('segfault', 'worker died'), ('raise', 'worker died'),
    ('print', 'print')])
@pytest.mark.parametrize('workers', [1, 2])
def test_a_bad_output_is_lost_alone(make_pool, what, why, workers):
    pool = make_pool(workers=workers)
    asked = items('1', f'{what}', '2', '3', f'{what} ', '4')
    verdicts = pool.grade_all(asked)
    assert [outcome.strip() for outcome in outcomes(verdicts)] == ['1', why, '2', '3', why, '4']
    if why in grading_pool.LOST:
        assert verdicts[1] == Verdict(False, None, why)


def test_the_limit_is_that_of_one_item_and_starting_is_free(make_pool):
    assert outcomes(make_pool(workers=1).grade_all(items(*(f'sleep .1 {n}' for n in range(6)))))[5] == 'sleep .1 5'
    slow = make_pool('test_grader:slow_start', seconds=.9)
    assert outcomes(slow.grade_all(items('a', 'b'))) == ['a', 'b']


def test_a_pause_of_the_caller_is_not_held_against_an_item(make_pool):
    pool = make_pool(workers=1)
    pool('1', '')      # so that it need not be started in the pause

    def source():
        yield from items('sleep .9')
        time.sleep(.7)
    assert outcomes(pool.grade_each(source())) == ['sleep .9']


def test_an_endless_item_ends_even_while_nobody_looks(make_pool):
    pool = make_pool(workers=1)
    verdicts = pool.grade_each(itertools.chain(items('1', 'loop'), items('2')), ahead=2)
    next(verdicts)
    [worker] = children()
    until = time.monotonic() + 8
    while (stat := pathlib.Path(f'/proc/{worker}/stat').read_text().rsplit(')')[1].split()[0]) != 'Z':
        assert time.monotonic() < until, stat
        time.sleep(.05)
    assert outcomes(verdicts) == ['timeout', '2']


def test_what_stands_twice_is_graded_once(make_pool):
    pool = make_pool(workers=1, seconds=5)
    counts = [int(verdict.extracted) for verdict in pool.grade_all(items('count a', 'count b', 'count a') * 20)]
    assert len(set(counts)) == 2 and counts == counts[:3] * 20
    assert int(pool('count a', 'ok').extracted) == max(counts) + 1
    warm = pool.grade_all(items('count a') * 500 + items('count b', 'count a'))
    assert int(warm[-1].extracted) == max(counts) + 2 and int(warm[-2].extracted) == max(counts) + 3


def test_large_items_and_answers_do_not_block(make_pool):
    pool = make_pool(seconds=5)
    asked = items(*(f'long {number} {"é" * 300_000}' for number in range(20)))
    assert [len(verdict.extracted) for verdict in pool.grade_all(asked)] == [300_000] * 20
    pool = make_pool(workers=1)
    assert outcomes(pool.grade_all(items('loop' + ' ' * 1_000_000, '1' * 1_000_000))) == ['timeout', '1' * 1_000_000]


def test_a_stream_is_read_no_further_than_asked_and_yields_as_it_comes(make_pool):
    pool, read = make_pool(seconds=5), []

    def source():
        for number in itertools.count():
            read.append(number)
            yield f'{number}', '', ''
    verdicts = pool.grade_each(source(), ahead=10)
    for number in range(100):
        assert next(verdicts).extracted == f'{number}'
        assert len(read) <= number + 10
    verdicts.close()
    assert pool('1', '').extracted == '1'

    def slow():
        for number in range(3):
            yield f'{number}', '', ''
            time.sleep(.2)
            seen.append(f'read {number}')
    seen = []
    for verdict in pool.grade_each(slow()):
        seen.append(verdict.extracted)
    assert seen.index('0') < seen.index('read 1') and seen.index('1') < seen.index('read 2')


def test_workers_are_started_when_needed_and_used_again(make_pool):
    before, pool = children(), make_pool(seconds=5)
    assert children() == before
    first = pool('pid', '').extracted
    assert pool('pid again', '').extracted == first and children() - before == {first}
    pool.grade_all([(f'sleep .01 {number}', '', '') for number in range(50)])
    assert len(children() - before) == 2
    pool.close()
    assert children() == before


def test_many_losses_leave_no_process_and_no_descriptor(make_pool):
    make_pool().grade_all(items('exit'))
    gc.collect()
    before = children(), descriptors()
    with make_pool(seconds=.1) as pool:
        pool.grade_all(items('1', '2'))
        busy = children(), descriptors()
        verdicts = pool.grade_all(items(*(f'{("loop", "exit", "segfault")[n % 3]} {n}' for n in range(30)), '1', '2'))
        assert outcomes(verdicts) == ['timeout', 'worker died', 'worker died'] * 10 + ['1', '2']
        assert len(children()) <= len(busy[0]) and descriptors() <= busy[1]
    assert (children(), descriptors()) == before


@pytest.mark.parametrize('grader, message', [
    ('test_grader:absent', 'could not start'), ('absent_module:grade', 'could not start')])
def test_a_grader_that_cannot_start_is_an_error(make_pool, grader, message, capfd):
    with pytest.raises(RuntimeError, match=message):
        make_pool(grader)('1', '1')
    assert 'Error' in capfd.readouterr().err and not children()


def test_wrong_settings_and_items_are_refused(make_pool):
    for settings in ({'workers': -1}, {'seconds': 0}, {'memory_bytes': 0}):
        with pytest.raises(ValueError, match='limits above 0'):
            make_pool(**settings)
    for item in (('a', 3, ''), ('a', 'b'), (None, '', '')):
        with pytest.raises(TypeError, match='the texts'):
            make_pool().grade_all([item])


PARENT = '''
import sys, threading
from mathrl.problems.grading_pool import GradingPool

def source():
    yield 'pid', '', ''
    yield from [(sys.argv[1] + ' ' * n, '', '') for n in range(2)]
    threading.Event().wait()

pool = GradingPool(workers=1, seconds=100, grader='test_grader:grade')
for verdict in pool.grade_each(source(), ahead=2):
    print(verdict.extracted, flush=True)
'''


@pytest.mark.parametrize('what', ['loop', 'pause', 'ok'])
def test_workers_end_with_a_killed_parent(make_pool, tmp_path, what):
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    parent = subprocess.Popen([sys.executable, '-c', PARENT, what], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, 'PYTHONPATH': path})
    worker = pathlib.Path('/proc') / parent.stdout.readline().strip()
    assert worker.exists()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while worker.exists() and ') Z' not in (worker / 'stat').read_text() and time.monotonic() < until:
        time.sleep(.02)
    assert not worker.exists() or ') Z' in (worker / 'stat').read_text()


def test_the_graders_own_verdicts_are_the_pools():
    grade = importlib.import_module('mathrl.problems.verdict').grade
    asked = [('It is \\boxed{42}.', '42', '6 * 7?'), ('\\boxed{41}', '42', ''), ('none', '42', '')]
    with GradingPool(workers=1) as pool:
        assert pool.grade_all(asked) == [grade(*item) for item in asked]
