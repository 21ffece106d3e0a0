"""Rows of data files: JSONL (plain, .gz or .zst), TFRecord, ArrayRecord, and TFDS by name; a row is a dict.

A record of a TFRecord or ArrayRecord file is a JSON object or a tf.train.Example. What is wrong with a file is one
sentence; `find` and `check` say what can be said without reading it all.
"""
import concurrent.futures
import gzip
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from mathrl import records

TFDS = 'tfds:'      # 'tfds:gsm8k:train', the last part may be left out
SUFFIXES = ('.jsonl', '.jsonl.gz', '.jsonl.zst', '.tfrecord', '.tfrecord.gz', '.arrayrecord', '.array_record')
_WILD = re.compile(r'[*?\[]')
_PART = re.compile(r'(?P<head>.*-)(?P<number>\d{5})-of-(?P<parts>\d{5})(?P<tail>.*)')
_ZSTD = b'\x28\xb5\x2f\xfd'


def find(paths: Sequence[str]) -> list[str]:
    """Files of paths, each a file, a folder of files, a pattern such as 'corpus/part-*', or a TFDS name.

    ValueError where there is none, or where files of a folder or pattern are numbered -00001-of-00003 and one is missing.
    """
    if not paths:
        raise ValueError('no files are given: [] came, a list of paths was wanted')
    return [file for path in paths for file in _find(str(path))]


def _find(path: str) -> list[str]:
    if path.startswith(TFDS):
        return [path]
    given = epath.Path(path)
    if _WILD.search(path):
        start = next(place for place, part in enumerate(given.parts) if _WILD.search(part))
        found = epath.Path(*given.parts[:start] or ('.',)).glob('/'.join(given.parts[start:]))
    elif given.is_dir():
        found = (file for file in given.iterdir() if file.name.endswith(SUFFIXES))
    elif given.exists():
        return [path]
    else:
        raise ValueError(f'{path}: there is no such file; {", ".join(SUFFIXES)}, a folder or pattern of them was wanted')
    files = sorted(str(file) for file in found)
    if not files:
        raise ValueError(f'{path}: no file is there; one of {", ".join(SUFFIXES)} was wanted')
    _check_complete(path, files)
    return files


def _check_complete(path: str, files: list[str]) -> None:
    there = {}
    for file in files:
        if part := _PART.fullmatch(epath.Path(file).name):
            there.setdefault((part['head'], part['parts'], part['tail']), set()).add(int(part['number']))
    for (head, parts, tail), numbers in there.items():
        missing = sorted(set(range(int(parts))) - numbers)
        if missing:
            raise ValueError(f'{path}: {head}{missing[0]:05d}-of-{parts}{tail} is missing; '
                             f'{len(numbers)} of its {int(parts)} files are there')


def size(file: str) -> int:
    """Bytes; 0 for TFDS, whose size is known to it alone."""
    return 0 if file.startswith(TFDS) else epath.Path(file).stat().length


# ---- rows
def rows(file: str, index: int = 0, stride: int = 1) -> Iterator[tuple[str, dict]]:
    """(where, row) of every stride-th record, from the index-th on; `where` names file and record in messages."""
    found = _rows_of(file)
    for number, (parse, record) in enumerate(found, start=1):
        if (number - 1) % stride == index:
            where = f'{file} {"line" if ".jsonl" in file else "record"} {number}'
            yield where, parse(record, where)


def _rows_of(file: str) -> Iterator[tuple]:
    if file.startswith(TFDS):
        return ((_of_tfds, one) for one in _tfds_rows(file))
    if file.endswith(('.tfrecord', '.tfrecord.gz')):
        return ((_of_record, one) for one in _tfrecords(file))
    if file.endswith(('.arrayrecord', '.array_record')):
        return ((_of_record, one) for one in _array_records(file))
    return ((records.parse_line, line) for line in lines(file) if line.strip())


def lines(file: str) -> Iterator[bytes]:
    """Lines of a text file, unpacked where its name ends in .gz or .zst."""
    with epath.Path(file).open('rb') as raw:
        if file.endswith('.zst'):
            import zstandard
            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as unpacked:
                yield from _lines(unpacked, file, (zstandard.ZstdError,))
        elif file.endswith('.gz'):
            with gzip.open(raw) as unpacked:
                yield from _lines(unpacked, file, (EOFError, gzip.BadGzipFile, zlib.error))
        else:
            yield from raw


def _lines(unpacked, file: str, faults: tuple) -> Iterator[bytes]:
    rest = b''
    while True:
        try:
            piece = unpacked.read(1 << 20)
        except faults as error:
            raise ValueError(f'{file} is cut off or damaged ({error})') from None
        if not piece:
            break
        *whole, rest = (rest + piece).split(b'\n')
        yield from whole
    if rest:
        yield rest


def _tfrecords(file: str) -> Iterator[bytes]:
    import tensorflow as tf
    try:
        yield from tf.data.TFRecordDataset(file, 'GZIP' if file.endswith('.gz') else '').as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise ValueError(f'{file} is cut off or damaged ({error.message})') from None


def _array_records(file: str) -> Iterator[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader
    try:
        reader = ArrayRecordReader(file)
        count = reader.num_records()
        if not count:       # so it reads a file without its end, too
            raise ValueError('no index of its records is at its end')
        for start in range(0, count, 1024):
            yield from reader.read(start, min(start + 1024, count))
    except (ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f'{file} is cut off or damaged ({error})') from None


def _of_record(record: bytes, where: str) -> dict:
    if record.startswith(b'{'):
        return records.parse_line(record, where)
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        raise ValueError(f'{where} is neither a JSON object nor a tf.train.Example') from None
    return {name: _plain(list(getattr(one, one.WhichOneof('kind')).value)) for name, one in features.items()
            if one.WhichOneof('kind')}


def _plain(values: list):
    """[b'x'] -> 'x'; [1, 2] stays a list."""
    texts = [one.decode('utf-8', 'replace') if isinstance(one, bytes) else one for one in values]
    return texts[0] if len(texts) == 1 else texts


def _tfds_rows(name: str) -> Iterator[dict]:
    import tensorflow_datasets as tfds
    _, dataset, *split = name.split(':')
    return tfds.as_numpy(tfds.load(dataset, split=split[0] if split else 'train'))


def _of_tfds(row: dict, where: str) -> dict:
    return {name: _plain([value if isinstance(value, bytes) else getattr(value, 'tolist', lambda: value)()])
            for name, value in row.items()}


# ---- truncation, by what a file's own structure says of its end
def check(files: Iterable[str]) -> None:
    """ValueError names the first file that is empty or ends too early; little of each is read (of .gz nothing)."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(_check, files):
            pass


def _check(file: str) -> None:
    if file.startswith(TFDS) or file.endswith('.gz'):
        return
    if not size(file):
        raise ValueError(f'{file}: the file is empty')
    if file.endswith(('.arrayrecord', '.array_record')):
        next(_array_records(file), None)
        return
    end = _zstd_end if file.endswith('.zst') else _tfrecord_end if file.endswith('.tfrecord') else _line_end
    with epath.Path(file).open('rb') as raw:
        fault = end(raw, size(file))
    if fault:
        raise ValueError(f'{file} is cut off: {fault}')


def _zstd_end(raw, total: int) -> str:
    """Walks from block to block (RFC 8878, section 3.1)."""
    place = 0
    while place < total:
        raw.seek(place)
        head = raw.read(5)
        if head[1:4] == b'\x2a\x4d\x18' and head[0] >> 4 == 5:                     # a skippable frame
            place += 8 + int.from_bytes(head[4:5] + raw.read(3), 'little')
            continue
        if not head.startswith(_ZSTD):
            return f'at byte {place} no zstd frame begins'
        flags = head[4] if len(head) == 5 else 0
        single = flags >> 5 & 1
        place += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        last = False
        while not last:
            raw.seek(place)
            block = raw.read(3)
            if len(block) < 3:
                return f'a zstd frame goes on behind its {total} bytes'
            value = int.from_bytes(block, 'little')
            last, place = bool(value & 1), place + 3 + (1 if value >> 1 & 3 == 1 else value >> 3)
        place += 4 * (flags >> 2 & 1)
    return '' if place == total else f'a zstd frame goes on behind its {total} bytes'


def _tfrecord_end(raw, total: int) -> str:
    place = 0
    while place < total:
        raw.seek(place)
        place += 16 + int.from_bytes(raw.read(8), 'little')
    return '' if place == total else f'its last record goes on behind its {total} bytes'


def _line_end(raw, total: int) -> str:
    """A file may end without a line break, but not in the middle of an object."""
    for length in itertools.accumulate(itertools.repeat(1 << 16), lambda so_far, _: so_far * 8):
        raw.seek(max(0, total - length))
        last = raw.read().rstrip().rpartition(b'\n')
        if last[1] or length >= total:
            break
    return '' if last[2].endswith(b'}') else 'its last line does not end an object'
