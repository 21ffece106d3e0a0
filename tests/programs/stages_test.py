"""Stages: each a process in its own folder, skipped when done, stopped with us, resumed after a kill."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from mathrl.programs import stages

REPOSITORY = pathlib.Path(__file__).parents[2]
# Counts to `steps`, one a file, so that a restart goes on where it was; then leaves what it was given.
COUNTER = '''
import os, sys, time

def run(*, workdir, steps: int, source: str = '', sources=(), seconds: float = 0.0, child: bool = False,
        config='', dry_run=False):
    if child:
        import subprocess
        subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', str(workdir)])
    (workdir / f'pid{os.getpid()}').touch()
    print('started', flush=True)
    for step in range(steps):
        if not (workdir / str(step)).exists():
            time.sleep(seconds)
            (workdir / str(step)).touch()
    if steps < 0:
        print('the last words')
        raise ValueError(f'steps={steps} is negative.')
    (workdir / 'result.txt').write_text(f'{source} {sources}')
'''
COUNT = '''
from __gin__ import dynamic_registration
import counter
STEPS = 2
SOURCE = ''
SECONDS = 0.0
CHILD = False
SOURCES = ()
counter.run.steps = %STEPS
counter.run.source = %SOURCE
counter.run.sources = %SOURCES
counter.run.seconds = %SECONDS
counter.run.child = %CHILD
PROGRAM = @counter.run
'''
STAGES = '''
from __gin__ import dynamic_registration
from mathrl.programs import stages
STAGES = %gin.REQUIRED
stages.run.stages = %STAGES
PROGRAM = @stages.run
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / 'counter.py').write_text(COUNTER)
    (tmp_path / 'count.gin').write_text(COUNT)
    (tmp_path / 'stages.gin').write_text(STAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', f'{REPOSITORY}:{tmp_path}')
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    return tmp_path


def command(value) -> list[str]:
    return [sys.executable, '-m', 'mathrl.main', '--gin_file=stages.gin', f'--gin.STAGES={value!r}',
            f"--workdir={os.path.abspath('w')}"]


def call(value, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([*command(value), *flags], capture_output=True, text=True, timeout=60)


def start(value) -> subprocess.Popen:
    """Started, and its first stage is running.

    Where the tests run in a shell's background, SIGINT is ignored, and so it would be in what they start.
    """
    listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command(value), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=listen)
    wait_for(lambda: list(pathlib.Path('w').glob('*/0')))
    return process


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, 'waited for 30 s'
        time.sleep(0.02)


def alive(folder: pathlib.Path) -> list[int]:
    """Processes whose command line names the folder."""
    pids = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line and int(path.parent.name) != os.getpid():
            pids.append(int(path.parent.name))
    return pids


def states(folder: pathlib.Path) -> dict[str, str]:
    return {row['name']: row['state'] for row in json.loads((folder / 'w/stages.json').read_text())['stages']}


def test_runs_in_order_and_skips_what_is_done(folder):
    macros = {'SOURCE': '{workdir}/one', 'SOURCES': ['{workdir}/one', 3]}
    value = [('one', 'count.gin'), ('two', 'count.gin', macros)]
    first = call(value)
    assert first.returncode == 0, first.stderr
    assert (folder / 'w/two/result.txt').read_text() == f"{folder}/w/one ['{folder}/w/one', 3]"
    assert 'started' in (folder / 'w/one/log.txt').read_text() and first.stdout.count('started') == 2
    assert '[2/2] two: done in' in first.stdout
    done = json.loads((folder / 'w/two/done.json').read_text())
    assert done.pop('seconds') > 0 and done == {'gin_file': 'count.gin', 'macros': macros}
    seconds = json.loads((folder / 'w/stages.json').read_text())['seconds']
    second = call(value)
    assert second.returncode == 0
    assert second.stdout.count('done before') == 2 and 'started' not in second.stdout
    assert json.loads((folder / 'w/stages.json').read_text())['seconds'] == seconds


def test_one_compilation_cache_serves_all(folder):
    (folder / 'count.gin').write_text('from __gin__ import dynamic_registration\nimport cache\n'
                                      'PROGRAM = @cache.run\n')
    (folder / 'cache.py').write_text('import os\ndef run(*, workdir, config, dry_run):\n'
                                     '    print(os.environ["JAX_COMPILATION_CACHE_DIR"])\n')
    assert call([('one', 'count.gin')]).returncode == 0
    assert (folder / 'w/one/log.txt').read_text() == f'{folder}/w/compilation_cache\n'


def test_dry_run_prints_the_commands_alone(folder):
    result = call([('one', 'count.gin', {'STEPS': 3})], '--dry_run')
    assert result.returncode == 0 and 'one (to run)' in result.stdout and '--gin.STEPS=3' in result.stdout
    assert not (folder / 'w').exists()


def test_a_failing_stage_is_named_with_its_last_lines(folder):
    result = call([('one', 'count.gin'), ('bad', 'count.gin', {'STEPS': -1}), ('never', 'count.gin')])
    assert result.returncode == 1
    assert 'stage bad ended with exit code 2' in result.stderr and 'w/bad/log.txt' in result.stderr
    assert 'the last words' in result.stderr and 'steps=-1 is negative' in result.stderr
    assert states(folder) == {'one': 'done', 'bad': 'failed', 'never': 'waiting'}


def test_a_stage_that_was_told_to_stop_has_the_whole_started_again(folder):
    """As a training program ends that got SIGTERM itself: exit code 75."""
    counter = folder / 'counter.py'
    counter.write_text(counter.read_text().replace("    print('started', flush=True)\n", "    print('started', flush=True)\n"
                       "    if len(list(workdir.glob('pid*'))) == 1:\n        sys.exit(75)\n"))
    one = [('one', 'count.gin')]
    result = call(one)
    assert (result.returncode, result.stderr) == (75, '') and states(folder) == {'one': 'stopped'}
    assert 'stage one was told to stop; the same command goes on with it' in result.stdout
    assert call(one).returncode == 0 and states(folder) == {'one': 'done'}


def test_refuses_a_stage_that_differs_from_what_was_run(folder):
    call([('one', 'count.gin')])
    result = call([('one', 'count.gin', {'STEPS': 3})])
    assert result.returncode == 2
    assert "stage one was run as {'gin_file': 'count.gin', 'macros': {}}" in result.stderr
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('value, part', [
    ([('one',)], 'neither (name, gin_file)'),
    ([('one', 'count.gin', 'STEPS')], 'neither (name, gin_file)'),
    ([('one', 'count.gin'), ('one', 'count.gin')], "'one' is taken"),
    ([('../one', 'count.gin')], 'no plain folder name'),
    ([('one', 'cuont.gin')], 'there is no file cuont.gin'),
    ([('one', 'count.gin', {'STEPS': print})], 'no literal'),
])
def test_refuses_stages_of_another_form(folder, value, part):
    with pytest.raises(ValueError) as error:
        stages.run(workdir=epath.Path('w'), stages=value, dry_run=True)
    assert part in str(error.value)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc, and asks Linux for the signal')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_stops_the_stage_too_and_the_same_command_goes_on(folder, number):
    slow = [('one', 'count.gin', {'STEPS': 8, 'SECONDS': 0.3, 'CHILD': number != signal.SIGKILL})]
    process = start(slow)
    process.send_signal(number)
    process.wait(30)
    wait_for(lambda: not alive(folder / 'w'))
    assert not (folder / 'w/one/result.txt').exists()
    assert states(folder)['one'] == ('running' if number == signal.SIGKILL else 'stopped')
    seconds = json.loads((folder / 'w/stages.json').read_text())['seconds']
    result = call(slow)
    assert result.returncode == 0, result.stderr
    assert len(list((folder / 'w/one').glob('pid*'))) == 2
    assert json.loads((folder / 'w/stages.json').read_text())['seconds'] > seconds + 0.3


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='asks Linux to end a stage with its parent')
def test_killed_many_times_it_still_ends_done(folder):
    value = [(name, 'count.gin', {'STEPS': 6, 'SECONDS': 0.1}) for name in ('one', 'two', 'three')]
    delays = random.Random(0)
    for _ in range(20):
        process = subprocess.Popen(command(value), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delays.uniform(0.2, 3))
        process.kill()
        process.wait(10)
        wait_for(lambda: not alive(folder / 'w'))
    result = call(value)
    assert result.returncode == 0, result.stderr
    assert set(states(folder).values()) == {'done'}
    for name in ('one', 'two', 'three'):
        assert all((folder / 'w' / name / str(step)).exists() for step in range(6))
