"""Synthetic problems: right answers, slips at the stated rate, and held-out numbers that training never shows."""
import collections
import hashlib
import re

import pytest

from mathrl.problems import synthetic
from mathrl.problems.extract import boxed
from mathrl.problems.prompts import Templates, language

# Written again here, from the problem's numbers in the order of the text.
ANSWERS = {
    'add': lambda a, b: a + b, 'carry': lambda a, b: a + b, 'sub': lambda a, b: a - b, 'borrow': lambda a, b: a - b,
    'add_sub': lambda a, b, c: a + b - c, 'mul_add': lambda a, b, c: a * b + c,
    'add_add_sub': lambda a, b, c, d: a + b + c - d, 'mul_add_sub': lambda a, b, c, d: a * b + c - d,
}
ALL = dict(levels=(1, 2, 3), slip={kind: 0.5 for kind in ANSWERS})


def _kind(problem):
    return problem.source.rsplit('/', 1)[-1]


def _numbers(problem):
    return [int(number) for number in re.findall(r'\d+', problem.problem)]


def _asked(problem):
    """What is asked, without wording, language and the order of a sum's or a product's first two numbers."""
    numbers = _numbers(problem)
    form = {'carry': 'add', 'borrow': 'sub'}.get(_kind(problem), _kind(problem))
    return form, *(numbers if form == 'sub' else sorted(numbers[:2]) + numbers[2:])


@pytest.fixture(scope='module')
def train():
    return [problem for seed in range(4) for problem in synthetic.generate(seed, 5000, spell=seed == 3, **ALL)]


@pytest.fixture(scope='module')
def heldout():
    return synthetic.generate(0, 3000, 'heldout', levels=(1, 2, 3))


def test_answers_are_right_whatever_the_solution_says(train, heldout):
    for problem in train + heldout:
        assert ANSWERS[_kind(problem)](*_numbers(problem)) == int(problem.answer) >= 0


def test_levels_kinds_and_languages_are_all_there(train):
    kinds = collections.Counter(_kind(problem) for problem in train)
    assert set(kinds) == set(ANSWERS)
    levels = {problem.source for problem in train}
    assert {'synthetic/level1/add', 'synthetic/level2/mul_add', 'synthetic/level3/add_add_sub'} <= levels
    assert collections.Counter(language(problem.problem) for problem in train) == {'en': 10_000, 'zh': 10_000}
    assert all(language(problem.solution) == language(problem.problem) for problem in train)


def test_held_out_numbers_are_never_asked_in_training(train, heldout):
    assert not {_asked(problem) for problem in train} & {_asked(problem) for problem in heldout}


def test_held_out_sums_are_no_step_of_a_training_solution_or_text(train):
    asked = {_asked(problem) for problem in synthetic.generate(1, 4000, 'heldout', levels=(1,))}
    texts = [problem.solution for problem in train] + synthetic.texts(5, 5000, levels=(1, 2, 3), facts_share=0.7)
    steps = re.findall(r'(?<![\d+-])(\d+)([+-])(\d+)=', ' '.join(texts))
    shown = {('add', *sorted((int(x), int(y)))) if op == '+' else ('sub', int(x), int(y)) for x, op, y in steps}
    assert len(asked) > 300 and len(shown) > 3000
    assert not asked & shown


def test_held_out_questions_are_distinct(heldout):
    assert len({problem.problem for problem in heldout}) == len(heldout)
    assert len({_asked(problem) for problem in heldout}) > 1000


def test_held_out_share_is_what_was_said():
    expressions = [f'{a}+{b}' for a in range(10, 90) for b in range(a, 90)]
    assert abs(sum(synthetic.heldout(one, 0.1) for one in expressions) / len(expressions) - 0.1) < 0.02


def test_without_slips_every_box_holds_the_answer(heldout):
    for problem in heldout + synthetic.generate(0, 2000, levels=(1, 2, 3), spell=True):
        assert boxed(problem.solution) == problem.answer


def test_slips_change_the_box_at_the_stated_rate():
    slip = {'add': 0.2, 'carry': 0.6, 'sub': 0.4, 'borrow': 0.8, 'add_sub': 0.7, 'mul_add': 0.3, 'mul_add_sub': 1.0}
    wrong, count = collections.Counter(), collections.Counter()
    for problem in synthetic.generate(9, 20_000, levels=(1, 2, 3), slip=slip):
        count[_kind(problem)] += 1
        wrong[_kind(problem)] += boxed(problem.solution) != problem.answer
    for kind in ANSWERS:
        # Training numbers are rejected by the steps that they show, so the rate is not exactly what was drawn.
        assert abs(wrong[kind] / count[kind] - slip.get(kind, 0)) < 0.04, kind


def test_a_slip_is_the_same_mistake_each_time_and_carried_through():
    for problem in synthetic.generate(2, 400, levels=(1,), kinds=('carry',), slip={'carry': 1.0}):
        a, b = _numbers(problem)
        assert f'{a}+{b}={a + b - 10}' in problem.solution and boxed(problem.solution) == str(a + b - 10)
    for problem in synthetic.generate(2, 400, levels=(2,), kinds=('add_sub',), slip={'add_sub': 1.0}):
        a, b, c = _numbers(problem)
        assert f'{a + b}+{c}={a + b + c}' in problem.solution and boxed(problem.solution) == str(a + b + c)


def test_problems_are_a_function_of_the_arguments():
    assert synthetic.generate(3, 50, **ALL) == synthetic.generate(3, 50, **ALL)
    assert synthetic.generate(3, 50, **ALL) != synthetic.generate(4, 50, **ALL)
    assert synthetic.generate(3, 80, **ALL)[:50] == synthetic.generate(3, 50, **ALL)


def test_problems_are_the_same_on_every_python():
    problems = [(one.problem, one.answer, one.source, one.solution) for one in synthetic.generate(0, 300, **ALL)]
    text = repr(problems) + repr(synthetic.texts(0, 50))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == '2798eb64af7337fa', (
        'synthetic problems changed: if a wording or a kind was changed on purpose, write the new digest here')


def test_texts_are_facts_and_solved_problems():
    lines = synthetic.texts(0, 1000, levels=(1,), facts_share=0.4)
    facts = [line for line in lines if '\n' not in line]
    assert 340 < len(facts) < 460
    for x, op, y, result in re.findall(r'(\d+)([+-])(\d+)=(\d+)', ' '.join(facts)):
        assert (int(x) + int(y) if op == '+' else int(x) - int(y)) == int(result)
    templates = Templates(en='Q: {problem} A:', zh='问：{problem}答：')
    assert all(line.startswith(('Q: ', '问：'))
               for line in synthetic.texts(0, 20, facts_share=0.0, templates=templates))


@pytest.mark.parametrize('arguments, wanted', [
    (dict(split='test'), "unknown split 'test'; there are: train, heldout"),
    (dict(levels=(4,)), 'unknown level 4; there are: 1, 2, 3'),
    (dict(levels=()), 'no levels were given'),
    (dict(languages=('fr',)), "unknown language 'fr'; there are: en, zh"),
    (dict(languages=()), 'no languages were given'),
    (dict(kinds=('mul_add',), levels=(1,)), r"unknown kind 'mul_add' at levels \(1,\); there are: add, carry"),
    (dict(slip={'ad': 0.5}), "unknown kind 'ad'; there are: add, carry"),
    (dict(slip={'add': 1.5}), r"slip\['add'\]=1.5 is not a probability"),
    (dict(heldout_share=0.0), 'heldout_share=0.0 is not between 0 and 1'),
    (dict(largest=20), 'largest=20 leaves too few'),
])
def test_faults_are_one_sentence(arguments, wanted):
    with pytest.raises(ValueError, match=wanted):
        synthetic.generate(**{'seed': 0, 'count': 10, **arguments})


def test_too_few_held_out_problems_is_one_sentence(monkeypatch):
    monkeypatch.setattr(synthetic.stories, 'NAMES', {'en': ('Tom', 'Ann')})
    monkeypatch.setattr(synthetic.stories, 'THINGS', {'en': (('', 'pens'),)})
    with pytest.raises(ValueError, match='only [0-9]+ different held-out problems were found of the 1000'):
        synthetic.generate(0, 1000, 'heldout', kinds=('carry',), levels=(1,), languages=('en',), heldout_share=0.02)
