"""The program pack: from a seqio task to rows that hold every example, and a manifest that counts them."""
import collections
import dataclasses
import hashlib
import json

import numpy as np
import pytest

pytest.importorskip('seqio')
from mathrl.data import files, pack_pipeline, packed, tasks    # noqa: E402
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
    mixture = tasks.mixture([_text(data)], {'text': 1.0})
    with pytest.raises(ValueError, match='mixture mixture has no end: examples=0'):
        pack.run(workdir=tmp_path, task=mixture, row_length=96)
    pack.run(workdir=tmp_path, task=mixture, row_length=96, examples=500)
    assert packed.open_packed(tmp_path).manifest['examples'] == 500


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.glob('rows-*')}


@pytest.fixture
def made(data, tmp_path):
    """Packs the text in parts; the call gives the folder's files and its manifest."""
    def make(name, **changed):
        (tmp_path / name).mkdir(exist_ok=True)
        pack.run(workdir=tmp_path / name, task=_text(data), row_length=32, **{'parts': 3, **changed})
        return _files(tmp_path / name), packed.open_packed(tmp_path / name).manifest
    return make


def test_beam_and_its_workers_change_no_byte(made):
    pytest.importorskip('apache_beam')
    (alone, manifest), (by_beam, same) = made('alone'), made('beam', workers=2)
    assert alone == by_beam and manifest == same and len(alone) == 3
    assert [file['sha256'] for file in manifest['files']] == [hashlib.sha256(alone[name]).hexdigest() for name in sorted(alone)]
    assert manifest['examples'] == 200


def test_what_is_packed_is_not_packed_again_unless_something_changed(data, made, monkeypatch):
    packed_parts, whole = [], pack_pipeline.pack_part
    monkeypatch.setattr(pack_pipeline, 'pack_part', lambda plan, part: packed_parts.append(part) or whole(plan, part))
    rows, manifest = made('a')
    assert packed_parts == [0, 1, 2] and made('a') == (rows, manifest) and len(packed_parts) == 3
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(pack_pipeline, 'pack_part', lambda plan, part: _stop() if part == 1 else whole(plan, part))
        made('b')
    packed_parts.clear()
    assert made('b') == (rows, manifest) and packed_parts == [1, 2]
    for changed in ({'seed': 1}, {'parts': 2}):
        packed_parts.clear()
        assert made('a', **changed)[0] != rows and packed_parts == list(range(changed.get('parts', 3)))


def _stop():
    raise KeyboardInterrupt


def test_a_mixture_is_packed_in_parts(data, tmp_path):
    mixture = tasks.mixture([_text(data)], {'text': 1.0})
    pack.run(workdir=tmp_path, task=mixture, row_length=96, examples=500, parts=3)
    manifest = packed.open_packed(tmp_path).manifest
    assert manifest['examples'] == 500 and len(manifest['files']) == 3


def test_the_manifest_counts_the_texts_bytes(data, tmp_path):
    pack.run(workdir=tmp_path, task=_text(data), row_length=32)
    texts = synthetic.texts(0, 200)
    assert packed.open_packed(tmp_path).manifest['text_bytes'] == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize('damage, wanted', [
    (lambda folder: (folder / 'b-00000-of-00002.jsonl').unlink(), 'b-00000-of-00002.jsonl is missing; 1 of its 2 files'),
    (lambda folder: (folder / 'b-00001-of-00002.jsonl').write_text('{"text": "x'), 'b-00001-of-00002.jsonl is cut off'),
    (lambda folder: (folder / 'b-00001-of-00002.jsonl').write_text(''), 'the file is empty'),
])
def test_damaged_input_is_one_sentence_before_anything_is_packed(data, tmp_path, damage, wanted):
    for number in range(2):
        write_jsonl(tmp_path / f'b-{number:05d}-of-00002.jsonl', [{'text': 'one'}])
    damage(tmp_path)
    (tmp_path / 'out').mkdir()
    with pytest.raises(ValueError, match=wanted):
        pack.run(workdir=tmp_path / 'out', task=tasks.text_task([f'{tmp_path}/b-*'], str(data)), row_length=32)
    assert not list((tmp_path / 'out').iterdir())


def test_a_dry_run_writes_nothing(data, tmp_path, capsys):
    pack.run(workdir=tmp_path, task=tasks.text_task(['absent.jsonl'], 'absent'), row_length=96, dry_run=True)
    assert not list(tmp_path.iterdir()) and 'rows of 96' in capsys.readouterr().out


def test_real_problems_are_packed(shared, tmp_path):
    path = str(shared / 'data/problems/gsm8k_train.jsonl')
    train_program.run(workdir=tmp_path, paths=[path], vocab_size=600, input_sentence_size=3000)
    pack.run(workdir=tmp_path, task=tasks.sft_task([path], str(tmp_path)), row_length=768, examples=500)
    manifest = packed.open_packed(tmp_path).manifest
    assert manifest['examples'] == 500 and manifest['dropped'] < 25


def test_real_texts_leave_less_than_two_percent_padding(shared, tmp_path):
    rows = [row for _, row in files.rows(str(shared / 'data/problems/gsm8k_train.jsonl'))]
    write_jsonl(tmp_path / 'text.jsonl', [{'text': row['problem'] + row['solution']} for row in rows[:3000]])
    train_program.run(workdir=tmp_path, paths=[str(tmp_path / 'text.jsonl')], vocab_size=1000, input_sentence_size=3000)
    pack.run(workdir=tmp_path, task=tasks.text_task([str(tmp_path / 'text.jsonl')], str(tmp_path)), row_length=2048)
    assert packed.open_packed(tmp_path).manifest['padding_share'] < 0.02
