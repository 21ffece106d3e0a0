"""Cuts a WARC file into records without trusting any of it: what warc.py falls back on.

FastWARC stops at the first bad byte, and without a word at an empty gzip member. Here every length is checked against
what follows it; behind a bad piece the search goes on at the next gzip member or zstd frame that holds a WARC record,
or at the next `WARC/1.` line.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

CHUNK = 1 << 15
HEAD_BYTES = 1 << 16              # the longest header, and what is kept of a record that is too long
INNER = 48                        # a token's bits for the offset of a member
GZIP, ZSTD, PLAIN = 'gzip', 'zstd', 'plain'
START = {GZIP: b'\x1f\x8b\x08', ZSTD: b'\x28\xb5\x2f\xfd', PLAIN: b'WARC/'}
VERSION = re.compile(rb'WARC/\d\.\d[ \t]*\r?\n')
HEADER_END = re.compile(rb'\n\r?\n')
LENGTH = re.compile(rb'\nContent-Length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?\n', re.IGNORECASE)
TYPE = re.compile(rb'\nWARC-Type[ \t]*:', re.IGNORECASE)
BLANKS = re.compile(rb'[\r\n \t]*')

GARBAGE = 'garbage between records'
CUT = 'cut mid-record'
WRONG_LENGTH = 'wrong length'


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole record (detail ''), or the header of a bad one (b'' where there is none).

    Of a record that is longer than asked for, `data` has the header and the beginning only.
    """
    offset: int
    data: bytes
    detail: str = ''


class _Member:
    """The plain bytes of one gzip member or zstd frame, or of a whole uncompressed file, in a window that moves on.

    inner: the window's place in these bytes. end: '' while there is more, 'whole' after a good end, else the detail of
    the fault. after: offset in the file of the byte read next.
    """

    def __init__(self, file: BinaryIO, kind: str, offset: int, inner: int = 0):
        self.file, self.kind, self.offset = file, kind, offset
        self.window, self.inner, self.end, self.after = bytearray(), 0, '', offset
        self.inflate = _inflater(kind)
        self.skip(inner)

    def _read(self):
        self.file.seek(self.after)
        data = self.file.read(CHUNK)
        self.after += len(data)
        if self.kind == PLAIN:
            self.window += data
            self.end = '' if data else 'whole'
            return
        try:
            self.window += self.inflate.decompress(data)
        except (zlib.error, zstandard.ZstdError):
            self.end = f'corrupt {self.kind}'
            self.window += self._before_fault(data)
            return
        if self.inflate.eof:
            self.after -= len(self.inflate.unused_data)
            self.end = 'whole'
        elif not data:
            self.end = f'truncated {self.kind}'

    def _before_fault(self, data: bytes) -> bytes:
        """What `data`, which ends in a fault, holds up to there: the call that failed gave nothing of it."""
        inflate, parts, at = _inflater(self.kind), [], self.offset
        self.file.seek(at)
        while (step := min(CHUNK, self.after - len(data) - at)) > 0:
            at += len(part := self.file.read(step))
            inflate.decompress(part)
        try:
            for place in range(len(data)):
                parts.append(inflate.decompress(data[place:place + 1]))
        except (zlib.error, zstandard.ZstdError):
            pass
        return b''.join(parts)

    def has(self, count: int) -> bool:
        """Whether the window has `count` bytes, after reading on as far as that takes."""
        while len(self.window) < count and not self.end:
            self._read()
        return len(self.window) >= count

    def skip(self, count: int):
        if self.kind == PLAIN and count > len(self.window):
            self.inner += count
            self.after, self.window = self.inner, bytearray()
            return
        while count and self.has(1):
            step = min(count, len(self.window))
            del self.window[:step]
            self.inner += step
            count -= step

    def skip_blanks(self):
        while self.has(1) and (blanks := BLANKS.match(self.window).end()):
            self.skip(blanks)

    def seek_record(self, start: int):
        """Moves to the next `WARC/1.` line.at or behind `start` of the window, or to the end."""
        while not (found := VERSION.search(self.window, start)):
            # A line can lie across the edge.
            self.skip(max(0, len(self.window) - 32))
            start = min(start, 1)
            if not self.has(len(self.window) + 1):
                self.skip(len(self.window))
                return
        self.skip(found.start())

    def header(self) -> bytes:
        """The record header at the window's start, with its blank line; b'' if there is none."""
        self.has(16)
        if not VERSION.match(self.window):
            return b''
        while not (end := HEADER_END.search(self.window, 0, HEAD_BYTES)):
            if len(self.window) >= HEAD_BYTES or not self.has(len(self.window) + 1):
                return b''
        header = bytes(self.window[:end.end()])
        return header if TYPE.search(header) else b''

    def fault_behind(self, count: int) -> str:
        """'' if `count` bytes are there and behind them only the end or another record, else the detail."""
        if not self.has(count):
            return CUT if self.end == 'whole' else self.end
        self.has(count + 64)
        tail = bytes(self.window[count:count + 64])
        if text := tail[BLANKS.match(tail).end():]:
            # In a plain file the blank lines that end a record have to do: what comes after them may be a bad piece.
            ends = text.startswith(START[PLAIN]) or self.kind == PLAIN and tail.startswith((b'\r\n\r\n', b'\n\n'))
            return '' if ends else WRONG_LENGTH
        return '' if len(tail) == 64 or self.end == 'whole' else self.end

    def token(self) -> int:
        """Where the window starts, as one int. In a plain file: the offset. In a compressed one: the member's offset, and
        2**48 for each of its plain bytes that comes before (none, where each record has a member of its own)."""
        return self.inner if self.kind == PLAIN else self.offset + (self.inner << INNER)


def _inflater(kind: str):
    if kind == ZSTD:
        return zstandard.ZstdDecompressor().decompressobj()
    return zlib.decompressobj(31) if kind == GZIP else None


def kind_of(head: bytes, address: str) -> str:
    """'gzip', 'zstd' or 'plain', by the first bytes of a file; where they tell nothing, by its name."""
    for kind, start in START.items():
        if head.startswith(start):
            return kind
    if head[1:4] == b'\x2a\x4d\x18':             # a skippable zstd frame
        return ZSTD
    return GZIP if address.endswith('.gz') else ZSTD if address.endswith('.zst') else PLAIN


def pieces(file: BinaryIO, kind: str, start: int, max_bytes: int) -> Iterator[Piece]:
    """The records from the token `start` on, and a Piece with a detail for each bad stretch, in file order.

    Raises only what reading `file` raises. Holds at most one record of `max_bytes`.
    """
    if kind == PLAIN:
        yield from _records(_Member(file, kind, 0, start), max_bytes)
        return
    offset, inner = start & ((1 << INNER) - 1), start >> INNER
    while offset is not None:
        file.seek(offset)
        head = file.read(4)
        if not head:
            return
        after = None
        if kind_of(head, '') == kind:
            after = yield from _records(_Member(file, kind, offset, inner), max_bytes)
        else:
            yield Piece(offset, b'', GARBAGE)
        offset, inner = _next_member(file, kind, offset + 1) if after is None else after, 0


def _records(member: _Member, max_bytes: int) -> Iterator[Piece]:
    """The records of one member. Returns the offset behind it, None if it has no good end."""
    told = False
    while True:
        member.skip_blanks()
        if not member.has(1):
            break
        at, header = member.token(), member.header()
        length = LENGTH.search(header)
        if not length:
            if header or not told:
                yield Piece(at, header, WRONG_LENGTH if header else GARBAGE)
            told = True
            member.seek_record(max(1, len(header)))
            continue
        count = len(header) + int(length[1])
        if count > max_bytes:
            # The far end is looked at by a second reader, so that the near one can search on if the length is wrong.
            ahead = _Member(member.file, member.kind, member.offset, member.inner)
            ahead.skip(count - 1)
            detail = ahead.fault_behind(1)
            member.has(HEAD_BYTES)
        else:
            detail = member.fault_behind(count)
        if detail:
            told = True
            member.seek_record(len(header))
            if detail == CUT and (member.has(1) or member.kind != PLAIN):
                detail = WRONG_LENGTH
            yield Piece(at, header, detail)
        elif count > max_bytes:
            told = False
            yield Piece(at, bytes(member.window[:HEAD_BYTES]))
            member = ahead
            member.skip(1)
        else:
            told = False
            yield Piece(at, bytes(member.window[:count]))
            member.skip(count)
    if member.end == 'whole':
        return member.after
    if not told:
        yield Piece(member.offset, b'', member.end)
    return None


def _next_member(file: BinaryIO, kind: str, offset: int) -> int | None:
    """The offset of the next member, at or behind `offset`, that begins with a WARC record; None if there is none."""
    start = START[kind]
    while True:
        file.seek(offset)
        chunk = file.read(CHUNK)
        place = chunk.find(start)
        while place >= 0:
            if _Member(file, kind, offset + place).header():
                return offset + place
            place = chunk.find(start, place + 1)
        if len(chunk) < len(start):
            return None
        offset += max(1, len(chunk) - len(start) + 1)
