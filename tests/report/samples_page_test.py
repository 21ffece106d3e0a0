"""samples.html: every verdict and text is on it, bounded and said so; two runs are matched; no text becomes markup."""
import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.report.sample_filters import SCRIPT
from mathrl.report.samples_page import write_samples_page
from mathrl.report.samples_source import Limits, shares

HOSTILE = ['</script><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", '</div></style>',
           '<!-- ', ']]>', 'a\x00b', '\u202eabc', '$\\href{javascript:alert(1)}{x}$',
           '\\(\\text{<img src=x onerror=alert(1)>}\\)',
           '$\\style{position:fixed}{x}$', '```html\n<script>alert(1)</script>\n```', '" onclick="alert(1)']


def output(text='so 7', extracted='7', correct=True, **changes):
    return {'text': text, 'extracted': extracted, 'correct': correct, 'length': 31, 'truncated': False,
            'reason': 'equal' if correct else 'different'} | changes


def row(problem='What is 3+4?', greedy=(), outputs=(), **changes):
    return {'benchmark': 'math', 'level': 'Level 1', 'language': 'en', 'problem': problem, 'prompt': problem,
            'answer': '7', 'greedy': output(**dict(greedy)), 'outputs': [output(**dict(each)) for each in outputs]} | changes


WRONG, CUT = dict(extracted='8', correct=False), dict(truncated=True)
NONE = dict(extracted=None, correct=False, reason='no answer')


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(each) + '\n' for each in rows))
    return path


def page(folder, rows, earlier=None, limits=Limits()):
    against = None if earlier is None else write(folder / 'sft' / 'samples.jsonl', earlier)
    write_samples_page(folder / 'samples.html', write(folder / 'grpo' / 'samples.jsonl', rows), against, limits)
    return (folder / 'samples.html').read_text(encoding='utf-8')


def tree(text):
    return ElementTree.fromstring(text.removeprefix('<!DOCTYPE html>').encode('utf-8'))


def shown(element):
    return ' '.join(''.join(element.itertext()).split())


def classed(text, name):
    return [element for element in tree(text).iter() if name in element.get('class', '').split()]


def tags(text):
    """By the browser's rules rather than XML's."""
    found = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))
    Parser(convert_charrefs=True).feed(text)
    return found


def test_each_output_has_its_verdict_answer_reason_and_kind(tmp_path):
    outputs = [WRONG, NONE, NONE | CUT, CUT, WRONG | dict(reason='too large')]
    found = page(tmp_path, [row(outputs=outputs)], limits=Limits(outputs=5))
    outputs = classed(found, 'output')
    assert [each.get('data-kind') for each in outputs] == ['right', 'wrong', 'none', 'none cut', 'right cut', 'wrong']
    heads = [shown(each.find('summary')) for each in outputs]
    assert heads[0].startswith('greedy✓ right') and 'answers 7' in heads[0] and '31 tokens' in heads[0]
    assert 'sample 1✗ wrong' in heads[1] and 'answers 8' in heads[1] and 'different' not in heads[1]
    assert '– no answer' in heads[2] and 'answers' not in heads[2]
    assert 'cut off' in heads[3] and 'too large' in heads[5]
    assert [shown(label).split()[-1] for label in tree(found).find('.//form').iter('label')][:5] == ['6', '2', '2', '2', '2']


def test_counts_are_those_of_the_whole_file(tmp_path):
    rows = [row(f'p{n}', outputs=[WRONG] * 6) for n in range(5)] + [row('q', benchmark='gsm8k', greedy=NONE | CUT)]
    found = page(tmp_path, rows, limits=Limits(problems=3, outputs=2))
    lines = [[shown(cell) for cell in line] for line in tree(found).find('.//table/tbody')]
    assert lines == [['math', '5', '35', '514.3%', '3085.7%', '00.0%', '00.0%'],
                     ['gsm8k', '1', '1', '00.0%', '00.0%', '1100.0%', '1100.0%']]
    assert len(classed(found, 'card')) == 3 and len(classed(found, 'output')) == 3 + 4
    text = shown(tree(found))
    assert '3 of 6 problems are shown below, the first of each benchmark.' in text
    assert 'Of up to 6 sampled outputs of a problem, the first 2 are shown. The table counts all that were read.' in text


def test_long_texts_are_cut_and_folded(tmp_path):
    found = page(tmp_path, [row('x' * 50, greedy=dict(text='y' * 3000), outputs=[{}])], limits=Limits(characters=2000))
    assert '(1,000 more characters)' in found and 'Texts are cut after 2,000 characters.' in found
    assert [each.get('open') for each in classed(found, 'output')] == [None, None]
    assert [each.get('open') for each in classed(page(tmp_path, [row(outputs=[{}])]), 'output')] == ['', None]


def test_text_is_drawn_and_kept_as_written(tmp_path):
    found = page(tmp_path, [row('Find $x^2$.', answer='\\frac12', greedy=dict(text='```python\nx\n```\n\\(y\\)'))])
    assert [''.join(raw.itertext()) for raw in classed(found, 'raw')] == ['Find $x^2$.', '```python\nx\n```\n\\(y\\)']
    assert len(list(tree(found).iter('math'))) == 3 and len(classed(found, 'code')) == 1


@pytest.mark.parametrize('text', HOSTILE)
@pytest.mark.parametrize('compared', [False, True])
def test_no_text_becomes_markup(tmp_path, text, compared):
    rows = [row(text, answer=text, benchmark=text, level=text, language=text,
                greedy=dict(text=text, extracted=text, reason=text), outputs=[dict(text=text)])]
    found = page(tmp_path, rows, rows if compared else None)
    scripts = re.findall(r'<script[^>]*>(.*?)</script>', found, re.DOTALL)
    assert scripts == [SCRIPT]
    for tag, attributes in tags(found):
        assert tag not in ('img', 'svg', 'link', 'iframe', 'object', 'embed', 'base', 'a')
        assert not {'src', 'href', 'action', 'style'} & set(attributes)
        assert not [name for name in attributes if name.startswith('on')]
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" in found
    assert ''.join(classed(found, 'raw')[0].itertext()) == text.replace('\x00', '\ufffd')


def test_script_reads_the_same_as_html_and_as_xml():
    assert not set('<&') & set(SCRIPT)


def test_two_runs_are_matched_by_benchmark_and_problem(tmp_path):
    before = [row('a', greedy=WRONG), row('b'), row('c'), row('d', greedy=WRONG), row('gone'), row('a', benchmark='gsm8k')]
    after = [row('d', greedy=WRONG), row('c'), row('b', greedy=WRONG), row('a'), row('new')]
    found = page(tmp_path, after, before)
    kinds = [card.get('data-kind') for card in classed(found, 'card')]
    assert kinds == ['both-wrong', 'both-right', 'became-wrong', 'became-right']
    assert [shown(cell) for cell in tree(found).find('.//table/tbody')[0]] == ['math', '4', '1', '1', '1', '1', '50.0%', '50.0%']
    assert '3 problems that only one of the runs has are left out.' in shown(tree(found))
    sides = classed(found, 'side')[-2:]
    assert [shown(side.find('h3')) for side in sides] == ['sft', 'grpo']
    assert ['✗ wrong' in shown(sides[0]), '✓ right' in shown(sides[1])] == [True, True]


def test_changed_problems_are_shown_first(tmp_path):
    before = [row(f'p{n}') for n in range(9)]
    after = [row(f'p{n}', greedy=WRONG if n in (5, 7) else {}) for n in range(9)]
    found = page(tmp_path, after, before, Limits(problems=3))
    assert [shown(classed_in) for classed_in in classed(found, 'question')] == ['p0p0', 'p5p5', 'p7p7']


def test_equal_problems_are_matched_in_order(tmp_path):
    found = page(tmp_path, [row('a', greedy=WRONG), row('a')], [row('a'), row('a', greedy=WRONG)])
    assert [card.get('data-kind') for card in classed(found, 'card')] == ['became-wrong', 'became-right']


def test_rows_without_benchmark_level_greedy_or_reason(tmp_path):
    old = {'problem': 'p', 'answer': 7, 'language': 'zh', 'greedy': None,
           'outputs': [{'text': 't', 'extracted': None, 'correct': False, 'length': 1, 'truncated': True}]}
    found = page(tmp_path, [old, old | {'outputs': []}])
    assert [shown(each.find('summary')) for each in classed(found, 'output')] == ['sample 1– no answercut off1 tokens']
    assert len(classed(found, 'card')) == 1


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match='nothing.jsonl: there is no such file'):
        write_samples_page(tmp_path / 'samples.html', tmp_path / 'nothing.jsonl')
    with pytest.raises(ValueError, match='line 2 is no problem with its graded outputs.*text'):
        page(tmp_path, [row(), row(greedy={}) | {'greedy': {'extracted': '7'}}])
    with pytest.raises(ValueError, match='no problem of the same benchmark in common'):
        page(tmp_path, [row('a')], [row('b')])
    with pytest.raises(ValueError, match='no outputs'):
        page(tmp_path, [row('a') | {'greedy': None}])
    assert not (tmp_path / 'samples.html').exists()


def test_shares():
    assert shares({'a': 2, 'b': 9, 'c': 9}, 12) == {'a': 2, 'b': 5, 'c': 5}
    assert shares({'a': 2, 'b': 3}, 100) == {'a': 2, 'b': 3}
    assert sum(shares({'a': 50, 'b': 50, 'c': 50}, 100).values()) == 100
