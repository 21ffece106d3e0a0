"""Where steps end by each rule: hand-worked texts, and what holds for any text."""
import random

import pytest

from mathrl.problems.solution_steps import RULES, step_ends


def steps(text: str, rule: str) -> list[str]:
    ends = step_ends(text, rule)
    return [text[start:end] for start, end in zip([0, *ends], ends)]


@pytest.mark.parametrize('rule, text, expected', [
    ('lines', 'a = 1. b = 2.\nSo 3.\n\nDone.', ['a = 1. b = 2.\n', 'So 3.\n', '\nDone.']),
    ('lines', 'one line', ['one line']),
    ('lines', 'ends in a break\n', ['ends in a break\n']),
    ('sentences', 'It is 3.5 m. So 7! Is it? Yes.', ['It is 3.5 m.', ' So 7!', ' Is it?', ' Yes.']),
    ('sentences', '每箱24个。一共48个！对吗？对', ['每箱24个。', '一共48个！', '对吗？', '对']),
    ('sentences', 'Then $x = 1. y = 2$. So \\(a. b\\) and \\[c! d\\] end. Z',
     ['Then $x = 1. y = 2$.', ' So \\(a. b\\) and \\[c! d\\] end.', ' Z']),
    ('sentences', 'It costs $5. Then $6. All.', ['It costs $5.', ' Then $6.', ' All.']),
    ('sentences', '5! = 120. Good', ['5! = 120.', ' Good']),
    ('sentences', '1. Add them. 2. Halve it.', ['1. Add them.', ' 2. Halve it.']),
    ('sentences', '"We are done." He left.', ['"We are done."', ' He left.']),
    ('sentences', '4+3=7, 6+2=8. It is 8.', ['4+3=7, 6+2=8.', ' It is 8.']),
    ('clauses', '4+3=7, 6+2=8, 64+23=87. The answer is \\boxed{87}.',
     ['4+3=7,', ' 6+2=8,', ' 64+23=87.', ' The answer is \\boxed{87}.']),
    ('clauses', '5*7=35，5+5=10，35+5=40。答案是\\boxed{40}。', ['5*7=35，', '5+5=10，', '35+5=40。', '答案是\\boxed{40}。']),
    ('clauses', 'First, add 2, and 1+2=3, so it is 3.', ['First, add 2, and 1+2=3,', ' so it is 3.']),
    ('clauses', 'f = max(1, 2), x = 1,000 + $a, b$, end', ['f = max(1, 2),', ' x = 1,000 + $a, b$,', ' end']),
    ('clauses', 'a=1;b=2; c=3；d', ['a=1;b=2;', ' c=3；', 'd']),
])
def test_steps_of_a_text(rule, text, expected):
    assert steps(text, rule) == expected


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('text', ['', ' ', '\n', 'x'])
def test_the_texts_end_is_always_a_steps_end(rule, text):
    assert step_ends(text, rule) == [len(text)]


@pytest.mark.parametrize('rule', RULES)
def test_any_text_is_cut_into_steps_that_hold_something(rule):
    rng = random.Random(0)
    for _ in range(300):
        text = ''.join(rng.choice('ab1=+.,!? \n$()\\。，；"') for _ in range(rng.randint(1, 40)))
        found = steps(text, rule)
        assert ''.join(found) == text
        assert all(step.strip() for step in found) or not text.strip()


@pytest.mark.parametrize('coarse, fine', [('lines', 'sentences'), ('sentences', 'clauses')])
def test_a_finer_rule_ends_steps_where_a_coarser_one_does_but_for_white_space(coarse, fine):
    text = 'First 1+1=2, then 2+2=4. So $x, y$ it is 4.\nThe answer is 4!'
    written = lambda rule: {text[:end].rstrip() for end in step_ends(text, rule)}
    assert written(coarse) < written(fine)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="unknown rule of steps 'words'; there are: lines, sentences, clauses"):
        step_ends('a', 'words')
