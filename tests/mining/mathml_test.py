"""MathML to LaTeX."""
import time

import pytest

from mathrl.mining.mathml import mathml_to_latex

X, N = '<mi>x</mi>', '<mn>2</mn>'
CASES = {
    f'<mfrac><mn>1</mn><msup>{X}{N}</msup></mfrac>': r'\frac{1}{x^{2}}',
    f'<msqrt>{X}<mo>+</mo>{N}</msqrt>': r'\sqrt{x+2}',
    f'<mroot>{X}<mn>3</mn></mroot>': r'\sqrt[3]{x}',
    f'<msub>{X}<mi>i</mi></msub>': 'x_{i}',
    f'<msubsup>{X}<mi>i</mi>{N}</msubsup>': 'x_{i}^{2}',
    '<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi>': r'\sum_{i=1}^{n} i',
    f'<munder><mo>lim</mo><mrow>{X}<mo>→</mo><mi>∞</mi></mrow></munder>': r'\lim_{x\to \infty}',
    f'<mover>{X}<mo>¯</mo></mover>': r'\overline{x}',
    '<mover><mi>v</mi><mo>→</mo></mover>': r'\vec{v}',
    '<mi>sin</mi><mi>α</mi>': r'\sin \alpha',
    '<mi>rank</mi><mi>A</mi>': r'\mathrm{rank}A',
    f'<mfenced open="[" close=")">{X}{N}</mfenced>': r'\left[x,2\right)',
    f'<mtable><mtr><mtd>{X}</mtd><mtd>{N}</mtd></mtr><mtr><mtd>{N}</mtd><mtd>{X}</mtd></mtr></mtable>':
        r'\begin{matrix}x & 2 \\ 2 & x\end{matrix}',
    f'<mrow>{X}<mtext>if 5%</mtext></mrow>': r'x\text{if 5\%}',
    f'<menclose notation="box">{X}</menclose>': r'\boxed{x}',
    f'<mphantom>{X}</mphantom>': r'\phantom{x}',
    f'<mstyle displaystyle="true">{X}<mspace width="1em"/>{N}</mstyle>': 'x 2',
    f'{X}<mo>&lt;</mo>{N}<mo>&amp;</mo>': r'x<2\&',
    '<mi mathvariant="bold">v</mi><mi>ℝ</mi>': r'\mathbf{v}\mathbb{R}',
    f'<semantics>{X}<annotation encoding="StarMath">no</annotation></semantics>': 'x',
    f'<mml:msup><mml:mi>x</mml:mi>{N}</mml:msup>': 'x^{2}',
    '<mi>x<!-- ≤ --></mi><mi>\\max</mi>': r'x\max',
    f'<munder><mi>argmax</mi>{X}</munder><mi>f</mi>': r'\mathop{\mathrm{argmax}}_{x} f',
    '<mover><mo>=</mo><mi>def</mi></mover>': r'\overset{\mathrm{def}}{=}',
    f'<mfrac>{X}</mfrac>': r'\frac{x}{}',
}


@pytest.mark.parametrize('source', CASES)
def test_each_element(source):
    assert mathml_to_latex(f'<math>{source}</math>').replace('  ', ' ').strip() == CASES[source]


def test_a_group_as_base_is_braced():
    assert mathml_to_latex(f'<msup><mrow>{X}<mo>+</mo>{N}</mrow><mi>n</mi></msup>') == '{x+2}^{n}'


@pytest.mark.parametrize('source', ['<mrow>' * 100_000 + X, '<mfrac>' * 200_000 + X + '</mfrac>' * 200_000, '<' * 100_000, '</mi>' * 50_000])
def test_deep_or_broken_markup_is_linear(source):
    start = time.process_time()
    mathml_to_latex(source)
    assert time.process_time() - start < 3
