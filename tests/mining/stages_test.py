"""Files appear whole or not at all; a stage's folder is kept for the same settings and emptied for others."""
import json

import pytest
import zstandard

from mathrl.mining import stages

ROWS = [{'text': '设 $x$ 是实数\n\u2028\r', 'score': .5}, [1, 'a\tb', None], {'text': ''}]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'stages'


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.zst'])
def test_rows_come_back(tmp_path, name):
    assert stages.write_rows(tmp_path / name, iter(ROWS)) == 3
    assert list(stages.read_rows(tmp_path / name)) == ROWS


def test_zst_in_the_name_means_zstandard_and_chinese_stays_readable(tmp_path):
    stages.write_rows(tmp_path / 'a.jsonl', ROWS)
    stages.write_rows(tmp_path / 'a.jsonl.zst', ROWS)
    plain = (tmp_path / 'a.jsonl').read_bytes()
    packed = (tmp_path / 'a.jsonl.zst').read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == plain
    assert '设 $x$ 是实数' in plain.decode() and plain.count(b'\n') == 3


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.zst'])
def test_no_rows_are_a_file_too(tmp_path, name):
    assert stages.write_rows(tmp_path / name, []) == 0
    assert (tmp_path / name).exists() and list(stages.read_rows(tmp_path / name)) == []


def test_rows_longer_than_what_is_read_at_once_and_several_frames(tmp_path):
    rows = ['数' * 900_000, 'b' * 10, 'c' * 3_000_000]
    path = tmp_path / 'a.jsonl.zst'
    stages.write_rows(path, rows)
    path.write_bytes(path.read_bytes() * 2)
    assert list(stages.read_rows(path)) == rows * 2


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.zst'])
def test_rows_that_break_off_leave_the_old_file(tmp_path, name):
    def broken():
        yield from ['x' * 100_000] * 20
        assert not any(path.stat().st_size > 100 for path in tmp_path.glob('a.jsonl*') if path.suffix != '.partial')
        raise RuntimeError('killed')

    path = tmp_path / name
    with pytest.raises(RuntimeError):
        stages.write_rows(path, broken())
    assert not path.exists()
    stages.write_rows(path, ['old'])
    with pytest.raises(RuntimeError):
        stages.write_rows(path, broken())
    assert list(stages.read_rows(path)) == ['old']


def test_bytes_appear_by_renaming(tmp_path, monkeypatch):
    path = tmp_path / 'a'
    stages.write_text(path, 'old')
    monkeypatch.setattr(type(stages.epath.Path(path)), 'replace', lambda *_: (_ for _ in ()).throw(OSError('full')))
    for write in (lambda: stages.write_text(path, 'new'), lambda: stages.write_rows(path, ['new'])):
        with pytest.raises(OSError):
            write()
        assert path.read_text() == 'old'


def test_the_same_settings_keep_the_folder(folder):
    first = stages.open_stage(folder, 'texts', {'a': 1, 'b': [2]})
    stages.write_rows(first.path(3), ROWS)
    first.finish({'pages': 3})
    again = stages.open_stage(folder, 'texts', {'b': [2], 'a': 1})
    assert again == first and again.result == {'pages': 3}
    assert again.unfinished(range(5)) == [0, 1, 2, 4]


def test_other_settings_empty_the_folder(folder):
    first = stages.open_stage(folder, 'texts', {'a': 1})
    stages.write_rows(first.path(0), ROWS)
    (folder / 'texts' / 'left.partial').write_text('x')
    first.finish({})
    other = stages.open_stage(folder, 'texts', {'a': 2})
    assert other.result is None and other.unfinished([0]) == [0]
    assert [path.name for path in (folder / 'texts').iterdir()] == ['stage.json']


def test_another_input_empties_what_was_made_from_it(folder):
    def scores(texts):
        return stages.open_stage(folder, 'scores', {'s': 1}, stages.open_stage(folder, 'texts', texts))

    scores({'a': 1}).finish({})
    assert scores({'a': 1}).result == {}
    assert scores({'a': 2}).result is None


def test_stages_of_one_folder_do_not_meet(folder):
    one, other = (stages.open_stage(folder, name, {}) for name in 'ab')
    one.finish({})
    assert other.result is None and one.fingerprint != other.fingerprint


def test_a_folder_that_was_left_before_its_mark_is_taken_for_nothing(folder):
    (folder / 'texts').mkdir(parents=True)
    (folder / 'texts' / '00000.jsonl.zst').write_text('torn')
    assert stages.open_stage(folder, 'texts', {}).unfinished([0]) == [0]


def test_settings_can_be_read_in_the_folder(folder):
    stages.open_stage(folder, 'texts', {'seconds': 10})
    assert json.loads((folder / 'texts' / 'stage.json').read_text())['settings'] == {'seconds': 10}


def test_hashes_are_the_same_on_every_machine():
    assert stages.stable_hash('a', 1) == 0x8181c16b4ad83cc1
    assert stages.stable_hash('定理') == 0x1d220c0b9e93a696
    assert stages.stable_hash('ab', 'c') != stages.stable_hash('a', 'bc')
    assert 0 <= stages.stable_hash('\ud800') < 2 ** 64


def test_a_file_is_known_by_its_bytes(tmp_path):
    for name, text in zip('abc', ('x', 'x', 'y')):
        (tmp_path / name).write_text(text)
    a, b, c = (stages.file_hash(tmp_path / name) for name in 'abc')
    assert a == b != c


@pytest.mark.parametrize('name', ['absent.jsonl', ''])
def test_a_missing_file_is_one_sentence(tmp_path, name):
    with pytest.raises(ValueError, match='there is no such file') as error:
        stages.file_hash(tmp_path / name)
    assert str(tmp_path) in str(error.value) and '\n' not in str(error.value)
