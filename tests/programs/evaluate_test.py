"""The evaluate program: what it writes of a model's answers, and that the numbers belong to them."""
import json

import numpy as np
import pytest
from etils import epath

from mathrl import sharding
from mathrl.programs import evaluate
from mathrl.records import read_jsonl
from mathrl.sampling.filters import Sampling

SAMPLES = 8
SCORES = {'model', 'questions', 'samples', 'temperature', 'accuracy', 'greedy', 'maj@8', 'pass@8', 'intervals',
          'by_language', 'mean_length', 'truncated', 'no_answer'}
MEANS = {'accuracy', 'greedy', 'maj@8', 'pass@8'}


def settings(tiny, workdir, **changed):
    defaults = dict(workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model,
                    mesh=sharding.make_mesh(2, 2, 2), samples=SAMPLES, sampling=Sampling(temperature=0.9), max_tokens=6, batch=6, seed=2,
                    templates=tiny.templates)
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
            assert {'text', 'extracted', 'correct'} <= set(output)


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
    assert 'greedy and 8 samples' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_model_that_is_no_models_folder_is_one_sentence(tiny, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match='has no model.json'):
        evaluate.run(**settings(tiny, tmp_path, model=str(tmp_path)))
