"""The mining report: well-formed, every figure shown, the accounting adds up, nothing empty, no text is markup."""
import copy
import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.report import histogram, mining_page, mining_samples, mining_source, mining_tables

HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", '</div></style>',
           '<!-- ', ']]>', 'a\x00b', 'half \ud800', '\u202eabc']
EDGES = [index / 10 for index in range(11)]
HEADINGS = ['Where every page went', 'What the corpus holds', 'Rounds', 'Scores', 'Domains', 'Parts of domains',
            'On either side of the threshold', 'Pages with benchmark questions', 'Duplicates', 'Where the time went',
            'Configuration']


def one_round(number, extra=''):
    return {'round': number, 'seeds': 1120 + number, 'positives': 1230 + number, 'negatives': 1340 + number,
            'threshold': 0.65, 'threshold_rule': f'95 % of the seeds{extra}', 'scored': 3200 + number,
            'collected': 1510 + number, 'tokens': 1800010 + number, 'new': 240 + number, 'overlap': [0.0, 0.835][number - 1],
            'math_domains': 60 + number, 'annotated_prefixes': 70 + number, 'new_seeds': 310 + number,
            'histogram': {'edges': EDGES, 'counts': [90, 30, 20, 10, 5, 2, 3, 10, 30, 70]}, 'seconds': 1301.0 + number,
            'stopped': f'98 % were already collected{extra}' if number == 2 else ''}


def example(extra=''):
    """A summary with every section filled; extra stands in every text of it."""
    page = {'url': f'http://a.example/{extra}', 'language': f'zh{extra}', 'text': f'定理：\n  $x^2$ {extra}'}
    return {
        'pages': 3488, 'kept': 1217, 'tokens': 2401000, 'corpus_bytes': 9604000, 'seconds': 95.2,
        'by_reason': {'duplicate_url': 90, 'duplicate_content': 33, 'contaminated': 4, 'low_score': 2100,
                      'too_short': 39, 'bad_record': 3, 'timeout': 1, f'odd{extra}': 1},
        'by_detail': {'bad_record': {f'truncated gzip{extra}': 1, 'wrong length': 2}},
        'by_language': {'en': {'pages': 1108, 'tokens': 2113600}, f'zh{extra}': {'pages': 109, 'tokens': 287400}},
        'by_snapshot': {f'CC-MAIN{extra}': {'pages': 1217, 'tokens': 2401000}},
        'rounds': [one_round(1, extra), one_round(2, extra)],
        'domains': [{'domain': f'proofs.example{extra}', 'pages': 704, 'collected': 528, 'share': 0.75,
                     'math': True}],
        'prefixes': [{'prefix': f'mathoverflow.net/questions{extra}', 'pages': 27, 'collected': 18,
                      'mean_score': 0.931, 'math': 1, 'by': 'person'},
                     {'prefix': 'b.example/', 'pages': 5, 'collected': 1, 'mean_score': None, 'math': 0,
                      'by': f'rule{extra}'}],
        'near_threshold': {'kept': [page | {'score': 0.6512}], 'rejected': [page | {'score': 0.6489}]},
        'contaminated': [{'url': f'http://c.example/{extra}', 'record_id': f'<urn:uuid:7>{extra}',
                          'benchmark': f'gsm8k{extra}', 'ngram': 'clips to 48 of', 'excerpt': f'clips to 48 of {extra}'}],
        'duplicates': {'url': 90, 'content': 33},
        'stages': [{'name': f'extract{extra}', 'seconds': 31.0, 'items': 3485}, {'name': 'write', 'seconds': 0,
                                                                                'items': 1217}],
        'config': f'ROUNDS = 2 # {extra}'}


def tree(text):
    return ElementTree.fromstring(text.removeprefix('<!DOCTYPE html>').encode('utf-8'))


def shown(text):
    return ' '.join(' '.join(tree(text).find('body').itertext()).split())


def tags(text):
    found = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, [name for name, _ in attributes]))
    Parser(convert_charrefs=True).feed(text)
    return found


def rects(svg, kind):
    return [{key: float(rect.get(key)) for key in ('x', 'y', 'width', 'height')}
            for rect in ElementTree.fromstring(svg).iter('rect') if rect.get('class') == f'bar {kind}']


def numbers(value):
    """All numbers below a value, except those of histograms, which are drawn."""
    if isinstance(value, dict):
        return [n for key, item in value.items() if key != 'histogram' for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def test_every_number_of_the_summary_is_shown():
    summary = example()
    text = shown(mining_page.render(summary))
    written = {95.2: '1 min 35 s', 1302.0: '21 min 42 s', 1303.0: '21 min 43 s', 9604000: '9.6 MB', 0.0: '–',
               0.835: '83.5%', 0.75: '75.0%', 0.6512: '0.651', 0.6489: '0.649', 31.0: '31.0'}
    for number in numbers(summary):
        form = written.get(number, f'{number:,}')
        assert re.search(rf'(?<![\d.,]){re.escape(form)}(?![\d]|,\d)', text), (number, form)


def test_every_text_of_the_summary_is_shown_with_its_line_breaks():
    text = ''.join(tree(mining_page.render(example('~zz'))).find('body').itertext())
    for wanted in ('定理：\n  $x^2$ ~zz', 'truncated gzip~zz', 'zh~zz', 'CC-MAIN~zz', '95 % of the seeds~zz',
                   '98 % were already collected~zz', 'proofs.example~zz', 'mathoverflow.net/questions~zz', 'a person',
                   'rule~zz', 'http://a.example/~zz', '<urn:uuid:7>~zz', 'gsm8k~zz',
                   'extract~zz', 'ROUNDS = 2 # ~zz', 'odd~zz'):
        assert wanted in text, wanted


@pytest.mark.parametrize('text', HOSTILE)
def test_no_text_becomes_markup(text):
    assert tags(mining_page.render(example(text), title=text)) == tags(mining_page.render(example('zz'), title='zz'))
    tree(mining_page.render(example(text), config=text, title=text))


def test_page_fetches_and_runs_nothing():
    found = mining_page.render(example())
    assert not {tag for tag, _ in tags(found)} & {'script', 'link', 'iframe', 'object', 'embed', 'img', 'base', 'form'}
    assert all(link.startswith('#') for link in re.findall(r'(?:href|src)="([^"]*)', found))
    assert not re.search(r'url\(|@import|\son\w+=', found) and "default-src 'none'" in found


def test_headings_and_links_to_them():
    page = tree(mining_page.render(example()))
    assert [heading.text for heading in page.iter('h2')] == HEADINGS
    assert [link.get('href')[1:] for link in page.iter('a')] == [section.get('id') for section in page.iter('section')]


@pytest.mark.parametrize('key, heading', [
    ('rounds', 'Rounds'), ('rounds', 'Scores'), ('domains', 'Domains'), ('prefixes', 'Parts of domains'),
    ('near_threshold', 'On either side of the threshold'), ('contaminated', 'Pages with benchmark questions'),
    ('duplicates', 'Duplicates'), ('stages', 'Where the time went'), ('config', 'Configuration')])
@pytest.mark.parametrize('absent', [False, True])
def test_empty_part_leaves_no_heading(key, heading, absent):
    summary = example()
    summary[key] = {'near_threshold': {'kept': [], 'rejected': []},
                    'duplicates': {'url': 0, 'content': 0}}.get(key, type(summary[key])())
    if absent:
        del summary[key]
    headings = [found.text for found in tree(mining_page.render(summary)).iter('h2')]
    assert headings == [found for found in HEADINGS if found != heading and (key, found) not in (
        ('rounds', 'Rounds'), ('rounds', 'Scores'))]


def test_only_what_is_required_gives_a_page():
    summary = {'pages': 0, 'kept': 0, 'tokens': 0, 'corpus_bytes': 0, 'seconds': 0, 'by_reason': {}}
    assert [found.text for found in tree(mining_page.render(summary)).iter('h2')] == ['Where every page went']
    tree(mining_page.render(example() | {'rounds': [one_round(1)]}))


def accounting_rows(summary):
    rows = [[''.join(cell.itertext()) for cell in row]
            for row in ElementTree.fromstring(f'<a>{mining_tables.accounting(summary)}</a>').iter('tr')][1:]
    return [(row[0], int(row[2].replace(',', '').replace('−', '-'))) for row in rows]


@pytest.mark.parametrize('kept, lost', [(1217, 0), (1210, 7), (1220, -3)])
def test_accounting_adds_up_to_all_pages(kept, lost):
    rows = accounting_rows(example() | {'kept': kept})
    assert rows[0] == ('Kept', kept) and rows[-1] == ('All pages read', 3488)
    assert sum(number for _, number in rows[:-1]) == 3488
    assert dict(rows).get('Not accounted for', 0) == lost


def test_accounting_bar_is_in_proportion():
    grown = re.findall(r'flex-grow:(\d+)', mining_tables.accounting(example() | {'kept': 1210}))
    assert sum(map(int, grown)) == 3488 and int(grown[0]) == 1210


def test_histogram_heights_are_in_proportion():
    counts = [40, 0, 10, 20, 30]
    svg = histogram.histogram([0, .2, .4, .6, .8, 1], counts, 0.6, label='x')
    heights = [bar['height'] for bar in rects(svg, 'below') + rects(svg, 'above')]
    assert heights == pytest.approx([heights[0] * count / 40 for count in counts if count], abs=0.02)
    assert len(rects(svg, 'below')) == 2 and len(rects(svg, 'above')) == 2
    bases = {round(bar['y'] + bar['height'], 1) for bar in rects(svg, 'below') + rects(svg, 'above')}
    assert len(bases) == 1


def test_threshold_line_stands_at_its_score():
    svg = histogram.histogram(EDGES, [5] * 10, 0.65, label='x')
    [line] = [line for line in ElementTree.fromstring(svg).iter('line') if line.get('class') == 'threshold']
    first, last = rects(svg, 'below')[0], rects(svg, 'above')[-1]
    left, right = first['x'], last['x'] + last['width'] + 1
    assert float(line.get('x1')) == float(line.get('x2')) == pytest.approx(left + 0.65 * (right - left), abs=0.3)
    assert 'threshold 0.65' in svg
    cut = rects(svg, 'above')[0]   # the bin of the threshold changes its colour there
    assert cut['x'] == pytest.approx(float(line.get('x1')), abs=0.02)


@pytest.mark.parametrize('threshold', [None, -0.1, 1.5])
def test_threshold_outside_the_scores_is_not_drawn(threshold):
    assert 'threshold' not in histogram.histogram(EDGES, [5] * 10, threshold, label='x')


def test_tall_bars_are_torn_and_bear_their_count():
    svg = histogram.histogram(EDGES, [1632, 13, 12, 9, 5, 2, 3, 10, 13, 791], 0.6, label='x')
    written = [text.text for text in ElementTree.fromstring(svg).iter('text')]
    assert svg.count('class="tear"') == 2 and '1,632' in written and '791' in written
    assert 'class="tear"' not in histogram.histogram(EDGES, [60, 30, 20, 19, 15, 20, 30, 10, 30, 70], 0.6, label='x')
    assert histogram.drawn_limit([900, 3, 10, 9, 12, 8, 5, 7, 700]) == 12


def test_histogram_of_nothing_and_of_unequal_lengths():
    assert histogram.histogram(EDGES, [0] * 10, 0.5, label='x') == ''
    with pytest.raises(ValueError, match='10 counts and 10 edges'):
        histogram.histogram(EDGES[:-1], [1] * 10, 0.5, label='x')


def test_columns_are_in_proportion_and_split():
    svg = histogram.columns(['1', '2', '3'], [100, None, 50], label='a & b', lower=[0, 0, 30])
    [first, last], [pale] = rects(svg, 'above'), rects(svg, 'pale')
    assert last['height'] == pytest.approx(0.2 * first['height'], abs=0.02)
    assert pale['height'] == pytest.approx(0.3 * first['height'], abs=0.02)
    assert last['y'] + last['height'] == pytest.approx(pale['y'], abs=0.1)
    assert [text.text for text in ElementTree.fromstring(svg).iter('text')] == ['100', '1', '–', '2', '50', '3']


@pytest.mark.parametrize('excerpt, ngram, wanted', [
    ('Find  the AREA, of it', 'the area of', 'Find  <mark>the AREA, of</mark> it'),
    ('题：小明有 5 个苹果，小红', '小明有5个苹果小', '题：<mark>小明有 5 个苹果，小</mark>红'),
    ('the cart', 'the car', 'the cart'), ('bathe car', 'the car', 'bathe car'), ('thecar', 'the car', 'thecar'),
    (r'\frac{1}{2} x', 'frac 1 2', r'\<mark>frac{1}{2</mark>} x'),
    (r'so $\dfrac{1}{2} \sin x$', '1 2 sin x', r'so $\dfrac{<mark>1}{2} \sin x</mark>$'),
    ('共５个，Ｘ', '5个x', '共<mark>５个，Ｘ</mark>'),
    ('<b> & a.b', 'a b', '&lt;b&gt; &amp; <mark>a.b</mark>'), ('x', '...', 'x'),
    ('(a+)+ b', '(a+)+', '(<mark>a</mark>+)+ b')])
def test_shared_words_are_marked(excerpt, ngram, wanted):
    assert mining_samples.marked(excerpt, ngram) == wanted


def test_long_tables_are_folded_and_complete():
    row = example()['domains'][0]
    rows = [row | {'domain': f'site{index}.example'} for index in range(mining_tables.SHOWN + 5)]
    table = mining_tables.domains(rows)
    assert '<summary>5 more</summary>' in table and all(f'>site{index}.example<' in table for index in range(len(rows)))
    assert '<details>' not in mining_tables.domains(rows[:mining_tables.SHOWN])


def test_contaminated_pages_beyond_the_shown_are_counted():
    summary = example()
    summary['contaminated'] *= mining_samples.SHOWN + 1234
    assert '1,234 more pages' in mining_samples.contaminated(summary)


@pytest.mark.parametrize('part, whole, wanted', [(1, 3488, '0.03%'), (0, 9, '0%'), (9, 9, '100%'), (0, 0, '0%'),
                                                 (1, 10**6, '<0.01%'), (1, 3, '33.3%')])
def test_share_of_total(part, whole, wanted):
    assert mining_tables.of_total(part, whole) == wanted


def test_size():
    assert [mining_tables.size(n) for n in (0, 999, 9604000, 1.2e11)] == ['0 bytes', '999 bytes', '9.6 MB', '120 GB']


def written(folder, summary):
    (folder / 'mining.json').write_text(json.dumps(summary))
    return folder


def test_read_mining_gives_back_what_was_written(tmp_path):
    summary = example()
    (tmp_path / 'config.gin').write_text(summary['config'])
    assert mining_source.read_mining(written(tmp_path, summary)) == summary


def test_read_mining_takes_empty_and_absent_sections(tmp_path):
    summary = {key: example()[key] for key in mining_source.REQUIRED}
    assert mining_source.read_mining(written(tmp_path, summary | {'rounds': [], 'duplicates': {}}))['config'] == ''


def changed(*path, to):
    summary = copy.deepcopy(example())
    *outer, last = path
    inner = summary
    for key in outer:
        inner = inner[key]
    if to is KeyError:
        del inner[last]
    else:
        inner[last] = to
    return summary


@pytest.mark.parametrize('summary, fault', [
    ([], r"it is '\[\]'; an object was wanted"), (changed('kept', to=KeyError), "it has no 'kept'"),
    (changed('pages', to='3488'), "pages is '3488'; a number was wanted"),
    (changed('tokens', to=float('nan')), "tokens is 'nan'; a number was wanted"),
    (changed('kept', to=True), "kept is 'True'; a number was wanted"),
    (changed('by_reason', 'low_score', to=None), "by_reason.low_score is 'None'; a number was wanted"),
    (changed('rounds', 1, 'threshold', to=KeyError), r"rounds\[1\] has no 'threshold'"),
    (changed('rounds', 0, 'histogram', 'counts', 2, to='x'), r"rounds\[0\].histogram.counts\[2\] is 'x'"),
    (changed('domains', to={'a': 1}), "domains is .*; a list was wanted"),
    (changed('near_threshold', 'kept', 0, 'text', to=7), r"near_threshold.kept\[0\].text is '7'; text was wanted"),
])
def test_read_mining_names_what_is_wrong(tmp_path, summary, fault):
    with pytest.raises(ValueError, match=fault):
        mining_source.read_mining(written(tmp_path, summary))


def test_read_mining_without_a_file_or_json(tmp_path):
    with pytest.raises(ValueError, match='does not exist; the folder of a mining run was wanted'):
        mining_source.read_mining(tmp_path)
    (tmp_path / 'mining.json').write_text('{"pages": ')
    with pytest.raises(ValueError, match='is not the summary of a mining run'):
        mining_source.read_mining(tmp_path)
