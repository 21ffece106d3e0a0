"""mathrl/report/model_text.py: formulas, code and prose are told apart, and nothing of a text becomes markup or is lost."""
import time
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.report import latex
from mathrl.report.model_text import answer_to_html, to_html


def tree(text):
    return ElementTree.fromstring(f'<div>{to_html(text)}</div>')


def formulas(text):
    return [''.join(element.itertext()) for element in tree(text).iter('math')]


@pytest.mark.parametrize('text, wanted', [
    (r'So \(x\) and $y$.', ['x', 'y']), (r'\[a\] $$b$$', ['a', 'b']), (r'Thus \boxed{12}.', ['12']),
    (r'\boxed{\{1\}}', ['{1}']),
    (r'\begin{align}a&=b\end{align}', ['a=b']), (r'\(\boxed{7}\)', ['7']), ('$\\$12$', ['$12']), ('$x\n+y$', ['x+y']),
    ('costs $5 and $6', []), ('$5-$3', []), (r'\$x\$', []), ('$x', []), (r'\(x', []),
    (r'\boxed{12', []), ('$$', []), ('$ x $', []),
    ('$a\n\nb$', []), ('面积是$\\frac{1}{2}$。', ['12']), ('$5 + $x$', ['x']), (r'\\(x\\)', [])])
def test_formulas_are_found(text, wanted):
    assert formulas(text) == wanted


def test_display_formula_stands_alone():
    assert to_html('a\n\\[\nx\n\\]\nb') == ('a<span class="display"><math display="block"><mrow><mi>x</mi></mrow></math></span>b')


def test_prose_and_undrawn_formulas_are_kept_as_written():
    for text in ('plain\n  text', '3 < 4 & 5', r'$\href{a}{b}$', r'\(\frac{1\)', '* **bold**', '<<2*12=24>>24', '\\\\ \\$5'):
        assert ''.join(tree(text).itertext()) == text


def test_code_blocks():
    found = tree('Run:\n```python\nx = "$a$"\n```\n```output\n<b>3\n```\nThen $y$')
    assert [code.findtext('i') for code in found.iter('pre')] == ['python', 'output']
    assert [''.join(code.itertext()) for code in found.iter('pre')] == ['pythonx = "$a$"', 'output<b>3']
    assert [''.join(formula.itertext()) for formula in found.iter('math')] == ['y']
    assert ''.join(tree('```python\ncut o').find('pre').itertext()) == 'pythoncut o'


@pytest.mark.parametrize('text', ['</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>', '</pre></div><b>',
                                  '"\'><svg/onload=1>', '<!--', ']]>', '\x00\ud800', '&lt;b&gt;', '<math><mtext></mtext></math>'])
@pytest.mark.parametrize('form', ['{}', '$\\text{{{}}}$', '```{}\nx\n```', '```python\n{}\n```', '\\({}\\)', '\\boxed{{{}}}',
                                  '$$\\href{{{}}}{{x}}$$', '\\begin{{align}}{}\\end{{align}}'])
def test_no_text_becomes_markup(form, text):
    found = tree(form.format(text))
    assert {element.tag for element in found.iter()} <= {'div', 'span', 'pre', 'i', *latex.ELEMENTS}
    assert {name for element in found.iter() for name in element.attrib} <= {'class', *latex.ATTRIBUTES}


@pytest.mark.parametrize('part', ['\\(', '$', '$$', '\\boxed{', '\\[', '\\begin{align}', '```a\n', '{', '\\(x\\)', '$x ', '$a$ ',
                                  '\\'])
def test_repeated_texts_take_linear_time(part):
    begin = time.perf_counter()
    to_html(part * (20000 // len(part)))
    assert time.perf_counter() - begin < 1


def test_answers():
    assert '<mfrac>' in answer_to_html(r'\frac12') and '<msup>' in answer_to_html('145^\\circ')
    assert '<mi>' in answer_to_html('$x$')
    assert answer_to_html('5 < 6') == '5 &lt; 6' and answer_to_html('\\frac{') == '\\frac{'
    assert '<script>' not in answer_to_html('\\text{<script>}')
