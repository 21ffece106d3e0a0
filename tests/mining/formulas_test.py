"""Formulas outside the text, put back into it."""
import html

import pytest

from mathrl.mining.formulas import delimited, with_formulas, with_pandoc_formulas, without_deep_lists


def text(source):
    return html.unescape(with_formulas(source)[0]).replace('\ufdd4', '\n')


@pytest.mark.parametrize('source, wanted', [
    ('<script type="math/tex">a<b & c</script>.', '$a<b & c$.'),
    ('<SCRIPT type="math/tex; mode=display">x</script >', '<br>$$x$$<br>'),
    ('<script type="math/tex; mode=display">% <![CDATA[\nx < 1 \\\\ % note\ny %]]></script>', '<br>$$x < 1 \\\\ % note\ny$$<br>'),
    ('<script type="math/tex">\\begin{align}x\\end{align}</script>', '\\begin{align}x\\end{align}'),
    ('<script type="math/mml"><math><msup><mi>x</mi><mn>2</mn></msup></math></script>', '$x^{2}$'),
    ('a<script>var x = "<p>$no$</p>"</script>b', 'ab'),
    ('a<script>never closed <p>b', 'a'),
])
def test_mathjax_scripts(source, wanted):
    assert text(source) == wanted


@pytest.mark.parametrize('source, wanted', [
    ('<math><mi>x</mi></math>', '$x$'),
    ('<math display="block"><mi>x</mi></math>', '<br>$$x$$<br>'),
    ('<math alttext="a&lt;b"><mi>x</mi></math>', '$a<b$'),
    ('<math alttext="no"><semantics><mi>x</mi><annotation encoding="text/plain">no</annotation>'
     '<annotation encoding="application/x-tex">x_1 &amp; y</annotation></semantics></math>', '$x_1 & y$'),
    ('<math data-latex="\\alpha"><mi>α</mi></math>', r'$\alpha$'),
    ('<span class="katex-display"><span class="katex"><span class="katex-mathml"><math><annotation encoding="application/x-tex">x'
     '</annotation></math>', '<span class="katex-display"><span class="katex"><span class="katex-mathml"><br>$$x$$<br>'),
    ('<math-field>x</math-field>', '<math-field>x</math-field>'),
    ('<math><mi>x', '<math><mi>x'),
])
def test_mathml(source, wanted):
    assert text(source) == wanted


@pytest.mark.parametrize('source, wanted', [
    ('<img src="https://latex.codecogs.com/gif.latex?x%5E2&space;%2B+y&amp;bg=fff">', '$x^2 + y$'),
    ('<img src="/cgi-bin/mimetex.cgi?%5Cfrac12" alt="half">', r'$\frac12$'),
    ('<img alt="\\pi r^2" src="https://s0.wp.com/latex.php?latex=%5Cpi&amp;bg=f" class="latex">', r'$\pi r^2$'),
    ('<img src="https://chart.googleapis.com/chart?cht=tx&amp;chl=x_1">', '$x_1$'),
    ('<img class="tex" alt="a_n=1" src="i.png">', '$a_n=1$'),
    ('<IMG ALT="$z$" SRC="img1.png">', '$z$'),
    ('<img class="mwe-math-fallback-image-inline" alt="\\(x^2\\)">', ''),
    ('<img alt="a photo of Texas" src="p.jpg">', ''),
    ('<img class="tex" alt="a_n=1" src="data:image/png;base64,' + 'x+' * 30000 + '">', '$a_n=1$'),
])
def test_images(source, wanted):
    assert text(source) == wanted


def test_an_unclosed_quote_costs_its_own_tag_only():
    assert text('<img alt="$x$" src="a>b"><img alt="never closed> <img alt=\'$y$\'>') == '$x$<img alt="never closed> $y$'


def test_pandoc_spans_get_delimiters_once():
    source = '<span class="math inline">x</span><span class="math display">\\[y\\]</span>'
    assert with_pandoc_formulas(source) == '<span class="math inline">$x$</span><span class="math display">\\[y\\]</span>'


def test_a_line_break_behind_a_backslash_is_kept_from_the_parser():
    assert with_formulas('$$a \\\nb$$')[0] == '$$a \\\ufdd4b$$'


def test_menus_and_drawings_go_where_they_are_closed():
    assert with_formulas('<nav>a<nav>b</nav></nav>c<svg><style>x</style></svg>d<nav>e')[0] == 'cd<nav>e'


def test_lists_are_flattened_from_a_depth_on():
    assert without_deep_lists('<ul>' * 900 + 'x' + '</ul>' * 900).count('<ul') == 50
    assert without_deep_lists('<ul><li>x</ul>' * 900).count('<ul') == 900


@pytest.mark.parametrize('tex, wanted', [('$x$', '$x$'), ('\\(x\\)', '\\(x\\)'), ('  x ', '$x$'), ('', ''), ('\\\\[2pt] x', '$\\\\[2pt] x$')])
def test_own_delimiters_are_not_doubled(tex, wanted):
    assert delimited(tex, display=False) == wanted
