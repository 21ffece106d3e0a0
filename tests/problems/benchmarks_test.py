"""Benchmarks from their published formats; what is wrong with a file is one sentence."""
import json
import logging
import sys
import types

import pytest

from mathrl.problems.benchmarks import BENCHMARKS, read_benchmark, with_options
from mathrl.problems.types import Problem

OPTIONS = ['(A)4', '(B)5', '(C)6', '(D)7']
ASKED = 'Which?\n(A) 4\n(B) 5\n(C) 6\n(D) 7'
PUBLISHED = [
    ('gsm8k', {'question': 'How many?', 'answer': '600 + 634 = <<600+634=1234>>1234 pens\n#### 1,234'},
     Problem('How many?', '1234', 'gsm8k', '600 + 634 = <<600+634=1234>>1234 pens')),
    ('math', {'problem': 'Half?', 'solution': 'It is $\\boxed{\\frac{1}{2}}$.', 'level': 'Level 3', 'type': 'Algebra'},
     Problem('Half?', '\\frac{1}{2}', 'math', 'It is $\\boxed{\\frac{1}{2}}$.', 'Level 3')),
    ('math', {'problem': 'Two?', 'solution': 'Not $\\boxed{1}$. So our answer is $\\boxed 2$.'},
     Problem('Two?', '2', 'math', 'Not $\\boxed{1}$. So our answer is $\\boxed 2$.')),
    ('math500', {'problem': 'Half?', 'solution': 'So $0.5$.', 'answer': '\\frac12', 'subject': 'Algebra', 'level': 2,
                 'unique_id': 'test/algebra/1.json'}, Problem('Half?', '\\frac12', 'math500', 'So $0.5$.', 'Level 2')),
    ('sat', {'passage': None, 'question': 'Which?', 'options': OPTIONS, 'label': 'B', 'answer': None, 'other': {}},
     Problem(ASKED, 'B', 'sat')),
    ('ocw', {'problem': 'What?', 'solution': 'As told.', 'answer': '1e-3'},
     Problem('What?', '1 \\times 10^{-3}', 'ocw', 'As told.')),
    ('ocw', {'problem': 'What?', 'solution': 'So \\boxed{7}.', 'idx': 0}, Problem('What?', '7', 'ocw', 'So \\boxed{7}.')),
    ('ocw', {'problem': 'What?', 'solution': '', 'answer': '-4.5e+33', 'id': '1'},
     Problem('What?', '-4.5 \\times 10^{33}', 'ocw')),
    ('ocw', {'problem': 'What?', 'solution': '', 'answer': 'np.arcsin(10/13)'}, Problem('What?', 'arcsin(10/13)', 'ocw')),
    ('mmlu_stem', {'question': 'Which?', 'subject': 'machine_learning', 'choices': ['4', '5', '6', '7'], 'answer': 2},
     Problem(ASKED, 'C', 'mmlu_stem', '', 'machine_learning')),
    ('mmlu_stem', {'question': 'Which?', 'choices': ['4', '5', '6', '7'], 'answer': 'D'}, Problem(ASKED, 'D', 'mmlu_stem')),
    ('mmlu_stem', {'question': 'Which?', 'options': ['4', '5', '6', '7'], 'answer': 'B', 'topic': 'astronomy', 'id': 7},
     Problem(ASKED, 'B', 'mmlu_stem', '', 'astronomy')),
    ('mmlu_stem', {'question': 'Which?', 'A': 4, 'B': '5', 'C': '6', 'D': '7', 'target': 'A'}, Problem(ASKED, 'A', 'mmlu_stem')),
    ('cmath', {'question': '几个？', 'golden': '9', 'grade': 1, 'reasoning_step': 1},
     Problem('几个？', '9', 'cmath', '', 'grade 1')),
    ('cmath', {'grade': 6, 'input': '几个？', 'golden': '9', 'reasoning_step': 1},
     Problem('几个？', '9', 'cmath', '', 'grade 6')),
    ('mgsm_zh', {'question': '几个？', 'answer': None, 'answer_number': 18, 'equation_solution': None},
     Problem('几个？', '18', 'mgsm_zh')),
    ('gaokao_mathcloze', {'passage': None, 'question': '值为', 'options': None, 'label': None, 'answer': '$\\frac12$'},
     Problem('值为', '$\\frac12$', 'gaokao_mathcloze')),
    ('gaokao_mathqa', {'question': 'Which?\\\\\n', 'options': OPTIONS, 'label': 'D', 'answer': None},
     Problem(ASKED, 'D', 'gaokao_mathqa')),
    ('aime', {'id': 60, 'problem': 'Find m+n.', 'solution': '', 'answer': '073', 'year': '2024'},
     Problem('Find m+n.', '073', 'aime')),
    ('aime', {'ID': '2024-I-1', 'Problem': 'Find m+n.', 'Solution': 'Long.', 'Answer': 73}, Problem('Find m+n.', '73', 'aime')),
    ('aime', {'question': 'Find m+n.', 'answer': '73'}, Problem('Find m+n.', '73', 'aime')),
    ('amc', {'problem': 'Find it.', 'answer': 142.0, 'url': 'there'}, Problem('Find it.', '142', 'amc')),
]


def write(tmp_path, *rows):
    path = tmp_path / 'rows.jsonl'
    path.write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), encoding='utf-8')
    return str(path)


@pytest.mark.parametrize('name, row, problem', PUBLISHED, ids=lambda value: value if isinstance(value, str) else '')
def test_published_formats(tmp_path, name, row, problem):
    assert read_benchmark(name, write(tmp_path, row)) == [problem]


@pytest.mark.parametrize('name', BENCHMARKS)
def test_every_benchmark_is_read_in_our_own_format_too(tmp_path, name):
    [problem] = read_benchmark(name, write(tmp_path, {'problem': 'Which?\n', 'answer': 'A', 'solution': 'Look.'}))
    assert problem == Problem('Which?', 'A', name, 'Look.')


def test_every_benchmark_has_a_published_row_here():
    assert {name for name, *_ in PUBLISHED} == set(BENCHMARKS)


@pytest.mark.parametrize('options', [['4', '5'], ['(A)4', '(B) 5'], ['A. 4', 'B.5'], ['A．4', 'B、5'], ['（A）4', '(B)5']])
def test_options_come_with_or_without_letters(options):
    assert with_options('q', options) == 'q\n(A) 4\n(B) 5'


def test_an_option_that_only_looks_like_a_letter_stays():
    assert with_options('q', ['A + B', 'B']) == 'q\n(A) A + B\n(B) B'


@pytest.mark.parametrize('name, row, wanted', [
    ('gsm8k', {'question': 'q', 'answer': '5'}, r"line 2: field 'answer' is '5'; a worked answer ending in '#### '"),
    ('gsm8k', {'question': 'q', 'answer': 'so 5\n#### '}, r"line 2: field 'answer' is .*ending in '#### '"),
    ('gsm8k', {'question': 'q', 'reply': '5'}, r'line 2: a row of gsm8k has the fields question \+ answer or problem \+ '
                                               'answer; this one has: question, reply'),
    ('math', {'problem': 'q', 'solution': 'So 5.'}, r"line 2: field 'solution' ends in 'So 5.'; a \\boxed\{answer\} was"),
    ('math', {'problem': ' ', 'solution': '\\boxed{5}'}, r"line 2: field 'problem' is ' '; text was wanted"),
    ('sat', {'question': 'q', 'options': OPTIONS, 'label': 'E'}, "line 2: field 'label' is 'E'; .* A to D"),
    ('sat', {'question': 'q', 'options': OPTIONS, 'label': 4}, "line 2: field 'label' is 4; .* A to D"),
    ('sat', {'question': 'q', 'options': 'ABCD', 'label': 'A'}, "line 2: field 'options' is 'ABCD'; a list of 2 to 10"),
    ('cmath', {'question': 'q', 'golden': True}, "line 2: field 'golden' is True; text was wanted"),
    ('mgsm_zh', {'question': 'q', 'answer_number': [1]}, r"line 2: field 'answer_number' is \[1\]; text was wanted"),
    ('aime', {'problem': 3, 'answer': 1}, "line 2: field 'problem' is 3; text was wanted"),
])
def test_a_bad_row_is_one_sentence_with_its_line(tmp_path, name, row, wanted):
    good = next(published for known, published, _ in PUBLISHED if known == name)
    with pytest.raises(ValueError, match=wanted) as raised:
        read_benchmark(name, write(tmp_path, good, row))
    assert '\n' not in str(raised.value) and 'rows.jsonl' in str(raised.value)


@pytest.mark.parametrize('content, wanted', [
    (b'', 'the file is empty'),
    (b'{"question": "\xb6\xd4", "golden": "1"}\n', r'line 1: byte 15 \(0xb6\) is not UTF-8'),
    (b'{"question": \n', 'line 1 is not JSON'),
    (b'["q", 1]\n', 'line 1 is a list; an object'),
    (b'{"question": "q", "golden": null}\n', 'none of its rows is a problem of cmath with an answer'),
])
def test_a_bad_file_is_one_sentence(tmp_path, content, wanted):
    (tmp_path / 'rows.jsonl').write_bytes(content)
    with pytest.raises(ValueError, match=wanted) as raised:
        read_benchmark('cmath', str(tmp_path / 'rows.jsonl'))
    assert '\n' not in str(raised.value)


def test_mgsm_is_published_with_tabs(tmp_path):
    path = tmp_path / 'mgsm_zh.tsv'
    path.write_bytes('\ufeff"一"个？\t18\r\n几个？\t57,500\n'.encode())
    assert read_benchmark('mgsm_zh', str(path)) == [Problem('"一"个？', '18', 'mgsm_zh'), Problem('几个？', '57,500', 'mgsm_zh')]
    for line, wanted in ((b'q\n', r"line 2 is b'q.n'; a question, a tab and its answer in UTF-8 were wanted"),
                         (b'q\t1\t2\n', 'line 2 is'), (b'\xb6\xd4\t1\n', 'line 2 is'),
                         (b'\t1\n', "line 2: field 'question' is ''; text was wanted")):
        path.write_bytes(b'q\t1\n' + line)
        with pytest.raises(ValueError, match=wanted):
            read_benchmark('mgsm_zh', str(path))
    with pytest.raises(ValueError, match='absent.tsv: there is no such file; lines of a question'):
        read_benchmark('mgsm_zh', str(tmp_path / 'absent.tsv'))


def test_missing_file_and_unknown_benchmark(tmp_path):
    with pytest.raises(ValueError, match='there is no such file'):
        read_benchmark('math', str(tmp_path / 'absent.jsonl'))
    with pytest.raises(ValueError, match="no benchmark 'gsm8'; there are: gsm8k, math"):
        read_benchmark('gsm8', 'x.jsonl')


def test_other_subjects_of_mmlu_and_rows_without_an_answer_are_left_out_and_counted(tmp_path, caplog):
    row = {'question': 'q', 'choices': ['4', '5'], 'answer': 0}
    rows = [row | {'subject': 'philosophy'}, row | {'subject': 'astronomy'},
            row | {'subject': 'college_physics', 'answer': None}, row | {'subject': 'sociology'}]
    with caplog.at_level(logging.WARNING):
        assert [problem.level for problem in read_benchmark('mmlu_stem', write(tmp_path, *rows))] == ['astronomy']
    assert 'left out 2 problems (a subject outside STEM), the first in line 1' in caplog.text
    assert 'left out 1 problems (no answer), the first in line 3' in caplog.text


def test_tfds_gives_the_published_rows(monkeypatch):
    asked = []
    rows = [{'question': b'How many?', 'answer': b'1+1=2\n#### 2', 'short_answer': b'2'}]
    module = types.SimpleNamespace(load=lambda *args, **kwargs: asked.append((args, kwargs)) or rows, as_numpy=iter)
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', module)
    assert read_benchmark('gsm8k', 'tfds:gsm8k:test') == [Problem('How many?', '2', 'gsm8k', '1+1=2')]
    assert asked == [(('gsm8k',), {'split': 'test', 'shuffle_files': False})]
    with pytest.raises(ValueError, match='tfds:NAME:SPLIT was wanted'):
        read_benchmark('gsm8k', 'tfds:gsm8k')


def test_shared_files_are_read_as_the_benchmarks_that_they_are(shared):
    kinds = {'gsm8k_train': 'gsm8k', 'math_train_answers': 'math', 'math_prm800k_train': 'math', 'cmath_valid': 'cmath',
             'gaokao_bench_math_i_fill-in-the-blank': 'gaokao_mathcloze',
             'gaokao_bench_math_ii_fill-in-the-blank': 'gaokao_mathcloze',
             'gaokao_bench_math_i_mcqs': 'gaokao_mathqa', 'gaokao_bench_math_ii_mcqs': 'gaokao_mathqa'}
    problems = {name: read_benchmark(kind, str(shared / f'data/problems/{name}.jsonl')) for name, kind in kinds.items()}
    assert len(problems['gsm8k_train']) == 7473
    assert {problem.level for problem in problems['cmath_valid']} == {f'grade {grade}' for grade in range(1, 7)}
    assert {'Level 1', 'Level 5'} <= {problem.level for problem in problems['math_prm800k_train']}
