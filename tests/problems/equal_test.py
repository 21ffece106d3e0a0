"""What is equal and what is not, type by type."""
from fractions import Fraction
import random
import re

import pytest

from mathrl.problems.equal import equal
from mathrl.problems.latex_tokens import TooLarge

EQUAL = [
    # numbers
    ('1 000 000', '1000000'), ('3**2', '9'), ('sqrt(51)', '\\sqrt{51}'), ('2*sqrt(3)/3', '\\frac{2\\sqrt3}{3}'),
    ('2 + 3*I', '2+3i'), ('(√5-1)/2', '\\frac{\\sqrt5-1}{2}'),
    ('2^(n-1)', '2^{n-1}'), ('1-ln2', '1-\\ln 2'), ('x²/16+y²/8=1', '\\frac{x^{2}}{16}+\\frac{y^{2}}{8}=1'),
    ('2π/3', '\\frac{2 \\pi}{3}'), ('40√2π', '40 \\sqrt{2} \\pi'),
    ('42', '42'), ('１２', '12'), ('007', '7'), ('42.0', '42'), ('.5', '1/2'), ('0.50', '\\frac{1}{2}'), ('5.', '5'),
    ('−3', '-3'),
    ('+3', '3'), ('-0', '0'), ('10,000', '10000'), ('10{,}000', '10000'), ('10,\\!000', '10000'),
    ('10\\,000', '10000'),
    ('1,000,000', '1,\\!000,\\!000'), ('6.72 \\times 10^{-5}', '.0000672'), ('2^{10}', '1024'), ('5!', '120'),
    ('\\binom{5}{2}', '10'),
    ('0.\\overline{3}', '\\frac13'), ('0.8\\overline{4}', '\\frac{38}{45}'), ('four', '4'),
    ('12^{\\mathrm{th}}', '12'), ('12th', '12'),
    ('\\lfloor 3.7 \\rfloor', '3'), ('|-3|', '3'), ('0. 98.', '0.98'), ('36}', '36'), ('3 + 4', '7'),
    ('2\\cdot 3', '6'),
    # fractions
    ('\\dfrac12', '\\frac{1}{2}'), ('\\tfrac{2}{4}', '0.5'), ('-\\frac{1}{2}', '-1/2'), ('\\frac{-1}{2}', '-0.5'),
    ('\\frac{270}7', '270/7'),
    ('12\\frac{3}{5}', '\\frac{63}{5}'), ('1 1/2', '1.5'), ('\\frac 59', '5/9'), ('½', '\\frac12'), ('5½', '5.5'),
    ('3:5', '\\frac{3}{5}'),
    # roots, pi, functions
    ('2倍根号3', '2\\sqrt3'), ('{8 \\choose 3}', '56'), ('\\color{red}{5}', '5'), ('\\bold{5}', '5'),
    ('\\sqrt{8}', '2\\sqrt2'), ('2√5', '2\\sqrt{5}'), ('\\frac{2}{\\sqrt{3}}', '\\frac{2 \\sqrt{3}}{3}'),
    ('\\sqrt[3]{-8}', '-2'),
    ('\\sin 30^\\circ', '\\frac12'),
    ('\\sin^2 18^\\circ(\\frac{\\sin 36^\\circ}{2\\cos 18^\\circ}+1)', '\\sin^2 18^\\circ(1+\\sin 18^\\circ)'),
    ('\\log_2 8', '3'), ('\\ln e^2', '2'), ('7π', '7\\pi'), ('\\arctan 1', '\\frac{\\pi}{4}'),
    ('\\sin^{-1} 1', '\\frac{\\pi}{2}'),
    ('e^{i\\pi}', '-1'), ('9+6i', '6+9i+3-3i'), ('\\cos^2 x+\\sin^2 x', '1'), ('\\frac{\\cos x}{\\sin x}', '\\cot x'),
    # expressions
    ('x + 1', '1+x'), ('(x-1)(x+1)', 'x^2-1'), ('(b+2)(a+5)', '(a+5)(b+2)'), ('-(p-q)', 'q-p'),
    ('N1/N', '\\frac{N_1}{N}'),
    ('N_1/N', '\\frac{\\mathrm{N}_{1}}{\\mathrm{~N}}'),
    ('(-2)^{n-1}', '-\\frac{(-2)^n}{2}'), ('2(1-\\frac{1}{n+1})', '\\frac{2n}{n+1}'), ('2^{x}\\cdot 2', '2^{x+1}'),
    ('\\sqrt{x^2}', '|x|'),
    ('\\sqrt{1260x^3}', '6x\\sqrt{35x}'), ('n!', 'n\\cdot(n-1)!'), ('x_{1}+x_2', 'x_2 + x_{1}'),
    # units, money, percents, degrees
    ('100', '100\\text{ square units}'), ('864 \\text{ inches}^2', '864 \\mbox{ in}^2'),
    ('864 \\text{ square inches}', '864 \\mbox{ inches}^2'),
    ('10 cm', '10\\text{ centimeters}'), ('1 \\text{ m}', '100 \\text{ cm}'), ('10 m', '10'),
    ('10\\,\\mathrm{m}', '10 \\text{ m}'), ('\\$36', '36'), ('36 dollars', '\\$36'), ('\\$32,348', '\\$32,\\!348'),
    ('36\\text{ people}', '36'), ('5 \\text{ dogs}', '5'), ('36元', '36'), ('3小时', '180分钟'),
    ('20平方厘米', '20\\text{ cm}^2'), ('\\$0.50', '50\\text{ cents}'),
    ('60 \\text{ mph}', '60 \\text{ miles per hour}'), ('25\\%', '25\\%'), ('25', '25\\%'),
    ('25 \\text{ percent}', '25\\%'), ('25\\%', '\\frac14'),
    ('(90^\\circ)', '90^\\circ'), ('-5', '-5^\\circ'), ('5^\\circ\\text{C}', '5'), ('5 \\mathrm{~cm}', '5\\text{ cm}'),
    ('240种', '240'), ('-\\$0.50', '-0.5'), ('\\$-0.50', '-\\$0.50'), ('80¢', '80\\text{ cents}'),
    ('144 m^3', '144 \\mbox{ m}^3'), ('144 \\text{ cubic meters}', '144 \\mbox{ m}^3'),
    ('90', '90^\\circ'), ('90°', '90^{\\circ}'), ('90 \\text{ degrees}', '90^\\circ'),
    ('\\frac{\\pi}{2}', '90^\\circ'), ('x=4\\%', '4\\%'),
    # tuples, intervals, regions
    ('(1, 2)', '(1,2)'), ('（1，2）', '(1,2)'), ('\\left( 1,\\frac{2}{4} \\right)', '(1,0.5)'),
    ('\\langle 1,2\\rangle', '(1,2)'), ('(3,4]', '\\left(3,4\\right]'),
    ('x>2', '(2,\\infty)'), ('(2,+\\infty)', '(2,\\infty)'), ('1 \\le x < 3', '[1,3)'), ('3 > x \\ge 1', '[1,3)'),
    ('x \\in [1,3)', '[1,3)'),
    ('x \\leqslant 8', '(-\\infty, 8]'), ('8 \\ge x', 'x \\le 8'), ('(1,2)\\cup(3,4)', '(3,4) \\cup (1,2)'),
    ('x<0 \\text{ or } x>1', '(-\\infty,0)\\cup(1,\\infty)'),
    ('x \\ne 2', '(-\\infty,2)\\cup(2,\\infty)'), ('\\mathbb{R}', '(-\\infty,\\infty)'),
    ('\\{x \\mid x>2\\}', '(2,\\infty)'), ('-80≤g(x)≤82', '[-80,82]'),
    ('\\{x : x \\ne 2\\}', '(-\\infty,2)\\cup(2,\\infty)'), ('[0,7) \\cup \\{-1\\}', '\\{-1\\} \\cup [0,7)'),
    ('x=-1 \\text{ or } 0 \\le x<7', '\\{-1\\} \\cup [0,7)'), ('M(3, \\sqrt{15})', '(3,\\sqrt{15})'),
    # sets and lists
    ('111, \\! 111', '111111'), ('\\{45^\\circ, 135^\\circ\\}', '45^\\circ, 135^\\circ'), ('1 \\text{ to } 2', '1:2'),
    ('{x|x>2}', '(2,\\infty)'), ('(-oo, 3)', '(-\\infty,3)'), ('[3, 5]', '3, 5'),
    ('\\frac12 \\text{ or } 0.5', '0.5'), ('x=\\pm 3', '3,-3'), ('∠ABC=30°', '30^\\circ'), ('17(种)', '17'),
    ('x \\in \\{-1,1\\}', '1,-1'), ('p(x)=x^3+3x-6', 'x^3+3x-6'), ('a=1, b=2, c=3', '(1,2,3)'),
    ('\\{1,2\\}', '\\{2,1\\}'), ('1 \\text{ and } 3', '1 和 3'), ('(1,3)', '1 和 3'), ('-2,1', '1,-2'),
    ('x=1 \\text{ or } x=-2', '1,-2'), ('x = 1, -2', '1,-2'),
    ('1+\\sqrt{19}, 1-\\sqrt{19}', '1 \\pm \\sqrt{19}'), ('\\pm 3', '-3, 3'), ('5；6', '5,6'),
    ('\\varnothing', '\\emptyset'), ('x=1, y=2', '(1,2)'),
    ('②③', '(2)(3)'), ('(3),(2)', '(2)(3)'), ('(2)和(3)', '(2)(3)'),
    ('$-\\frac{1}{2}$, $\\ln 2$', '(1). $-\\frac{1}{2} ; \\quad$ (2). $\\ln 2$.'),
    ('0.3', '$\\frac{3}{10} \\# \\# 0.3$'), ('3、5、7', '3, 5, 7'),
    # matrices
    ('\\frac{1}{5}\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 1/5 \\\\ 2/5 \\end{pmatrix}'),
    ('-\\begin{pmatrix} 1 & 2 \\end{pmatrix}', '\\begin{pmatrix} -1 & -2 \\end{pmatrix}'),
    ('\\begin{pmatrix} 1 \\\\[1ex] 2 \\end{pmatrix}', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'),
    ('[1, 2]', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'),
    ('[[1, 2], [3, 4]]', '\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}'),
    ('\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}', '\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}'),
    ('(1, 2)', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'),
    ('\\left(\\begin{array}{c} 1/2 \\\\ 0 \\end{array}\\right)', '\\begin{pmatrix} \\frac12 \\\\ 0 \\end{pmatrix}'),
    # relations
    ('\\int_0^1 x\\,dx=\\frac12', '\\frac{1}{2}'), ('S=\\frac{ab}{2}=6', '6'), ('\\gcd(a,b)=5', '5'),
    ('5\\lambda=8\\Rightarrow\\lambda=\\frac85', '1.6'),
    ('e=\\sqrt{2}', '\\sqrt2'), ('a_1+a_2=5', '5'), ('f(1)=5', '5'), ('\\cos A=\\frac12', '0.5'), ('|AB|=5', '5'),
    ('x=5', '5'), ('5', 'x=5'), ('5 = x', 'x=5'), ('k=4+5=9', '9'), ('S_n=-\\frac1n', '-\\frac{1}{n}'),
    ('y=2x', '2x-y=0'), ('2y=4x', 'y=2 x'), ('f(x)=2x', '2x'),
    ('y=2x', '2x'), ('x^2+y^2-6x+7=0', '(x-3)^{2}+y^{2}=2'), ('x \\approx 3.14', '3.14'),
    ('8.24', '\\approx 8.24 \\text{ mph}'),
    ('\\frac{121}{3} \\approx 40.33', '\\frac{121}{3}'),
    ('\\frac{121}{3} \\approx 40.33', '40.33'), ('\\overrightarrow{AB}=3', '3'),
    ('56\\%', '0.56 = 56\\%'), ('0.56', '0.56 = 56\\%'), ('x \\equiv 5 \\pmod{7}', '5'), ('5 \\text{ (mod } 7)', '5'),
    # bases
    ('(1011)_2', '1011_2'), ('1011_{\\text{base }2}', '1011_2'), ('1011 \\text{ base } 2', '1011_2'),
    ('52_{8}', '52_8'), ('4210_{\\text{five}}', '4210_{5}'), ('52_{\\text{8}}', '52_8'),
    # Chinese numerals
    ('三十二', '32'), ('一万', '10000'), ('百分之二十', '20\\%'), ('二分之一', '\\frac12'), ('1.5万', '15000'), ('３２', '三十二'),
    ('十', '10'), ('一百零五', '105'),
    # text
    ('\\text{Yes}', 'Yes'), ('\\text{evelyn}', '\\text{Evelyn}'), ('\\textbf{east}', '\\text{east}'),
    ('\\mathrm{B}', 'B'), ('4:30 \\text{ p.m.}', '\\text{4:30 p.m.}'),
    ('4:30 PM', '\\text{4:30 p.m.}'), ('4:30', '4\\!:\\!30\\text{ p.m.}'), ('\\text{B, A}', '\\text{A,B}'),
    ('9:00 \\text{ a.m.}', '9\\text{ a.m.}'), ('1:03', '\\text{1:03 PM}'), ('C, B, A, D', '\\text{CBAD}'),
    ('最合适的抽样方法是分层抽样', '分层抽样'), ('\\emptyset', '\\text{empty}'),
    ('无解', '\\text{no solution}'), ('分层抽样法', '分层抽样.'),
    ('三棱锥，圆锥，三棱柱', '三棱雉、圆雉、三棱柱'), ('A5_{11}', '\\text{A5}_{11}'),
]
DIFFERENT = [
    ('y', '\\frac{x}{x-x}'), ('10 m', '10 cm'), ('10 m', '10 n'), ('10 m', 'm'), ('42', '43'), ('5²', '52'),
    ('5½', '51/2'), ('12 5', '125'),
    ('1/0', '1'), ('1,23', '123'), ('1,2', '12'), ('12,34,567', '1234567'), ('1e3', '1000'), ('٥', '5'),
    ('1_000', '1000'), ('0x10', '16'), ('inf', '1'), ('', ''), (' ', ''), ('A', 'B'), ('{}', ''), ('0.333', '1/3'),
    ('0.33', '1/3'), ('3.14', '\\pi'),
    ('1.41421356237309504880168872420969807857', '\\sqrt2'), ('0.1428571', '\\frac17'), ('1000.0001', '1000'),
    ('31/2', '3 1/2'),
    ('x+1', 'x+2'), ('x', 'y'), ('2x', 'x^2'), ('(x+1)^2', 'x^2+1'), ('\\sqrt{x^2}', 'x'), ('\\sin x', '\\cos x'),
    ('\\ln x', '\\log x'), ('(a+5)(b+2)', '(a+2)(b+5)'),
    ('10 \\text{ m}', '10 \\text{ cm}'), ('10 \\text{ cm}', '10\\text{ cm}^2'), ('3小时', '3分钟'),
    ('\\$50', '50\\text{ cents}'), ('60 \\text{ km/h}', '60 \\text{ mph}'), ('36元', '36角'),
    ('0.25', '25\\%'), ('25\\%', '25'), ('2500\\%', '25\\%'), ('\\pi', '90^\\circ'), ('90', '\\frac{\\pi}{2}'),
    ('(1,2)', '(2,1)'), ('[1,2]', '(1,2)'), ('(1,2]', '[1,2)'), ('(1,2)', '(1,2]'), ('x>2', '[2,\\infty)'),
    ('x<2', '(2,\\infty)'), ('(1,2)', '(1,2,3)'), ('[1,2,3]', '(1,2,3)'), ('\\{1,2\\}', '[1,2]'),
    ('(1,2)\\cup(3,4)', '(1,2)\\cup(3,5)'), ('(1,2)', '(1,2)\\cup(3,4)'), ('(x+1]', '(x+1)'),
    ('100200', '(100,200)'), ('1,2', '(1,2)'),
    ('1,2,3', '1,2'), ('1', '1,2'), ('1,1', '1,2'), ('\\pm 3', '3'), ('3', '\\pm 3'), ('\\{1,2,3\\}', '\\{1,2\\}'),
    ('M(3,1)', '(1,3)'), ('3s^{12}', '3s^2'), ('3', '3s^2'), ('9 \\text{ p.m.}', '9\\text{ a.m.}'),
    ('8:04', '8:34 \\text{ p.m.}'), ('C, B, D, A', '\\text{CBAD}'), ('55\\%', '0.56 = 56\\%'), ('6 \\pmod 7', '5'),
    ('101 \\text{ base } 3', '101_2'), ('[0,7) \\cup \\{-2\\}', '\\{-1\\} \\cup [0,7)'), ('x=7', '[0,7)'),
    ('\\frac{1}{5}\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'),
    ('(3)(4)', '(2)(3)'), ('②正确，③错误', '(2)(3)'), ('24', '(2)(3)'), ('②', '(2)(3)'), ('1,2', '2,3'),
    ('\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}', '\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}'),
    ('(2,1)', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'),
    ('\\begin{pmatrix}1&2\\end{pmatrix}', '\\begin{pmatrix}1\\\\2\\end{pmatrix}'),
    ('x=5', 'y=5'), ('y=-2x+5', '2x+y+1=0'), ('x=4', '5'), ('5=42', '42'), ('x=5=42', '42'), ('y=2x', 'y=2x+1'),
    ('\\approx 8.24', '\\approx 9.24'), ('40 \\approx 40.33', '40.33'),
    ('52_8', '52_9'), ('42', '52_8'), ('52', '52_8'), ('1_6', '1_2'),
    ('三十三', '32'), ('十百', '32'), ('百分之二十', '30\\%'), ('yes', 'no'), ('\\text{west}', '\\text{east}'),
    ('4:30 \\text{ a.m.}', '\\text{4:30 p.m.}'), ('CABD', '\\text{CBAD}'),
    ('不是分层抽样', '分层抽样'), ('三棱锥，三棱柱', '三棱雉、圆雉、三棱柱'), ('42', '\\text{no solution}'), ('\\text{no solution}', '42'),
    ('x', '42'), ('\\text{not } 42', '42'),
]


@pytest.mark.parametrize('answer, reference', EQUAL)
def test_equal(answer, reference):
    assert equal(answer, reference) and equal(reference, reference) and equal(answer, answer)


@pytest.mark.parametrize('answer, reference', DIFFERENT)
def test_different(answer, reference):
    assert not equal(answer, reference)


@pytest.mark.parametrize('answer, reference, problem, right', [
    ('52', '52_8', 'Express your answer in base 8.', True), ('42', '52_8', 'Express your answer in base 8.', False),
    ('25\\%', '25', 'What percent of them are blue?', True),
    ('24\\%', '25', 'What percent of them are blue?', False), ('25\\%', '25', 'How many are blue?', False),
    ('25\\%', '0.25', 'What percent of 8 is it?', True),
    ('2,1', '1,2', 'List the roots in increasing order.', False), ('2,1', '1,2', 'Find all roots.', True),
    ('2,1', '1,2', '两空依次填', False), ('2,1', '1,2', '卡片分别写有 1 和 2. 甲的数字是', True),
    ('(3,4),(1,2)', '(1,2),(3,4)', 'Find all ordered pairs.', True),
    ('2,1', '1,2', 'O and H are the centers, respectively. Enter all values.', True),
])
def test_the_problem_says_what_form_is_wanted(answer, reference, problem, right):
    assert equal(answer, reference, problem) == right


def test_numbers_in_all_spellings_compare_as_fractions_do():
    draw = random.Random(0)
    for _ in range(300):
        over, under = draw.randint(-999, 999), draw.choice([1, 2, 4, 5, 8, 10, 20, 25])
        value = Fraction(over, under)
        spellings = [f'{over}/{under}', f'\\frac{{{over}}}{{{under}}}', f'{float(value)}', f'{float(value)}00',
                     f'x = {over}/{under}']
        for spelling in spellings:
            assert equal(spelling, draw.choice(spellings[:4]))
            assert not equal(spelling, f'{float(value + Fraction(1, 100))}')


def test_too_large_is_said():
    for answer in ('9^{9^9}', '(10^9)!', '1+' * 4000 + '1', '1+' * 400 + '1', '(' * 60 + '1' + ')' * 60,
                   ','.join(map(str, range(60)))):
        with pytest.raises(TooLarge):
            equal(answer, '1,2' if answer.startswith('0,') else '1')


def test_every_reference_is_equal_to_its_respellings_and_to_no_neighbour(shared):
    from mathrl import records
    rows = records.read_jsonl(shared / 'data/problems/math_train_answers.jsonl', ('answer',))
    references = sorted({row['answer'] for row in rows if row['answer']})
    assert len(references) > 2500
    for reference in references:
        for spelling in (
                f' {reference} ', f'${reference}$', reference + '.', reference.replace('\\!', ''),
                reference.replace('\\frac', '\\dfrac'), reference.replace('\\dfrac', '\\frac'),
                reference.replace('\\infty', '∞').replace('\\pi', 'π'),
                re.sub(r'\\text(?![a-z])', r'\\mbox', reference)):
            assert equal(spelling, reference), (spelling, reference)
    draw = random.Random(1)
    for _ in range(5_000):
        answer, reference = draw.choice(references), draw.choice(references)
        assert not equal(answer, reference) or same_by_hand(answer, reference), (answer, reference)


def same_by_hand(answer: str, reference: str) -> bool:
    """Values that a pair drawn at random may share: the same fractions, decimals and bare numbers in other clothes."""
    plain = lambda text: sorted(re.findall('[0-9]+', re.sub(r'[ {}]|\\[a-z]+', ' ', text)))
    return plain(answer) == plain(reference) or '.' in answer + reference or 'frac' in answer + reference
