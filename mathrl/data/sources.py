"""A seqio source over files of rows: any part of it can be read alone, in an order that the seed gives.

Files are grouped into shards of about SHARD_BYTES. A part (seqio's shard_info) is whole shards where there are enough, else
every n-th row. Rows are shuffled in blocks of BLOCK_CHARACTERS, which is what a reader holds in memory.
"""
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from mathrl.data import files
from mathrl.problems.types import problem_of

# Text needs no accelerator, and TensorFlow would take all of its memory.
tf.config.set_visible_devices([], 'GPU')

SHARD_BYTES = 1 << 28
BLOCK_CHARACTERS = 1 << 28
TRAIN, HELDOUT = 'train', 'heldout'


class FileSource(seqio.DataSource):
    """columns(row, where) -> what the preprocessors get of a row, text or numbers as `signature` says; None: nothing.

    heldout: the share of rows that are not in the split 'train' but in 'heldout', by a hash of the first column, so that
    equal texts lie on one side. Paths are looked for when data is asked for; `columns` is sent to other processes.
    """

    def __init__(self, paths: Sequence[str], columns: Callable[[dict, str], dict | None], signature: Mapping[str, tf.DType],
                 heldout: float = 0.0):
        if not 0 <= heldout < 1:
            raise ValueError(f'heldout={heldout}; a share from 0 to below 1 was wanted')
        self.paths, self.columns, self.heldout = tuple(map(str, paths)), columns, heldout
        self.signature = {name: tf.TensorSpec([], dtype) for name, dtype in signature.items()}
        super().__init__(splits=(TRAIN, HELDOUT) if heldout else (TRAIN,))

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def groups(self) -> list[list[str]]:
        """Consecutive files together, up to SHARD_BYTES."""
        groups, room = [], 0
        for file in files.find(self.paths):
            size = files.size(file)
            if not groups or size > room:
                groups.append([])
                room = SHARD_BYTES
            groups[-1].append(file)
            room -= size
        return groups

    def check(self) -> None:
        """ValueError if a file is missing or ends too early."""
        files.check(file for group in self.groups() for file in group)

    def list_shards(self, split: str) -> list[str]:
        return [group[0] for group in self.groups()]

    def get_dataset(self, split: str = TRAIN, shuffle: bool = True, seed: int | None = None,
                    shard_info: seqio.ShardInfo | None = None, *, sequence_length=None, use_cached: bool = False,
                    num_epochs: int | None = 1) -> tf.data.Dataset:
        if split not in self.splits:
            raise ValueError(f'there is no split {split!r}; there are: {", ".join(self.splits)}')
        generate = lambda: self._shuffled(split, shard_info, seed) if shuffle else self._rows(split, shard_info)
        return tf.data.Dataset.from_generator(generate, output_signature=self.signature)

    def _shuffled(self, split: str, shard_info, seed: int | None) -> Iterator[dict]:
        random = np.random.default_rng(seed)
        for block in _blocks(self._rows(split, shard_info)):
            for place in random.permutation(len(block)):
                yield block[place]

    def _rows(self, split: str, shard_info) -> Iterator[dict]:
        groups = self.groups()
        index, parts = (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)
        whole = parts <= len(groups)
        for file in (file for group in (groups[index::parts] if whole else groups) for file in group):
            passed_over = 0
            for where, row in files.rows(file, *(() if whole else (index, parts))):
                columns = self.columns(row, where)
                if columns is None:
                    passed_over += 1
                elif not self.heldout or (share(next(iter(columns.values()))) < self.heldout) == (split == HELDOUT):
                    yield columns
            if passed_over:
                logging.warning('%s: passed over %d rows without what was asked for', file, passed_over)


def share(text: str) -> float:
    """Where in [0, 1) a text falls, the same on every machine."""
    digest = hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=6).digest()
    return int.from_bytes(digest, 'big') / 2 ** 48


# ---- columns
TEXT = {'text': tf.string, 'language': tf.string, 'score': tf.float32}
PROBLEM = {'problem': tf.string, 'answer': tf.string, 'solution': tf.string, 'form': tf.string}


def text_columns(row: dict, where: str, *, field: str = 'text', lacking: str = 'refuse') -> dict | None:
    """{'content': 'x', 'language': 'en'}, field='content' -> {'text': 'x', 'language': 'en', 'score': 0.0}

    A row without the field is an error, or with lacking='skip' passed over, as what `mine` keeps of pages without text.
    """
    if field not in row and lacking == 'skip':
        return None
    if field not in row:
        raise ValueError(f'{where}: field {field!r} is missing; it has: {", ".join(row) or "no fields"}')
    if not isinstance(row[field], str):
        raise ValueError(f'{where}: field {field!r} is {row[field]!r:.60}; text was wanted')
    score = row.get('score')
    return {'text': row[field], 'language': str(row.get('language') or ''),
            'score': float(score) if isinstance(score, (int, float)) else 0.0}


def problem_columns(row: dict, where: str, *, programs: tuple[str, ...] = (), tools: tuple[str, ...] = ()) -> dict | None:
    """{'problem': '1+1?', 'answer': 2, 'solution': ''} -> {'problem': '1+1?', 'answer': '2', 'solution': '', 'form': 'cot'}

    form: 'pot' for rows of the files in `programs`, 'tir' for those in `tools`. Problems without an answer are passed over.
    """
    for field in ('problem', 'answer'):
        if field not in row:
            raise ValueError(f'{where}: field {field!r} is missing; it has: {", ".join(row) or "no fields"}')
    if row['answer'] is None or row['answer'] == '':
        return None
    problem, form = problem_of(row, where), _form(where.rsplit(' ', 2)[0], programs, tools)
    if form != 'cot' and not problem.solution.strip():
        raise ValueError(f'{where}: field \'solution\' is missing or empty; a solution in the form {form!r} was wanted')
    return {'problem': problem.problem, 'answer': problem.answer, 'solution': problem.solution, 'form': form}


@functools.lru_cache(maxsize=1 << 12)
def _form(file: str, programs: tuple[str, ...], tools: tuple[str, ...]) -> str:
    named = lambda paths: paths and file in files.find(paths)
    return 'pot' if named(programs) else 'tir' if named(tools) else 'cot'


def _blocks(rows: Iterator[dict]) -> Iterator[list[dict]]:
    block, room = [], BLOCK_CHARACTERS
    for row in rows:
        block.append(row)
        room -= sum(len(value) for value in row.values() if isinstance(value, str))
        if room <= 0:
            yield block
            block, room = [], BLOCK_CHARACTERS
    if block:
        yield block
