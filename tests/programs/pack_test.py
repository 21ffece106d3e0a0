"""The program pack: from a seqio task to rows that hold every example, and a manifest that counts them."""
import collections
import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip('seqio')
from mathrl.data import packed, tasks                          # noqa: E402
from mathrl.problems import synthetic                          # noqa: E402
from mathrl.problems.prompts import Templates, prompt          # noqa: E402
from mathrl.programs import pack, tokenizer as train_program   # noqa: E402
from mathrl.records import write_jsonl                         # noqa: E402
from mathrl.text import tokenizer                              # noqa: E402

TEMPLATES = Templates(en='{problem}\n', zh='{problem}\n')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_jsonl(folder / 'sft.jsonl', map(dataclasses.asdict, synthetic.generate(0, 300)))
    write_jsonl(folder / 'text.jsonl', ({'text': text} for text in synthetic.texts(0, 200)))
    train_program.run(workdir=folder, paths=[str(folder / 'sft.jsonl')], vocab_size=450)
    return folder


def _sft(data):
    return tasks.sft_task([str(data / 'sft.jsonl')], str(data), TEMPLATES)


def _text(data):
    return tasks.text_task([str(data / 'text.jsonl')], str(data))


def _segments(reader):
    rows = reader.read(np.arange(reader.rows))
    for tokens_T, targets_T, weights_T, segments_T, _ in rows:
        for segment in range(1, segments_T.max() + 1):
            place = segments_T == segment
            yield tokens_T[place].tolist() + [int(targets_T[place][-1])], int(weights_T[place].sum())


def test_solved_problems_are_in_the_rows_and_only_answers_are_trained_on(data, tmp_path):
    pack.run(workdir=tmp_path, task=_sft(data), row_length=96)
    reader, ours = packed.open_packed(tmp_path), tokenizer.load(data)
    packed.check_tokenizer(reader, ours)
    wanted = collections.Counter()
    for problem in synthetic.generate(0, 300):
        answer = ours.encode(problem.solution) + [ours.eos_id]
        wanted[(*ours.encode(prompt(problem.problem, TEMPLATES)), *answer), len(answer)] += 1
    assert collections.Counter((tuple(ids), trained) for ids, trained in _segments(reader)) == wanted


def test_the_manifest_counts(data, tmp_path, capsys):
    pack.run(workdir=tmp_path, task=_text(data), row_length=32)
    reader, manifest = packed.open_packed(tmp_path), json.loads((tmp_path / packed.MANIFEST).read_text())
    segments = list(_segments(reader))
    tokens = sum(len(ids) - 1 for ids, _ in segments)
    assert manifest['tokens'] == manifest['trained_tokens'] == tokens
    assert manifest['padding_share'] == pytest.approx(1 - tokens / (reader.rows * 32), abs=1e-6)
    assert (manifest['task'], manifest['row_length'], manifest['examples']) == ('text', 32, 200)
    assert manifest['cut'] == len(segments) - 200 - manifest['dropped'] > 0 or manifest['cut'] > 0
    assert manifest['seqio_version'] and '200 examples of text' in capsys.readouterr().out


def test_epochs_and_examples_bound_what_is_packed(data, tmp_path):
    for name, changed, examples in (('a', dict(epochs=2), 600), ('b', dict(examples=50), 50)):
        (tmp_path / name).mkdir()
        pack.run(workdir=tmp_path / name, task=_sft(data), row_length=96, **changed)
        assert packed.open_packed(tmp_path / name).manifest['examples'] == examples


def test_the_same_seed_gives_the_same_rows(data, tmp_path):
    rows = {}
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        (tmp_path / name).mkdir()
        pack.run(workdir=tmp_path / name, task=_sft(data), row_length=96, seed=seed)
        reader = packed.open_packed(tmp_path / name)
        rows[name] = reader.read(np.arange(reader.rows)).tolist()
    assert rows['a'] == rows['b'] != rows['c']


def test_long_solutions_are_left_out_and_counted(data, tmp_path):
    pack.run(workdir=tmp_path, task=_sft(data), row_length=40)
    manifest = packed.open_packed(tmp_path).manifest
    assert 0 < manifest['dropped'] < 300 == manifest['examples']
    with pytest.raises(ValueError, match='none of its 300 examples fits into rows of 8'):
        pack.run(workdir=tmp_path, task=_sft(data), row_length=8)
    with pytest.raises(ValueError, match='is not a packed folder'):
        packed.open_packed(tmp_path)


def test_a_mixture_needs_an_end(data, tmp_path):
    mixture = tasks.mixture([(_text(data), 1.0)])
    with pytest.raises(ValueError, match='mixture mixture has no end: examples=0'):
        pack.run(workdir=tmp_path, task=mixture, row_length=96)
    pack.run(workdir=tmp_path, task=mixture, row_length=96, examples=500)
    assert packed.open_packed(tmp_path).manifest['examples'] == 500


def test_a_dry_run_writes_nothing(data, tmp_path, capsys):
    pack.run(workdir=tmp_path, task=tasks.text_task(['absent.jsonl'], 'absent'), row_length=96, dry_run=True)
    assert not list(tmp_path.iterdir()) and 'rows of 96' in capsys.readouterr().out


def test_real_problems_are_packed(shared, tmp_path):
    path = str(shared / 'data/problems/gsm8k_train.jsonl')
    train_program.run(workdir=tmp_path, paths=[path], vocab_size=600, input_sentence_size=3000)
    pack.run(workdir=tmp_path, task=tasks.sft_task([path], str(tmp_path)), row_length=768, examples=500)
    manifest = packed.open_packed(tmp_path).manifest
    assert manifest['examples'] == 500 and manifest['dropped'] < 25
