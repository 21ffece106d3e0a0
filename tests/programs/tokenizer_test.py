"""The program tokenizer: reads the fields it is told, and the same input gives the same file."""
import dataclasses

import pytest

from mathrl.problems import synthetic
from mathrl.programs import tokenizer as program
from mathrl.records import write_jsonl
from mathrl.text import tokenizer


@pytest.fixture
def paths(tmp_path):
    write_jsonl(tmp_path / 'problems.jsonl', map(dataclasses.asdict, synthetic.generate(0, 800)))
    write_jsonl(tmp_path / 'text.jsonl', ({'text': text} for text in synthetic.texts(0, 200)))
    return [str(tmp_path / 'problems.jsonl'), str(tmp_path / 'text.jsonl')]


def test_it_writes_a_tokenizer_and_the_same_again(tmp_path, paths):
    for name in 'ab':
        (tmp_path / name).mkdir()
        program.run(workdir=tmp_path / name, paths=paths, vocab_size=512, symbols=['\\boxed{'])
    first, second = (tokenizer.load(tmp_path / name) for name in 'ab')
    assert first.digest == second.digest and first.vocab_size == 512
    assert len(first.encode('\\boxed{')) == 1 and len(first.encode('How many')) < 4


def test_fields_that_are_not_named_are_not_read(tmp_path, paths):
    program.run(workdir=tmp_path, paths=paths[:1], vocab_size=320, fields=['solution'])
    assert len(tokenizer.load(tmp_path).encode('铅')) == 3, 'a character of the problems alone is written in bytes'


@pytest.mark.parametrize('changed, wanted', [
    (dict(fields=['body']), 'problems.jsonl line 1: none of the fields body is there; it has: problem, answer, source'),
    (dict(vocab_size=100_000), 'vocab_size=100000 is more than these texts give pieces for; at most'),
    (dict(paths=['absent.jsonl']), 'absent.jsonl: there is no such file'),
])
def test_faults_are_one_sentence(tmp_path, paths, changed, wanted):
    with pytest.raises(ValueError, match=wanted):
        program.run(workdir=tmp_path, **{'paths': paths, 'vocab_size': 512, **changed})
    assert not (tmp_path / 'tokenizer.model').exists()


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    program.run(workdir=tmp_path, paths=['absent.jsonl'], vocab_size=512, dry_run=True)
    assert not list(tmp_path.iterdir()) and '512 pieces' in capsys.readouterr().out
