"""A seqio task or mixture read directly, packed as it comes: for small runs, where `pack` is not worth its while.

Rows come in one order alone, so a step is reached through all before it, and every host reads them all.
"""
import dataclasses
import itertools
from typing import Any

import numpy as np

from mathrl.data import packed
from mathrl.data.packing import Counts, pack


@dataclasses.dataclass(frozen=True)
class Direct:
    """In place of a packed folder's name; `open` is called where packed rows are read.

    task: a seqio.Task or seqio.Mixture. open_rows: as in packing.pack.
    """
    task: Any
    row_length: int
    open_rows: int = 64

    def open(self) -> 'DirectReader':
        return DirectReader(self)


class DirectReader:
    """Has the names of `packed.PackedReader`, but for the number of rows, which nobody knows."""

    def __init__(self, data: Direct):
        from mathrl.data import tasks      # TensorFlow: what trains on packed rows has none
        self._examples = tasks.examples
        self._data, self._tokenizer = data, tasks.tokenizer_of(data.task)
        tasks.check(data.task)
        self.row_length, self.tokenizer_digest = data.row_length, self._tokenizer.digest
        self.manifest = {'task': data.task.name, 'row_length': data.row_length, 'tokenizer_digest': self._tokenizer.digest,
                         'seqio_version': tasks.SEQIO_VERSION}
        self._order, self._next = None, 0

    def batch(self, seed: int, step: int, batch_size: int, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """As PackedReader.batch: a pure function of its arguments, though an earlier step starts from the first again."""
        if self._order != (seed, batch_size) or step < self._next:
            self._order, self._next = (seed, batch_size), 0
            found = self._examples(self._data.task, seed, epochs=None)
            self._rows = pack(found, self.row_length, Counts(), self._tokenizer.pad_id, self._data.open_rows)
        skipped = (step - self._next) * batch_size
        found = list(itertools.islice(self._rows, skipped, skipped + batch_size))
        self._next = step + 1
        return packed.as_batch(np.stack(found)[rows])
