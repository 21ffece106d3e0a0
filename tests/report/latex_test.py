"""mathrl/report/latex.py: formulas become MathML of listed elements alone, or stay text; the work is bounded."""
import random
import time
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.report import latex
from mathrl.report.latex import mathml

HOSTILE = [r'\href{javascript:alert(1)}{x}', r'\style{background:url(//a)}{x}', r'\class{card}{x}', r'\color{url(//a)}x',
           r'\textcolor{red}{x}', r'\colorbox{red}{x}', r'\unicode{x3c}', r'\hspace{-99em}x', r'\kern-99em x',
           r'\rule{99em}{99em}', r'\raise99em{x}', r'\llap{x}', r'\Huge x', r'\verb|<b>|',
           r'\begin{script}x\end{script}', r'\includegraphics{x}',
           r'\newcommand{\a}{x}\a', r'\def\a{x}\a', r'\DeclareMathOperator{\a}{x}\a',
           r'\newenvironment{a}{x}{y}\begin{a}\end{a}', r'\sideset{}{}{\sum}', r'\%\newcommand{\a}{x}\a',
           r'\\\newcommand{\a}{x}\a', r'\begin{aligned}\newcommand\a x\end{aligned}', r'\text{\newcommand}']
LONG = {name: (part * 2000)[:1990] for name, part in {
    'braces': '{', 'roots': r'\sqrt', 'fractions': r'\frac', 'left': r'\left(', 'texts': r'\text{', 'primes': "x'",
    'indices': 'x_', 'powers': 'x^{', 'boxes': r'\boxed{', 'matrices': r'\begin{matrix}', 'cells': '&',
    'not': r'\not', 'over': r'a\over ',
    'limits': r'\sum\limits_a', 'fonts': r'\mathrm x', 'sizes': r'\displaystyle ', 'comments': '%a\n', 'numbers': '1'}.items()}


def shown(formula):
    return ''.join(ElementTree.fromstring(mathml(formula)).itertext())


def elements(formula):
    return [element.tag for element in ElementTree.fromstring(mathml(formula)).iter()]


@pytest.mark.parametrize('formula, wanted', [
    ('x^2', 'x2'), (r'a<b', 'a<b'), (r'\frac{1}{2}', '12'), (r'\text{if } x', 'if\xa0x'), (r'\mathbb{R}', 'ℝ'),
    (r'\alpha\le\beta', 'α≤β'), (r'\text{面积}', '面积'), (r'145^\circ', '145∘'), (r'\operatorname{lcm}', 'lcm'),
    (r'\begin{align}a&=b\\c&=d\end{align}', 'a=bc=d'), (r'\begin{gathered}a\\b\end{gathered}', 'ab'), (r'\$5\%', '$5%')])
def test_formula_is_drawn(formula, wanted):
    assert shown(formula) == wanted


def test_structure_of_what_models_write_most():
    assert elements(r'\boxed{\frac12}') == ['math', 'mrow', 'mrow', 'mrow', 'mfrac', 'mn', 'mn']
    assert 'class="boxed"' in mathml(r'\boxed{1}')
    assert elements(r'\begin{cases}x&y\\z\end{cases}').count('mtr') == 2
    block = mathml(r'\sum_{i=1}^n i', True)
    assert block.startswith('<math display="block"') and '<munderover>' in block
    assert '<mo stretchy="true">(</mo>' in mathml(r'\begin{pmatrix}1\\2\end{pmatrix}')
    assert 'stretchy="false">(' in mathml('f(x)')


@pytest.mark.parametrize('formula', HOSTILE)
def test_command_beyond_the_list_leaves_the_formula_as_text(formula):
    assert mathml(formula) in (None, mathml(r'\text{\newcommand}'))


@pytest.mark.parametrize('text', ['</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"onload="alert(1)',
                                  '&lt;script&gt;', '&#x3c;script&#x3e;', ']]>', '<!--', 'a\x00b', '\ud800'])
@pytest.mark.parametrize('form', ['{}', r'\text{{{}}}', r'\mbox{{{}}}', r'\operatorname{{{}}}', r'\tag{{{}}}',
                                  r'\frac{{{}}}{{2}}', r'\begin{{array}}{{{}}}1\end{{array}}', r'\left{}x\right)',
                                  r'\begin{{{}}}x\end{{{}}}'])
def test_text_within_a_formula_never_becomes_markup(form, text):
    made = mathml(form.replace('{{', '{').replace('}}', '}').replace('{}', text))
    if made is not None:
        for element in ElementTree.fromstring(made).iter():
            assert element.tag in latex.ELEMENTS
            assert set(element.attrib) <= {*latex.ATTRIBUTES, 'class'}


@pytest.mark.parametrize('name', LONG)
def test_work_is_bounded(name):
    begin = time.perf_counter()
    made = mathml(LONG[name])
    assert time.perf_counter() - begin < 0.5
    assert made is None or len(made) < 60 * len(LONG[name])


def test_too_long_too_deep_or_broken_stays_text():
    assert mathml('1' * 2001) is None and mathml('x' * 2000) is not None
    assert mathml('{' * 90 + 'x' + '}' * 90) is None and mathml('{' * 30 + 'x' + '}' * 30) is not None
    for broken in ('', ' ', r'\frac{1', r'\left(', 'x^a^b', r'\begin{cases}', r'\right)', r'\sqrt[', r'\end{align}', r'x\hline'):
        assert mathml(broken) is None, broken


def test_random_formulas_raise_nothing_and_keep_to_the_lists():
    parts = [*(f'\\{name}' for name in sorted(latex.COMMANDS)), *r'{ } [ ] ( ) ^ _ & \\ x 12 < > " # % $ ~ \{ \| ='.split(),
             *(f'\\begin{{{name}}}' for name in sorted(latex.ENVIRONMENTS)), *(f'\\end{{{name}}}' for name in latex.ENVIRONMENTS)]
    draw = random.Random(0)
    drawn = 0
    for _ in range(3000):
        made = mathml(' '.join(draw.choices(parts, k=draw.randint(1, 9))))
        if made is not None:
            drawn += 1
            assert {element.tag for element in ElementTree.fromstring(made).iter()} <= latex.ELEMENTS
    assert drawn > 300
