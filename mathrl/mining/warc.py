"""HTML pages out of WARC files that may be broken: local, on any fsspec file system, or in path lists.

FastWARC reads the good stretches. Each of its records is checked against the next one, and where it stops, for whatever
reason, the last record is read again by warc_recovery, which goes on to the end of the file.
"""

import glob
import gzip
import io
import os
import posixpath
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import fsspec
from fastwarc.stream_io import BrotliReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from mathrl.mining import warc_recovery

COMMON_CRAWL = 'https://data.commoncrawl.org/'
HTML_TYPES = ('text/html', 'application/xhtml+xml', 'text/xhtml', 'application/vnd.wap.xhtml+xml')
UNKNOWN_TYPES = ('', 'application/octet-stream', 'application/unknown', 'unknown/unknown', 'unknown', '*/*')
LOOKS_LIKE_HTML = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*'
    rb'<(?:!doctype html|html|head|body|title|meta|script|style|h\d|div|table|p|a|br|center|font|iframe)[\s>/]',
    re.IGNORECASE | re.DOTALL)
TAG = re.compile(rb'<(?:!doctype|html|head|body|title|meta|div|table|span|script)', re.IGNORECASE)
SIGNATURES = (b'%PDF-', b'\x89PNG', b'GIF8', b'\xff\xd8\xff', b'PK\x03\x04', b'\x1f\x8b\x08', b'\x7fELF', b'RIFF',
              b'OggS', b'ID3', b'wOFF', b'wOF2', b'\xd0\xcf\x11\xe0', b'MZ\x90', b'Rar!', b'7z\xbc\xaf')
CONTROLS = bytes([*range(9), *range(14, 27), *range(28, 32), 127])       # 27, ESC, is of ISO-2022 text
SNIFFED = 4096


@dataclass(frozen=True, slots=True)
class Page:
    """One HTML response. `charset` is that of the HTTP header, '' if it names none; `offset` a token for read_warc."""
    record_id: str
    url: str
    date: str
    status: int
    charset: str
    html: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A record, or a piece of a file, that cannot be used. `detail` is one of a few phrases, to be counted."""
    record_id: str
    url: str
    offset: int
    reason: str
    detail: str


class _Unreadable(Exception):
    pass


class _Source:
    """An opened file that tells its own errors from those of the content, and where `mark` was among what was read."""

    def __init__(self, file: BinaryIO):
        self.file, self.mark, self.marks, self.edge = file, b'', set(), b''

    def seek(self, offset: int, whence: int = 0) -> int:
        self.edge = b''
        return self._try(self.file.seek, offset, whence)

    def tell(self) -> int:
        return self._try(self.file.tell)

    def read(self, count: int = -1) -> bytes:
        data = self._try(self.file.read, count)
        if self.mark:
            seen = self.edge + data
            at = self.tell() - len(seen)
            self.marks.update(at + found.start() for found in re.finditer(re.escape(self.mark), seen))   # faster than find
            self.edge = seen[-len(self.mark) + 1:]
        return data

    def _try(self, method, *arguments):
        try:
            return method(*arguments)
        except Exception as error:               # of whatever client library is below
            raise _Unreadable(type(error).__name__) from error


def read_warc(address: str, start: int = 0, max_bytes: int = 10_000_000) -> Iterator[Page | Fault]:
    """Every HTML response of a WARC file (.warc, .warc.gz, .warc.zst), in order, and a Fault for each piece that is bad.

    `start` is 0 or the offset of a Page or Fault, which then comes first. Pages of any HTTP status come; other media
    types, and records that are no response, do not. Raises neither for what is in the file nor if it cannot be opened.
    """
    offset = start
    try:
        with _open(address) as file:
            for item in _items(_Source(file), address, start, max_bytes):
                offset = item.offset
                yield item
    except _Unreadable as error:
        yield Fault(_name(address, offset), '', offset, 'bad_record', f'cannot be read: {error}')


def _open(address: str) -> BinaryIO:
    try:
        return fsspec.open(address, 'rb').open() if '://' in address else open(address, 'rb')
    except Exception as error:
        raise _Unreadable(type(error).__name__) from error


def _items(source: _Source, address: str, start: int, max_bytes: int) -> Iterator[Page | Fault]:
    source.seek(0)
    kind = warc_recovery.kind_of(head := source.read(16), address)
    if not head:
        yield Fault(_name(address, 0), '', 0, 'bad_record', 'empty file')
        return
    sure = start
    if kind != warc_recovery.ZSTD and start >> warc_recovery.INNER == 0:
        sure = yield from _trusted(source, kind, address, start, max_bytes)
    for piece in warc_recovery.pieces(source, kind, sure, max_bytes + warc_recovery.HEAD_BYTES):
        record = _first(piece.data)
        if piece.detail:
            yield _fault(record, piece.offset, address, piece.detail)
        elif record and record.record_type == WarcRecordType.response and (
                item := _item(record, piece.offset, address, max_bytes)):
            yield item


def _trusted(source: _Source, kind: str, address: str, start: int, max_bytes: int) -> Iterator[Page | Fault]:
    """The records up to where FastWARC stops, but for the last one; returns the offset of that one.

    What FastWARC says of a record is believed once it has found the next one where it ought to be: a wrong length
    makes it run on into the records behind. In a gzip member with several records its offsets are no use. Its quirks
    mode, which also reads bare line feeds, skips what it does not understand without a word, whole records too.
    """
    source.seek(start)
    source.mark = warc_recovery.START[kind]
    sure, held = start, None
    try:
        for record in ArchiveIterator(source, WarcRecordType.response, parse_http=False):
            at = record.stream_pos
            if at not in source.marks or at < sure or held and at == sure:
                break
            if held:
                yield held
            sure, held = at, None
            held = _item(record, sure, address, max_bytes)
    except OSError:
        pass
    source.mark = b''
    return sure


def _first(data: bytes) -> WarcRecord | None:
    try:
        return next(iter(ArchiveIterator(io.BytesIO(data), parse_http=False, quirks_mode=True)), None)
    except OSError:
        return None


def _item(record: WarcRecord, offset: int, address: str, max_bytes: int) -> Page | Fault | None:
    """The page of a response record, a Fault for a bad one, None if it is not HTML."""
    try:
        if not record.is_http and not record.headers.get('Content-Type'):
            record.is_http = True
        record.parse_http(quirks_mode=True)
    except OSError:
        return _fault(record, offset, address, 'bad HTTP header')
    media_type = (record.http_content_type or '').strip(' \0').lower()
    if media_type not in HTML_TYPES and media_type not in UNKNOWN_TYPES or not record.is_http:
        return None
    length = record.content_length
    body = record.reader.read(min(length, max_bytes + 1))
    if length <= max_bytes:
        body = _decoded(body, record, max_bytes + 1)
    if media_type in UNKNOWN_TYPES and not LOOKS_LIKE_HTML.match(body[:SNIFFED]):
        return None
    if len(body) > max_bytes or length > max_bytes:
        return _fault(record, offset, address, f'page larger than {max_bytes / 1e6:g} MB')
    if _binary(body[:SNIFFED]):
        return _fault(record, offset, address, 'binary')
    return Page(
        record_id=record.record_id or _name(address, offset), url=record.headers.get('WARC-Target-URI') or '',
        date=record.headers.get('WARC-Date') or '', status=record.http_headers.status_code or 0,
        charset=_charset(record), html=body, offset=offset)


def _fault(record: WarcRecord | None, offset: int, address: str, detail: str) -> Fault:
    headers = {name.lower(): value for name, value in record.headers.to_tuples()} if record else {}
    return Fault(headers.get('warc-record-id') or _name(address, offset), headers.get('warc-target-uri', ''), offset,
                 'bad_record', detail)


def _name(address: str, offset: int) -> str:
    """Stands for the id of a record that has none: '<0.warc.gz:1234>'."""
    return f'<{posixpath.basename(address)}:{offset}>'


def _charset(record: WarcRecord) -> str:
    charset = (record.http_charset or '').strip(' "\'\0')
    return charset if charset.isascii() else ''


def _binary(head: bytes) -> bool:
    """Whether a body is no text at all, whatever its media type says. UTF-16 is text."""
    if head.startswith(SIGNATURES):
        return True
    controls = len(head) - len(head.translate(None, CONTROLS))
    return controls > len(head) // 20 and not TAG.search(head.replace(b'\0', b''))


def _decoded(body: bytes, record: WarcRecord, limit: int) -> bytes:
    """The body without the codings that the HTTP header names, at most `limit` bytes; unchanged where it has not got
    them, as crawlers undo them but keep the header."""
    for header in ('Transfer-Encoding', 'Content-Encoding'):
        for name in reversed((record.http_headers.get(header) or '').lower().split(',')):
            if body and (decode := DECODERS.get(name.strip(' \0'))):
                body = decode(body, limit)
    return body


def _dechunked(body: bytes, limit: int) -> bytes:
    parts, at = [], 0
    while size := CHUNK_SIZE.match(body, at):
        if not int(size[1], 16):
            break
        parts.append(body[size.end():size.end() + int(size[1], 16)])
        at = size.end() + int(size[1], 16)
    return b''.join(parts) if parts else body


def _inflated(body: bytes, limit: int) -> bytes:
    for bits in (47, -15):                       # gzip or zlib; deflate without a header, as some servers send it
        try:
            return zlib.decompressobj(bits).decompress(body, limit) or body
        except zlib.error:
            continue
    return body


def _unbrotlied(body: bytes, limit: int) -> bytes:
    try:
        return BrotliReader(io.BytesIO(body)).read(limit) or body
    except OSError:
        return body


CHUNK_SIZE = re.compile(rb'(?:\r?\n)?([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n')
DECODERS = {'chunked': _dechunked, 'gzip': _inflated, 'x-gzip': _inflated, 'deflate': _inflated, 'br': _unbrotlied}


def find_warcs(patterns: Sequence[str]) -> list[str]:
    """Sorted addresses, each once, of the WARC files that `patterns` name.

    A pattern is a path, a glob, any fsspec address, or a list of paths, one a line, as Common Crawl gives them out
    (`warc.paths`, `warc.paths.gz`). A single file need not exist: read_warc makes a Fault of it. ValueError for a glob
    that matches nothing, a list that cannot be read, or if no local file exists at all.

    ['crawl/*.warc.gz', 'https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-10/warc.paths.gz'] ->
    ['crawl/0.warc.gz', ..., 'https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-10/segments/...warc.gz', ...]
    """
    addresses = set()
    for pattern in patterns:
        for address in _matches(pattern):
            addresses.update(_listed(address) if address.endswith(('.paths', '.paths.gz')) else [address])
    missing = [address for address in addresses if '://' not in address and not os.path.exists(address)]
    if len(missing) == len(addresses):
        there = _there(patterns[0]) if patterns else 'none is named'
        raise ValueError(f'no WARC file matches {list(patterns)}; {there}')
    return sorted(addresses)


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        if os.path.isdir(pattern):
            raise ValueError(f'{pattern} is a folder where WARC files were wanted; {_there(pattern + "/*")}')
        return [pattern]
    if '://' not in pattern:
        found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    else:
        try:
            system, path = fsspec.core.url_to_fs(pattern)
            found = [system.unstrip_protocol(name) for name in system.glob(path)]
        except Exception as error:
            raise ValueError(f'{pattern} cannot be listed: {type(error).__name__}: {error}') from error
    if not found:
        raise ValueError(f'{pattern} matches no file; {_there(pattern)}')
    return found


def _there(pattern: str) -> str:
    """What exists at the place of a pattern that matches nothing, for an error message."""
    if '://' in pattern:
        return 'nothing more is known of that address'
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder) or folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    names = sorted(os.listdir(folder or '.'))
    return f'{folder or "."} has {", ".join(names[:5]) or "no file"}{", ..." if len(names) > 5 else ""}'


def _listed(address: str) -> list[str]:
    try:
        with fsspec.open(address, 'rb') as file:
            data = file.read()
        lines = (gzip.decompress(data) if data.startswith(b'\x1f\x8b') else data).decode().split()
    except Exception as error:
        raise ValueError(f'the list {address} cannot be read: {type(error).__name__}: {error}') from error
    if not lines:
        raise ValueError(f'the list {address} holds no path')
    return [_joined(address, line) for line in lines]


def _joined(address: str, line: str) -> str:
    """'a' is beside the list; 'crawl-data/a' where the list's own 'crawl-data/' is, or else at Common Crawl."""
    if '://' in line or line.startswith('/'):
        return line
    root, name, _ = address.rpartition('crawl-data/')
    if line.startswith('crawl-data/') and name:
        return root + line
    beside = posixpath.join(posixpath.dirname(address), line)
    if line.startswith('crawl-data/') and not os.path.exists(beside):
        return COMMON_CRAWL + line
    return beside
