"""JSONL: what is written is read back, and every fault is one sentence with file, line and field."""
import json

import pytest

from mathrl import records

ROWS = [{'problem': '1+1?', 'answer': '2'},
        {'problem': '小明有\u2028三本书\n', 'answer': '\\frac{1}{2}', 'more': [1, None]}]


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / 'rows.jsonl'
    assert records.write_jsonl(path, iter(ROWS)) == 2
    assert records.read_jsonl(path) == ROWS and list(tmp_path.iterdir()) == [path]
    assert list(records.numbered_rows(path)) == [(1, ROWS[0]), (2, ROWS[1])]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'rows.jsonl'
    records.write_jsonl(path, ROWS)

    def rows():
        yield ROWS[0]
        raise KeyError('broken')
    with pytest.raises(KeyError):
        records.write_jsonl(path, rows())
    assert records.read_jsonl(path) == ROWS
    assert [one.name for one in tmp_path.iterdir()] == ['rows.jsonl']


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    path = tmp_path / 'rows.jsonl'
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": 2}')
    assert list(records.numbered_rows(path, ('a',))) == [(1, {'a': 1}), (4, {'a': 2})]


@pytest.mark.parametrize('line, wanted', [
    (b'{"problem": "1+1?"}', "line 2: field 'answer' is missing; it has: problem"),
    (b'{"problem": ', 'line 2 is not JSON (Expecting value)'),
    (b'[1, 2]', 'line 2 is a list; an object'),
    (b'null', 'line 2 is null; an object'),
    (b'"text"', 'line 2 is a string; an object'),
    (b'\xff\xfe{', 'line 2: byte 1 (0xff) is not UTF-8'),
    ('{"problem": "é"}'.encode('latin-1'), 'line 2: byte 14 (0xe9) is not UTF-8'),
    (b'{"problem": "\\ud800", "answer": "1"}', 'line 2: a \\ud... escape is half a character'),
    (b'[' * 100_000, 'line 2 is not JSON (nested too deep'),
    (b'{"problem": ' + b'9' * 5000 + b'}', 'line 2 is not JSON'),
])
def test_a_bad_line_is_one_sentence(tmp_path, line, wanted):
    path = tmp_path / 'rows.jsonl'
    path.write_bytes(json.dumps(ROWS[0]).encode() + b'\n' + line + b'\n')
    with pytest.raises(ValueError) as error:
        records.read_jsonl(path)
    assert f'{path} {wanted}' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('content, wanted', [(None, 'no such file'), (b'', 'is empty'), (b'\n\n', 'is empty')])
def test_no_rows_is_one_sentence(tmp_path, content, wanted):
    path = tmp_path / 'rows.jsonl'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{wanted}.*'problem', 'answer'") as error:
        records.read_jsonl(path)
    assert str(path) in str(error.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match='is a folder'):
        records.read_jsonl(tmp_path)


def test_the_real_files_are_read(shared):
    path = shared / 'data/problems/gsm8k_train.jsonl'
    assert len(records.read_jsonl(path, ('problem', 'answer', 'solution'))) == 7473
    with pytest.raises(ValueError, match="line 1: field 'answer' is missing"):
        records.read_jsonl(shared / 'data/problems/minif2f_validation.jsonl')
