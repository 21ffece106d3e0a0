"""Which output sits in which row: the host's part of decoding, plain NumPy between launches (sampling/blocks.py).

The batch lies on P parts (devices of the batch axes). A part has question slots and rows of its own: a question, or some of
its outputs where there are fewer questions than parts, takes a free slot, and each of its outputs a row. As outputs end, their
rows are given up: the next questions take them, and where none are left the batch shrinks.
"""
import dataclasses

import numpy as np


@dataclasses.dataclass
class Unit:
    """Outputs first .. first + G - 1 of a question, all in one part; `question` counts from 0 in the order that came."""
    question: int
    first: int


@dataclasses.dataclass
class Row:
    """An output that is being written: the slot of its question's prompt, and its number in the batch (None: not yet)."""
    unit: Unit
    slot: int
    output: int          # within the unit
    length: int = 0
    number: int | None = None

    @property
    def place(self) -> tuple[int, int]:
        """(question, output) of the array of results."""
        return self.unit.question, self.unit.first + self.output


def units(questions: int, outputs: int, parts: int, most: int) -> tuple[list[Unit], int]:
    """(the units in order, outputs of each): questions are cut by outputs until there is a unit for every part, of `most`
    outputs at most."""
    fits = lambda pieces: outputs % pieces == 0 and pieces * questions >= parts and outputs <= most * pieces
    pieces = next(filter(fits, range(1, outputs + 1)), outputs)
    size = outputs // pieces
    return [Unit(question, first) for question in range(questions) for first in range(0, outputs, size)], size


def bucket(count: int) -> int:
    """count rounded up to 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: few sizes, at most half too large."""
    if count <= 2:
        return count
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if count <= power * 3 // 4 else power


@dataclasses.dataclass
class Part:
    """One part's question slots, and its rows that go on."""
    slots: list[Unit | None]
    rows: list[Row]

    def give_up(self, ended: list[Row]) -> None:
        """These rows are free, and slots whose rows are all gone."""
        gone = set(map(id, ended))
        self.rows = [row for row in self.rows if id(row) not in gone]
        busy = {row.slot for row in self.rows}
        self.slots = [unit if slot in busy else None for slot, unit in enumerate(self.slots)]

    def number(self, count: int, anew: bool) -> np.ndarray:
        """Numbers the rows within 0 .. count - 1 -> which number each of them had before.

        Rows keep their numbers and new ones take what is free; or all are numbered anew, in order.
        """
        source = np.arange(count, dtype=np.int32)
        kept = set() if anew else {row.number for row in self.rows}
        free = (number for number in range(count) if number not in kept)
        for row in self.rows:
            if anew or row.number is None:
                before, row.number = row.number, next(free)
                source[row.number] = row.number if before is None else before
        return source

    def admit(self, waiting: list[Unit], size: int, capacity: int) -> list[int]:
        """Takes units from the front of `waiting` into free slots while rows last -> the slots they took."""
        taken = []
        for slot, unit in enumerate(self.slots):
            if unit is None and waiting and len(self.rows) + size <= capacity:
                self.slots[slot] = waiting.pop(0)
                self.rows += [Row(self.slots[slot], slot, output) for output in range(size)]
                taken.append(slot)
        return taken


@dataclasses.dataclass
class Batch:
    """All parts. size: outputs of a unit; capacity: the most rows of a part; smallest: the fewest that it shrinks to."""
    parts: list[Part]
    waiting: list[Unit]
    size: int
    capacity: int
    smallest: int
    rows: int = 0        # of a part in the last block

    @property
    def slots(self) -> int:
        return len(self.parts[0].slots)

    def alive(self) -> bool:
        return bool(self.waiting) or any(part.rows for part in self.parts)

    def longest(self) -> int:
        """The tokens of the longest output that goes on."""
        return max((row.length for part in self.parts for row in part.rows), default=0)

    def admit(self) -> list[list[int]]:
        """Waiting units take free slots, in the emptiest part first -> the slots taken in each part."""
        taken = [[] for _ in self.parts]
        for number in sorted(range(len(self.parts)), key=lambda number: len(self.parts[number].rows)):
            taken[number] = self.parts[number].admit(self.waiting, self.size, self.capacity)
        return taken

    def slot_questions(self) -> np.ndarray:
        """The question in each slot of all parts [Q]; 0 in a free one."""
        return np.array([unit.question if unit else 0 for part in self.parts for unit in part.slots])

    def lay_out(self) -> dict[str, np.ndarray | None]:
        """The rows of the next block as arrays [P, rows], and row_PX [P, slots * size]; what no row holds is 0, and done.

        source: where each row was in the last block, None where all stay; place and row_PX: None if row i is at place i.
        """
        before, needed = self.rows, max(len(part.rows) for part in self.parts)
        self.rows = min(self.capacity, max(self.smallest, bucket(needed)))
        shape, places = (len(self.parts), self.rows), self.slots * self.size
        found = {name: np.zeros(shape, np.int32) for name in ('place', 'length', 'question', 'output')}
        found |= {'done': np.ones(shape, bool), 'row_PX': np.zeros((len(self.parts), places), np.int32)}
        source_PB = np.stack([part.number(self.rows, anew=self.rows != before) for part in self.parts])
        whole = self.rows == places
        for p, part in enumerate(self.parts):
            for row in part.rows:
                place = row.slot * self.size + row.output
                values = dict(place=place, length=row.length, question=row.place[0], output=row.place[1], done=False)
                for name, value in values.items():
                    found[name][p, row.number] = value
                found['row_PX'][p, place] = row.number
                whole &= place == row.number
        moved = self.rows != before
        return found | {'source': np.minimum(source_PB, before - 1) if moved else None} | (
            {'place': None, 'row_PX': None} if whole else {})


def new_batch(questions: int, outputs: int, parts: int, rows: int = 0, smallest: int = 8) -> Batch:
    """rows: over all parts at once (0: all), a row a part at least. Where questions must wait, a part has twice the slots that
    full groups need."""
    most = max(1, rows // parts) if rows else questions * outputs
    waiting, size = units(questions, outputs, parts, most)
    slots = -(-len(waiting) // parts)
    capacity = slots * size
    if most < capacity:
        capacity = most
        slots = min(slots, 2 * (capacity // size))
    return Batch([Part([None] * slots, []) for _ in range(parts)], waiting, size, capacity, min(smallest, capacity))


def fresh(batch: Batch, taken: list[list[int]]) -> tuple[np.ndarray, np.ndarray] | None:
    """(the questions [F] of slots just taken, slot_PF: which they are), as many in each part; None where none was taken."""
    if not any(taken):
        return None
    slot_PF = np.full((len(taken), bucket(max(map(len, taken)))), batch.slots, np.int32)
    for row, each in zip(slot_PF, taken):
        row[:len(each)] = each
    questions_PQ = batch.slot_questions().reshape(len(taken), -1)
    return np.take_along_axis(questions_PQ, np.minimum(slot_PF, batch.slots - 1), axis=1).reshape(-1), slot_PF
