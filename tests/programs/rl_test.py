"""The rl program: killed and started again it ends with the same bits; it needs no TensorFlow; it learns."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.metrics import read_metrics
from mathrl.models.llama import Llama
from mathrl.programs import rl, trained_model
from mathrl.rl import coefficients
from mathrl.rl.rewards import TextReward
from mathrl.rl.step import policy_step
from mathrl.rl.types import Algorithm
from mathrl.sampling import blocks
from mathrl.sampling.filters import Sampling
from mathrl.train import optim
from mathrl.train.loop import Schedule

STEPS = 8
METRICS = {'reward', 'reward_std', 'kl', 'loss', 'length', 'truncated', 'all_equal', 'clip_share', 'entropy',
           'grad_norm', 'ratio', 'seconds', 'rollout_tokens_per_s', 'update_tokens_per_s'}
TIMES = {'seconds', 'tokens_per_s', 'rollout_tokens_per_s', 'update_tokens_per_s'}
ABSENT = ('tensorflow', 'tensorflow_datasets', 'tensorflow_text', 'seqio', 'apache_beam', 'grain', 'array_record')
# A random model is never right: this grader calls half of its outputs so, and takes its time, so that a kill hits.
GRADER = '''
import os, time
from mathrl.problems.types import Verdict

def grade(output, reference, problem):
    time.sleep(float(os.environ['GRADER_SECONDS']))
    return Verdict(sum(map(ord, output)) % 2 == 0, output, 'equal')
'''
RUN = '''
from __gin__ import dynamic_registration
import tiny_grader
from mathrl.problems import prompts
from mathrl.programs import rl
from mathrl.rl import rewards
include 'gin/runs/rl.gin'

STEPS = 8
LEARNING_RATE = 1e-2
GROUP_SIZE = 4
QUESTIONS = 2
MAX_TOKENS = 6
MICRO_BATCHES = 2
SAVE_EVERY = 2
HELDOUT_EVERY = 4
SEED = 5

rewards.rule.grade = @tiny_grader.grade
rl.run.templates = @prompts.Templates()
prompts.Templates.en = '{problem}\\n'
prompts.Templates.zh = '{problem}\\n'
'''


# ---- whole runs, in processes of their own


@pytest.fixture(scope='module')
def start(tiny, compilation_cache, repository, tmp_path_factory):
    """start(workdir, seconds that grading an output takes, modules made absent, environment) -> the process."""
    folder = tmp_path_factory.mktemp('rl_run')
    (folder / 'tiny_grader.py').write_text(GRADER)
    (folder / 'tiny.gin').write_text(RUN)

    def begin(workdir, grader_seconds=0.0, absent=(), **environment):
        program = f'import sys; sys.modules.update(dict.fromkeys({absent!r})); from mathrl import main; main.main()'
        return subprocess.Popen(
            [sys.executable, '-c', program, f'--gin_file={folder / "tiny.gin"}', f'--gin.PROBLEMS={tiny.problems!r}',
             f'--gin.MODEL={tiny.model!r}', f'--gin.HELDOUT={tiny.heldout!r}', f'--workdir={workdir}'],
            cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(repository), str(folder)]), 'JAX_PLATFORMS': 'cpu',
                 'XLA_FLAGS': '--xla_backend_optimization_level=0', 'GRADER_SECONDS': str(grader_seconds),
                 'JAX_COMPILATION_CACHE_DIR': str(compilation_cache),
                 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0', **environment})
    return begin


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope='module')
def uninterrupted(start, tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp('rl') / 'uninterrupted'
    (workdir.parent / 'log.txt').write_text(finish(start(workdir, JAX_LOG_COMPILES='1')))
    return workdir


def lines(workdir):
    path = workdir / 'metrics.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith('}')] if path.exists() else []


def without_times(workdir):
    timeless = lambda line: {name: value for name, value in line.items() if name not in TIMES and 'goodput' not in name}
    return [timeless(line) for line in lines(workdir)]


def saved(workdir):
    """(steps of the checkpoints, digests of every leaf of the last)."""
    with Checkpoints(workdir / 'checkpoints') as checkpoints:
        steps = sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir() if path.name.isdigit())
        return steps, checkpoints.meta(checkpoints.latest())['digests']


def arrays(workdir, tiny):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return jax.device_get(trained_model.open_params(str(workdir), Llama(tiny.config), mesh))


def kill_at(process, workdir, step):
    """SIGKILL as soon as this process has written the step (counted from 0), or a later one, to metrics.jsonl."""
    deadline, before = time.monotonic() + 200, lines(workdir)
    while lines(workdir) == before or not any(line['step'] >= step for line in lines(workdir)):
        assert process.poll() is None, f'it ended before step {step}: {process.communicate()[0]}'
        assert time.monotonic() < deadline, f'step {step} never came'
        time.sleep(0.002)
    assert process.poll() is None, 'the run was over before it could be killed'
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def assert_same_run(workdir, expected, tiny):
    jax.tree.map(np.testing.assert_array_equal, arrays(workdir, tiny), arrays(expected, tiny))
    assert saved(workdir) == saved(expected)
    assert without_times(workdir) == without_times(expected)


def test_run_leaves_a_trained_models_folder(uninterrupted, tiny):
    for name in ('model.json', 'tokenizer.model', 'config.gin', 'metrics.jsonl'):
        assert (uninterrupted / name).stat().st_size > 0
    config, tokenizer = trained_model.open_config(str(uninterrupted))
    assert config == tiny.config and tokenizer.vocab_size == 275
    steps, digests = saved(uninterrupted)
    assert steps[-1] == STEPS and set(digests) == {'params', 'optimizer', 'reference', 'random'}
    before, after = arrays(tiny.model, tiny), arrays(uninterrupted, tiny)
    assert all((x != y).any() for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after))), 'nothing was learnt'
    assert digests['reference'] == saved(epath.Path(tiny.model))[1]['params'], 'the reference is the model as it was'


def test_run_writes_its_metrics(uninterrupted):
    written = read_metrics(uninterrupted / 'metrics.jsonl')
    assert [line['step'] for line in written] == list(range(STEPS))
    assert all(METRICS <= set(line) for line in written)
    assert [line['step'] for line in written if 'accuracy' in line] == [0, 4]
    assert 0 < np.mean([line['reward'] for line in written]) < 1
    assert all(1 <= line['length'] <= 6 and 0 <= line['truncated'] <= 1 for line in written)
    assert written[0]['kl'] == 0 < written[-1]['kl'], 'the first policy is the reference'
    # One update for each rollout: the policy is the one that sampled.
    np.testing.assert_allclose([line['ratio'] for line in written], 1, rtol=1e-5)
    assert all(line['clip_share'] == 0 for line in written)


def test_sampling_and_update_are_compiled_once(uninterrupted):
    log = (uninterrupted.parent / 'log.txt').read_text()
    counts = {name: log.count(f'Compiling jit({name})') for name in ('policy_step', 'begin', 'advance')}
    assert counts['policy_step'] == 1 and counts['begin'] == 2, counts      # held-out problems have more slots than a step
    assert 1 <= counts['advance'] <= 4, counts      # second blocks, of some few numbers of rows


def test_killed_and_started_again_it_ends_with_the_same_bits(start, uninterrupted, tiny, tmp_path):
    kill_at(start(tmp_path, grader_seconds=0.03), tmp_path, step=3)
    kept, (steps, _) = lines(tmp_path), saved(tmp_path)
    assert steps and steps[-1] < STEPS
    finish(start(tmp_path))
    assert_same_run(tmp_path, uninterrupted, tiny)
    assert lines(tmp_path)[:steps[-1]] == kept[:steps[-1]], 'it began anew instead of going on'


@pytest.mark.slow
def test_killed_many_times_it_ends_with_the_same_bits(start, uninterrupted, tiny, tmp_path):
    rng = np.random.default_rng(0)
    for step in (0, 1, 2, 3, 3, 4, 5, 6):
        process = start(tmp_path, grader_seconds=0.03)
        kill_at(process, tmp_path, step)
    for seconds in rng.uniform(0, 6, 6):      # anywhere: importing, restoring, compiling, saving
        process = start(tmp_path, grader_seconds=0.1)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    finish(start(tmp_path))
    assert_same_run(tmp_path, uninterrupted, tiny)


def test_a_finished_run_started_again_changes_nothing(start, uninterrupted, tiny):
    before = (lines(uninterrupted), saved(uninterrupted))
    finish(start(uninterrupted))
    assert (lines(uninterrupted), saved(uninterrupted)) == before


def test_runs_without_tensorflow_seqio_beam_and_grain(start, uninterrupted, tiny, tmp_path):
    output = finish(start(tmp_path, absent=ABSENT))
    assert_same_run(tmp_path, uninterrupted, tiny)
    assert 'rl 8/8' in output


# ---- in this process, on eight devices: four for the batch, more than there are questions


def settings(tiny, workdir, **changed):
    """Arguments of a small run that rewards outputs with a digit."""
    reward = TextReward('digit', lambda problem, output, tokens: float(any(map(str.isdigit, output))))
    defaults = dict(
        workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model, mesh=sharding.make_mesh(2, 2, 2),
        algorithm=Algorithm('policy', reward, coefficients.grpo()),
        optimizer=optim.adamw(optim.constant(1e-2)), schedule=Schedule(steps=12, save_every=100, log_every=1),
        sampling=Sampling(), questions=2, group_size=16, max_tokens=6, templates=tiny.templates, seed=1, config='# a config')
    return defaults | changed


def test_traced_once_and_learns_on_eight_devices(tiny, tmp_path):
    count = lambda: (policy_step._cache_size(), blocks.begin._cache_size())
    before = count()
    rl.run(**settings(tiny, tmp_path))
    assert count() == (before[0] + 1, before[1] + 1)
    rewards = [line['reward'] for line in read_metrics(tmp_path / 'metrics.jsonl')]
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.15, rewards
    with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
        assert checkpoints.meta(12)['config'] == '# a config'


def test_dry_run_prints_and_writes_nothing(tiny, tmp_path, capsys):
    rl.run(**settings(tiny, tmp_path, dry_run=True))
    printed = capsys.readouterr().out
    assert 'embed_VD' in printed and '12 steps of 2 questions x 16 outputs' in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('changed, message', [
    (dict(group_size=1), 'group_size=1: .* at least 2 outputs'),
    (dict(questions=3, group_size=5), '3 questions x 5 outputs do not divide into 1 micro-batches over 4 devices'),
    (dict(micro_batches=3), '2 questions x 16 outputs do not divide into 3 micro-batches over 4 devices'),
    (dict(questions=32), 'holds 16 problems; a step wants 32 different ones'),
    (dict(problems='absent.jsonl'), 'absent.jsonl: there is no such file'),
    (dict(heldout='absent.jsonl'), 'absent.jsonl: there is no such file'),
])
def test_bad_input_is_one_sentence(tiny, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as raised:
        rl.run(**settings(tiny, tmp_path, **changed))
    assert '\n' not in str(raised.value)
    assert not list(tmp_path.iterdir()), 'nothing is written before the input is good'


@pytest.mark.parametrize('make', [lambda folder: folder / 'absent', lambda folder: folder])
def test_model_that_is_no_models_folder_is_one_sentence(tiny, tmp_path, make):
    folder = make(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=f'{folder}.* has no model.json'):
        rl.run(**settings(tiny, tmp_path, model=str(folder)))


def test_model_without_a_checkpoint_is_one_sentence(tiny, tmp_path):
    (tmp_path / 'run').mkdir()
    for name in ('model.json', 'tokenizer.model'):
        (epath.Path(tiny.model) / name).copy(tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError), match='holds no whole checkpoint'):
        rl.run(**settings(tiny, tmp_path / 'run', model=str(tmp_path)))
