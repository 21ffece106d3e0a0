"""Prompts: the paper's, in the problem's language, with the problem's text untouched."""
import pytest

from mathrl.problems.prompts import Templates, language, prompt


def test_the_papers_prompts():
    assert prompt('What is 1+1?') == ('User: What is 1+1?\nPlease reason step by step, and put your final answer within '
                                      '\\boxed{}.\n\nAssistant:')
    assert prompt('一加一？') == 'User: 一加一？\n请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。\n\nAssistant:'


@pytest.mark.parametrize('text, wanted', [('', 'en'), ('$x^2$', 'en'), ('Ünïcode', 'en'), ('求 $x$', 'zh'),
                                          ('，。', 'en'), ('𠀀', 'zh'), ('ひらがな', 'en'), ('２２', 'en')])
def test_language(text, wanted):
    assert language(text) == wanted


def test_braces_of_the_problem_are_its_own():
    assert prompt('{problem} {0} {', Templates(en='Q {problem} A')) == 'Q {problem} {0} { A'


@pytest.mark.parametrize('template', ['no place', '{problem} and {problem}'])
def test_a_template_holds_the_problem_once(template):
    with pytest.raises(ValueError, match='once was wanted'):
        Templates(zh=template)
