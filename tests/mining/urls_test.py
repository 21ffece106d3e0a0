"""URL keys: what is one page, what stays apart, and prefixes on segment borders."""
import json
import random

import pytest

from mathrl.mining.urls import domain, normalize, prefixes

ONE_PAGE = [
    'http://example.org/a/B', 'HTTPS://EXAMPLE.org/a/B', 'http://www.example.org/a/B/', 'example.org/a/B',
    '//example.org/a/B', 'http://example.org:80/a/B', 'https://example.org:443/a/B',
    'http://me:pw@example.org/a/B', 'http://example.org./a/B', 'http://example.org/a/B#part',
    'http://example.org/a/B?', 'http://example.org/a/B/index.html', 'http://example.org/a/B/INDEX.php',
    'http://example.org/a/B/default.aspx', 'http://example.org/a/B/index.php/index.html',
    'http://www.www.example.org/a/B', 'http://example.org/a\n/B',
    'http://example.org/./x/../a//B', 'http://example.org/%61/%42', ' <http://example.org/a/B>\n',
    'http://example.org/a/B?utm_source=x&fbclid=1', 'http://example.org/a/B;jsessionid=1A?PHPSESSID=2',
    'http://example.org/a/B?sid=0123456789abcdef0123456789abcdef',
]
APART = [
    'http://example.org/a/B', 'http://example.org/a/b', 'http://example.org/a', 'http://blog.example.org/a/B',
    'http://example.org:81/a/B', 'http://example.org/a/B?p=1', 'http://example.org/a/B?p=2',
    'http://example.org/a/B?sid=12', 'http://example.org/a/B?s=algebra', 'http://example.org/a/B?session_id=5',
    'http://example.org/a/B#!/page', 'http://example.org/a%2FB', 'http://example.org/a/B?p=1&p=2',
    'http://example.org/a/B?p=2&p=1', 'http://example.org/a/index.html.txt',
]
GARBAGE = ['', ' ', 'two words', 'mailto:me@x.org', 'javascript:void(0)', 'http://', 'http:///x', 'dns:x.org',
           '\x00', 'http://[::1', 'http://' + 'a' * 300 + '.org', 'ftp://x.org/a']


@pytest.mark.parametrize('url', ONE_PAGE)
def test_spellings_of_a_page_have_one_key(url):
    assert normalize(url) == 'example.org/a/B'


def test_different_pages_have_different_keys():
    assert len({normalize(url) for url in APART}) == len(APART)


@pytest.mark.parametrize('url, key', [
    ('http://x.org/?b=2&a=1&&', 'x.org?a=1&b=2'),
    ('http://x.org/q?a=1%202+3', 'x.org/q?a=1+2+3'),
    ('http://x.org/\u00e9 %c3%a9%zz', 'x.org/%C3%A9%20%C3%A9%25zz'),
    ('http://b\u00fccher.de/', 'xn--bcher-kva.de'),
    ('http://www.com/', 'www.com'),
    ('http://[::1]:8080/a', '[::1]:8080/a'),
])
def test_keys_are_written_one_way(url, key):
    assert normalize(url) == key


@pytest.mark.parametrize('text', GARBAGE)
def test_garbage_comes_back_stripped(text):
    assert normalize(f' {text} ') == text.strip()
    assert domain(text) == '' and prefixes(text) == []


def test_any_text_has_a_key_that_is_its_own_key():
    rng = random.Random(0)
    pieces = [*'htp:/.%?#&=;@[]a\u00e9\ud800\n \\!\x00', '//', 'www.', 'x.org', 'index.html',
              '..', '%2e', '%7E', 'utm_x=', 'http://']
    for _ in range(20_000):
        key = normalize('http://x.org' * rng.randint(0, 1) + ''.join(rng.choices(pieces, k=rng.randint(0, 12))))
        assert normalize(key) == key


def test_domain_is_the_whole_host():
    assert domain('https://www.MathOverflow.net:443/questions') == 'mathoverflow.net'
    assert domain('https://ann.github.io/a') != domain('https://bob.github.io/a')


def test_prefixes_are_the_folders_above_a_page():
    above = ['mathoverflow.net', 'mathoverflow.net/questions', 'mathoverflow.net/questions/12']
    assert prefixes('https://mathoverflow.net/questions/12/groups?sort=new') == above
    assert prefixes('https://mathoverflow.net/questions/12/') == above
    assert prefixes('https://mathoverflow.net/questions/12/index.html') == above
    assert prefixes('https://mathoverflow.net/questions/12') == above[:2]
    assert prefixes('https://mathoverflow.net/questions/12/groups', depth=2) == above[:2]


def test_crawled_variants_share_the_key_of_their_page_and_no_other(shared):
    groups = {}
    with open(shared / 'data/crawl/labels.jsonl', encoding='utf-8') as file:
        for row in map(json.loads, file):
            groups.setdefault(normalize(row['url']), []).append(row['variant'])
    assert all(variants.count(None) == 1 for variants in groups.values())
    assert sum(map(len, groups.values())) - len(groups) >= 190
