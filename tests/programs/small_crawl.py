"""A small crawl for the tests of mining: made pages of mathematics and of other things, as WARC files."""
import gzip
import json
import random

SUBJECTS = ('group', 'ring', 'field', 'vector space', 'manifold', 'graph', 'sequence', 'integral', 'matrix', 'prime')
TOPICS = ('football', 'cooking', 'travel', 'fashion', 'music', 'gardening', 'politics', 'cinema', 'weather', 'cars')
VERBS = ('won', 'visited', 'bought', 'enjoyed', 'reported', 'painted', 'cooked', 'sold', 'watched', 'planned')


def math_page(number: int) -> str:
    draw = random.Random(number)
    sentences = [f'Theorem {draw.randint(1, 99)}.{draw.randint(1, 99)}. '
                 f'Let \\(x_{{{draw.randint(1, 999)}}}\\) be an element of the '
                 f'{draw.choice(SUBJECTS)} \\(G_{{{draw.randint(1, 999)}}}\\); then \\(x^{{{draw.randint(2, 99)}}} = '
                 f'{draw.randint(1, 9999)}\\). The proof follows from the lemma about every {draw.choice(SUBJECTS)}.'
                 for _ in range(8)]
    return ''.join(f'<p>{sentence}</p>' for sentence in sentences)


def other_page(number: int) -> str:
    draw = random.Random(-number)
    sentences = [f'On day {draw.randint(1, 999)} the {draw.choice(TOPICS)} fans {draw.choice(VERBS)} '
                 f'{draw.randint(2, 9999)} tickets, '
                 f'and the {draw.choice(TOPICS)} club {draw.choice(VERBS)} a house near town {draw.randint(1, 9999)}.'
                 for _ in range(8)]
    return ''.join(f'<p>{sentence}</p>' for sentence in sentences)


def html(body: str) -> bytes:
    return f'<!DOCTYPE html><html><head><title>A page</title></head><body><article>{body}</article></body></html>'.encode()


def record(url: str, body: bytes, number: int, date: str = '2024-01-01T00:00:00Z', status: str = '200 OK',
           length: int = 0) -> bytes:
    """One response record, not compressed."""
    response = f'HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n'.encode() + body
    head = (f'WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n'
            f'WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\n'
            f'Content-Type: application/http; msgtype=response\r\nContent-Length: {length or len(response)}\r\n\r\n')
    return head.encode() + response + b'\r\n\r\n'


def write(folder, planted: str = '', sites: int = 8, pages: int = 12) -> None:
    """crawl-0000?.warc.gz in three files and seeds.jsonl: half of the sites are mathematics, two of them give seeds.

    Two recaptures, one alias and one copy of a page are among them; `planted` is a text put into a page of mathematics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records, seeds, number = [], [], 0
    for site in range(sites):
        for page in range(pages):
            number += 1
            is_math = site % 2 == 0
            url = f'http://{"math" if is_math else "life"}{site}.example/{"notes" if is_math else "news"}/{page}/'
            body = html(math_page(number) if is_math else other_page(number))
            if planted and (site, page) == (4, 3):
                body = html(math_page(number) + f'<p>{planted}</p>')
            records.append(record(url, body, number))
            if is_math and site < 4 and page % 2 == 0:
                seeds.append({'url': url})
    copied = html(math_page(1))
    extra = [('http://math0.example/notes/0/', '2023-01-01T00:00:00Z'),
             ('http://math0.example/notes/0/', '2022-01-01T00:00:00Z'),
             ('http://math0.example/notes/0/index.html', '2021-01-01T00:00:00Z'),
             ('http://mirror.example/a/copy/of/it.html', '2021-01-01T00:00:00Z')]
    records += [record(url, copied, 1000 + index, date) for index, (url, date) in enumerate(extra)]
    for shard in range(3):
        with open(folder / f'crawl-{shard:05d}.warc.gz', 'wb') as file:
            file.writelines(gzip.compress(one, mtime=0) for one in records[shard::3])
    (folder / 'seeds.jsonl').write_text(''.join(json.dumps(seed) + '\n' for seed in seeds))


def bad_records() -> list[bytes]:
    """Pages that are none for a reason each, and, at the end, two odd ones that are good."""
    pages = {
        'binary': b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 20,
        'large': b'<html><body>' + b'<p>words </p>' * 2_500_000,
        'deep': b'<html><body>' + b'<div>' * 100_000 + b'text ' * 50,
        'empty': b'',
        'error': html(math_page(7)),
    }
    records = [record(f'http://bad.example/{name}', body, 2000 + index,
                      status='404 Not Found' if name == 'error' else '200 OK')
               for index, (name, body) in enumerate(pages.items())]
    records.insert(1, record('http://bad.example/length', html('short'), 3000, length=10 ** 6))
    chinese = '<p>设函数 \\(f(x)\\) 在区间上连续，则定理成立，证明如下。</p>' * 5
    gbk = f'<html><head><meta charset="utf-8"></head><body>{chinese}'.encode('gbk')
    records.append(record('http://odd.example/gbk', gbk, 3001))
    records.append(record('http://odd.example/nul', html('\x00'.join(math_page(4321))), 3002))
    return records


def write_bad(folder) -> None:
    """odd-0000?.warc*: bad records among good ones, the same cut short, an empty file, and a file cut mid-record."""
    bad = bad_records()
    packed = b''.join(gzip.compress(one, mtime=0) for one in bad)
    whole, cut = (record(f'http://odd.example/{name}', html(math_page(number)), 5000 + number)
                  for number, name in enumerate(('whole', 'cut'), start=900))
    (folder / 'odd-00000.warc.gz').write_bytes(packed)
    (folder / 'odd-00001.warc.gz').write_bytes(packed[:-200])
    (folder / 'odd-00002.warc.gz').write_bytes(b'')
    (folder / 'odd-00003.warc').write_bytes(bad[0] + whole + cut[:-300])
