"""Benchmark questions planted in real pages are caught in every guise; clean pages stay; the rule's edges."""
import html
import random
import re

import pytest

from mathrl.mining import decontaminate
from mathrl.mining.extract import extract
from mathrl.mining.warc import Page, read_warc
from mathrl.records import read_jsonl, write_jsonl

FORMULA = re.compile(r'(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\[(.+?)\\\]', re.DOTALL)
QUOTES_GSM8K = 'https://lilianweng.github.io/posts/2023-03-15-prompt-engineering/'     # has two questions as examples


@pytest.fixture(scope='module')
def index(shared):
    return decontaminate.build(sorted((shared / 'data/problems').glob('*.jsonl')))


@pytest.fixture(scope='module')
def crawl(shared):
    """{address: HTML} of every sixth page of the development crawl."""
    files = sorted((shared / 'data/crawl').glob('*.warc.gz'))
    pages = [page for file in files for page in read_warc(str(file)) if isinstance(page, Page)]
    return {page.url: (page.html, page.charset) for page in pages[::6]}


def benchmark(tmp_path, *rows):
    path = tmp_path / 'benchmark.jsonl'
    write_jsonl(path, rows)
    return decontaminate.build([path])


# How a question is written into a page: each takes the question's text and gives HTML.

def verbatim(text, _):
    return f'<p>{html.escape(text)}</p>'


def reflowed(text, random):
    gaps = re.sub(' ', lambda _: random.choice((' ', '  ', '<br>\n', '&nbsp;')), html.escape(text))
    return f'<div>{gaps}</div>'


def listed(text, _):
    return '<ul>' + re.sub(r'(?<=[.?。，]) ?', '</li>\n<li>', f'<li>{html.escape(text)}</li>') + '</ul>'


def emphasised(text, random):
    def emphasise(words):
        return re.sub('[a-z]{3,}', lambda word: random.choice(('<b>{}</b>', '<em>{}</em>', '{}')).format(word[0]), words)
    return f'<p>{outside_formulas(text, emphasise, lambda tex: chr(36) + html.escape(tex) + chr(36))}</p>'


def entities(text, random):
    coded = (f'&#{ord(c)};' if random.random() < .3 or ord(c) > 127 else html.escape(c) for c in text)
    return f'<p>{"".join(coded)}</p>'


def other_latex(text, random):
    def rewrite(tex):
        tex = re.sub(r'\\[dt]?frac(?![a-z])', r'\\dfrac', re.sub(r'\\frac(\d)(\d)', r'\\frac{\1}{\2}', tex))
        tex = re.sub(r'\^(\w)', r'^{\1}', tex.replace(r'\left', '').replace(r'\right', '').replace(r'\!', ''))
        return rf'\({html.escape(tex)}\)'
    prose = outside_formulas(text, lambda words: words.replace("'", '’'), rewrite)
    return f'<p>{re.sub(r"(?<=[0-9]),(?=[0-9]{3})", random.choice(("", "{,}")), prose)}</p>'


def mathjax(text, _):
    return f'<p>{outside_formulas(text, str, lambda tex: f"<script type=math/tex>{tex}</script>")}</p>'


def full_width(text, random):
    wide = (chr(ord(c) + 0xfee0) if c in '0123456789,.?:;()+=%' and random.random() < .7 else c for c in text)
    return verbatim(''.join(wide), random)


def spaced_chinese(text, random):
    spaced = re.sub('(?<=[\u4e00-\u9fff])', lambda _: random.choice(('', '', ' ')), text)
    return verbatim(spaced.translate(str.maketrans('，。？：', ',.?:')), random)


WAYS = (verbatim, reflowed, listed, emphasised, entities, other_latex, mathjax, full_width, spaced_chinese)


def outside_formulas(text, words, formula):
    pieces, end = [], 0
    for match in FORMULA.finditer(text):
        pieces.append(words(html.escape(text[end:match.start()], quote=False)))
        pieces.append(formula(next(filter(None, match.groups()))))
        end = match.end()
    return ''.join(pieces) + words(html.escape(text[end:], quote=False))


def planted(question, page, way, random):
    """The page with the question after its middle paragraph, as text; None where such a place is boilerplate."""
    places = [match.end() for match in re.finditer('</p>', page)]
    before, after = page[:places[len(places) // 2]], page[places[len(places) // 2]:]
    if 'A sentence of prose is here.' not in extract_text(f'{before}<p>A sentence of prose is here.</p>{after}'):
        return None
    return extract_text(before + way(question, random) + after)


def extract_text(page):
    return extract(page.encode()).text


def test_planted_questions_are_caught_in_every_guise(shared, crawl, index):
    chance = random.Random(0)
    pages = [body.decode() for body, charset in crawl.values()
             if 3000 < len(body) < 50_000 and body.count(b'</p>') > 6 and is_utf8(body)]
    missed, tried = [], 0
    for path in sorted((shared / 'data/problems').glob('*.jsonl')):
        questions = [row['problem'] for row in read_jsonl(path, ('problem',)) if '[asy]' not in row['problem']]
        for question in chance.sample(questions, 8):
            if len(decontaminate.grams.tokens(question)) < 3:
                continue
            page = chance.choice(pages)
            for way in WAYS:
                text = planted(question, page, way, chance)
                tried += text is not None
                if text is not None and not decontaminate.contamination(text, index):
                    missed.append((way.__name__, path.stem, question))
    assert tried > 300
    assert not missed, f'{len(missed)} of {tried} planted questions were missed: {missed[:5]}'


def is_utf8(body):
    try:
        return bool(body.decode())
    except UnicodeDecodeError:
        return False


def test_clean_pages_are_kept(crawl, index):
    texts = {url: extract(body, charset).text for url, (body, charset) in crawl.items()}
    hits = {url: hit for url, text in texts.items() if (hit := decontaminate.contamination(text, index))}
    hits.pop(QUOTES_GSM8K, None)
    assert len(texts) > 500
    assert len(hits) * 1000 < len(texts), hits


CLEAN = [
    ' '.join(map(str, range(30))), 'a b c d e f g h i j k l m n o p q r s t u v w x y z',
    r'$\begin{pmatrix} 0 & 0 & 0 \\ 0 & 0 & 0 \\ 0 & 0 & 0 \end{pmatrix}$', 'What is the value of $x$?', '$(-1, 0, 1)$',
    'How many positive integers less than or equal to $100$ are there?',
    'If two balls are chosen at random, what is the probability that both of them are old?',
    'Let $f$ be such that $f(x) f(y) = x + y$ for all real numbers $x$ and $y$.',
    'Let $a_1, a_2, \\dots, a_n$ be real numbers, where $a$, $b$ and $c$ are positive integers.',
    'the length of the diagonal of a square with side length $s$', '已知函数 $f(x)$ 的定义域为',
]


@pytest.mark.parametrize('text', CLEAN)
def test_stock_phrases_and_sequences_are_no_copy(index, text):
    assert decontaminate.contamination(text, index) is None


def test_every_question_finds_itself(shared, index):
    for path in sorted((shared / 'data/problems').glob('*.jsonl')):
        missed = [row['problem'] for row in read_jsonl(path, ('problem',))[::9]
                  if not decontaminate.contamination(f'On a page: {row["problem"]} And more.', index)]
        assert all(len(decontaminate.grams.tokens(question)) < 3 for question in missed), missed


MARKUP = [
    '<p>Suppose <math><msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><mfrac><mn>3</mn><mn>4</mn></mfrac><mo>≤</mo>'
    '<mi>π</mi></math>. What is the largest <i>x</i>?</p>',
    r'<p>Suppose <span class="katex"><span class="katex-mathml"><math><semantics><mi>x</mi><annotation '
    r'encoding="application/x-tex">x^2+\frac{3}{4}\le\pi</annotation></semantics></math></span><span '
    r'class="katex-html" aria-hidden="true">x2+43≤π</span></span>. What is the largest \(x\)?</p>',
    '<p>Suppose x² + ¾ ≤ π. What is the <b>largest</b> x?</p>',
    r'<p>Suppose $$x^{2} + \dfrac 3 4 \leqslant \pi$$.</p><p>What is the largest $x$?</p>',
]


@pytest.mark.parametrize('markup', MARKUP)
def test_a_formula_is_the_same_in_every_markup(tmp_path, markup):
    index = benchmark(tmp_path, {'problem': r'Suppose $x^2+\frac34\le\pi$. What is the largest $x$?'})
    prose = '<p>This page holds a few sentences of prose before the question, so that it is kept.</p>'
    text = extract_text(f'<html><body><main>{prose}{markup}{prose}</main></body></html>')
    assert decontaminate.contamination(text, index), text


TEN = 'seven purple elephants crossed one frozen river before breakfast on'       # ten words
CHINESE = '小明家里养了七只紫色的大象和三只猫咪一共几只'


@pytest.mark.parametrize('text,caught', [
    (f'Yesterday {TEN} horseback.', True),
    (f'YESTERDAY,\n{TEN.replace(" ", "; ")} horseback', True),
    (TEN.replace('frozen', 'muddy') + ' Sunday', False),
    (' '.join(TEN.split()[:9]), False),
    (TEN.replace('seven ', 'eleven'), False),                # a gram begins and ends where words do
    (TEN + 'ions', False),
])
def test_ten_words_are_caught_and_nine_are_not(tmp_path, text, caught):
    index = benchmark(tmp_path, {'problem': f'Long ago {TEN} Monday, which they liked.'})
    assert bool(decontaminate.contamination(text, index)) == caught


@pytest.mark.parametrize('problem,caught', [
    ('purple elephants crossed frozen rivers before noon on Monday', True), ('purple elephants swim', True),
    ('purple elephants', False), ('What is 15% of 80?', True), ('小明有几只', True), ('几只', False),
])
def test_texts_of_three_to_nine_words_are_matched_whole(tmp_path, problem, caught):
    index = benchmark(tmp_path, {'problem': problem})
    assert bool(decontaminate.contamination(f'They say: {problem} is known.', index)) == caught
    shortened = ' '.join(problem.split()[:-1]) if ' ' in problem else problem[:-1]
    assert decontaminate.contamination(f'They say: {shortened} or other.', index) is None


def test_a_chinese_gram_is_sixteen_characters(tmp_path):
    index = benchmark(tmp_path, {'problem': f'题目：{CHINESE}？请回答。'})
    assert decontaminate.contamination(f'从前{CHINESE[:16]}。', index)
    assert decontaminate.contamination(f'从前{" ".join(CHINESE[:16])}。', index)
    assert decontaminate.contamination(f'从前{CHINESE[:15]}。', index) is None


def test_answers_are_caught_if_they_say_enough(tmp_path):
    index = benchmark(tmp_path, {'problem': 'What happened yesterday then?', 'answer': TEN},
                      {'problem': 'Which animals were there?', 'answer': 'purple elephants swimming'},
                      {'problem': 'How many were there?', 'answer': 1234567},
                      {'problem': 'Which matrix was there?', 'answer': r'\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}'})
    assert decontaminate.contamination(TEN, index).line == 1
    assert decontaminate.contamination('purple elephants swimming', index).line == 2
    assert decontaminate.contamination('1,234,567 and 1 0 0 1', index) is None


def test_a_short_answer_of_stock_words_is_no_copy(shared, tmp_path):
    write_jsonl(tmp_path / 'answers.jsonl', [{'problem': 'For which?', 'answer': 'all real numbers'},
                                             {'problem': 'And which?', 'answer': 'purple elephants swimming'}])
    index = decontaminate.build([shared / 'data/problems/minif2f_validation.jsonl', tmp_path / 'answers.jsonl'])
    assert decontaminate.contamination('This holds for all real numbers, and so on.', index) is None
    assert decontaminate.contamination('We saw purple elephants swimming.', index)


def test_a_hit_says_where_and_what(tmp_path):
    index = benchmark(tmp_path, {'problem': 'Other words are in this line.'}, {'problem': TEN})
    page = 'Before.\n' + TEN.replace('seven', 'SEVEN').replace('frozen ', 'frozen,\n ') + ' After.'
    assert decontaminate.contamination(page, index) == ('benchmark', 2, TEN.replace('frozen', 'frozen,'))


def test_a_phrase_of_many_questions_is_lengthened(tmp_path):
    stock = 'find the number of positive integers that are less than or equal to'
    index = benchmark(tmp_path, *({'problem': f'{stock} {10 * n} {name}'} for n, name in enumerate(
        'ants bees cats dogs eels foxes geese hares ibises jays kites lions moles newts'.split() * 40)))
    paper = decontaminate.build([tmp_path / 'benchmark.jsonl'], bits=0)
    assert decontaminate.contamination(stock, paper)
    assert decontaminate.contamination(stock, index) is None
    assert decontaminate.contamination(f'{stock} 50 foxes', index)


def test_questions_that_are_in_two_files_are_no_phrase(shared, tmp_path):
    path = shared / 'data/problems/minif2f_validation.jsonl'
    once, index = decontaminate.build([path]), decontaminate.build([path] * 6)
    assert [len(table.grams_G) for table in index.tables] == [len(table.grams_G) for table in once.tables]


def test_a_long_page_is_searched_to_its_end(tmp_path, monkeypatch):
    index = benchmark(tmp_path, {'problem': TEN})
    monkeypatch.setattr(decontaminate, '_CHUNK', 50)
    for shift in range(60):
        assert decontaminate.contamination(f'{"x " * shift} filler words {TEN} end', index), shift


@pytest.mark.parametrize('text', ['', ' ', '\x00\ud800', '+', '= 1', 'a', '\U0010ffff'])
def test_odd_texts_hold_nothing(tmp_path, text):
    assert decontaminate.contamination(text, benchmark(tmp_path, {'problem': TEN})) is None


def test_an_index_is_read_as_it_was_written(tmp_path):
    index = benchmark(tmp_path, {'problem': TEN}, {'problem': 'What is 15% of 80?', 'answer': 12})
    index.save(tmp_path / 'index.npz')
    read = decontaminate.load(tmp_path / 'index.npz')
    for text in (TEN, 'What is 15% of 80?'):
        hit = decontaminate.contamination(text, index)
        assert hit is not None and hit == decontaminate.contamination(text, read)
    assert decontaminate.contamination(TEN, decontaminate.build([])) is None


@pytest.mark.parametrize('line,message', [
    ('{"answer": 3}', "line 1: field 'problem' is missing"),
    ('{"problem": 3}', "line 1: field 'problem' is 3; text was wanted"),
    ('{"problem": "x", "answer": [1]}', "line 1: field 'answer'"),
    ('{', 'line 1 is not JSON'), ('', 'the file is empty')])
def test_a_bad_file_is_one_sentence(tmp_path, line, message):
    (tmp_path / 'bad.jsonl').write_text(line)
    with pytest.raises(ValueError, match=re.escape(message)):
        decontaminate.build([tmp_path / 'bad.jsonl'])


def test_bad_numbers_and_bad_indices_are_refused(tmp_path):
    with pytest.raises(ValueError, match='ngram=2, min_ngram=3'):
        decontaminate.build([], ngram=2)
    for name, content in (('text.npz', b'not an index'), ('cut.npz', b'PK\x03\x04cut'), ('missing.npz', None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match='an index of benchmark grams'):
            decontaminate.load(tmp_path / name)
