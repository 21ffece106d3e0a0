"""Finished problems on disk: what is kept survives a kill, what is torn is done again, other settings are refused."""
import pytest

from mathrl.evaluation.answer_files import AnswerFiles

SETTINGS = {'model': 'abc', 'stop': ('\n',), 'sampling': {'temperature': 1.0}}


def rows(*numbers):
    return [{'problem': f'{number} 是多少？\u2028', 'greedy': {'text': '\n'}, 'outputs': []} for number in numbers]


def test_rows_come_back_in_order(tmp_path):
    files = AnswerFiles(tmp_path / 'answers/gsm8k', SETTINGS)
    assert files.rows == []
    files.append(rows(0, 1, 2))
    files.append(rows(3))
    assert files.rows == rows(0, 1, 2, 3) == AnswerFiles(tmp_path / 'answers/gsm8k', SETTINGS).rows


def test_a_batch_of_another_size_follows(tmp_path):
    AnswerFiles(tmp_path, SETTINGS).append(rows(0, 1, 2))
    AnswerFiles(tmp_path, SETTINGS).append(rows(3, 4))
    assert AnswerFiles(tmp_path, SETTINGS).rows == rows(0, 1, 2, 3, 4)


@pytest.mark.parametrize('kept', [0, 1, 40, -1, -20])
def test_a_torn_batch_is_done_again(tmp_path, kept):
    files = AnswerFiles(tmp_path, SETTINGS)
    files.append(rows(0, 1))
    files.append(rows(2, 3))
    last = sorted(tmp_path.glob('*.jsonl'))[-1]
    last.write_bytes(last.read_bytes()[:kept] if kept else b'')
    again = AnswerFiles(tmp_path, SETTINGS)
    assert again.rows == (rows(0, 1, 2, 3) if kept == -1 else rows(0, 1))
    if kept != -1:
        again.append(rows(2, 3))
        assert AnswerFiles(tmp_path, SETTINGS).rows == rows(0, 1, 2, 3)


def test_a_file_that_was_being_written_counts_for_nothing(tmp_path):
    AnswerFiles(tmp_path, SETTINGS).append(rows(0))
    (tmp_path / '0000001.jsonl.partial').write_text('{"problem"')
    assert AnswerFiles(tmp_path, SETTINGS).rows == rows(0)


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path):
    AnswerFiles(tmp_path, SETTINGS).append(rows(0))
    with pytest.raises(ValueError, match=r"under other settings \(model 'abc' then, 'abd' now\): take another --workdir"):
        AnswerFiles(tmp_path, SETTINGS | {'model': 'abd'})
    with pytest.raises(ValueError, match='seed None then, 1 now'):
        AnswerFiles(tmp_path, SETTINGS | {'seed': 1})
    assert AnswerFiles(tmp_path, SETTINGS).rows == rows(0)


def test_settings_that_cannot_be_read_are_refused(tmp_path):
    AnswerFiles(tmp_path, SETTINGS).append(rows(0))
    (tmp_path / 'settings.json').write_text('{')
    with pytest.raises(ValueError, match='settings.json is no JSON any more'):
        AnswerFiles(tmp_path, SETTINGS)
