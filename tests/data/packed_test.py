"""Packed folders: a batch is a pure function of (seed, step), an epoch a permutation, and damage is one sentence."""
import json
import subprocess
import sys

import numpy as np
import pytest

from mathrl.data import packed
from mathrl.data.packing import FIELDS

T = 16


def _rows(count):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 1000, (count, len(FIELDS), T)).astype(np.int32)
    rows[:, 0, 0] = np.arange(count)   # each row names itself
    rows[:, 2] = rows[:, 2] % 2
    return rows


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return _write(tmp_path_factory.mktemp('packed'), _rows(103))


def _write(folder, rows):
    files = packed.write_packed(folder, rows, T, rows_per_file=40)
    manifest = {'row_length': T, 'rows': len(rows), 'tokenizer_digest': 'abc', 'files': files}
    packed.write_manifest(folder, manifest)
    return folder


def _names(batch):
    return batch['tokens_BT'][:, 0].tolist()


def test_rows_come_back_as_they_were(folder):
    reader = packed.open_packed(folder)
    assert (reader.rows, reader.row_length, reader.tokenizer_digest) == (103, T, 'abc')
    assert len(reader.manifest['files']) == 3
    order = np.random.default_rng(1).integers(0, 103, 300)
    np.testing.assert_array_equal(reader.read(order), _rows(103)[order])


def test_a_batch_holds_whole_rows_under_their_names(folder):
    batch = packed.open_packed(folder).batch(seed=3, step=5, batch_size=7)
    wanted = _rows(103)[_names(batch)]
    assert list(batch) == [f'{name}_BT' for name in FIELDS]
    for field, (name, values_BT) in enumerate(batch.items()):
        np.testing.assert_array_equal(values_BT, wanted[:, field])
        assert values_BT.dtype == (np.float32 if name == 'weights_BT' else np.int32)
        assert values_BT.flags.c_contiguous and values_BT.flags.writeable


def test_a_batch_is_a_pure_function(folder):
    reader = packed.open_packed(folder)
    wanted = {step: _names(reader.batch(0, step, 8)) for step in range(30)}
    for step in np.random.default_rng(0).permutation(30):
        assert _names(packed.open_packed(folder).batch(0, int(step), 8)) == wanted[step]
        assert _names(reader.batch(0, int(step), 8)) == wanted[step]
    assert _names(reader.batch(0, 10 ** 12, 8)) == _names(reader.batch(0, 10 ** 12, 8))


@pytest.mark.parametrize('batch_size', [1, 8, 103, 250])
def test_an_epoch_is_a_permutation_of_its_own(folder, batch_size):
    reader = packed.open_packed(folder)
    names = [name for step in range(-(-3 * 103 // batch_size)) for name in _names(reader.batch(7, step, batch_size))]
    epochs = [names[start:start + 103] for start in (0, 103, 206)]
    assert all(sorted(epoch) == list(range(103)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0] and epochs[0] != sorted(epochs[0])


def test_seeds_give_other_orders(folder):
    reader = packed.open_packed(folder)
    assert len({tuple(_names(reader.batch(seed, 0, 20))) for seed in range(20)}) == 20


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 16, 17, 1000, 4097])
def test_shuffles_of_every_size_are_permutations(size):
    for epoch in (0, 1, 10 ** 9):
        order = packed.shuffled(np.arange(size), np.full(size, epoch), size, seed=11)
        assert sorted(order.tolist()) == list(range(size))


def test_a_shuffle_leaves_no_trace_of_the_order():
    size, places = 1000, np.zeros((10, 10))
    for epoch in range(200):
        order = packed.shuffled(np.arange(size), np.full(size, epoch), size, seed=0)
        np.add.at(places, (np.arange(size) * 10 // size, order * 10 // size), 1)
    # 2,000 wanted in each of 100 cells; the standard deviation is about 42.
    assert abs(places - 2000).max() < 6 * 42
    neighbours = np.mean(np.abs(np.diff(order)) == 1)
    assert neighbours < 0.02


def test_a_huge_corpus_costs_nothing():
    order = packed.shuffled(np.arange(10 ** 10, 10 ** 10 + 5), np.zeros(5), 10 ** 11, seed=0)
    assert len(set(order.tolist())) == 5 and order.max() < 10 ** 11


def test_the_order_is_the_same_for_ever():
    order = packed.shuffled(np.arange(8), np.full(8, 2), 100, seed=5).tolist()
    assert order == [47, 15, 24, 63, 57, 28, 31, 20], (
        'the data order changed: runs that resume would read other rows than before')


@pytest.mark.parametrize('damage, wanted', [
    (lambda folder: (folder / packed.MANIFEST).unlink(), 'is not a packed folder: it has no manifest.json'),
    (lambda folder: (folder / 'rows-00001.arrayrecord').unlink(), 'rows-00001.arrayrecord is missing'),
    (lambda folder: _cut(folder / 'rows-00002.arrayrecord'), 'rows-00002.arrayrecord has .* bytes; .* were written'),
    (lambda folder: (folder / packed.MANIFEST).write_text('{'), 'is not the manifest of a packed folder'),
    (lambda folder: (folder / packed.MANIFEST).write_text('[]'), 'is not the manifest of a packed folder'),
    (lambda folder: (folder / packed.MANIFEST).write_text('{"rows": 3}'), 'is not the manifest of a packed folder'),
    (lambda folder: _rewrite(folder, rows=104), 'the manifest says 104 rows; its files hold 103'),
])
def test_damage_is_one_sentence(tmp_path, damage, wanted):
    damage(_write(tmp_path, _rows(103)))
    with pytest.raises(ValueError, match=wanted) as error:
        packed.open_packed(tmp_path)
    assert '\n' not in str(error.value)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _rewrite(folder, **changed):
    manifest = json.loads((folder / packed.MANIFEST).read_text())
    (folder / packed.MANIFEST).write_text(json.dumps(manifest | changed))


def test_a_file_of_the_right_size_that_is_none_is_one_sentence(tmp_path):
    _write(tmp_path, _rows(10))
    path = tmp_path / 'rows-00000.arrayrecord'
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match='holds 0 rows; the manifest says 10|is no readable ArrayRecord file'):
        packed.open_packed(tmp_path).batch(0, 0, 2)


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match='absent is not a packed folder: there is no such folder'):
        packed.open_packed(tmp_path / 'absent')


def test_rows_of_another_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'a row of shape \(5, 8\) came; \(5, 16\) was wanted'):
        packed.write_packed(tmp_path, [np.zeros((5, 8), np.int32)], T)


def test_another_tokenizer_is_refused(folder):
    class Other:
        digest = 'xyz'
    reader = packed.open_packed(folder)
    with pytest.raises(ValueError, match='made with tokenizer abc, the model reads with tokenizer xyz'):
        packed.check_tokenizer(reader, Other())
    Other.digest = 'abc'
    packed.check_tokenizer(reader, Other())


def test_importing_it_takes_no_data_library():
    code = ('import sys; import mathrl.data.packed; '
            'print([name for name in ("grain", "array_record", "tensorflow", "seqio") if name in sys.modules])')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '[]\n'
