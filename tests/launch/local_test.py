"""Processes together: merged output, one death ends all within seconds, restarts up to the limit."""

import os
import subprocess
import sys
import time

import pytest

from launch import exit_codes, local, processes, run_arguments

SLEEP = 'import time; time.sleep(60)'


def ends(pid: int) -> bool:
    """Whether the process is gone, or a zombie, within five seconds."""
    for _ in range(100):
        try:
            if open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] == 'Z':
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def together(*programs: str):
    lines = []
    ended = processes.run_together([[sys.executable, '-u', '-c', program] for program in programs],
                                   [os.environ] * len(programs), lines.append)
    return ended, lines


@pytest.fixture
def start(monkeypatch, tmp_path):
    """start(program, count): local.start with that Python program in place of mathrl.main; (code, lines, waits)."""
    def started(program, count=1, max_restarts=3):
        lines, waits = [], []
        monkeypatch.setattr(local, 'commands', lambda run, count, port: [
            [sys.executable, '-u', '-c', program, str(index), str(tmp_path)] for index in range(count)])
        run = run_arguments.Run((), (), str(tmp_path), {})
        return local.start(run, count, 2, max_restarts, say=lines.append, sleep=waits.append), lines, waits
    return started


def test_lines_are_merged_whole_with_the_number_of_their_process():
    ended, lines = together(*[f'for i in range(200): print("{name}" * 50)' for name in 'ab'])
    assert ended is None
    assert sorted(lines) == ['[0] ' + 'a' * 50] * 200 + ['[1] ' + 'b' * 50] * 200


def test_one_process_has_no_number_and_a_progress_line_its_last_state():
    ended, lines = together(r'import sys; sys.stdout.write("step 1\rstep 2\rstep 3\nlast without an end")')
    assert ended is None and lines == ['step 3', 'last without an end']


def test_a_death_ends_the_others_within_seconds():
    began = time.monotonic()
    ended, lines = together('import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); ' + SLEEP,
                            'print("no such file"); raise SystemExit(2)', SLEEP)
    assert (ended.process, ended.code) == (1, 2) and lines == ['[1] no such file']
    assert time.monotonic() - began < processes.STOP_SECONDS + 3


def test_who_leaves_to_be_started_again_lets_the_others_save(monkeypatch):
    saving = 'import time; time.sleep(1); print("saved"); raise SystemExit(75)'
    ended, lines = together('raise SystemExit(75)', saving)
    assert (ended.process, ended.code) == (0, 75) and lines == ['[1] saved']
    monkeypatch.setattr(processes, 'LEAVE_SECONDS', 0.2)
    ended, lines = together('raise SystemExit(75)', SLEEP)
    assert (ended.process, ended.code) == (0, 75)
    monkeypatch.setattr(processes, 'LEAVE_SECONDS', 60)
    ended, lines = together('raise SystemExit(75)', 'import time; time.sleep(.5); raise SystemExit(1)', SLEEP)
    assert ended.code == 75


def test_children_of_a_process_end_with_it():
    program = 'import subprocess, sys; print(subprocess.Popen(["sleep", "60"]).pid, flush=True); raise SystemExit(1)'
    ended, lines = together(program, SLEEP)
    assert ended.code == 1 and ends(int(lines[0].removeprefix('[0] ')))


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='a signal at the death of the parent is known to Linux alone')
def test_killed_launcher_leaves_no_process():
    program = ('import os, sys; from launch import processes; '
               f'processes.run_together([[sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); {SLEEP[7:]}"]], '
               '[os.environ], lambda line: print(line, flush=True))')
    launcher = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True,
                                env={**os.environ, 'PYTHONPATH': str(run_arguments.REPOSITORY)})
    pid = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    assert ends(pid)


COUNTED = '''
import os, pathlib, signal, sys, time
starts = pathlib.Path(sys.argv[2]) / f'starts{sys.argv[1]}'
starts.write_text(starts.read_text() + 'x' if starts.exists() else 'x')
count = len(starts.read_text())
'''


def test_exit_75_starts_again(start):
    code, lines, waits = start(COUNTED + 'raise SystemExit(75 if count < 3 else 0)')
    assert code == 0 and len(waits) == 2 and waits[1] > waits[0]
    assert any('restart 2 of at most 3' in line for line in lines)


def test_a_killed_process_starts_all_again(start, tmp_path):
    code, lines, _ = start(COUNTED + 'if count == 1 and sys.argv[1] == "1": time.sleep(.3); os.kill(os.getpid(), signal.SIGKILL)\n'
                           'time.sleep(0.1 if count > 1 else 30)', count=2)
    assert code == 0 and [(tmp_path / f'starts{index}').read_text() for index in (0, 1)] == ['xx', 'xx']
    assert any('process 1 of 2 was killed by SIGKILL' in line and 'the others were ended' in line for line in lines)


def test_limit_of_restarts_is_kept_and_told(start, tmp_path):
    code, lines, waits = start(COUNTED + 'raise SystemExit(75)', max_restarts=2)
    assert code == exit_codes.RESTART and (tmp_path / 'starts0').read_text() == 'xxx' and len(waits) == 2
    assert 'given up after 2 restarts' in lines[-1]


@pytest.mark.parametrize('program, code', [('raise SystemExit(2)', 2), ('1 / 0', 1),
                                           ('import os; os.kill(os.getpid(), 6)', 134)])
def test_faults_are_final(start, program, code):
    assert start(program)[0] == code


def test_environment_and_commands():
    run = run_arguments.parse(['--gin_file=gin/quickstart/synthesize.gin', '--workdir=w'])
    first, second = local.commands(run, 2, 4711)
    assert first[1:] == ['-m', 'mathrl.main', '--coordinator_address=127.0.0.1:4711', '--num_processes=2', '--process_id=0',
                         '--gin_file=gin/quickstart/synthesize.gin', '--workdir=w']
    assert second[5] == '--process_id=1'
    assert local.variables(4) == {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '--xla_force_host_platform_device_count=4'}
    assert '--coordinator_address' not in ' '.join(local.commands(run, 1, 1)[0])


def test_two_processes_join_through_jax(tmp_path):
    """A program of gin's own: its run() asks jax how many processes and devices there are."""
    (tmp_path / 'asks.py').write_text('import jax\n\ndef run(*, workdir, config="", dry_run=False):\n'
                                      '    print(jax.process_index(), jax.process_count(), jax.device_count())\n')
    (tmp_path / 'run.gin').write_text('from __gin__ import dynamic_registration\nimport asks\nPROGRAM = @asks.run\n')
    done = subprocess.run([sys.executable, '-m', 'launch.tpu', '--backend=local', '--processes=2', '--devices=3', '--go', '--',
                           f'--gin_file={tmp_path}/run.gin', f'--workdir={tmp_path}/w'], cwd=run_arguments.REPOSITORY,
                          capture_output=True, text=True, timeout=120,
                          env={**os.environ, 'XLA_FLAGS': '', 'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert {'[0] 0 2 6', '[1] 1 2 6'} <= set(done.stdout.splitlines())
