"""Settings of the process itself, so each case is a process of its own."""
import os
import pathlib
import subprocess
import sys

import pytest

from mathrl import cpu

THP = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
BEGIN = """
import os, sys
print(os.getpid(), sys.argv[1:], sys.flags.dont_write_bytecode, flush=True)
from mathrl import cpu
cpu.with_huge_pages()
print(os.environ.get('GLIBC_TUNABLES'))
block = bytearray(64 << 20)
print(sum(int(line.split()[1]) for line in open('/proc/self/smaps') if line.startswith('AnonHugePages')) >> 10)
"""

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='huge pages are asked for on Linux alone')


def begin(**variables) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ('GLIBC_TUNABLES', 'JAX_PLATFORMS')}
    done = subprocess.run([sys.executable, '-B', '-c', BEGIN, 'a b', '--gin.X="c"'], env=environment | variables, check=True,
                          capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[1])
    return done.stdout.splitlines()


def test_begins_anew_as_the_same_process_with_the_same_arguments():
    first, second, tunables, huge_mb = begin(JAX_PLATFORMS='cpu')
    assert first == second and first.endswith("""['a b', '--gin.X="c"'] 1""")
    assert tunables == cpu.HUGE_PAGES
    if '[never]' in THP.read_text():
        pytest.skip('this kernel gives no huge pages')
    assert int(huge_mb) >= 60, 'a block of 64 MB lies in huge pages'


@pytest.mark.parametrize('variables', [
    {}, {'JAX_PLATFORMS': 'tpu'}, {'JAX_PLATFORMS': 'cpu', 'GLIBC_TUNABLES': 'glibc.malloc.check=0'}], ids=str)
def test_goes_on_as_it_is_elsewhere(variables):
    assert begin(**variables)[1] == variables.get('GLIBC_TUNABLES', 'None')


@pytest.mark.parametrize('platforms, given, wanted', [
    ('cpu', '--a=1', '--a=1 --xla_backend_optimization_level=1'), ('cpu', '', '--xla_backend_optimization_level=1'),
    ('cpu', '--xla_backend_optimization_level=3', '--xla_backend_optimization_level=3'), ('tpu', '--a=1', '--a=1')])
def test_compiles_lightly_unless_told_otherwise(monkeypatch, platforms, given, wanted):
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
    monkeypatch.setenv('XLA_FLAGS', given)
    cpu.compile_lightly()
    assert os.environ['XLA_FLAGS'] == wanted
