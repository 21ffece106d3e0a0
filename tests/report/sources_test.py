"""mathrl/report/sources.py: what a run's and an evaluation's folder hold; what is wrong with one is one sentence."""
import json
import math

import pytest

from mathrl.report import sources


def test_series_of_a_run_with_gaps(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "loss": 2.0, "accuracy": 0.5}\n{"step": 1, "loss": "NaN"}\n'
                                            '{"step": 2, "loss": "Infinity", "accuracy": 0.75}\n{"step": 3, "lo')
    run = sources.read_run('rl', tmp_path)
    steps, values = run.series['loss']
    assert steps == [0, 1, 2] and values[0] == 2.0 and math.isnan(values[1]) and math.isnan(values[2])
    assert run.series['accuracy'] == ([0, 2], [0.5, 0.75])
    assert run.config == ''


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"run 'rl': .*metrics.jsonl does not exist"):
        sources.read_run('rl', tmp_path)
    with pytest.raises(ValueError, match=r"evaluation 'sft': .*scores.json does not exist"):
        sources.read_evaluation('sft', tmp_path / 'none')
    with pytest.raises(ValueError, match='stages.json does not exist'):
        sources.read_stages(tmp_path)


@pytest.mark.parametrize('text', ['', '[]', '{"questions": 1}', 'null', '{"questions": 1, "samples": 1, '
                                  '"temperature": 1, "by_language": 3}'])
def test_what_is_not_scores_is_refused(tmp_path, text):
    (tmp_path / 'scores.json').write_text(text)
    with pytest.raises(ValueError, match='is not the scores of an evaluation'):
        sources.read_evaluation('sft', tmp_path)


def test_scores_without_a_score_are_refused(tmp_path):
    (tmp_path / 'scores.json').write_text(json.dumps(
        {'questions': 1, 'samples': 1, 'temperature': 1.0, 'by_language': {}}))
    with pytest.raises(ValueError, match='holds no accuracy'):
        sources.read_evaluation('sft', tmp_path)


def test_stages_and_their_seconds(tmp_path):
    (tmp_path / 'stages.json').write_text('{"stages": [{"name": "sft", "seconds": 3.5, "state": "done"}, '
                                          '{"name": "report", "seconds": null, "state": "running"}]}')
    assert sources.read_stages(tmp_path) == [('sft', 3.5), ('report', 0.0)]
    (tmp_path / 'stages.json').write_text('{"stages": [{"name": "sft"}]}')
    with pytest.raises(ValueError, match='not the record of a stages run'):
        sources.read_stages(tmp_path)
