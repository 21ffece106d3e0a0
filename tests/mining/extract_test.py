"""Whole pages: formulas whole, code fenced, boilerplate gone, any bytes in bounded time."""
import random
import time

import pytest

from mathrl.mining.extract import extract

PARAGRAPHS = ''.join(f'<p>Paragraph {k} speaks of continuous functions on closed intervals at some length.</p>' for k in range(4))


def text(source):
    return extract(source.encode()).text


@pytest.mark.parametrize('source, wanted', [
    ('<p>a $x<em>_1</em> + <a href=u>y</a>$ b', 'a $x_1 + y$ b'),
    ('<p>\\(a &lt; b &amp;amp; c\\)', '\\(a < b &amp; c\\)'),
    ('<p>\\[ a<br>b \\]', '\\[ a\nb \\]'),
    ('<div>$$ x\n + y $$</div>', '$$ x + y $$'),
    ('<p>\\begin{align}x_* &amp;= 1 \\\\ y\\end{align}', '\\begin{align}x_* &= 1 \\\\ y\\end{align}'),
    ('<p>f [tex]x^2[/tex], [itex]y[/itex] and [tex]open', 'f $x^2$, $y$ and [tex]open'),
    ('<p>let <script type="math/tex">x</script> be', 'let $x$ be'),
    ('<p>中文段落\n  换行，“公式”$x$。\r\n完', '中文段落换行，“公式”$x$。完'),
])
def test_formulas_in_text_stay_whole(source, wanted):
    assert text(source) == wanted


def test_each_formula_comes_once_and_its_rendering_not():
    katex = ('<span class="katex"><span class="katex-mathml"><math><annotation encoding="application/x-tex">x^2</annotation></math></span>'
             '<span class="katex-html">x2</span></span>')
    assert text(f'<p>a {katex} b') == 'a $x^2$ b'
    mathjax = ('<span class="MathJax_Preview">p</span><span class="MathJax"><nobr>x2</nobr><span class="MJX_Assistive_MathML"><math><mi>x</mi>'
               '</math></span></span>')
    assert text(f'<p>a {mathjax}<script type="math/tex">x^2</script> b') == 'a $x^2$ b'
    assert text(f'<p>a {mathjax} b') == 'a $x$ b'
    container = '<mjx-container class="MathJax"><mjx-math>q</mjx-math><mjx-assistive-mml><math><mi>x</mi></math></mjx-assistive-mml></mjx-container>'
    assert text(f'<p>a {container} b') == 'a $x$ b'


def test_lists_code_and_headings():
    assert text('<h2>Proof</h2><ol><li>Assume $x$.<ul><li>then</li></ul></li><li><p>Hence.</p></li></ol>') == \
        'Proof\n\n1. Assume $x$.\n\n- then\n\n2. Hence.'
    assert text('<p>run<pre><code>if a &lt; b:\n    c()\n</code></pre><p>done') == 'run\n```\nif a < b:\n    c()\n```\ndone'
    assert text('<pre><span>a</span><br> b</pre>') == '```\na\n b\n```'


def test_macro_definitions_go():
    assert text('<div style="display:none">\\(\\newcommand{\\R}{\\mathbb{R}}\\)</div><p>In \\(\\R\\)') == 'In \\(\\R\\)'
    assert text('<p>$$\\newcommand{\\a}[1]{{#1}} \\DeclareMathOperator*{\\x}{y} \\def\\b#1{\\frac{{#1}}{2}}$$ T') == 'T'
    assert text('<p>$$\\def\\a{b} \\a = c$$') == '$$\\def\\a{b} \\a = c$$'
    assert text('<div class="hidden-content latex-macros">\\(\\def\\x{y}\\)</div><p>T') == 'T'


@pytest.mark.parametrize('box', ['<nav><a href=a>Home page</a></nav>', '<div class="left-sidebar"><p>Side text</div>', '<div id="footer">Imprint</div>',
                                 '<ul><li><a href=a>First page</a></li><li><a href=b>Second page</a></li></ul>', '<footer><p>Imprint</footer>',
                                 '<div class="breadcrumb">You are here</div>', '<div class="cookie-notice"><p>We use cookies</div>'])
def test_boilerplate_goes_and_prose_stays(box):
    assert text(f'<body>{box}<h1>Title</h1>{PARAGRAPHS}') == text(f'<body><h1>Title</h1>{PARAGRAPHS}')


@pytest.mark.parametrize('wrapper', ['<body class="sidebar">', '<div class="page-navbar"><main>', '<div class="sidebar">', '<div id="menu">', '<form>',
                                     '<div class="has-sidebar">', '<article><header>', '<div class="footer"><h1>Title</h1>', '<figure><img src=x>'])
def test_a_wrapper_of_the_page_is_no_box(wrapper):
    assert 'Paragraph 3 speaks' in text(wrapper + PARAGRAPHS)


def test_the_words_of_body_name_no_box():
    assert text('<body class="sidebar"><p class="x">One line.<p class="sidebar">Side') == 'One line.\n\nSide'


def test_a_page_that_is_one_box_is_kept():
    assert text('<div class="sidebar">' + 'A line of text.<br>' * 200).count('A line') == 200


def test_a_linked_line_in_prose_stays():
    assert text('<p>See <a href=u>the theorem</a> for a proof.</p><h3><a href=v>Lemma</a></h3><p><a href=w>\\(x^2\\)</a>') == \
        'See the theorem for a proof.\n\nLemma\n\n\\(x^2\\)'


def test_title_and_empty_page():
    page = extract('<html><head><title>A &lt; B\n C</title></head><body><p>x'.encode('utf-16'))
    assert (page.text, page.title) == ('x', '')  # the title is looked for in ASCII-compatible bytes only
    assert extract(b'<html><head><title>A &lt; B\n C</title></head><body></body></html>').title == 'A < B C'
    assert extract('<head><meta charset=gbk><title>数学</title></head><body>'.encode('gbk')).title == '数学'
    assert extract(b'') == extract(b'  ')
    assert extract(b'').text == ''


@pytest.mark.parametrize('body', [b'%PDF-1.4 x', b'\x89PNG\r\n\x1a\n\0\0', b'\x1f\x8b\x08\0', bytes(range(256)) * 9])
def test_binary_is_refused(body):
    with pytest.raises(ValueError, match='binary, not HTML'):
        extract(body)


def test_depth_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match='nested too deep'):
        extract(b'<div>' * 100_000 + b'x')


@pytest.mark.parametrize('unit', ['<', '<a', '$', '\\begin{a}', '\\(', '[tex]', '<math>', '<img alt="', '<script type="math/tex">', '<p class="', '<!--',
                                  '<ul><li>', '<header>', '<div class="sidebar">', '<div class="sidebar">x</div>', '\\(\\newcommand ', '&amp;', '\n',
                                  '<math><annotation encoding=tex ', '<svg>', '<nav>', '<td>', '。\n', '\\\n', '<b>', '<pre>', 'x\0', '\x01'])
@pytest.mark.parametrize('size', [90_000, 1_000_000])
def test_time_is_linear_in_hostile_input(unit, size):
    start = time.process_time()
    try:
        extract((unit * (size // len(unit))).encode())
    except ValueError:
        pass
    assert time.process_time() - start < 5


def test_random_bytes_never_crash_and_text_is_clean():
    rng = random.Random(0)
    pieces = [b'<math>', b'</math>', b'<script type="math/tex">', b'</script>', b'<pre>', b'</pre', b'$', b'\\(', b'<a href="', b'">', b'&#xD800;', b'&#1;',
              b'\xff\xfe', '中文'.encode('gbk'), '，'.encode(), b'<li>', b'<ul class=nav>', b'[tex]', b'<img alt="$x$"', b'>', b'\xef\xb7\x94', b'x y ']
    for _ in range(2000):
        body = b'<p>' + b''.join(rng.choices(pieces, k=rng.randrange(1, 25)))
        out = extract(body).text
        out.encode()
        assert not set(out) & set('\0\x01\ufdd4') and extract(body).text == out
