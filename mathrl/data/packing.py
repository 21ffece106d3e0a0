"""Examples of many lengths into rows of one length: first fit over a bounded number of open rows."""
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

FIELDS = ('tokens', 'targets', 'weights', 'segments', 'positions')


@dataclasses.dataclass(frozen=True)
class Example:
    """Token ids, end token included; the first `untrained` of them (the prompt) are not trained on.

    trained: 0 or 1 for each id, where there are others that are not: a tool's output. text_bytes: UTF-8 bytes of the text,
    or of the answer where there is a prompt.
    """
    ids: list[int]
    untrained: int = 0
    trained: list[int] | None = None
    text_bytes: int = 0


@dataclasses.dataclass
class Counts:
    """What became of the examples; `tokens` are the targets in rows, `trained` those of weight 1, of texts of text_bytes."""
    examples: int = 0
    cut: int = 0
    dropped: int = 0
    rows: int = 0
    tokens: int = 0
    trained: int = 0
    text_bytes: int = 0


def pack(examples: Iterable[Example], row_length: int, counts: Counts, pad_id: int = 0,
         open_rows: int = 64) -> Iterator[np.ndarray]:
    """Rows [5, T] int32 (FIELDS), filled in as examples come; `counts` is kept up to date.

    An example takes len(ids) - 1 places: tokens ids[:-1], targets ids[1:], weight 1 where a target is trained
    on, one segment number (1.. in a row, 0 is padding), positions from 0. It goes into the first open row
    with room; beyond open_rows rows the oldest is closed. A text longer than a row is cut into pieces that
    share their border token, so that every target is trained on once; an example with a prompt is dropped
    instead: half a solution is wrong.
    """
    if row_length < 2 or open_rows < 1:
        raise ValueError(f'row_length={row_length} and open_rows={open_rows}; at least 2 and 1 were wanted')
    waiting: list[list[Example]] = []
    room: list[int] = []
    for example in examples:
        for piece in _pieces(example, row_length, counts):
            size = len(piece.ids) - 1
            row = next((row for row, free in enumerate(room) if free >= size), len(room))
            if row == len(room):
                waiting.append([])
                room.append(row_length)
            waiting[row].append(piece)
            room[row] -= size
            if room[row] == 0 or len(room) > open_rows:
                closed = row if room[row] == 0 else 0
                room.pop(closed)
                yield _row(waiting.pop(closed), row_length, pad_id, counts)
    for pieces in waiting:
        yield _row(pieces, row_length, pad_id, counts)


def _pieces(example: Example, row_length: int, counts: Counts) -> list[Example]:
    counts.examples += 1
    size = len(example.ids) - 1
    if size < 1:
        counts.dropped += 1
        return []
    if size > row_length and (example.untrained or example.trained):
        counts.dropped += 1
        return []
    counts.text_bytes += example.text_bytes
    if size <= row_length:
        return [example]
    counts.cut += 1
    return [Example(example.ids[start:start + row_length + 1]) for start in range(0, size, row_length)]


def _row(pieces: list[Example], row_length: int, pad_id: int, counts: Counts) -> np.ndarray:
    row = np.zeros((len(FIELDS), row_length), np.int32)
    row[:2] = pad_id
    start = 0
    for segment, piece in enumerate(pieces, start=1):
        size = len(piece.ids) - 1
        place = slice(start, start + size)
        row[0, place], row[1, place] = piece.ids[:-1], piece.ids[1:]
        row[2, place] = piece.trained[1:] if piece.trained else np.arange(1, size + 1) >= piece.untrained
        row[3, place], row[4, place] = segment, np.arange(size)
        start += size
    counts.rows += 1
    counts.tokens += start
    counts.trained += int(row[2].sum())
    return row
