"""Whatever is broken in a WARC file, the good pages before and behind it come, and each bad piece is told once."""

import gzip
import hashlib
import json
import os
import random
import zlib

import fsspec
import pytest
import zstandard

from mathrl.mining import warc, warc_recovery

BODY = b'<html><body>' + b'some text of a page <p>\n' * 20 + b'</body></html>'
HTML = b'HTTP/1.1 200 OK\r\nContent-Type: text/html'
PACK = {'.warc': bytes, '.warc.gz': gzip.compress,
        '.warc.zst': zstandard.ZstdCompressor(write_checksum=True).compress}


def record(number, body=BODY, length=None, http=HTML, newline=b'\r\n', more=(), without=b'-'):
    block = http + b'\r\n\r\n' + body
    lines = [b'WARC/1.0', b'WARC-Type: response', b'WARC-Target-URI: http://a.org/%d' % number,
             b'WARC-Record-ID: <urn:%d>' % number, b'WARC-Date: 2024-01-01T00:00:00Z',
             b'Content-Type: application/http; msgtype=response',
             b'Content-Length: ' + (b'%d' % len(block) if length is None else length), *more]
    lines = [line for line in lines if not line.startswith(without)]
    return newline.join(lines) + newline * 2 + block + newline * 2


@pytest.fixture
def read(tmp_path):
    def read(data, suffix='.warc.gz', **options):
        path = tmp_path / f'a{suffix}'
        path.write_bytes(data)
        return list(warc.read_warc(str(path), **options))
    return read


def told(items):
    """Numbers of the pages, details of the faults."""
    return [int(item.record_id[5:-1]) if isinstance(item, warc.Page) else item.detail for item in items]


def test_every_page_of_the_crawl_comes_with_its_bytes(shared):
    with open(shared / 'data/crawl/labels.jsonl') as file:
        wanted = sorted((row['record_id'], row['url'], row['sha1']) for row in map(json.loads, file))
    addresses = warc.find_warcs([f'{shared}/data/crawl/*.warc.gz'])
    pages = [page for address in addresses for page in warc.read_warc(address)]
    assert sorted((page.record_id, page.url, hashlib.sha1(page.html).hexdigest()) for page in pages) == wanted


def test_the_two_ways_of_reading_agree(shared, monkeypatch):
    address = str(shared / 'data/crawl/MINICRAWL-dev-00002.warc.gz')
    pages = list(warc.read_warc(address))

    def no_trust(source, kind, address, start, max_bytes):
        return start
        yield
    monkeypatch.setattr(warc, '_trusted', no_trust)
    assert list(warc.read_warc(address)) == pages


@pytest.mark.parametrize('suffix', PACK)
@pytest.mark.parametrize('length', [b'90', b'400', b'100000', b'99999999', b'9' * 30, b'abc', b'-5', b''])
def test_a_wrong_length_costs_one_page(read, suffix, length):
    parts = [PACK[suffix](record(i, length=length if i == 2 else None)) for i in range(6)]
    assert told(read(b''.join(parts), suffix)) == [0, 1, 'wrong length', 3, 4, 5]


@pytest.mark.parametrize('suffix', PACK)
def test_a_length_that_spans_the_next_record_costs_one_page(read, suffix):
    parts = [PACK[suffix](record(i, length=b'%d' % (len(BODY) + 300) if i == 2 else None)) for i in range(6)]
    assert told(read(b''.join(parts), suffix)) == [0, 1, 'wrong length', 3, 4, 5]


@pytest.mark.parametrize('suffix', PACK)
def test_garbage_cuts_and_empty_members_lose_no_good_page(read, suffix):
    parts = [PACK[suffix](record(i)) for i in range(5)]
    cut = {'.warc': 'cut mid-record', '.warc.gz': 'truncated gzip', '.warc.zst': 'truncated zstd'}[suffix]
    assert told(read(b''.join(parts)[:-60], suffix)) == [0, 1, 2, 3, cut]
    garbage = 'garbage between records'
    start = warc_recovery.START[warc_recovery.kind_of(parts[0], '')]
    for between in (b'\0garbage\n' * 9, PACK[suffix](b'garbage' * 9), (b'x' + start + b'\0no member\n') * 9):
        assert told(read(b''.join([*parts[:2], between, *parts[2:]]), suffix)) == [0, 1, garbage, 2, 3, 4]
    assert told(read(b''.join([*parts[:2], PACK[suffix](b''), *parts[2:]]), suffix)) == [0, 1, 2, 3, 4]
    joined = told(read(b''.join([*parts[:2], parts[2][:-60], *parts[3:]]), suffix))
    assert len(joined) == 5 and joined[:2] + joined[3:] == [0, 1, 3, 4] and isinstance(joined[2], str)


@pytest.mark.parametrize('suffix', PACK)
def test_a_flipped_bit_costs_one_page_at_most(read, suffix):
    rng, parts = random.Random(0), [PACK[suffix](record(i)) for i in range(5)]
    for _ in range(150):
        bad = bytearray(parts[2])
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        items = read(b''.join([*parts[:2], bytes(bad), *parts[3:]]), suffix)
        urls = {item.url: item.html for item in items if isinstance(item, warc.Page)}
        assert [urls.get(f'http://a.org/{i}') for i in (0, 1, 3, 4)] == [BODY] * 4, bytes(bad)
        if suffix != '.warc':
            assert urls.get('http://a.org/2', BODY) == BODY       # a checksum is there: a changed page is no page


@pytest.mark.parametrize('suffix', PACK)
@pytest.mark.parametrize('members', ['one a record', 'one for all'])
def test_reading_goes_on_from_any_offset(read, suffix, members):
    records = [record(i, length=b'7' if i == 3 else None) for i in range(6)]
    data = b''.join(map(PACK[suffix], records)) if members == 'one a record' else PACK[suffix](b''.join(records))
    items = read(data, suffix)
    assert told(items) == [0, 1, 2, 'wrong length', 4, 5]
    for number, item in enumerate(items):
        assert read(data, suffix, start=item.offset) == items[number:]


def test_good_records_before_a_flaw_inside_one_member_come(read):
    rng = random.Random(0)
    records = [record(i, body=b'<p>' + rng.randbytes(300).hex().encode()) for i in range(40)]
    data = bytearray(gzip.compress(b''.join(records)))
    data[len(data) // 2] ^= 0xff
    items = read(bytes(data))
    assert [item.record_id for item in items[:18]] == [f'<urn:{i}>' for i in range(18)]
    assert any(isinstance(item, warc.Fault) for item in items)


def test_a_page_too_large_is_told_and_not_kept(read):
    large = [record(i, body=b'<p>' + b'a' * 60_000_000 if i == 1 else BODY) for i in range(3)]
    for suffix in PACK:
        assert told(read(b''.join(map(PACK[suffix], large)), suffix)) == [0, 'page larger than 10 MB', 2]
    bomb = record(1, body=gzip.compress(b'<p>' + b'a' * 60_000_000), http=HTML + b'\r\nContent-Encoding: gzip')
    assert told(read(gzip.compress(bomb) + gzip.compress(record(2)))) == ['page larger than 10 MB', 2]


def test_files_that_are_no_warc_are_one_fault(read, tmp_path):
    assert told(read(b'')) == ['empty file']
    assert told(read(b'<html>no warc</html>' * 5000)) == ['garbage between records']
    assert told(read(random.Random(0).randbytes(200_000), '.warc')) == ['garbage between records']
    missing, = warc.read_warc(str(tmp_path / 'none.warc.gz'))
    assert missing == warc.Fault('<none.warc.gz:0>', '', 0, 'bad_record', 'cannot be read: FileNotFoundError')


def test_an_error_of_the_file_system_ends_the_file_with_a_fault(read, monkeypatch):
    whole = warc._Source._try

    def flaky(self, method, *arguments):
        if method.__name__ == 'read' and self.file.tell() > 60_000:
            raise warc._Unreadable('TimeoutError')
        return whole(self, method, *arguments)
    monkeypatch.setattr(warc._Source, '_try', flaky)
    items = told(read(b''.join(record(i) for i in range(1000)), '.warc'))
    assert items[-1] == 'cannot be read: TimeoutError' and len(items) > 70 and items[:-1] == list(range(len(items) - 1))


@pytest.mark.parametrize('coding,encode', [
    (b'Content-Encoding: gzip', gzip.compress), (b'Content-Encoding: deflate', zlib.compress),
    (b'Content-Encoding: deflate', lambda body: zlib.compress(body)[2:-4]), (b'Content-Encoding: gzip', bytes),
    (b'Content-Encoding: br', bytes), (b'Transfer-Encoding: chunked', bytes),
    (b'Transfer-Encoding: chunked', lambda body: b'64\r\n%b\r\n%x;x=y\r\n%b\r\n0\r\n\r\n' % (
        body[:100], len(body) - 100, body[100:]))])
def test_http_codings_are_undone_where_the_body_has_them(read, coding, encode):
    page, = read(gzip.compress(record(0, body=encode(BODY), http=HTML + b'\r\n' + coding)))
    assert page.html == BODY


@pytest.mark.parametrize('header,body,outcome', [
    (b'Content-Type: text/html; charset="GB2312"', BODY, 'gb2312'), (b'Content-Type: Application/XHTML+xml', BODY, ''),
    (b'X: y', b'\xef\xbb\xbf <!DOCTYPE html>' + BODY, ''), (b'X: y', b'just text', None),
    (b'Content-Type: application/json', BODY, None), (b'Content-Type: image/png', b'\x89PNG', None),
    (b'Content-Type: text/html', b'\x89PNG' + bytes(99), 'binary'), (b'Content-Type: text/html', b'', ''),
    (b'Content-Type: text/html', random.Random(1).randbytes(9000), 'binary'),
    (b'Content-Type: text/html', BODY.replace(b'a', b'\0'), ''),
    (b'Content-Type: text/html', BODY.decode().encode('utf-16'), ''),
    (b'Content-Type: text/html', ('<html>' + '数学' * 3000).encode('utf-16-le'), '')])
def test_html_is_told_by_type_and_looks(read, header, body, outcome):
    items = read(gzip.compress(record(0, body=body, http=b'HTTP/1.1 200 OK\r\n' + header)))
    if outcome is None:
        assert not items
    elif outcome == 'binary':
        assert told(items) == ['binary'] and items[0].url == 'http://a.org/0'
    else:
        assert [(page.charset.lower(), page.html) for page in items] == [(outcome, body)]


@pytest.mark.parametrize('suffix', PACK)
def test_odd_headers_are_no_obstacle(read, suffix):
    odd = [record(0, newline=b'\n'), record(1, more=[b'X\0: \0\0', b'Y: \xff\xfe']), record(2, without=b'Content-Type'),
           record(3, without=b'WARC-Target'), record(4, http=HTML.replace(b'\r\n', b'\n').replace(b'200 OK', b'404'))]
    pages = read(b''.join(map(PACK[suffix], odd)), suffix)
    assert [page.url[-2:] for page in pages] == ['/0', '/1', '/2', '', '/4']
    assert [page.status for page in pages] == [200, 200, 200, 200, 404]
    nameless, = read(PACK[suffix](record(5, without=b'WARC-Record')), suffix)
    assert nameless.record_id == f'<a{suffix}:0>'


def test_other_record_types_are_passed_over(read):
    other = [record(i).replace(b'WARC-Type: response', b'WARC-Type: ' + kind)
             for i, kind in enumerate([b'request', b'metadata', b'warcinfo', b'resource'])]
    assert told(read(b''.join(map(gzip.compress, [*other, record(4)])))) == [4]


def test_find_warcs_reads_globs_lists_and_addresses(tmp_path):
    for name in ('b.warc.gz', 'a.warc.gz', 'c.txt'):
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'crawl-data').mkdir()
    (tmp_path / 'warc.paths').write_text('a.warc.gz\ncrawl-data/X/1.warc.gz\ns3://b/2.warc.gz\n\n')
    (tmp_path / 'crawl-data' / 'warc.paths.gz').write_bytes(gzip.compress(b'crawl-data/X/1.warc.gz\n'))
    at = f'{tmp_path}/'
    assert warc.find_warcs([at + '*.warc.gz', at + 'b.warc.gz']) == [at + 'a.warc.gz', at + 'b.warc.gz']
    assert warc.find_warcs([at + 'warc.paths']) == [
        at + 'a.warc.gz', 'https://data.commoncrawl.org/crawl-data/X/1.warc.gz', 's3://b/2.warc.gz']
    assert warc.find_warcs([at + 'crawl-data/warc.paths.gz', at + 'a.warc.gz'])[1] == at + 'crawl-data/X/1.warc.gz'
    assert warc.find_warcs([at + 'a.warc.gz', at + 'none.warc.gz']) == [at + 'a.warc.gz', at + 'none.warc.gz']


def test_find_warcs_and_read_warc_go_through_fsspec():
    fsspec.filesystem('memory').pipe('/crawl/a.warc.gz', gzip.compress(record(0)) + gzip.compress(record(1)))
    address, = warc.find_warcs(['memory://crawl/*.warc.gz'])
    first, second = warc.read_warc(address)
    assert told([first, second]) == [0, 1] and list(warc.read_warc(address, second.offset)) == [second]


@pytest.mark.parametrize('pattern,message', [
    ('*.warc.gz', 'matches no file; .* has a.txt'), ('none.warc.gz', 'no WARC file matches .*a.txt'), ('', 'is a folder'),
    ('none.paths', 'cannot be read')])
def test_a_pattern_for_nothing_says_what_there_is(tmp_path, pattern, message):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(ValueError, match=message):
        warc.find_warcs([os.path.join(tmp_path, pattern)])


def test_a_page_that_quotes_a_warc_record_is_one_page(read):
    page = b'<html><pre>' + record(9) + b'</pre></html>'
    parts = [record(0), record(1, body=page), record(2)]
    for suffix in PACK:
        assert told(read(b''.join(map(PACK[suffix], parts)), suffix)) == [0, 1, 2]
