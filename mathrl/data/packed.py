"""Packed rows on disk, and batch = f(seed, step): any step at once, stateless, for any number of hosts.

A folder holds ArrayRecord files, a record for each row (int32 [5, T]: tokens, targets, weights, segments,
positions), and manifest.json, which is written last: a folder without it was not finished.
"""
import hashlib
import itertools
import json
import os
from collections.abc import Iterable

import numpy as np
from etils import epath

from mathrl.data.packing import FIELDS

MANIFEST = 'manifest.json'
# The constants of splitmix64.
_STRIDE, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def write_packed(folder, rows: Iterable[np.ndarray], row_length: int, rows_per_file: int = 100_000) -> list[dict]:
    """Writes rows [5, T]; returns what the manifest says of its files: [{"name", "rows", "bytes", "sha256"}]."""
    rows, files = iter(rows), []
    while part := list(itertools.islice(rows, 1)):
        part = itertools.chain(part, itertools.islice(rows, rows_per_file - 1))
        files.append(write_file(epath.Path(folder) / f'rows-{len(files):05d}.arrayrecord', part, row_length))
    return files


def write_file(path: epath.Path, rows: Iterable[np.ndarray], row_length: int) -> dict:
    """Writes rows [5, T] into one file, which appears whole or not at all."""
    from array_record.python.array_record_module import ArrayRecordWriter
    partial, count = path.parent / f'{path.name}.partial', 0
    writer = ArrayRecordWriter(str(partial), 'group_size:1')
    for row in rows:
        if row.shape != (len(FIELDS), row_length):
            raise ValueError(f'a row of shape {row.shape} came; ({len(FIELDS)}, {row_length}) was wanted')
        writer.write(row.astype('<i4').tobytes())
        count += 1
    writer.close()
    partial.replace(path)
    return {'name': path.name, 'rows': count, 'bytes': path.stat().length, 'sha256': _sha256(path)}


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_manifest(folder, manifest: dict) -> None:
    """Writes manifest.json, whole or not at all: {task, row_length, rows, tokenizer_digest, files, ...}."""
    partial = epath.Path(folder) / f'{MANIFEST}.partial'
    partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + '\n')
    partial.replace(epath.Path(folder) / MANIFEST)


def open_packed(data):
    """The reader of a packed folder, or of what has an `open` of its own: mixing.Mixed, direct.Direct.

    ValueError if the folder is missing or unfinished, or lacks part of a file.
    """
    if not isinstance(data, (str, os.PathLike)):
        return data.open()
    folder = epath.Path(data)
    path = folder / MANIFEST
    if not path.exists():
        found = folder.exists()
        reason = 'it has no manifest.json; was packing cut short?' if found else 'there is no such folder'
        raise ValueError(f'{folder} is not a packed folder: {reason}')
    try:
        manifest = json.loads(path.read_text())
        files = [(folder / file['name'], file['rows'], file['bytes']) for file in manifest['files']]
        reader = PackedReader(manifest, files)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path} is not the manifest of a packed folder ({error!r})') from None
    for file, _, size in files:
        if not file.exists():
            raise ValueError(f'{file} is missing; {path} lists it')
        if file.stat().length != size:
            raise ValueError(f'{file} has {file.stat().length} bytes; {size} were written: '
                             'it is cut off or changed')
    return reader


class PackedReader:
    """Rows of a packed folder. `batch` is a pure function of its arguments."""

    def __init__(self, manifest: dict, files: list[tuple[epath.Path, int, int]]):
        self.manifest = manifest
        self.row_length = manifest['row_length']
        self.rows = manifest['rows']
        self.tokenizer_digest = manifest['tokenizer_digest']
        self._paths = [str(path) for path, _, _ in files]
        self._starts = np.cumsum([0] + [rows for _, rows, _ in files])
        self._readers = {}
        if self.rows < 1 or self._starts[-1] != self.rows:
            raise ValueError(f'the manifest says {self.rows} rows; its files hold {self._starts[-1]}; '
                             'the same number above 0 was wanted')

    def batch(self, seed: int, step: int, batch_size: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """tokens_BT targets_BT segments_BT positions_BT (int32) and weights_BT (float32) of a step from 0.

        Every pass over the rows (epoch) is a permutation of its own; a batch may lie across two. rows: which of the batch
        are wanted, as a host wants its own alone; nothing else is read.
        """
        return as_batch(self.in_order(seed, np.arange(step * batch_size, (step + 1) * batch_size)[rows]))

    def in_order(self, seed: int, places: np.ndarray) -> np.ndarray:
        """Rows [B, 5, T] by their places in the endless shuffled order that the seed gives."""
        return self.read(shuffled(places % self.rows, places // self.rows, self.rows, seed))

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Rows [B, 5, T] by their numbers."""
        rows = np.empty((len(indices), len(FIELDS), self.row_length), '<i4')
        file_of = np.searchsorted(self._starts, indices, side='right') - 1
        for file in np.unique(file_of):
            places = np.flatnonzero(file_of == file)
            records = self._reader(file).read([int(row) for row in indices[places] - self._starts[file]])
            for place, record in zip(places, records):
                rows[place] = np.frombuffer(record, '<i4').reshape(rows.shape[1:])
        return rows

    def _reader(self, file: int):
        from array_record.python.array_record_module import ArrayRecordReader
        if file not in self._readers:
            try:
                # Without this it reads ahead as for a scan, many rows for every one that is asked for.
                reader = ArrayRecordReader(self._paths[file], 'readahead_buffer_size:0')
                written = reader.num_records()
            except (ValueError, RuntimeError) as error:
                raise ValueError(f'{self._paths[file]} is no readable ArrayRecord file ({error})') from None
            if written != self._starts[file + 1] - self._starts[file]:
                raise ValueError(f'{self._paths[file]} holds {written} rows; the manifest says '
                                 f'{self._starts[file + 1] - self._starts[file]}')
            self._readers[file] = reader
        return self._readers[file]


def as_batch(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows [B, 5, T] by the names of their fields."""
    batch = {f'{name}_BT': np.ascontiguousarray(rows[:, field]) for field, name in enumerate(FIELDS)}
    return batch | {'weights_BT': batch['weights_BT'].astype(np.float32)}


def check_tokenizer(reader: PackedReader, tokenizer) -> None:
    """ValueError if the rows were packed with another vocabulary than the tokenizer's."""
    if reader.tokenizer_digest != tokenizer.digest:
        raise ValueError(f'the packed rows were made with tokenizer {reader.tokenizer_digest[:12]}, the '
                         f'model reads with tokenizer {tokenizer.digest[:12]}: pack the data again with that')


def shuffled(index: np.ndarray, epoch: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Where place `index` of pass `epoch` lies in a permutation of range(size) that (seed, epoch) names.

    A Feistel cipher on the next power of four, walked until it is back in the range: no table, so a corpus of
    any size costs nothing, and no library whose next version could shuffle otherwise.
    """
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    keys = _mix(_mix(np.full(1, seed % 2 ** 64, np.uint64)) + np.uint64(_STRIDE) * epoch.astype(np.uint64))
    value = _feistel(index.astype(np.uint64), keys, half)
    while (outside := value >= size).any():
        value[outside] = _feistel(value[outside], keys[outside], half)
    return value.astype(np.int64)


def _feistel(value: np.ndarray, keys: np.ndarray, half: np.uint64, rounds: int = 6) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for turn in range(rounds):
        left, right = right, left ^ (_mix(right + keys + np.uint64(_STRIDE * turn % 2 ** 64)) & mask)
    return (left << half) | right


def _mix(value: np.ndarray) -> np.ndarray:
    """The finisher of splitmix64: every bit of the result depends on every bit of the value."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX_1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX_2)
    return value ^ (value >> np.uint64(31))
