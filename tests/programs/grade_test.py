"""The program grade: a verdict for every line in its order, the summary, going on after a kill, bad input."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from mathrl.problems.grading_pool import GradingPool
from mathrl.programs import grade
from mathrl.records import read_jsonl, write_jsonl

ROWS = [
    {'id': 'a', 'problem': '6 * 7?', 'reference': '42', 'output': 'so \\boxed{42}.', 'correct': True, 'extra': [1]},
    {'id': 7, 'problem': '', 'reference': 42, 'output': '\\boxed{41}', 'correct': True},
    {'id': 'a', 'problem': '半个？', 'reference': '\\frac{1}{2}', 'output': '答案是 \\boxed{\\dfrac12}。', 'correct': False},
    {'id': 'c', 'problem': '6 * 7?', 'reference': '42', 'output': ''},
]


def run(tmp_path, rows=None, **changed):
    """The verdicts and summary.json."""
    if rows is not None:
        write_jsonl(tmp_path / 'outputs.jsonl', rows)
    (tmp_path / 'work').mkdir(exist_ok=True)
    settings = {'workdir': epath.Path(tmp_path / 'work'), 'outputs': str(tmp_path / 'outputs.jsonl'),
                'verdicts': str(tmp_path / 'out' / 'verdicts.jsonl'), 'workers': 1} | changed
    grade.run(**settings)
    return read_jsonl(settings['verdicts'], ()), json.loads((tmp_path / 'work' / 'summary.json').read_text())


def many(count):
    return [{'id': n, 'problem': f'{n}?', 'reference': f'{n % 7}', 'output': f'\\boxed{{{n % 5}}} {n}'} for n in range(count)]


def partials(tmp_path):
    return list((tmp_path / 'out').glob('*.partial'))


def test_every_line_gets_its_verdict_in_order(tmp_path, capsys):
    verdicts, summary = run(tmp_path, ROWS)
    assert verdicts == [
        {'id': 'a', 'correct': True, 'extracted': '42', 'reason': 'equal'},
        {'id': 7, 'correct': False, 'extracted': '41', 'reason': 'different'},
        {'id': 'a', 'correct': True, 'extracted': '\\dfrac12', 'reason': 'equal'},
        {'id': 'c', 'correct': False, 'extracted': None, 'reason': 'no answer'}]
    assert summary == {'outputs': 4, 'correct': 2, 'reasons': {'equal': 2, 'different': 1, 'no answer': 1}, 'labelled': 3,
                       'agreement': pytest.approx(1 / 3), 'false_positives': 1, 'false_negatives': 1}
    last = capsys.readouterr().out.splitlines()[-1]
    assert '4 outputs, 50.0% correct (2 equal, 1 different, 1 no answer)' in last
    assert '0.3333 agreement with 3 labels (1 false positives, 1 false negatives)' in last
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['verdicts.jsonl']


def test_without_labels_no_agreement_and_without_output_the_workdir(tmp_path):
    rows = [{name: value for name, value in row.items() if name != 'correct'} for row in ROWS]
    _, summary = run(tmp_path, rows)
    assert set(summary) == {'outputs', 'correct', 'reasons'}
    grade.run(workdir=epath.Path(tmp_path / 'work'), outputs=str(tmp_path / 'outputs.jsonl'), workers=1)
    assert (tmp_path / 'work' / 'verdicts.jsonl').read_bytes() == (tmp_path / 'out' / 'verdicts.jsonl').read_bytes()


def test_extraction_is_the_pools(tmp_path):
    rows = [{'id': 1, 'problem': '6 * 7?', 'reference': '42', 'output': 'The answer is 42.'}]
    assert [row['correct'] for extraction in ('answer', 'boxed') for row in run(tmp_path, rows, extraction=extraction)[0]] == [
        True, False]


@pytest.mark.parametrize('line, message', [
    ({'problem': '', 'reference': '1', 'output': '1'}, "line 2: field 'id' is missing; it has: problem, reference, output"),
    (ROWS[0] | {'id': None}, "line 2: field 'id' is None; text or a number was wanted"),
    (ROWS[0] | {'output': None}, "line 2: field 'output' is None; text was wanted"),
    (ROWS[0] | {'problem': 3}, "line 2: field 'problem' is 3; text was wanted"),
    (ROWS[0] | {'reference': [1]}, r"line 2: field 'reference' is \[1\]; text was wanted"),
    (ROWS[0] | {'reference': ' '}, "line 2: field 'reference' is empty; the right answer was wanted"),
    (ROWS[0] | {'correct': 'yes'}, "line 2: field 'correct' is 'yes'; true, false or no such field was wanted"),
    ([], 'line 2 is a list; an object with .*output'),
])
def test_a_bad_line_is_one_sentence_and_nothing_is_written(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, [ROWS[0], line])
    assert not (tmp_path / 'out').exists() and not list((tmp_path / 'work').iterdir())


def test_bad_files_and_settings_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match='there is no such file; a JSONL file with .*reference'):
        run(tmp_path)
    with pytest.raises(ValueError, match='the file is empty'):
        run(tmp_path, [])
    with pytest.raises(ValueError, match="unknown extraction 'box'; there are: answer, boxed"):
        run(tmp_path, ROWS, extraction='box')
    with pytest.raises(ValueError, match='holds the outputs; another file'):
        run(tmp_path, verdicts=str(tmp_path / 'outputs.jsonl'))
    with pytest.raises(ValueError, match='is a folder; a file'):
        run(tmp_path, verdicts=str(tmp_path))
    with pytest.raises(ValueError, match='seconds=0'):
        run(tmp_path, seconds=0)


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    whole, summary = run(tmp_path, many(100))
    os.remove(tmp_path / 'out' / 'verdicts.jsonl')
    grade_each, graded = GradingPool.grade_each, []

    def counted(self, items, stop=30):
        for number, verdict in enumerate(grade_each(self, items)):
            if number == stop:
                raise KeyboardInterrupt
            graded.append(verdict)
            yield verdict

    def stop_and_count(after):
        graded.clear()
        monkeypatch.setattr(GradingPool, 'grade_each', lambda self, items: counted(self, items, after))
    for changed, wanted in (({}, 100), ({}, 70), ({'seconds': 9.0}, 100), ({'extraction': 'boxed'}, 100)):
        if wanted == 100:
            stop_and_count(30)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
            assert len(partials(tmp_path)) == 1 and not (tmp_path / 'out' / 'verdicts.jsonl').exists()
            if not changed:
                continue
        else:
            with partials(tmp_path)[0].open('ab') as file:
                file.write(b'{"id": 30, "corr')      # a line that a kill tore
        stop_and_count(None)
        assert run(tmp_path, **changed) == (whole, summary)
        assert len(graded) == wanted and not partials(tmp_path)
        os.remove(tmp_path / 'out' / 'verdicts.jsonl')
    stop_and_count(30)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    stop_and_count(None)
    run(tmp_path, [row | {'output': row['output'] + '!'} for row in many(100)])
    assert len(graded) == 100, 'verdicts of other outputs were used'


def test_a_killed_process_loses_no_verdict(tmp_path, repository):
    whole, summary = run(tmp_path, many(3000))
    os.remove(tmp_path / 'out' / 'verdicts.jsonl')
    command = [sys.executable, '-m', 'mathrl.main', '--gin_file=gin/runs/grade.gin', f'--workdir={tmp_path / "work"}',
               f'--gin.INPUT="{tmp_path / "outputs.jsonl"}"', f'--gin.OUTPUT="{tmp_path / "out" / "verdicts.jsonl"}"',
               '--gin.WORKERS=1']
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while process.poll() is None and sum(path.stat().st_size for path in partials(tmp_path)) < 5000:
        assert time.monotonic() < until
        time.sleep(.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and partials(tmp_path)
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert 'goes on behind' in result.stdout, result.stdout + result.stderr
    assert read_jsonl(tmp_path / 'out' / 'verdicts.jsonl', ()) == whole
    assert json.loads((tmp_path / 'work' / 'summary.json').read_text()) == summary


def test_dry_run_writes_nothing(tmp_path, capsys):
    grade.run(workdir=tmp_path, outputs='absent.jsonl', verdicts='', dry_run=True)
    assert f'grade: absent.jsonl, to {tmp_path}/verdicts.jsonl' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_neither_jax_nor_tensorflow_is_waited_for():
    code = "import sys, mathrl.programs.grade; print({'jax', 'tensorflow', 'sympy'} & set(sys.modules) or 'none')"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == 'none\n'
