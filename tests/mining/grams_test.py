"""One stream of characters for every way of writing a text, and its words."""
import numpy as np
import pytest

from mathrl.mining import grams

SAME = [
    (r'$x^2$', r'\(x^{2}\)', '$$ x ^ 2 $$', 'x²', 'X２'),
    (r'\frac12', r'\dfrac{1}{2}', '½', '1/2', r'\tfrac1{2}'),
    (r'10^2', '10²', r'10^{2}'),
    (r'\$1,000', '$1000', r'1{,}000', r'1\,000', '1 000', '１，０００'),
    (r'2\pi r', '2πr', r'2 \cdot \pi\, r'),
    (r'\log_28', r'\log_{2} 8', 'log₂8', r'\mathrm{log}_2(8)'),
    (r'\sin\theta', 'sin θ', r'\operatorname{sin}(\theta)', 'sin ϑ'),
    (r'a\equiv3\pmod7', 'a ≡ 3 (mod 7)'),
    (r'\begin{array}{cc} 1 & 0 \\ 0 & 1 \end{array}',
     r'\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}'),
    (r'x \le y', 'x ≤ y', r'x\leqslant y'),
    ("John's two-digit", 'John’s two–digit', 'john s\ntwo digit'),
    ('解：已知，求。', '解 : 已 知,求.', '解:已知，\n求'),
    (r'\text{cm}', 'cm', r'\mathrm{cm}'),
]


@pytest.mark.parametrize('spellings', SAME, ids=lambda spellings: spellings[0])
def test_every_spelling_has_one_stream(spellings):
    streams = [''.join(map(chr, grams.stream(text).codes_N)) for text in spellings]
    assert len(set(streams)) == 1, dict(zip(spellings, streams))


@pytest.mark.parametrize('one,other', [('1+2=3', '1-2=3'), ('sin x', 'cos x'), (r'\alpha', r'\beta'), ('甲', '乙')])
def test_what_differs_has_another_stream(one, other):
    assert not np.array_equal(grams.stream(one).codes_N, grams.stream(other).codes_N)


@pytest.mark.parametrize('text,words', [
    ("Weng doesn't earn $1,200.50 an hour.", ['weng', 'doesnt', 'earn', '120050', 'an', 'hour']),
    ('每天加工20个零件', [*'每天加工', '20', *'个零件']),
    ('2x + 3 = y', ['2', 'x+', '3=', 'y']),
    ('100, 200', ['100', '200']),
    ('= ', []),
    ('', []),
])
def test_tokens_are_words_and_chinese_characters(text, words):
    assert grams.tokens(text) == words


def test_characters_can_be_found_in_the_normalised_text():
    text = 'Ａ  Curve, ½ \\frac12\ud800 of 曲线'
    stream = grams.stream(text)
    normalised = grams.normalise(text)
    assert [normalised[at] for at in stream.at_N] == [chr(code) for code in stream.codes_N]


def test_a_hash_depends_on_the_characters_alone():
    codes_N = np.array([ord(character) for character in 'xxabcabyyabcabac'], np.uint32)
    windows = [(start, end) for start in range(16) for end in range(start + 1, 17)]
    hashes = grams.hasher(codes_N)(*np.array(windows).T)
    by_text = {}
    for (start, end), value in zip(windows, hashes.tolist()):
        by_text.setdefault(codes_N[start:end].tobytes(), set()).add(value)
    assert all(len(values) == 1 for values in by_text.values())
    assert len(set.union(*by_text.values())) == len(by_text)
    golden = hex(grams.hasher(codes_N)(np.array([2]), np.array([5]))[0])
    assert golden == '0x20ba640f91d206cf', 'written indices no longer match: raise decontaminate._FORMAT'
