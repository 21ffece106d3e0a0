"""The evaluate program: what it writes of a model's answers; the same on any mesh, and after a kill."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.problems import tool_text
from mathrl.problems.python_tool import SandboxUnavailable, ToolResult
from mathrl.programs import evaluate
from mathrl.records import read_jsonl, write_jsonl
from mathrl.sampling.filters import Sampling

SAMPLES = 8
SCORES = {'model', 'questions', 'samples', 'temperature', 'accuracy', 'greedy', 'maj@8', 'pass@8', 'intervals',
          'by_language', 'by_benchmark', 'mean_length', 'truncated', 'no_answer'}
MEANS = {'accuracy', 'greedy', 'maj@8', 'pass@8'}


def settings(tiny, workdir, **changed):
    defaults = dict(workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model,
                    mesh=sharding.make_mesh(2, 2, 2), samples=SAMPLES, sampling=Sampling(temperature=0.9), max_tokens=6,
                    batch=6, seed=2, templates=tiny.templates)
    return defaults | changed


@pytest.fixture(scope='module')
def evaluated(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('evaluate')
    evaluate.run(**settings(tiny, workdir))
    return json.loads((workdir / 'scores.json').read_text()), read_jsonl(workdir / 'samples.jsonl')


def test_scores_have_the_agreed_keys(evaluated, tiny):
    scores, _ = evaluated
    assert SCORES <= set(scores)
    assert (scores['model'], scores['questions']) == (tiny.model, 16)
    assert (scores['samples'], scores['temperature']) == (SAMPLES, 0.9)
    assert set(scores['by_language']) == {'en', 'zh'}
    assert sum(group['questions'] for group in scores['by_language'].values()) == 16
    for group in (scores, *scores['by_language'].values()):
        assert MEANS <= set(group)
    assert all(low <= scores[name] <= high for name, (low, high) in scores['intervals'].items())


def test_samples_have_the_agreed_keys_in_the_order_of_the_problems(evaluated, tiny):
    _, rows = evaluated
    problems = read_jsonl(tiny.problems)
    for name in ('problem', 'answer'):
        assert [row[name] for row in rows] == [each[name] for each in problems]
    for row in rows:
        assert row['language'] == ('zh' if '加' in row['problem'] else 'en')
        assert len(row['outputs']) == SAMPLES
        for output in (row['greedy'], *row['outputs']):
            assert set(output) - {'vote'} == {'text', 'extracted', 'correct', 'reason', 'length', 'truncated'}
        assert row['benchmark'] == 'problems' and row['prompt'] == row['problem'] + '\n'


def test_scores_are_those_of_the_samples(evaluated):
    scores, rows = evaluated
    outputs = [output for row in rows for output in row['outputs']]
    assert scores['accuracy'] == pytest.approx(np.mean([output['correct'] for output in outputs]))
    assert scores['greedy'] == pytest.approx(np.mean([row['greedy']['correct'] for row in rows]))
    assert scores['truncated'] == pytest.approx(np.mean([output['truncated'] for output in outputs]))
    assert scores['mean_length'] == pytest.approx(np.mean([output['length'] for output in outputs]))
    assert len({output['text'] for output in outputs}) > 20


def test_limit_takes_the_first_problems_and_leaves_their_answers_as_they_are(evaluated, tiny, tmp_path):
    evaluate.run(**settings(tiny, tmp_path, limit=6))
    assert read_jsonl(tmp_path / 'samples.jsonl') == evaluated[1][:6]


def test_dry_run_prints_and_writes_nothing(tiny, tmp_path, capsys):
    evaluate.run(**settings(tiny, tmp_path, dry_run=True))
    assert 'zero_shot_cot, 0 shots) by' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_model_that_is_no_models_folder_is_one_sentence(tiny, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match='has no model.json'):
        evaluate.run(**settings(tiny, tmp_path, model=str(tmp_path)))


# ---- benchmarks


@pytest.fixture(scope='module')
def published(tiny, tmp_path_factory) -> str:
    """A folder with two benchmarks in their published formats, which the tiny tokenizer can spell."""
    folder = tmp_path_factory.mktemp('benchmarks')
    rows = read_jsonl(tiny.problems)
    write_jsonl(folder / 'gsm8k.jsonl', [{'question': row['problem'], 'answer': f"#### {row['answer']}"} for row in rows[4:8]])
    write_jsonl(folder / 'math.jsonl', [{'problem': row['problem'], 'solution': f"\\boxed{{{row['answer']}}}",
                                         'level': f"Level {1 + number % 2}"} for number, row in enumerate(rows[:4])])
    return str(folder)


def several(tiny, published, workdir, **changed):
    changed = dict(problems='', data=published, benchmarks=[('gsm8k', 'gsm8k.jsonl'), ('math', 'math.jsonl')], samples=2,
                   batch=2) | changed
    return settings(tiny, workdir, **changed)


@pytest.fixture(scope='module')
def two(tiny, published, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('two')
    evaluate.run(**several(tiny, published, workdir))
    return workdir


def results(workdir) -> dict[str, bytes]:
    return {name: (workdir / name).read_bytes() for name in ('samples.jsonl', 'scores.json', 'table.md')}


def test_benchmarks_share_a_table(two):
    scores, rows = json.loads((two / 'scores.json').read_text()), read_jsonl(two / 'samples.jsonl')
    assert [row['benchmark'] for row in rows] == ['gsm8k'] * 4 + ['math'] * 4
    assert [row['level'] for row in rows] == [''] * 4 + ['Level 1', 'Level 2'] * 2
    assert set(scores['by_benchmark']) == {'gsm8k', 'math'} and scores['by_benchmark']['math']['questions'] == 4
    assert scores['protocols']['math'] == {'protocol': 'zero_shot_cot', 'shots': 0, 'prompts_with_fewer': 0}
    table = (two / 'table.md').read_text().splitlines()
    assert table[0] == '| protocol | score | GSM8K | MATH |' and table[2] == '|  | problems | 4 | 4 |'
    assert {line.split(' | ')[1] for line in table[3:]} == {'greedy', 'accuracy', 'maj@2', 'pass@2'}


def test_one_device_gives_the_same_numbers_as_eight(tiny, published, two, tmp_path):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    evaluate.run(**several(tiny, published, tmp_path, mesh=mesh, batch=3))
    assert results(tmp_path) == results(two)


def test_a_benchmark_alone_is_answered_as_beside_others(tiny, published, two, tmp_path):
    evaluate.run(**several(tiny, published, tmp_path, benchmarks=[('math', 'math.jsonl')]))
    assert read_jsonl(tmp_path / 'samples.jsonl') == read_jsonl(two / 'samples.jsonl')[4:]


def test_few_shot_prompts_are_asked(tiny, published, tmp_path):
    (tmp_path / 'shown.jsonl').write_text(json.dumps({'problem': '1+1=?', 'solution': '1+1=2', 'answer': '2'}) + '\n')
    evaluate.run(**several(tiny, published, tmp_path / 'run', benchmarks=[('gsm8k', 'gsm8k.jsonl')], protocol='few_shot_cot',
                           exemplars={'gsm8k': str(tmp_path / 'shown.jsonl')}, samples=0))
    rows = read_jsonl(tmp_path / 'run' / 'samples.jsonl')
    assert all(row['prompt'].startswith('Question: 1+1=?\nAnswer: 1+1=2 The answer is 2.\n\nQuestion:') for row in rows)
    scores = json.loads((tmp_path / 'run' / 'scores.json').read_text())
    assert 'greedy' in scores and 'accuracy' not in scores and scores['protocols']['gsm8k']['shots'] == 1


def test_a_list_that_has_grown_keeps_what_was_answered(tiny, published, two, tmp_path, called):
    """Also where a benchmark comes twice now, so that its label changes."""
    shutil.copytree(two, tmp_path / 'run')
    more = [('gsm8k', 'gsm8k.jsonl'), ('math', 'math.jsonl'), ('gsm8k', 'gsm8k.jsonl', 'zero_shot_tir')]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'run').glob('answers/*/*.jsonl')}
    evaluate.run(**several(tiny, published, tmp_path / 'run', benchmarks=more))
    assert len(before) == 4 and {path: path.stat().st_mtime_ns for path in before} == before
    texts = lambda folder: [row['outputs'] for row in read_jsonl(folder / 'samples.jsonl')[:8]]
    assert texts(tmp_path / 'run') == texts(two)
    assert read_jsonl(tmp_path / 'run' / 'samples.jsonl')[0]['benchmark'] == 'gsm8k.zero_shot_cot'


# ---- stopped and started again


class Killed(Exception):
    pass


@pytest.mark.parametrize('batches', [0, 1, 3])
def test_stopped_between_batches_it_goes_on_and_ends_with_the_same_bytes(tiny, published, two, tmp_path, monkeypatch, batches):
    graded_rows, graded = evaluate._graded_rows, []

    def stopping(*given):
        if len(graded) == batches:
            raise Killed
        graded.append(1)
        return graded_rows(*given)
    monkeypatch.setattr(evaluate, '_graded_rows', stopping)
    with pytest.raises(Killed):
        evaluate.run(**several(tiny, published, tmp_path))
    assert not (tmp_path / 'scores.json').exists()
    monkeypatch.setattr(evaluate, '_graded_rows', lambda *given: graded.append(1) or graded_rows(*given))
    evaluate.run(**several(tiny, published, tmp_path))
    assert results(tmp_path) == results(two)
    assert len(graded) == 4, 'each of the four batches was graded once'


def test_a_finished_evaluation_started_again_generates_nothing(tiny, published, two, tmp_path, monkeypatch):
    shutil.copytree(two, tmp_path / 'run')
    monkeypatch.setattr(evaluate, '_answers', None)
    before = results(tmp_path / 'run')
    evaluate.run(**several(tiny, published, tmp_path / 'run'))
    assert results(tmp_path / 'run') == before


@pytest.mark.parametrize('changed, named', [
    (dict(samples=3), 'samples 2 then, 3 now'), (dict(seed=3), 'seed 2 then, 3 now'),
    (dict(max_tokens=7), 'max_tokens 6 then, 7 now'), (dict(limit=3), 'problems 4 then, 3 now'),
    (dict(sampling=Sampling(temperature=0.5)), "sampling {'temperature': 0.9"),
])
def test_answers_under_other_settings_are_refused(tiny, published, two, changed, named, monkeypatch):
    monkeypatch.setattr(evaluate.trained_model, 'open_params', None)     # before the parameters are read
    with pytest.raises(ValueError, match=named):
        evaluate.run(**several(tiny, published, two, **changed))


RUN = '''
from __gin__ import dynamic_registration
from mathrl.problems import prompts
from mathrl.programs import evaluate
include 'gin/runs/evaluate.gin'

SAMPLES = 2
TEMPERATURE = 0.9
MAX_TOKENS = 6
SEED = 2
evaluate.run.workers = 1
evaluate.run.templates = @prompts.Templates()
prompts.Templates.en = '{problem}\\n'
prompts.Templates.zh = '{problem}\\n'
'''


@pytest.mark.slow
def test_killed_at_any_time_it_ends_with_the_same_bytes(tiny, published, two, tmp_path, compilation_cache, repository):
    (tmp_path / 'run.gin').write_text(RUN)
    workdir = tmp_path / 'run'

    def start():
        return subprocess.Popen(
            [sys.executable, '-m', 'mathrl.main', f'--gin_file={tmp_path / "run.gin"}', f'--gin.MODEL={tiny.model!r}',
             f"--gin.BENCHMARKS={[('gsm8k', 'gsm8k.jsonl'), ('math', 'math.jsonl')]!r}", f'--gin.DATA={published!r}',
             '--gin.BATCH=1', f'--workdir={workdir}'], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'PYTHONPATH': str(repository), 'JAX_PLATFORMS': 'cpu',
                 'XLA_FLAGS': '--xla_backend_optimization_level=0', 'JAX_DEFAULT_MATMUL_PRECISION': 'highest',
                 'JAX_COMPILATION_CACHE_DIR': str(compilation_cache), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'})

    def finished():
        return sorted(str(path) for path in workdir.glob('answers/*/*.jsonl'))
    for wanted in (0, 2, 5):        # batches on disk, of eight
        process, deadline = start(), time.monotonic() + 200
        while len(finished()) < wanted or not (workdir / 'config.gin').exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert process.poll() is None, 'it was over before it could be killed'
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not (workdir / 'scores.json').exists()
    kept = {path: os.stat(path).st_mtime_ns for path in finished()}
    assert len(kept) >= 5
    output, _ = (process := start()).communicate(timeout=300)
    assert process.returncode == 0, output
    assert {path: os.stat(path).st_mtime_ns for path in kept} == kept, 'finished batches were written again'
    assert results(workdir) == results(two)


# ---- programs that the model writes


class Tool:
    """Stands for PythonTool: every program prints 5."""
    started = 0

    def __init__(self, **unused):
        pass

    def __enter__(self):
        Tool.started += 1
        return self

    def __exit__(self, *unused):
        pass

    def run_all(self, programs):
        return [ToolResult('5\n', 'ok', 0.01) for _ in programs]


@pytest.fixture
def called(monkeypatch):
    """A random model calls no tool: here the first digit that it writes is a call."""
    def call(text):
        digits = [place for place, character in enumerate(text) if character.isdigit()]
        return text[:digits[0] + 1] if digits else None
    monkeypatch.setattr(tool_text, 'first_open_call', call)
    monkeypatch.setattr(tool_text, 'code_blocks', lambda text: [text])
    monkeypatch.setattr(Tool, 'started', 0)
    monkeypatch.setattr(evaluate, 'PythonTool', Tool)


def test_tools_are_started_once_and_their_output_is_in_the_text(tiny, published, tmp_path, called):
    (tmp_path / 'shown.jsonl').write_text(json.dumps({'problem': '1+1=?', 'solution': 'print(1+1)', 'answer': '2'}) + '\n')
    changed = dict(benchmarks=[('gsm8k', 'gsm8k.jsonl', 'zero_shot_tir'), ('math', 'math.jsonl'),
                               ('gsm8k', 'gsm8k.jsonl', 'few_shot_pot')],
                   exemplars={'gsm8k.few_shot_pot': str(tmp_path / 'shown.jsonl')}, tool_rounds=1, max_tokens=24)
    evaluate.run(**several(tiny, published, tmp_path / 'eight', **changed))
    evaluate.run(**several(tiny, published, tmp_path / 'one', **changed, mesh=sharding.make_mesh(devices=jax.devices()[:1])))
    assert Tool.started == 2 and results(tmp_path / 'eight') == results(tmp_path / 'one')
    rows = read_jsonl(tmp_path / 'one' / 'samples.jsonl')
    texts = {label: [output['text'] for row in rows if row['benchmark'] == label for output in row['outputs']]
             for label in ('gsm8k.zero_shot_tir', 'gsm8k.few_shot_pot', 'math')}
    assert any('```output\n5\n```' in text for text in texts['gsm8k.zero_shot_tir'])
    assert all(text.startswith('```python\n') and text.endswith('```output\n5\n```\n') for text in texts['gsm8k.few_shot_pot'])
    assert not any('```' in text for text in texts['math'])
    programs = [row for row in rows if row['benchmark'] == 'gsm8k.few_shot_pot']
    assert all(row['greedy']['extracted'] == '5' and row['greedy']['correct'] == (row['answer'] == '5') for row in programs)
    assert {row['greedy']['correct'] for row in programs} == {True, False}


def test_without_a_sandbox_nothing_is_generated(tiny, published, tmp_path, monkeypatch):
    class Missing(Tool):
        def __enter__(self):
            raise SandboxUnavailable('there is no bwrap')
    monkeypatch.setattr(evaluate, 'PythonTool', Missing)
    monkeypatch.setattr(evaluate, '_answers', None)
    with pytest.raises(ValueError, match='programs that a model writes cannot be run here: there is no bwrap'):
        evaluate.run(**several(tiny, published, tmp_path, protocol='zero_shot_tir'))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('changed, message', [
    (dict(problems='p.jsonl'), 'must be set: both are'),
    (dict(benchmarks=[]), 'must be set: none is'),
    (dict(benchmarks=[('gsm8k', 'absent.jsonl')]), 'absent.jsonl: there is no such file'),
    (dict(benchmarks=[('gsm8k', 'math.jsonl')]), 'math.jsonl line 1: a row of gsm8k has the fields question'),
    (dict(protocol='few_shot_pot', benchmarks=[('sat', 'gsm8k.jsonl')]), "no exemplars for 'sat'"),
    (dict(max_tokens=64, context=65), 'problem 1 .* takes . tokens as a prompt'),
    (dict(max_tokens=64, context=64), 'context=64: .* room for a prompt'),
    (dict(samples=-1), 'samples=-1'),
])
def test_bad_input_is_one_sentence_before_anything_is_written(tiny, published, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as raised:
        evaluate.run(**several(tiny, published, tmp_path, **changed))
    assert '\n' not in str(raised.value) and not list(tmp_path.iterdir())
