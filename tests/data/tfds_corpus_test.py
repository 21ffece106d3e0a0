"""The mined corpus by tfds.load, and as a source of tasks."""
import json

import pytest

tfds = pytest.importorskip('tensorflow_datasets')
zstandard = pytest.importorskip('zstandard')
pytest.importorskip('seqio')
from mathrl.data import files, tasks, tfds_corpus     # noqa: E402,F401  (importing it makes the builder known)
from mathrl.problems import synthetic                 # noqa: E402
from mathrl.text import train_tokenizer               # noqa: E402

TEXTS = synthetic.texts(0, 300)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp('corpus')
    for part in range(2):
        rows = [{'url': f'https://a.org/{number}', 'text': text, 'score': number / 300, 'language': 'en', 'round': 1,
                 'snapshot': 'CC-MAIN-2023-06', 'record_id': str(number), 'date': ''}
                for number, text in enumerate(TEXTS) if number % 2 == part]
        whole = b''.join(json.dumps(row).encode() + b'\n' for row in rows)
        (folder / f'part-{part:05d}-of-00002.jsonl.zst').write_bytes(zstandard.ZstdCompressor().compress(whole))
    return folder


def _load(corpus, data_dir):
    return tfds.load('mined_corpus', split='train', data_dir=str(data_dir), builder_kwargs={'corpus': str(corpus)})


def test_pages_come_back_once_prepared(corpus, tmp_path, monkeypatch):
    for given in (str(corpus), ''):     # the second time what is prepared is enough
        rows = list(tfds.as_numpy(_load(given, tmp_path)))
        assert sorted(row['text'].decode() for row in rows) == sorted(TEXTS)
    one = next(row for row in rows if row['url'] == b'https://a.org/30')
    assert (one['score'], one['round'], one['snapshot'], one['language']) == (pytest.approx(0.1), 1, b'CC-MAIN-2023-06', b'en')

    monkeypatch.setattr(tfds, 'load', lambda name, split, load=tfds.load: load(name, split=split, data_dir=str(tmp_path)))
    (tmp_path / 'tokenizer.model').write_bytes(train_tokenizer.train(TEXTS, 400))
    task = tasks.text_task(['tfds:mined_corpus:train'], str(tmp_path), min_score=0.5)
    assert len(list(tasks.examples(task, 0))) == 150


def test_faults_are_one_sentence(corpus, tmp_path):
    with pytest.raises(ValueError, match='mined_corpus is not prepared yet'):
        _load('', tmp_path / 'a')
    part = corpus / 'part-00000-of-00002.jsonl.zst'
    (tmp_path / part.name).write_bytes(part.read_bytes())
    with pytest.raises(ValueError, match='part-00001-of-00002.jsonl.zst is missing; 1 of its 2 files are there'):
        _load(tmp_path, tmp_path / 'b')
