"""Records as rows: pages with text, and the reason of what is none; a made WARC through the guarded process."""
import json

import pytest

from mathrl.mining import pages, stages, warc
from mathrl.mining.pages import Extraction

PROSE = 'Every finite group of prime order is cyclic, and each of its elements but one generates it. '
HTML = f'<html><head><title>Groups</title></head><body><p>{PROSE}Let $x^2 = 1$.</p></body></html>'.encode()


def page(html=HTML, status=200, charset=''):
    return warc.Page('<urn:1>', 'https://a.org/x', '2024-01-01T00:00:00Z', status, charset, html, 0)


def row(item):
    found = pages.row(item, Extraction())
    assert (found['record_id'], found['url']) == ('<urn:1>', 'https://a.org/x')
    assert ('text' in found) != ('reason' in found) and ('reason' in found) == ('detail' in found)
    return found


@pytest.mark.parametrize('status', [200, 0])
def test_a_page_is_its_text_and_language(status):
    found = row(page(status=status))
    assert PROSE.strip() in found['text'] and '$x^2 = 1$' in found['text']
    assert (found['language'], found['date']) == ('en', '2024-01-01T00:00:00Z')


def test_the_charset_of_the_header_counts():
    text = 'La fonction coûte 5 € et sa dérivée est positive sur tout cet intervalle.'   # unsaid, € is guessed to be ¤
    assert row(page(f'<p>{text}</p>'.encode('iso-8859-15'), charset='iso-8859-15'))['text'] == text


@pytest.mark.parametrize('status', [404, 500, 301, 206])
def test_an_error_page_is_a_bad_record_whatever_it_says(status):
    found = row(page(status=status))
    assert (found['reason'], found['detail']) == ('bad_record', f'HTTP status {status}')


@pytest.mark.parametrize('html', [
    b'', b'<html></html>', b'<p>Let $x$ be.</p>', b'<p>' + b'a ' * 39 + b' \n' * 99 + b'</p>'])
def test_little_text_is_too_short(html):
    found = row(page(html))
    assert (found['reason'], found['detail']) == ('too_short', 'fewer than 40 characters')


def test_forty_characters_are_enough():
    assert 'text' in row(page(b'<p>' + b'a ' * 40 + b'</p>'))


@pytest.mark.parametrize('body', [b'%PDF-1.4' + bytes(range(256)) * 9, b'\x89PNG\r\n\x1a\n' + bytes(500),
                                  bytes(range(256)) * 20])
def test_binary_is_a_bad_record_with_what_extraction_says(body):
    found = row(page(body))
    assert found['reason'] == 'bad_record' and found['detail'] and '\n' not in found['detail']


def test_a_fault_keeps_its_detail():
    found = row(warc.Fault('<urn:1>', 'https://a.org/x', 7, 'bad_record', 'truncated gzip'))
    assert (found['reason'], found['detail'], found['date']) == ('bad_record', 'truncated gzip', '')


@pytest.mark.parametrize('text,count', [('', 0), ('a', 1), ('abcd', 1), ('abcde', 2), ('定理定理', 3), ('\ud800' * 4, 1)])
def test_a_token_is_four_bytes(text, count):
    assert pages.token_count(text) == count


def record(number, html, status=200):
    block = b'HTTP/1.1 %d X\r\nContent-Type: text/html\r\n\r\n' % status + html
    head = (f'WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://a.org/{number}\r\n'
            f'WARC-Record-ID: <urn:{number}>\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n'
            'Content-Type: application/http; msgtype=response\r\n'
            f'Content-Length: {len(block)}\r\n\r\n')
    return head.encode() + block + b'\r\n\r\n'


def test_a_warc_becomes_rows_and_counts_through_the_guarded_process(tmp_path):
    files = [[record(0, HTML), record(1, HTML, 404), record(2, b'<p>x'), record(3, HTML.replace(b'p>', b'div>'))],
             [record(4, HTML), record(5, HTML)[:-150]]]
    for shard, records in enumerate(files):
        (tmp_path / f'{shard}.warc').write_bytes(b''.join(records))
    stage = stages.open_stage(tmp_path, 'texts', {})
    pages.write_addresses(tmp_path / 'warcs.txt', [str(tmp_path / f'{shard}.warc') for shard in (0, 1)])
    for shard in (0, 1):
        pages.extract_warc(shard, addresses_path=str(tmp_path / 'warcs.txt'), stage=stage, settings=Extraction())
    first, second = (list(stages.read_rows(stage.path(shard))) for shard in (0, 1))
    assert [(found['record_id'], found.get('reason')) for found in first] == [
        ('<urn:0>', None), ('<urn:1>', 'bad_record'), ('<urn:2>', 'too_short'), ('<urn:3>', None)]
    assert first[0]['text'] == row(page())['text'] and first[3]['language'] == 'en'
    assert (second[0]['record_id'], second[-1]['reason'], len(second)) == ('<urn:4>', 'bad_record', 2)
    assert json.loads(stage.path(0, 'counts.json').read_text()) == {'pages': 2, 'bad_record': 1, 'too_short': 1}
    assert pages.count(stage, [0, 1]) == {'pages': 3, 'bad_record': 2, 'too_short': 1}


def test_an_abandoned_page_keeps_its_name_and_its_neighbours(tmp_path):
    (tmp_path / 'a.warc').write_bytes(b''.join(record(number, HTML) for number in range(3)))
    offsets = [item.offset for item in warc.read_warc(str(tmp_path / 'a.warc'))]
    make = pages._rows(str(tmp_path / 'a.warc'), Extraction(), offsets[1])
    left = list(make)
    assert left[0] == offsets[2] and left[1]['record_id'] == '<urn:2>' and len(left) == 2
    found = [pages._lost(str(tmp_path / 'a.warc'), Extraction(seconds=2.5), offsets[1], why)
             for why in ('timeout', 'memory')]
    assert [one['reason'] for one in found] == ['timeout', 'bad_record']
    assert [one['detail'] for one in found] == ['more than 2.5 s', 'the extractor ended: memory']
    assert {one['record_id'] for one in found} == {'<urn:1>'} and found[0]['date'] == '2024-01-01T00:00:00Z'
