"""Answer sentences."""
import time

import pytest

from mathrl.problems import sentences


@pytest.mark.parametrize('output, wanted', [
    ('So the answer is 42.', '42'), ('The answer is 4. No, the answer is 5.', '5'), ('#### 5\n', '5'),
    ('【答案】B<eoa>', 'B'), ('【答案】: B <eoa>', 'B'), ('【答案】B【解析】答案是C', 'B'),
    ('选D<eoe>\n【答案】: <eoa>', None), ('A: 5', '5'), ('答案是 5。然后', '5'),
    ('The final answer to the problem is: 3.5', '3.5'),
    ('**Answer:** 7', '7'), ('no marker 5', None), ('', None)])
def test_answer_sentence(output, wanted):
    assert sentences.answer_sentence(output) == wanted


def test_a_chosen_letter():
    assert sentences.answer_sentence('故选D', choice=True) == 'D' and sentences.answer_sentence('故选D') is None


@pytest.mark.parametrize('sentence, wanted', [
    ('解方程得到n=8', 'n=8'), ('得到$nS_n$的最小值为$5$', '$5$'), ('n=8', 'n=8'), ('5元', '5元'), ('about 5', '5'),
    ('the area is $5$', '$5$'), ('(3)和(4)', '(3)和(4)'), ('因为没有给出', '因为没有给出')])
def test_formula_in(sentence, wanted):
    assert sentences.formula_in(sentence) == wanted


def test_numbers_of_a_text():
    assert sentences.last_number('3 + 5 = 8 pens') == '8' and sentences.last_number('none') is None
    assert sentences.last_number('2 + 3 = 5. So the') == '5' and sentences.last_number('of the 8 pens') is None
    assert sentences.last_number('<<3+5=8>>8 pens.') is None
    assert sentences.last_number('7 pens.\n' + 'Note.\n' * 4) is None
    assert sentences.number_in('18 since 3*6=18') == '18' and sentences.number_in('用3元买了五个') == '5'
    assert sentences.last_formula('so $x$ is $y$') == 'y'
    assert sentences.last_formula('a\nb\n') == 'b' and sentences.last_formula('') is None


@pytest.mark.parametrize('output, wanted', [
    ('```python\nx = 3\nprint(x)\n```\n```output\n3\n```\nSo $3$.', '3\n\n\nSo $3$.'), ('So 3.', 'So 3.'),
    ('4?\n```python\nprint(5)\n```\n```output\nNameError: x\n```\nReach max', '\n\nReach max'),
    ('It is 4.\n```python\nx = 5', 'It is 4.\n\n')])
def test_after_programs(output, wanted):
    assert sentences.after_programs(output) == wanted


@pytest.mark.parametrize('output', [
    '```python\n' * 50_000, '```output\n' * 50_000,
    'answer is ' * 50_000, '答案' * 100_000, '$' * 100_000, '\\(' * 100_000, 
    '【答案】' * 50_000, '#### ' * 50_000, '是' * 100_000])
def test_long_outputs_take_no_time(output):
    start = time.process_time()
    for read in (sentences.answer_sentence, sentences.last_formula, sentences.last_number, sentences.after_programs):
        read(output)
    sentences.formula_in(output[:4000])
    assert time.process_time() - start < 1
