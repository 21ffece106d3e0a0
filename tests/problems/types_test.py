"""Problems from JSONL."""
import json

import pytest

from mathrl.problems.types import Problem, read_problems


def _file(tmp_path, *rows):
    path = tmp_path / 'problems.jsonl'
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return path


def test_fields_and_their_defaults(tmp_path):
    path = _file(tmp_path, {'problem': 'p', 'answer': 2, 'benchmark': 'gsm8k', 'id': 7},
                 {'problem': 'p', 'answer': 'a', 'source': 's', 'solution': 'w'})
    assert read_problems(path) == [Problem('p', '2', 'gsm8k', ''), Problem('p', 'a', 's', 'w')]


@pytest.mark.parametrize('row, wanted', [
    ({'problem': ['p'], 'answer': '1'}, r"line 2: field 'problem' is \['p'\]; text was wanted"),
    ({'problem': 'p', 'answer': True}, "line 2: field 'answer' is True; text was wanted"),
    ({'problem': 'p', 'answer': ['1']}, "line 2: field 'answer' is .*; text was wanted"),
    ({'problem': ' ', 'answer': '1'}, "line 2: field 'problem' is empty"),
    ({'problem': 'p', 'answer': '1', 'solution': 3}, "line 2: field 'solution' is 3; text was wanted"),
    ({'problem': 'p'}, "line 2: field 'answer' is missing"),
])
def test_a_bad_field_is_named_with_its_line(tmp_path, row, wanted):
    with pytest.raises(ValueError, match=wanted):
        read_problems(_file(tmp_path, {'problem': 'p', 'answer': '1'}, row))


def test_problems_without_an_answer_are_left_out_and_counted(tmp_path, caplog):
    path = _file(tmp_path, {'problem': 'p', 'answer': '1'}, {'problem': 'q', 'answer': None},
                 {'problem': 'r', 'answer': ''})
    assert read_problems(path) == [Problem('p', '1')]
    assert 'left out 2 problems without an answer, the first in line 2' in caplog.text
    with pytest.raises(ValueError, match='none of its 1 problems has an answer'):
        read_problems(_file(tmp_path, {'problem': 'q', 'answer': None}))


def test_every_shared_file_with_answers_is_read(shared):
    for path in sorted((shared / 'data/problems').glob('*.jsonl')):
        if 'minif2f' not in path.name:
            assert all(problem.source for problem in read_problems(path))
