"""Rows of every kind of file, and what is said of files that are missing, cut off or wrong."""
import gzip
import json

import pytest

zstandard = pytest.importorskip('zstandard')
from mathrl.data import files    # noqa: E402

ROWS = [{'text': f'page {number} é', 'score': number / 4} for number in range(500)]
LINES = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]


def _write(path, lines=LINES):
    name, whole = path.name, b'\n'.join(lines) + b'\n'
    if name.endswith('.zst'):
        half = len(whole) // 2      # two frames, and a skippable one between
        pack = zstandard.ZstdCompressor(write_checksum=True).compress
        whole = pack(whole[:half]) + b'\x50\x2a\x4d\x18\x03\0\0\0abc' + pack(whole[half:])
    elif name.endswith('.gz'):
        whole = gzip.compress(whole)
    elif name.endswith('.tfrecord'):
        tf = pytest.importorskip('tensorflow')
        with tf.io.TFRecordWriter(str(path)) as writer:
            for line in lines:
                writer.write(_example(tf, json.loads(line)))
        return path
    elif name.endswith('.arrayrecord'):
        from array_record.python.array_record_module import ArrayRecordWriter
        writer = ArrayRecordWriter(str(path), 'group_size:1')
        for line in lines:
            writer.write(line)
        writer.close()
        return path
    path.write_bytes(whole)
    return path


def _example(tf, row):
    return tf.train.Example(features=tf.train.Features(feature={
        'text': tf.train.Feature(bytes_list=tf.train.BytesList(value=[row['text'].encode()])),
        'score': tf.train.Feature(float_list=tf.train.FloatList(value=[row['score']]))})).SerializeToString()


KINDS = ['a.jsonl', 'a.jsonl.gz', 'a.jsonl.zst', 'a.tfrecord', 'a.arrayrecord']


@pytest.mark.parametrize('name', KINDS)
def test_rows_come_back(tmp_path, name):
    path = _write(tmp_path / name)
    files.check([str(path)])
    assert [row for _, row in files.rows(str(path))] == ROWS
    assert [row for _, row in files.rows(str(path), 2, 3)] == ROWS[2::3]
    where, _ = next(files.rows(str(path), 4, 9))
    assert where == f'{path} {"line" if "json" in name else "record"} 5'


@pytest.mark.parametrize('name', KINDS)
@pytest.mark.parametrize('share', [0.999, 0.6, 0.01])
def test_a_file_that_is_cut_off_is_one_sentence(tmp_path, name, share):
    path = _write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=f'{name} is cut off') as error:
        files.check([str(path)])
        list(files.rows(str(path)))     # of .gz there is nothing to be seen before
    assert '\n' not in str(error.value)


def test_a_last_line_without_a_break_is_whole(tmp_path):
    (tmp_path / 'a.jsonl').write_bytes(b'\n'.join(LINES))
    files.check([str(tmp_path / 'a.jsonl')])
    (tmp_path / 'b.jsonl').write_bytes(json.dumps({'text': 'x' * 200_000}).encode())
    files.check([str(tmp_path / 'b.jsonl')])


def test_files_are_found_in_folders_and_by_patterns(tmp_path):
    names = [f'part-{number:05d}-of-00003.jsonl' for number in range(3)]
    tmp_path = tmp_path / 'corpus'
    tmp_path.mkdir()
    for name in names:
        _write(tmp_path / name)
    (tmp_path / 'README.md').write_text('x')
    wanted = [str(tmp_path / name) for name in names]
    for given in (str(tmp_path), f'{tmp_path}/part-*', f'{tmp_path.parent}/*/part-*'):
        assert files.find([given]) == wanted
    assert files.find([wanted[2], 'tfds:gsm8k:train']) == [wanted[2], 'tfds:gsm8k:train']
    (tmp_path / names[1]).unlink()
    assert files.find([wanted[2]]) == [wanted[2]]
    for given in (str(tmp_path), f'{tmp_path}/*.jsonl'):
        with pytest.raises(ValueError, match='part-00001-of-00003.jsonl is missing; 2 of its 3 files are there'):
            files.find([given])


@pytest.mark.parametrize('given, wanted', [
    ('absent.jsonl', 'absent.jsonl: there is no such file'),
    ('absent-*', r'absent-\*: no file is there'),
    ('empty', 'empty: no file is there'),
])
def test_files_that_are_not_there(tmp_path, given, wanted):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=wanted):
        files.find([str(tmp_path / given)])


def test_wrong_records_are_named(tmp_path):
    _write(tmp_path / 'a.jsonl.zst', [*LINES[:2], b'{"text": ', *LINES[2:]])
    with pytest.raises(ValueError, match='a.jsonl.zst line 3 is not JSON'):
        list(files.rows(str(tmp_path / 'a.jsonl.zst')))
    _write(tmp_path / 'a.arrayrecord', [LINES[0], b'\xff\xff\xff'])
    with pytest.raises(ValueError, match='a.arrayrecord record 2 is neither a JSON object nor a tf.train.Example'):
        list(files.rows(str(tmp_path / 'a.arrayrecord')))
    (tmp_path / 'b.jsonl').write_bytes(b'')
    with pytest.raises(ValueError, match='b.jsonl: the file is empty'):
        files.check([str(tmp_path / 'b.jsonl')])
    with pytest.raises(ValueError, match='no files are given'):
        files.find([])
