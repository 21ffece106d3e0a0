"""A seqio mixture read directly: a pure function of seed and step, and the same rows for every host."""
import numpy as np
import pytest

pytest.importorskip('seqio')
from mathrl import records                          # noqa: E402
from mathrl.data import direct, packed, tasks       # noqa: E402
from mathrl.problems import synthetic               # noqa: E402
from mathrl.text import train_tokenizer             # noqa: E402


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder, texts = tmp_path_factory.mktemp('direct'), synthetic.texts(0, 400)
    (folder / 'tokenizer.model').write_bytes(train_tokenizer.train(texts, 400))
    for number, name in enumerate('ab'):
        records.write_jsonl(folder / f'{name}.jsonl', ({'text': text} for text in texts[number::2]))
    parts = [tasks.text_task([str(folder / f'{name}.jsonl')], str(folder), name=name) for name in 'ab']
    return direct.Direct(tasks.mixture(parts, {'a': 3, 'b': 1}), row_length=32)


def _same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_batch_is_a_pure_function(data):
    reader = packed.open_packed(data)
    batches = [reader.batch(0, step, 4) for step in range(4)]
    assert batches[0]['tokens_BT'].shape == (4, 32) and not _same(batches[0], batches[1])
    for step in (2, 0, 3):
        assert _same(reader.batch(0, step, 4), batches[step])
    assert _same(packed.open_packed(data).batch(0, 3, 4), batches[3])
    assert not _same(reader.batch(1, 0, 4), batches[0])


def test_hosts_have_their_own_rows(data):
    wanted = packed.open_packed(data).batch(5, 1, 4)
    halves = [packed.open_packed(data).batch(5, 1, 4, slice(start, start + 2)) for start in (0, 2)]
    assert all(np.array_equal(np.concatenate([half[name] for half in halves]), wanted[name]) for name in wanted)


def test_another_tokenizer_or_an_absent_file_is_refused(data, tmp_path):
    class Other:
        digest = 'xyz'
    with pytest.raises(ValueError, match='reads with tokenizer xyz'):
        packed.check_tokenizer(packed.open_packed(data), Other())
    vocabulary = tasks.tokenizer_of(data.task)
    vocabulary.save(tmp_path)
    with pytest.raises(ValueError, match='absent.jsonl: there is no such file'):
        packed.open_packed(direct.Direct(tasks.text_task(['absent.jsonl'], str(tmp_path)), 32))
