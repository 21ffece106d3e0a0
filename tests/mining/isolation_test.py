"""Items that hang, crash or eat memory are lost alone; no child outlives its parent."""

import functools
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mathrl.mining import isolation

# The child imports these by name, so they lie in a module of their own.
ITEMS = '''
import ctypes, functools, os, signal, time
from mathrl.mining import isolation

def work(number, what):
    if what == 'hang':
        while True: pass
    if what == 'busy':
        end = time.thread_time() + .3
        while time.thread_time() < end: pass
    if what == 'sleep':
        time.sleep(1000)
    if what == 'hang in C':
        ctypes.PyDLL(None).pause()
    if what == 'segfault':
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == 'stack':
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        array = (ctypes.c_int * 2)(2, 1)
        again = compare(lambda a, b: ctypes.CDLL(None).qsort(array, 2, 4, again) or 0)
        # Python 3.12 counts calls from C by itself, so the stack must end before that does.
        import resource, sys; sys.setrecursionlimit(10 ** 9)
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        again(None, None)
    if what == 'memory':
        return {'size': len([bytes(1 << 20) for _ in range(1 << 12)])}
    if what == 'exception':
        raise KeyError(number)
    if what == 'prints':
        os.write(1, b'noise' * 10)
    return {'number': number, 'pid': 0, 'text': 'x' * 2000}

def items(whats, after):
    for number in range(0 if after is None else after + 1, len(whats)):
        if whats[number] == 'bug between':
            raise KeyError('between items')
        if whats[number] == 'death between':
            os.kill(os.getpid(), signal.SIGSEGV)
        yield number
        yield work(number, whats[number])

def again(after):
    yield 7
    raise ValueError('always')

def lost(token, why):
    return {'number': token, 'lost': why}

def parent(whats):
    for result in isolation.guarded(functools.partial(items, whats), seconds=100, memory_bytes=1 << 30, lost=lost):
        print(result['number'], flush=True)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / 'isolated_items.py').write_text(ITEMS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop('isolated_items', None)
    return importlib.import_module('isolated_items')


def run(module, whats, seconds=.3, memory_bytes=1 << 29):
    make = functools.partial(module.items, whats)
    return list(isolation.guarded(make, seconds=seconds, memory_bytes=memory_bytes, lost=module.lost))


def outcomes(results):
    return [result.get('lost', 'done') for result in results]


def children():
    """Pids of all processes below this one, dead ones that nobody waited for included."""
    listed = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(os.getpid())], capture_output=True, text=True)
    return listed.stdout.split()


@pytest.mark.parametrize('what,why', [
    ('hang', 'timeout'), ('hang in C', 'timeout'), ('segfault', 'crashed'), ('stack', 'crashed'), ('memory', 'memory'),
    ('exception', 'crashed'), ('prints', 'done')])
def test_a_bad_item_is_lost_alone(module, monkeypatch, what, why):
    monkeypatch.setattr(isolation, 'STALL', 2)
    results = run(module, ['ok', what, 'ok', what, 'ok'])
    assert outcomes(results) == ['done', why, 'done', why, 'done']
    assert [result['number'] for result in results] == list(range(5))


def test_an_item_that_waits_is_lost_later_than_one_that_computes(module, monkeypatch):
    monkeypatch.setattr(isolation, 'STALL', 4)
    began = time.monotonic()
    assert outcomes(run(module, ['sleep', 'ok'], seconds=.4)) == ['timeout', 'done']
    assert time.monotonic() - began > 1.6


def test_the_time_is_that_of_one_item(module):
    assert outcomes(run(module, ['busy'] * 4, seconds=.5)) == ['done'] * 4


def test_results_are_those_of_a_run_in_this_process(module):
    whats = ['ok'] * 500 + ['exception'] + ['ok'] * 500
    assert run(module, whats) == run(module, whats, seconds=0)
    assert len(run(module, whats)) == 1001


def test_failures_between_items_are_raised(module):
    with pytest.raises(isolation.Stopped, match='between items'):
        run(module, ['ok', 'bug between'])
    with pytest.raises(isolation.Stopped, match='behind token 0'):
        run(module, ['ok', 'death between', 'ok'])
    with pytest.raises(isolation.Stopped, match='begins with that item'):
        list(isolation.guarded(module.again, seconds=1, memory_bytes=1 << 30, lost=module.lost))


def test_a_slow_reader_of_the_results_loses_nothing(module):
    results = []
    for result in isolation.guarded(functools.partial(module.items, ['ok'] * 2000), seconds=.2, memory_bytes=1 << 29,
                                    lost=module.lost):
        results.append(result)
        if len(results) % 500 == 1:
            time.sleep(.5)
    assert outcomes(results) == ['done'] * 2000


def test_no_child_is_left_when_the_results_are_given_up(module):
    before = children()
    results = isolation.guarded(functools.partial(module.items, ['ok', 'hang']), seconds=60, memory_bytes=1 << 29,
                                lost=module.lost)
    next(results)
    results.close()
    # One more in the list is ps itself.
    assert len(children()) <= max(1, len(before))


@pytest.mark.parametrize('what', ['hang', 'hang in C', 'ok'])
def test_a_child_ends_with_its_killed_parent(module, what, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
                   'MARK': str(tmp_path)}
    code = f'import isolated_items; isolated_items.parent(["ok"] + [{what!r}] * 10 ** 6)'
    parent = subprocess.Popen([sys.executable, '-c', code], env=environment, stdout=subprocess.PIPE)
    parent.stdout.readline()
    assert len(marked(tmp_path)) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while marked(tmp_path) and time.monotonic() < until:
        time.sleep(.02)
    assert not marked(tmp_path)


def marked(folder) -> list[str]:
    """Pids of the living processes that have MARK=folder in their environment."""
    found = []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if f'MARK={folder}\0'.encode() in (process / 'environ').read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found
