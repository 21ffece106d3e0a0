"""The tool: refuses where it cannot be safe, serves in order, leaves nothing, restarts, and dies with its parent."""
import os
import pathlib
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from mathrl.problems import sandbox, sandbox_filter, tool_text
from mathrl.problems.python_tool import STATUSES, PythonTool, SandboxUnavailable, ToolResult


@pytest.fixture(scope='module', autouse=True)
def able():
    try:
        sandbox.Sandbox().close()
    except SandboxUnavailable as error:
        pytest.skip(f'needs a sandbox: {error}')


@pytest.fixture(scope='module')
def tool(able):
    with PythonTool(seconds=1.0) as tool:
        yield tool


def descendants(pid: int) -> list[int]:
    parents = {}
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            state, parent = stat.read_text().rpartition(')')[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != 'Z':
            parents[int(stat.parent.name)] = int(parent)
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@pytest.fixture
def started():
    """Gives the processes that were started since the test began, outermost first."""
    before = set(descendants(os.getpid()))
    return lambda: [pid for pid in descendants(os.getpid()) if pid not in before]


def gone(pids, seconds=3.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(running(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def running(pid: int) -> bool:
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_run(tool):
    result = tool.run('print(1 + 1)')
    assert result == ToolResult('2\n', 'ok', result.seconds) and 0 < result.seconds < 1
    assert tool.run('1 / 0').status == 'error' and tool.run('while True: pass').status == 'timeout'
    assert set(STATUSES) > {'ok', 'error', 'timeout'}


def test_results_are_in_order(tool):
    codes = [f'import time\ntime.sleep({0.05 * (number % 3)})\nprint({number})' for number in range(12)]
    assert [result.output for result in tool.run_all(codes)] == [f'{number}\n' for number in range(12)]
    assert tool.run_all([]) == []


def test_workers_run_at_once(tool):
    start = time.monotonic()
    assert {result.status for result in tool.run_all(['import time\ntime.sleep(0.5)'] * 2)} == {'ok'}
    assert time.monotonic() - start < 0.9


def test_from_several_threads(tool):
    outputs = {}

    def work(number):
        outputs[number] = [tool.run(f'print({number})').output for _ in range(5)]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: [f'{number}\n'] * 5 for number in range(4)}


def test_a_large_snippet(tool):
    assert tool.run('x = "' + 'a' * 10 ** 6 + '"\nprint(len(x))').output == '1000000\n'


def test_a_thousand_snippets_leave_nothing(tool):
    ordinary = ('import sympy\nx = sympy.Symbol("x")\nopen("f", "w").write("x" * 1000)\n'
                'print(sympy.expand((x + {0}) ** 3))')
    codes = [ordinary.format(number) if number % 10 else 'raise ValueError' for number in range(500)]
    tool.run_all(codes)
    before = measure()
    results = tool.run_all(codes * 2)
    after = measure()
    assert [result.status for result in results].count('ok') == 900
    assert after['processes'] == before['processes'] and after['files'] == before['files']
    assert all(now < then + 2 ** 20 for now, then in zip(after['memory'], before['memory']))
    assert tool.run('import os\nprint(os.listdir("/tmp"))').output == '[]\n'


def measure() -> dict:
    pids = descendants(os.getpid())
    return {'processes': len(pids), 'files': len(os.listdir('/proc/self/fd')),
            'memory': [int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1]) * 4096 for pid in pids]}


def test_a_killed_sandbox_is_started_again(started):
    with PythonTool(workers=1, seconds=1.0) as tool:
        for victim in (0, -1):
            pids = started()
            os.kill(pids[victim], signal.SIGKILL)
            assert gone(pids)
            assert tool.run('print(1)').output == '1\n'
        killer = threading.Timer(0.3, os.kill, (started()[-1], signal.SIGKILL))
        killer.start()
        assert tool.run('while True: pass').status == 'killed'
        assert tool.run('print(1)').output == '1\n'


def test_a_monitor_that_does_not_answer_is_replaced(monkeypatch, started):
    monkeypatch.setattr(sandbox, 'GRACE_SECONDS', 0.3)
    with PythonTool(workers=1, seconds=0.2) as tool:
        pids = started()
        os.kill(pids[-1], signal.SIGSTOP)
        assert tool.run('print(1)').status == 'timeout'
        assert tool.run('print(1)').output == '1\n' and gone(pids)


def test_everything_ends_with_the_statement(started):
    with PythonTool(workers=2) as tool:
        pids = started()
        assert len(pids) >= 4
    assert gone(pids, seconds=0.5)
    with pytest.raises(RuntimeError, match='with PythonTool'):
        tool.run('print(1)')


@pytest.mark.parametrize('state', ['idle', 'busy'])
def test_sandboxes_die_with_a_killed_parent(state, repository):
    program = ('from mathrl.problems.python_tool import PythonTool\nwith PythonTool(seconds=60) as tool:\n'
               '    print("ready", flush=True)\n'
               + ('    input()' if state == 'idle' else '    tool.run("while True: pass")'))
    parent = subprocess.Popen([sys.executable, '-c', program], cwd=repository,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b'ready\n'
    time.sleep(0.3)
    pids = descendants(parent.pid)
    assert len(pids) >= (4 if state == 'idle' else 5)
    parent.kill()
    parent.communicate()
    assert gone(pids)


def test_a_sandbox_that_cannot_be_started_again_is_named(monkeypatch, started):
    with PythonTool(workers=1) as tool:
        pids = started()
        monkeypatch.setenv('PATH', '')
        os.kill(pids[0], signal.SIGKILL)
        assert gone(pids)
        with pytest.raises(SandboxUnavailable, match='no bwrap is on the PATH'):
            tool.run('print(1)')
        monkeypatch.undo()
        assert tool.run('print(1)').output == '1\n'
        os.kill(started()[0], signal.SIGKILL)
        time.sleep(0.1)
        monkeypatch.setenv('PATH', '')
        with pytest.raises(SandboxUnavailable):
            tool.run('print(1)')


# refusals

def test_no_bubblewrap(monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(SandboxUnavailable, match='needs bubblewrap, and no bwrap is on the PATH'):
        PythonTool().__enter__()


def test_a_bubblewrap_that_fails(monkeypatch, tmp_path):
    fake = tmp_path / 'bwrap'
    fake.write_text('#!/bin/sh\necho "bwrap: No permissions to create a new namespace" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    with pytest.raises(SandboxUnavailable, match='could not start .*: bwrap: No permissions to create a new namespace'):
        PythonTool().__enter__()


def test_a_machine_without_a_filter(monkeypatch):
    monkeypatch.setattr(platform, 'machine', lambda: 'riscv64')
    with pytest.raises(SandboxUnavailable, match="written for 'riscv64'; there are: x86_64, aarch64"):
        PythonTool().__enter__()


@pytest.mark.parametrize('arguments', [{'workers': 0}, {'seconds': 0}, {'memory_bytes': 1 << 20}, {'output_bytes': 0}])
def test_limits_that_cannot_be(arguments):
    with pytest.raises(ValueError, match='PythonTool was given'):
        PythonTool(**arguments)


def edited(monkeypatch, old: list, new: list):
    """The command with these words, in the innermost sandbox, replaced."""
    original = sandbox.command

    def command():
        words = original()
        for start in reversed(range(len(words))):
            if words[start:start + len(old)] == old:
                return words[:start] + new + words[start + len(old):]
        raise AssertionError(f'{old} is not in the command')
    monkeypatch.setattr(sandbox, 'command', command)


def zygote(monkeypatch, tmp_path, old: str, new: str):
    """A monitor with this line replaced."""
    text = pathlib.Path(sandbox.__file__).with_name('sandbox_zygote.py').read_text()
    assert old in text
    path = tmp_path / 'zygote.py'
    path.write_text(text.replace(old, new))
    original = sandbox._mounts
    monkeypatch.setattr(sandbox, '_mounts', lambda: ({**original()[0], '/zygote.py': str(path)}, original()[1]))


def refusal() -> str:
    with pytest.raises(SandboxUnavailable) as refused:
        PythonTool(workers=1).__enter__()
    return str(refused.value)


@pytest.mark.parametrize('probe, old, new', [
    ('secrets', ['--clearenv'], ['--clearenv', '--setenv', 'HF_TOKEN', 'x']),
    ('writes outside', ['--remount-ro', '/'], []),
    ('disk', ['--size', str(sandbox.FOLDER_BYTES)], ['--size', str(1 << 28)]),
    ('privileges', ['--uid', '65534'], ['--uid', '0']),
])
def test_a_looser_sandbox_is_refused(probe, old, new, monkeypatch):
    edited(monkeypatch, old, new)
    assert f"so no program is run; probe '{probe}'" in refusal()


def test_a_network_is_refused(monkeypatch):
    edited(monkeypatch, ['--unshare-all'], ['--unshare-all', '--share-net'])
    monkeypatch.setattr(sandbox, '_filter', lambda: b'')
    assert "probe 'network': ok, 'escaped: TCP -> 'connected'" in refusal().replace('"', "'")


def test_files_of_the_host_are_refused(monkeypatch):
    original = sandbox._mounts
    monkeypatch.setattr(sandbox, '_mounts', lambda: ({**original()[0], '/etc': '/etc'}, original()[1]))
    assert "probe 'secrets'" in refusal() and '/etc/shadow' in refusal()


@pytest.mark.parametrize('probe, old, new', [
    ('memory', "(resource.RLIMIT_AS, request['memory_bytes']), ", ''),
    ('neighbours', '        wipe()\n', '        pass\n'),
    ('endless loop', "return output, 'timeout'", "return output, ''"),
    ('endless output', "bytes(output[:request['output_bytes']])", 'bytes(output)'),
])
def test_a_looser_monitor_is_refused(probe, old, new, monkeypatch, tmp_path):
    zygote(monkeypatch, tmp_path, old, new)
    assert f"probe '{probe}'" in refusal()


def test_forks_are_refused(monkeypatch, tmp_path):
    zygote(monkeypatch, tmp_path, '(resource.RLIMIT_NPROC, PROCESSES), ', '')
    monkeypatch.setattr(sandbox, '_filter', lambda: b'')
    assert "probe 'fork bomb'" in refusal() and 'processes' in refusal()


def test_a_filter_that_the_kernel_rejects_is_refused(monkeypatch):
    monkeypatch.setattr(sandbox, '_filter', lambda: sandbox_filter.program(platform.machine())[8:-8] + b'\xff' * 8)
    assert "probe 'network': error" in refusal()


def test_a_block_finds_what_the_earlier_ones_made_and_their_output_is_not_shown_again(tool):
    blocks = ['import math\nx = 2\nprint("first")\n', 'y = x + 1\nprint(1 / 0)\n', 'def f():\n    return x * y\nprint("""\nz""")\n',
              'print(f(), math.floor(2.5))\n']
    assert tool.run(tool_text.program(blocks)) == ToolResult('6 2\n', 'ok', pytest.approx(0, abs=5))
    assert tool.run(tool_text.program(blocks[:2])).output.endswith('ZeroDivisionError: division by zero\n')
