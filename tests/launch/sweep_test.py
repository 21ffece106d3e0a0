"""Sweeps of a program that writes one number: killed and started again, in parallel, failing, searched by Optuna."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from launch import sweep, sweep_file, trials

REPOSITORY = pathlib.Path(__file__).parents[2]
PROGRAM = '''
import json, os, pathlib, sys, time
folder, x, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
with open(folder.parent / 'starts.txt', 'a') as starts:
    starts.write(folder.name + '\\n')
print('x is', x)
if x == 3:
    print('x may not be three', file=sys.stderr)
    sys.exit(2)
if x == 4 and not (folder / 'stopped').exists():
    (folder / 'stopped').touch()
    sys.exit(75)
with open(folder / 'metrics.jsonl', 'w') as metrics:
    for step in range(5):
        metrics.write(json.dumps({'step': step, 'score': (x - 2) ** 2 + 4 - step}) + '\\n')
        metrics.flush()
        time.sleep(seconds / 5)
value = float('nan') if x == 5 else (x - 2) ** 2
(folder / 'summary.json').write_text(json.dumps({'scores': {'error': value}}))
with open(folder.parent / 'ends.txt', 'a') as ends:
    ends.write(folder.name + '\\n')
'''
HEAD = '''
import sys
OBJECTIVE, DIRECTION = 'summary.json:scores.error', 'minimize'

def command(macros, folder):
    return [sys.executable, {program!r}, folder, macros['X'], {seconds}]
'''
GRID = '''
def trials():
    for x in {values}:
        yield {{'X': x, 'NAME': 'a<b'}}
'''
SEARCH = '''
import optuna
TRIALS, SAMPLER = {count}, optuna.samplers.RandomSampler(seed=1)

def suggest(trial):
    return {{'X': trial.suggest_float('X', 5.5, 9)}}
'''


@pytest.fixture
def made(tmp_path):
    """made(body, seconds): the path of a sweep's file."""
    (tmp_path / 'program.py').write_text(PROGRAM)

    def make(body: str, seconds: float = 0.0) -> str:
        path = tmp_path / 'some_sweep.py'
        path.write_text(HEAD.format(program=str(tmp_path / 'program.py'), seconds=seconds) + body)
        return str(path)
    return make


def run(path: str, folder: pathlib.Path, *flags: str) -> int:
    return sweep.main([path, f'--workdir={folder}', *flags])


def count(folder: pathlib.Path, name: str) -> collections.Counter:
    path = folder / 'trials' / f'{name}.txt'
    return collections.Counter(path.read_text().split()) if path.exists() else collections.Counter()


def test_a_grid_to_its_page(made, tmp_path, capsys):
    path, folder = made(GRID.format(values=[0.5, 2, 3, 5])), tmp_path / 'out'
    assert run(path, folder) == 1
    kept = trials.read(folder)
    assert [(trial.state, trial.value) for trial in kept] == [('done', 2.25), ('done', 0.0), ('failed', None), ('failed', None)]
    assert 'exit code 2' in kept[2].reason and 'x may not be three' in kept[2].reason
    assert 'summary.json:scores.error is nan' in kept[3].reason
    said = capsys.readouterr().out
    assert "best: trial 1 (X=2 NAME='a<b'), error 0" in said and '2 failed' in said
    page = (folder / 'sweep.html').read_text()
    assert "a&lt;b" in page and 'a<b' not in page and 'x may not be three' in page and '--gin.X=2' in page
    assert not re.search(r'https?://|<script|src=|url\(', page)


def test_what_ended_is_not_run_again_and_failed_ones_on_demand(made, tmp_path):
    path, folder = made(GRID.format(values=[0.5, 3])), tmp_path / 'out'
    run(path, folder)
    assert run(path, folder) == 1 and count(folder, 'starts') == {'000': 1, '001': 1}
    run(path, folder, '--retry_failed')
    assert count(folder, 'starts') == {'000': 1, '001': 2}
    run(made(GRID.format(values=[7, 0.5])), folder)      # a longer grid in another order
    assert count(folder, 'starts') == {'000': 1, '001': 2, '002': 1}


def test_exit_code_75_starts_the_trial_again(made, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep.exit_codes, 'wait_seconds', lambda restart: 0.1)
    assert run(made(GRID.format(values=[4])), tmp_path / 'out') == 0
    assert count(tmp_path / 'out', 'starts') == {'000': 2} and trials.read(tmp_path / 'out')[0].value == 4


@pytest.mark.parametrize('body', [GRID.format(values=[6, 7, 8, 9, 10, 11]), SEARCH.format(count=6)])
def test_killed_again_and_again_no_finished_trial_is_run_twice(made, tmp_path, body):
    path, folder = made(body, seconds=0.4), tmp_path / 'out'
    command = [sys.executable, '-m', 'launch.sweep', path, f'--workdir={folder}', '--parallel=2']
    finished = {}           # trial -> its starts when the journal called it done
    for _ in range(4):
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        ended = sum(count(folder, 'ends').values())
        until = time.monotonic() + 20
        while sum(count(folder, 'ends').values()) < ended + 1 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.25)        # others are half way
        names = [trial.folder.name for trial in trials.read(folder) if trial.state == 'done']
        finished |= {name: count(folder, 'starts')[name] for name in names}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finished, 'nothing ended before the kills'
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(trials.read(folder)) == 6 and {trial.state for trial in trials.read(folder)} == {'done'}
    starts = count(folder, 'starts')
    assert {name: starts[name] for name in finished} == finished
    assert sum(starts.values()) > 6, 'no kill hit a trial half way'


def test_eight_trials_at_once_leave_a_whole_journal(made, tmp_path):
    optuna = pytest.importorskip('optuna')
    path, folder = made(SEARCH.format(count=24)), tmp_path / 'out'
    assert run(path, folder, '--parallel=8') == 0
    for line in (folder / 'optuna.jsonl').read_text().splitlines():
        json.loads(line)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / 'optuna.jsonl'))
    study = optuna.load_study(study_name='some_sweep', storage=optuna.storages.JournalStorage(backend))
    values = {trial.number: trial.value for trial in study.trials}
    assert len(values) == 24 and values == {trial.number: trial.value for trial in trials.read(folder)}
    assert study.best_value == min(values.values())


def test_search_goes_on_behind_a_torn_line_with_new_values(made, tmp_path):
    pytest.importorskip('optuna')
    folder = tmp_path / 'out'
    run(made(SEARCH.format(count=2)), folder)
    with open(folder / 'optuna.jsonl', 'a') as journal:
        journal.write('{"op_code":4,"worker_id":"x","stu')
    assert run(made(SEARCH.format(count=4)), folder) == 0
    assert len({trial.macros['X'] for trial in trials.read(folder)}) == 4 and count(folder, 'starts')['000'] == 1


def test_a_trial_that_ended_and_was_not_told_is_told_at_the_start(made, tmp_path):
    optuna = pytest.importorskip('optuna')
    path, folder = made(SEARCH.format(count=2)), tmp_path / 'out'
    run(path, folder)
    journal = folder / 'optuna.jsonl'
    lines = journal.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1])['values']      # what a kill just before the last tell leaves out
    journal.write_text(''.join(lines[:-1]))
    assert run(path, folder) == 0 and count(folder, 'starts') == {'000': 1, '001': 1}
    study = optuna.load_study(study_name='some_sweep', storage=optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(journal))))
    assert [trial.value for trial in study.trials] == [trial.value for trial in trials.read(folder)]


def test_pruner_gives_up_a_trial(made, tmp_path, monkeypatch):
    pytest.importorskip('optuna')
    monkeypatch.setattr(sweep, 'WATCH_SECONDS', 0.1)
    body = SEARCH.format(count=2).replace('(5.5, 9)', '') + (
        "\nREPORT = 'score'\nPRUNER = optuna.pruners.ThresholdPruner(upper=40)\n"
        "def suggest(trial):\n    trial.suggest_float('Y', 0, 1)\n    return {'X': [6.5, 12][trial.number]}\n")
    assert run(made(body, seconds=1.0), tmp_path / 'out') == 0
    assert [trial.state for trial in trials.read(tmp_path / 'out')] == ['done', 'pruned']
    assert count(tmp_path / 'out', 'ends') == {'000': 1}


def test_one_sweep_a_folder_and_the_same_settings(made, tmp_path):
    path, folder = made(GRID.format(values=[1])), tmp_path / 'out'
    with trials.claimed(folder, sweep_file.load(path)):
        with pytest.raises(ValueError, match='is running in'):
            run(path, folder)
    other = pathlib.Path(path)
    other.write_text(other.read_text().replace('minimize', 'maximize'))
    with pytest.raises(ValueError, match='take another --workdir'):
        run(path, folder)


@pytest.mark.parametrize('change, told', [
    (("'minimize'", "'down'"), "DIRECTION = 'down'"),
    (("'summary.json:scores.error'", "'summary.json'"), "OBJECTIVE = 'summary.json'"),
    (("'summary.json:scores.error'", "'../x.json:a'"), "OBJECTIVE = '../x.json:a'"),
    (('def trials', 'def other'), 'defines neither trials() nor suggest(trial)'),
    (("'X': x", "'X': object()"), 'since it is no literal'),
    (("'X': x", "'X y': x"), 'is no name of a macro'),
    (("'X': x", "'HF_TOKEN': 'abc'"), 'looks like a secret'),
    (('[0.5]', '[0.5, 0.5]'), 'trial 1 is the same as trial 0'),
    (('[0.5]', '[]'), 'yields nothing'),
    (('def command', 'def other'), 'sets no GIN_FILES'),
])
def test_faults_of_the_file_are_one_sentence(made, tmp_path, change, told):
    path = pathlib.Path(made(GRID.format(values=[0.5])))
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError) as error:
        run(str(path), tmp_path / 'out')
    assert told in str(error.value) and '\n' not in str(error.value) and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('flags, told', [
    (['--tpu=v5p-8'], 'with --backend alone'),
    (['--backend=tpu_vm'], '--bucket=gs://'),
    (['--backend=local', '--name=x'], '--name is set for each trial'),
    (['--parallel=0'], '--parallel is at least 1'),
    (['--parallel=many'], 'invalid int value'),
])
def test_faults_of_the_command_line(made, tmp_path, flags, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        run(made(GRID.format(values=[1])), tmp_path / 'out', *flags)


def test_trials_are_jobs_of_a_backend():
    kl = sweep_file.load(str(REPOSITORY / 'launch/sweeps/kl.py'))
    trial = trials.new(pathlib.Path('runs/kl'), 3, kl.trials[3])
    here = sweep.commands(kl, [], '')(trial)
    assert here[1:4] == ['-m', 'mathrl.main', '--gin_file=gin/quickstart/rl.gin'] and here[-1] == '--workdir=runs/kl/trials/003'
    assert '--gin.KL_COEF=0.04' in here and "--gin.MODEL='runs/quickstart/sft'" in here
    pod = sweep.commands(kl, ['--backend=tpu_vm', '--tpu=v5e-8'], 'gs://bucket/kl/')(trial)
    assert pod[1:8] == ['-m', 'launch.tpu', '--backend=tpu_vm', '--tpu=v5e-8', '--name=mathrl-kl-003',
                        '--fetch=runs/kl/trials/003', '--go'] and pod[-1] == '--workdir=gs://bucket/kl/003'


def test_examples_load_and_name_macros_that_there_are():
    pytest.importorskip('optuna')
    from mathrl import gin_files
    for name in ('kl', 'search'):
        found = sweep_file.load(str(REPOSITORY / f'launch/sweeps/{name}.py'))
        macros = {**found.macros, **(found.trials[0] if found.trials else {'KL_COEF': 1, 'LEARNING_RATE': 1, 'GROUP_SIZE': 8})}
        assert set(macros) <= set(gin_files.read(list(found.gin_files), []).macros)


def test_a_real_program(tmp_path, capsys):
    """grade, the cheapest that writes a number: an answer in no box is none under EXTRACTION='boxed'."""
    lines = [{'id': str(index), 'problem': '1+1', 'reference': '2', 'output': output}
             for index, output in enumerate(['The answer is 2.', r'\boxed{2}', r'\boxed{3}', 'two'])]
    (tmp_path / 'outputs.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')
    path = tmp_path / 'grading.py'
    path.write_text(f'''
GIN_FILES = ['gin/runs/grade.gin']
MACROS = {{'INPUT': {str(tmp_path / 'outputs.jsonl')!r}, 'WORKERS': 1}}
OBJECTIVE, DIRECTION = 'summary.json:correct', 'maximize'

def trials():
    yield {{'EXTRACTION': 'boxed'}}
    yield {{'EXTRACTION': 'answer'}}
''')
    assert run(str(path), tmp_path / 'out') == 0, capsys.readouterr().out
    assert [trial.value for trial in trials.read(tmp_path / 'out')] == [1, 2]
    path.write_text(path.read_text().replace("'EXTRACTION': 'boxed'", "'EXTRACTIONS': 'boxed'"))
    with pytest.raises(ValueError, match='would not run: .*EXTRACTION'):
        run(str(path), tmp_path / 'other')
