"""What the classifier sees of a text: words, formulas, concepts in any language, code; and in which time."""
import re
import time

import pytest

from mathrl.mining import features, glossary

M = features.MARK


def words(text):
    return features.tokens(text)[0]


def marks(text):
    """Without MARK, and without the densities at the end."""
    return [mark[1:] for mark in features.tokens(text)[1] if not re.fullmatch(r'(formulas|concepts)\d', mark[1:])]


def density(text):
    return [mark[1:] for mark in features.tokens(text)[1] if re.fullmatch(r'(formulas|concepts)\d', mark[1:])][:2]


@pytest.mark.parametrize('formula,found', [
    ('$x$', []), ('$x^2 = 4$', ['sup', 'eq']), ('$$\\int_0^1 f$$', ['int', 'sub', 'sup']),
    ('\\(\\alpha > 0\\)', ['alpha', 'gt']), ('\\[a <\nb\\]', ['lt']), ('$$a\n+ b$$', ['plus']),
    ('\\begin{align*} a_1 \\end{align*}', ['begin', 'sub', 'end'])])
def test_a_formula_is_a_token_with_its_commands(formula, found):
    assert marks(f'aa {formula} bb') == ['formula', *found]
    assert words(f'aa {formula} bb') == ['aa', 'bb']


@pytest.mark.parametrize('text', ['It costs $5 and $10 today', 'aa $ bb $ cc', 'US$5, CA$7', '\\$a and \\$b',
                                  '\\begin{align} a \\end{equation}', '\\(a \\]', '$a\n\nb$'])
def test_what_is_no_formula_is_none(text):
    assert 'formula' not in marks(text)


def test_a_long_formula_gives_few_tokens():
    assert len(marks('$' + '\\alpha' * 40 + '$')) == 1 + features.COMMANDS_PER_FORMULA


def test_code_is_one_token_a_block():
    text = 'before\n```\nfor (int theorem = 0; $i$ < n; ++i) sum += a[i];\n```\nbetween\n```\nopen $x$'
    assert words(text) == ['before', 'between']
    assert marks(text) == ['code', 'code']


def test_words_are_lower_case_numbers_zero_and_marks_cannot_be_forged():
    assert words(f'The 2nd Café, 1000 {M}formula a_b __label__math') == [
        'the', '0', 'nd', 'café', '0', 'formula', 'a', 'b', 'label', 'math']
    assert marks(f'{M}code {M}xyz') == [] and words(f'a{M}b') == ['a', 'b']


def test_a_line_is_one_line_of_words_and_marks():
    text = 'A theorem.\r\n\x0b\x0c\u2028 Proof: $x$\x00 </s> __label__math'
    line = features.line(text)
    assert line == sum(features.tokens(text), [])
    assert not any(re.search(r'\W|__', token.replace(M, '')) for token in line)


def test_words_can_be_left_out():
    line = features.line('Ein Satz über Katzen mit $x$', with_words=False)
    assert all(token.startswith(M) for token in line)
    assert f'{M}is_theorem' in line and f'{M}formula' in line


@pytest.mark.parametrize('chinese,english', [
    ('定理', 'theorem'), ('证明', 'proof'), ('證明', 'proof'), ('函数', 'function'), ('積分', 'integral'),
    ('矩阵', 'matrix'), ('概率', 'probability'), ('因此', 'therefore'), ('三角形', 'triangle'), ('素数', 'primes')])
def test_a_chinese_term_gives_the_concept_of_the_english_one(chinese, english):
    concept = marks(f'We see one {english} here')
    assert len(concept) == 1 and concept[0].startswith('is_')
    assert marks(f'我们看{chinese}吧') == concept


@pytest.mark.parametrize('term', ['satz', 'théorème', 'теорема', '정리'])
def test_other_languages_meet_too(term):
    assert marks(f'xx {term} yy') == ['is_theorem']


def test_the_longest_string_wins():
    assert marks('这是行列式吗') == ['is_determinant']
    assert marks('这是行列吗') == ['is_matrix']
    assert marks('常微分方程组') == ['is_differential']


def test_every_term_of_the_glossary_gives_its_concept():
    for concept, terms in glossary.CONCEPTS.items():
        for term in terms.split():
            assert marks(f'xx {term} yy') == [f'is_{concept}'], term


def test_no_term_stands_under_two_concepts():
    listed = [term for terms in glossary.CONCEPTS.values() for term in terms.split()]
    twice = {term for term in listed if listed.count(term) > 1}
    assert not twice, 'the later concept would silently take the term'
    assert len(glossary.CONCEPT_OF_WORD) + len(glossary.CONCEPT_OF_STRING) == len(listed)


def test_no_term_mixes_latin_and_cyrillic_letters():
    mixed = [term for terms in glossary.CONCEPTS.values() for term in terms.split()
             if re.search('[a-z]', term) and re.search('[а-я]', term)]
    assert not mixed, 'no page spells it so'


def test_densities_grow_with_formulas_and_concepts():
    filler = 'some words about cats and dogs in the house ' * 5
    assert density(filler) == ['formulas0', 'concepts0']
    assert [density(filler + '$x$ ' * n)[0] for n in (1, 3, 10, 45)] == [f'formulas{d}' for d in (2, 3, 4, 5)]
    assert density(filler + 'theorem ' * 3)[1] == 'concepts3'


@pytest.mark.parametrize('piece', ['$', '$a ', '$$a', '\\begin{a}', '\\begin{align}', '\\(a', '\\[', '```\n', '\\',
                                   '$x$', '定理', 'a', '[', '\n', M])
def test_time_does_not_grow_with_adversarial_texts(piece):
    text = piece * (4_000_000 // len(piece))
    began = time.process_time()
    features.line(text)
    features.language(text)
    assert time.process_time() - began < 1
    assert sum(map(len, features.line(text))) < 60_000


@pytest.mark.parametrize('text,code', [
    ('Let $x$ be a real number such that $x^2 > 0$. Then the function has a zero in the interval.', 'en'),
    ('设 $x$ 是实数，证明 $\\sin x \\le x$ 对所有 $x \\ge 0$ 成立。', 'zh'),
    ('設 $x$ 為實數，求證不等式成立。', 'zh'),
    ('三角形の面積を求めよ。ただし、$a=3$ とする。', 'ja'),
    ('모든 소수 $p$ 에 대하여 다음이 성립함을 증명하라.', 'ko'),
    ('Sei $f: \\mathbb{R} \\to \\mathbb{R}$ eine stetige Funktion auf einem abgeschlossenen Intervall. Wir '
     'zeigen, dass sie dort ihr Maximum $\\max f(x)$ annimmt. Nach Voraussetzung gibt es eine Folge $x_n$ mit dieser '
     'Eigenschaft, und nach dem Satz von Bolzano und Weierstraß hat sie eine Teilfolge, die gegen einen Punkt $x$ '
     'konvergiert.', 'de'),
    ('Das ist der Code, den wir gestern geschrieben haben:\n```\nfor the value of it return this\n```', 'de'),
    ('证明：' + '$\\text{where this is the sum of all the terms and that is the product}$ ' * 5 + '成立', 'zh')])
def test_language_is_that_of_the_words_between_formulas_and_code(text, code):
    assert features.language(text) == code


@pytest.mark.parametrize('text', ['', '$$x^2$$', '1 + 1 = 2', '```\nfor the value\n```', '\n\n'])
def test_a_text_without_words_has_no_language(text):
    assert features.language(text) == 'unknown'


def test_numbers_and_letters_are_apart():
    assert features.tokens('The 2nd of 1000 a1b ٣٤')[0] == ['the', '0', 'nd', 'of', '0', 'a', '0', 'b', '0']


def test_the_second_half_of_a_long_page_is_looked_at():
    words, marks = features.tokens('plain ' * 1000 + 'Let $x^2 = 4$. ' + 'later ' * 995)
    assert len(words) < features.MAX_TOKENS and words.count('plain') < features.HEAD_TOKENS + 10
    assert 'let' in words and f'{features.MARK}formula' in marks


def test_a_word_or_a_short_page_is_never_cut():
    assert features.tokens('abcdefgh ' * 20)[0] == ['abcdefgh'] * 20
    assert set(features.tokens('abcdefgh ' * 900)[0]) == {'abcdefgh'}


def test_a_page_of_unknown_words_and_no_marks_says_nothing():
    assert features.line('Wer rutscht als nächstes aus?', with_words=False) == []
    assert features.line('Wer rutscht?') and features.line('Wer $x$?', with_words=False)
