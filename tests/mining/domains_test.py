"""Domains and prefixes: a hand-worked example, the rule, and the files a person reads and writes."""
import random

import pytest

from mathrl.mining import domains

# (url, score, collected) of two shards. math.org: 4 of 6 collected; shop.com: 1 of 10; blog.net: 1 of 9.
FIRST = [('https://www.math.org/wiki/groups/1', .9, True), ('http://math.org/wiki/groups/2?x=1', .8, True),
         ('https://math.org/wiki/rings/1', .75, True), ('https://math.org/forum/1', .1, False),
         *((f'https://shop.com/{i}', .1, False) for i in range(9)), ('https://blog.net/a', .5, True)]
SECOND = [('https://math.org/wiki/groups/3', .7, True), ('https://math.org/', 0., False),
          ('https://shop.com/x', 1., True), *((f'https://blog.net/{i}', .25, False) for i in range(8))]


def reviewed(*shards, share=.1):
    counted = {}
    for shard in shards:
        for domain, values in domains.count_shard(shard):
            counted.setdefault(domain, []).append(values)
    return {domain: domains.review_row(domain, values, share) for domain, values in counted.items()}


def test_a_hand_worked_example():
    found = reviewed(FIRST, SECOND)
    assert found['math.org'] == ['math.org', 6, 4, [
        ('math.org', 6, 4, .5417), ('math.org/wiki', 4, 4, .7875), ('math.org/wiki/groups', 3, 3, .8),
        ('math.org/wiki/rings', 1, 1, .75), ('math.org/forum', 1, 0, .1)]]
    assert found['shop.com'] is None                # a tenth, no more
    assert found['blog.net'] == ['blog.net', 9, 1, [('blog.net', 9, 1, .2778)]]
    assert domains.decide(found['math.org'], .8, 3) == {
        'math.org': 0, 'math.org/wiki': 1, 'math.org/forum': 0}
    assert domains.decide(found['math.org'], .6, 3) == {'math.org': 1}
    assert domains.decide(found['math.org'], .8, 5) == {
        'math.org': 0, 'math.org/wiki': 0, 'math.org/forum': 0, 'math.org/wiki/groups': 0, 'math.org/wiki/rings': 0}
    assert domains.decide(found['blog.net'], .8, 1) == {'blog.net': 0}


def test_how_pages_lie_in_shards_does_not_count():
    pages = [(f'https://a.org/{i % 3}/{i % 7}/{i}', random.Random(i).random(), i % 2 == 0) for i in range(300)]
    wanted = reviewed(pages)
    random.Random(0).shuffle(pages)
    assert reviewed(pages[200:], pages[:70], pages[70:200]) == wanted


def test_a_domain_with_ports_is_one_domain():
    row = reviewed([('http://a.org:8080/x/1', 1., True), ('http://a.org/x/1', 0., False)])['a.org']
    assert row[:3] == ['a.org', 2, 1]
    assert {prefix for prefix, *_ in row[3]} == {'a.org', 'a.org:8080', 'a.org/x', 'a.org:8080/x'}


def test_what_is_no_url_is_of_no_domain():
    assert list(domains.count_shard([('mailto:x', .9, True), ('', .9, True)])) == []


def test_only_the_best_prefixes_of_a_domain_are_listed():
    row = reviewed([(f'https://a.org/{i:03d}/{j}', 1., True) for i in range(300) for j in range(1 + i % 2)])['a.org']
    assert len(row[3]) == domains.BEST_PREFIXES and row[3][0][:3] == ('a.org', 450, 450)
    assert {n for _, n, _, _ in row[3][1:]} == {2}


def test_a_folder_without_mathematics_speaks_against_what_lies_above_it():
    row = ['a.org', 100, 81, [('a.org', 100, 81, .9), ('a.org/math', 80, 80, 1.), ('a.org/shop', 20, 1, .4)]]
    assert domains.decide(row, .8, 5) == {'a.org': 0, 'a.org/math': 1, 'a.org/shop': 0}
    assert domains.decide(row, .8, 21) == {'a.org': 1}          # too few pages to speak
    row[3][2] = ('a.org/shop', 20, 2, .4)
    assert domains.decide(row, .8, 5) == {'a.org': 1}           # a tenth is no objection
    row[3][2] = ('a.organic/shop', 20, 0, .4)
    assert domains.decide(row, .8, 5)['a.org'] == 1             # lies elsewhere


def test_the_table_is_read_back_as_annotations(tmp_path):
    rows = [row for row in reviewed(FIRST, SECOND).values() if row]
    decided = {'math.org/wiki': 1, 'math.org/forum': 0, 'blog.net': 0}
    domains.write_review(tmp_path / 'r.tsv', rows, decided)
    lines = (tmp_path / 'r.tsv').read_text().splitlines()
    assert lines[0].split('\t') == list(domains.COLUMNS)
    assert lines[1].split('\t') == ['math.org', '6', '0.6667', 'math.org/wiki', '4', '1.0000', '0.7875', '1']
    assert [line.split('\t')[3] for line in lines[1:]] == ['math.org/wiki', 'math.org/forum', 'blog.net']
    assert domains.read_annotations(tmp_path / 'r.tsv') == decided
    domains.write_annotations(tmp_path / 'a.tsv', decided)
    assert domains.read_annotations(tmp_path / 'a.tsv') == decided


@pytest.mark.parametrize('text', [
    'a.org/x\t1\nb.org\t0\n', '\ufeffa.org/x\t1\r\nb.org\t0\r\n', '# mine\n\nhttps://www.a.org/x/ \t 1\nb.org\t0',
    'prefix\tmath\na.org/x\t1\nb.org\t0\n', 'domain\tprefix\tmath\na.org\ta.org/x\t1\nb.org\tb.org\t0\n'])
def test_annotations_as_people_write_them(tmp_path, text):
    (tmp_path / 'a.tsv').write_bytes(text.encode())
    assert domains.read_annotations(tmp_path / 'a.tsv') == {'a.org/x': 1, 'b.org': 0}


@pytest.mark.parametrize('line', ['b.org', 'b.org\t', 'b.org\t2', 'b.org\tyes', 'b.org 1', '\t'.join('abcdefgh')])
@pytest.mark.parametrize('before', [
    '# judged\na.org\t1', '\t'.join(domains.COLUMNS) + '\na.org\t9\t1\ta.org\t9\t1\t.9\t1'])
def test_a_wrong_line_is_refused_with_file_and_line(tmp_path, before, line):
    (tmp_path / 'a.tsv').write_text(f'{before}\n{line}\n')
    with pytest.raises(ValueError, match=r'a\.tsv line 3: .*a URL prefix, a tab and 0 or 1 were wanted') as error:
        domains.read_annotations(tmp_path / 'a.tsv')
    assert line[:20] in str(error.value).replace('\\t', '\t') and '\n' not in str(error.value)


def test_annotations_in_another_encoding_are_one_sentence(tmp_path):
    (tmp_path / 'a.tsv').write_bytes('a.org/数学\t1\n'.encode('utf-16'))
    with pytest.raises(ValueError, match=r'a\.tsv is not UTF-8'):
        domains.read_annotations(tmp_path / 'a.tsv')


def test_missing_annotations_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r'absent\.tsv: there is no such file'):
        domains.read_annotations(tmp_path / 'absent.tsv')


@pytest.mark.parametrize('url,found', [
    ('https://www.a.org/wiki/x', 1), ('http://a.org/wiki/talk/x?y=1', 0), ('a.org/wiki/talk/good/z#w', 1),
    ('https://a.org/', 0), ('https://a.org/wikipedia', 0), ('https://sub.a.org/wiki', None), ('https://b.org', None),
    ('https://a.org/wiki', 1), ('not a url', None)])
def test_the_longest_prefix_wins(url, found):
    decided = {'a.org': 0, 'a.org/wiki': 1, 'a.org/wiki/talk': 0, 'a.org/wiki/talk/good': 1}
    assert domains.judged(url, decided) == found
    assert domains.judged(url, {}) is None
