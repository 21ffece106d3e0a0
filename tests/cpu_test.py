"""Settings of the process itself, so each case is a process of its own."""
import os
import pathlib
import platform
import subprocess
import sys

import pytest

from mathrl import cpu

BEGIN = """
import os, resource, sys, threading
print(os.getpid(), sys.argv[1:], sys.flags.dont_write_bytecode, flush=True)
from mathrl import cpu
cpu.with_kept_memory()
print(os.environ.get('GLIBC_TUNABLES'))

def fill_again():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(128 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
threading.Thread(target=fill_again).start()
"""
COMPILE = """
import pathlib, sys
from mathrl import cpu
cpu.with_kept_memory()
import jax
cpu.LONG = float(sys.argv[1])
for _ in range(2):
    cpu.return_memory_after_compiling()
pages = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1])
jax.jit(lambda x: x + 1)(1)
large, behind = b'x' * (128 << 20), b'x' * (1 << 20)
del large
before = pages()
jax.jit(lambda x: x + 2)(1)
print(before - pages(), len(jax._src.monitoring.get_event_duration_listeners()))
"""
OLD = tuple(map(int, (platform.libc_ver()[1] or '0').split('.'))) < (2, 35)
KEPT = int(cpu.kept_memory().rpartition('=')[2])

keeps_memory = pytest.mark.skipif(
    OLD or KEPT < 256 << 20, reason='an old glibc, a kernel that keeps no memory, or too little memory a core')
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='memory is kept on Linux alone')


def begin(program=BEGIN, arguments=('a b', '--gin.X="c"'), **variables) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ('GLIBC_TUNABLES', 'JAX_PLATFORMS')}
    done = subprocess.run([sys.executable, '-B', '-c', program, *arguments], env=environment | variables, check=True,
                          capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[1])
    return done.stdout.splitlines()


def test_begins_anew_as_the_same_process_with_the_same_arguments():
    first, second, tunables, _ = begin(JAX_PLATFORMS='cpu')
    assert first == second and first.endswith("""['a b', '--gin.X="c"'] 1""")
    assert tunables == cpu.kept_memory()


@keeps_memory
def test_a_thread_keeps_a_freed_block_for_its_next():
    assert int(begin(JAX_PLATFORMS='cpu')[-1]) < 100, 'page faults of the second block of 128 MB'
    assert int(begin(JAX_PLATFORMS='cpu', GLIBC_TUNABLES='glibc.malloc.hugetlb=0')[-1]) >= 64


@keeps_memory
@pytest.mark.parametrize('long, returned', [(0, True), (60, False)])
def test_long_compiling_returns_what_is_not_in_use(long, returned):
    pages, listeners = map(int, begin(COMPILE, [str(long)], JAX_PLATFORMS='cpu')[0].split())
    assert (pages * os.sysconf('SC_PAGE_SIZE') > 100 << 20) == returned
    assert listeners == 1


@pytest.mark.parametrize('kernel, kept', [
    ({'RESERVED': '0', 'CGROUP': 'max'}, True), ({'RESERVED': '0'}, True), ({'RESERVED': '2'}, False), ({}, False),
    ({'RESERVED': '0', 'OVERCOMMIT': '2'}, False)], ids=str)
def test_what_a_kernel_gives(kernel, kept, monkeypatch, tmp_path):
    for name in ('RESERVED', 'OVERCOMMIT', 'CGROUP'):
        monkeypatch.setattr(cpu, name, tmp_path / name)
    for name, text in kernel.items():
        (tmp_path / name).write_text(f'{text}\n')
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // os.cpu_count() // 8
    assert cpu.kept_memory() == (f'glibc.malloc.hugetlb={1 << 30}:glibc.malloc.mmap_threshold={memory}:'
                                 f'glibc.malloc.trim_threshold={memory}' if kept else 'glibc.malloc.hugetlb=1')


def test_keeps_a_share_of_what_a_container_may_have(monkeypatch, tmp_path):
    for name in ('RESERVED', 'OVERCOMMIT', 'CGROUP'):
        monkeypatch.setattr(cpu, name, tmp_path / name)
    (tmp_path / 'RESERVED').write_text('0')
    (tmp_path / 'CGROUP').write_text(f'{(64 << 20) * os.cpu_count()}\n')
    assert cpu.kept_memory().endswith(f'trim_threshold={8 << 20}')


@pytest.mark.parametrize('variables', [
    {}, {'JAX_PLATFORMS': 'tpu'}, {'JAX_PLATFORMS': 'cpu', 'GLIBC_TUNABLES': 'glibc.malloc.check=0'}], ids=str)
def test_goes_on_as_it_is_elsewhere(variables):
    assert begin(**variables)[1] == variables.get('GLIBC_TUNABLES', 'None')


LEVEL, WIDTH = (f'--{name}={value}' for name, value in cpu.FLAGS.items())


@pytest.mark.parametrize('platforms, given, wanted', [
    ('cpu', '', f'{LEVEL} {WIDTH}'), ('cpu', '--a=1', f'--a=1 {LEVEL} {WIDTH}'),
    ('cpu', '--xla_backend_optimization_level=3', f'--xla_backend_optimization_level=3 {WIDTH}'), ('tpu', '--a=1', '--a=1')])
def test_adds_the_flags_that_are_not_given(monkeypatch, platforms, given, wanted):
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
    monkeypatch.setenv('XLA_FLAGS', given)
    cpu.set_flags()
    assert os.environ['XLA_FLAGS'] == wanted
