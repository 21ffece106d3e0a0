"""Packed folders read as one: exact rates, every step at once, the same rows whatever the hosts; faults in one sentence."""
import hashlib
import time

import numpy as np
import pytest

from mathrl.data import mixing, packed
from mathrl.data.packing import FIELDS

T = 8
PAPER = {'corpus': 56, 'algebraic_stack': 4, 'arxiv': 10, 'code': 20, 'language': 10}
SIZES = {'corpus': 301, 'algebraic_stack': 11, 'arxiv': 50, 'code': 77, 'language': 23}


def _write(folder, number, rows, **changed):
    folder.mkdir(parents=True)
    values = np.zeros((rows, len(FIELDS), T), np.int32)
    values[:, 0, 0], values[:, 0, 1] = number, np.arange(rows)      # each row names its source and itself
    manifest = {'row_length': T, 'rows': rows, 'tokenizer_digest': 'abc', 'files': packed.write_packed(folder, values, T)}
    packed.write_manifest(folder, manifest | changed)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('mixed')
    for number, (name, rows) in enumerate(SIZES.items()):
        _write(folder / name, number, rows)
    return folder


def _open(folder, rates=PAPER):
    return packed.open_packed(mixing.Mixed(str(folder), rates))


def test_rates_are_exact_over_every_period():
    schedule = mixing.Schedule(PAPER)
    assert (schedule.period, schedule.weights.tolist()) == (50, [28, 2, 5, 10, 5])
    for start in (0, 50, 50 * 10 ** 9):
        sources, _ = schedule(np.arange(start, start + 50))
        assert np.bincount(sources).tolist() == [28, 2, 5, 10, 5]


@pytest.mark.parametrize('rates', [PAPER, {'a': 1}, {'a': 0.8, 'b': 0.2}, {'a': 1, 'b': 1, 'c': 1}, {'a': 0.001, 'b': 97, 'c': 3.5},
                                   {name: 1 + number for number, name in enumerate('abcdefghij')}])
def test_no_stretch_of_rows_strays_from_the_rates(rates):
    sources, numbers = mixing.Schedule(rates)(np.arange(3000))
    share = np.array(list(rates.values())) / sum(rates.values())
    counted = np.cumsum(sources[:, None] == np.arange(len(rates)), axis=0)
    assert np.abs(counted - share * np.arange(1, 3001)[:, None]).max() < 1.5
    for source in range(len(rates)):        # every row of a source, once and in turn
        assert numbers[sources == source].tolist() == list(range(counted[-1, source]))


def test_the_schedule_is_the_same_for_ever():
    sources, _ = mixing.Schedule({'a': 5, 'b': 3, 'c': 2})(np.arange(20))
    assert sources.tolist() == [0, 1, 2, 0, 0, 1, 0, 2, 1, 0] * 2, 'runs that resume would read other rows than before'


def test_each_source_goes_through_permutations_of_its_own(folder):
    reader = _open(folder)
    names = np.concatenate([reader.batch(3, step, 50)['tokens_BT'][:, :2] for step in range(30)])
    for number, rows in enumerate(SIZES.values()):
        order = names[names[:, 0] == number][:, 1]
        for start in range(0, len(order) - rows + 1, rows):
            assert sorted(order[start:start + rows]) == list(range(rows))
    arxiv = names[names[:, 0] == 2][:50, 1]
    assert arxiv.tolist() != sorted(arxiv) and reader.rows == sum(SIZES.values())


def _digest(batch):
    return {name: hashlib.sha256(x.tobytes()).hexdigest() for name, x in batch.items()}


@pytest.mark.parametrize('mixed', [True, False])
def test_hosts_read_their_own_rows_and_together_the_same_batch(folder, mixed, monkeypatch):
    data = mixing.Mixed(str(folder), PAPER) if mixed else str(folder / 'corpus')
    read = []
    whole = packed.PackedReader.read
    monkeypatch.setattr(packed.PackedReader, 'read', lambda self, rows: read.append(len(rows)) or whole(self, rows))
    wanted = _digest(packed.open_packed(data).batch(7, 123, 16))
    for hosts in (1, 2, 4):
        parts = []
        for host in range(hosts):
            read.clear()
            parts.append(packed.open_packed(data).batch(7, 123, 16, slice(host * 16 // hosts, (host + 1) * 16 // hosts)))
            assert sum(read) == 16 // hosts, 'a host reads what is not its own'
        assert _digest({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}) == wanted


def test_any_step_is_reached_without_those_before(folder):
    reader = _open(folder)
    first = reader.batch(0, 10_000_000, 64)
    start = time.perf_counter()
    again = reader.batch(0, 10_000_000, 64)
    print(f'step 10,000,000 took {1000 * (time.perf_counter() - start):.1f} ms')
    assert _digest(first) == _digest(again) and _digest(first) != _digest(reader.batch(1, 10_000_000, 64))


@pytest.mark.parametrize('rates, wanted', [
    ({'corpus': 1, 'stack': 1}, "rates name 'stack'; packed in .* are: algebraic_stack, arxiv, code, corpus, language"),
    ({}, 'no rates are given'),
    ({'corpus': 0}, "the rate of 'corpus' is 0; a number above 0 was wanted"),
    ({'corpus': -1, 'code': 2}, "the rate of 'corpus' is -1"),
    ({'corpus': 0.123456789, 'code': 0.3}, 'repeat after .* rows; at most 1000000 was wanted'),
])
def test_wrong_rates_are_one_sentence(folder, rates, wanted):
    with pytest.raises(ValueError, match=wanted):
        _open(folder, rates)


def test_folders_that_do_not_belong_together_are_refused(tmp_path):
    _write(tmp_path / 'a', 0, 3)
    _write(tmp_path / 'b', 1, 3, tokenizer_digest='xyz')
    with pytest.raises(ValueError, match='b was packed with tokenizer_digest xyz, a with abc; to be mixed they must be the same'):
        _open(tmp_path, {'a': 1, 'b': 1})
    (tmp_path / 'b' / packed.MANIFEST).unlink()
    with pytest.raises(ValueError, match='b is not a packed folder: it has no manifest.json'):
        _open(tmp_path, {'a': 1, 'b': 1})
