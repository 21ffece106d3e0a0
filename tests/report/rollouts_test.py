"""Rollouts in a report: all of them are there as they were written, no text is markup, limits take evenly spread steps."""
import base64
import gzip
import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.report import latex, page, rollouts_data, rollouts_source
from mathrl.report.rollouts_script import SCRIPT

HOSTILE = ['</script><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '<!-- ', ']]>', 'a\x00b\x1b[31m', '\u202eabc',
           '$\\href{javascript:alert(1)}{x}$', '\\(\\text{<img src=x onerror=alert(1)>}\\)', '```html\n<script>1</script>\n```']


def output(text='So \\(x^2\\) is \\boxed{4}.', correct=True, **changes):
    return {'text': text, 'reward': float(correct), 'correct': correct, 'extracted': '4', 'tokens': 9, 'truncated': False} | changes


def keep(folder, step, groups=1, outputs=(), **changes):
    (folder / 'rollouts').mkdir(parents=True, exist_ok=True)
    row = {'step': step, 'question': 'What is $2+2$?', 'answer': '4', 'outputs': list(outputs) or [output(), output(correct=False)]}
    lines = [json.dumps(row | {'question': f'{row["question"]} {group}'} | changes) + '\n' for group in range(groups)]
    (folder / 'rollouts' / f'{step:06}.jsonl').write_text(''.join(lines))


def render(folder, limit=100):
    groups, whole = rollouts_source.read({'rl': folder}, limit)
    return page.render(title='t', runs=[], evaluations=[], stages=[], rollouts=groups, all_rollouts=whole)


def data(text):
    [packed] = re.findall('<script type="text/plain" id="rollout-data">([^<]*)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def joined(found, pieces):
    return ''.join(piece if isinstance(piece, str) else piece[1] if piece[0] == 2 else found['formulas'][piece[1]][1]
                   for piece in pieces)


def test_everything_kept_is_on_the_page(tmp_path):
    keep(tmp_path, 3, outputs=[output(advantage=.5, rewards={'rule': 1, 'format': .5}),
                               output(correct=False, extracted=None, truncated=True, reward=-1)])
    found = data(render(tmp_path))
    [[run, step, question, answer, [first, second]]] = found['groups']
    assert (found['runs'][run], step, joined(found, found['questions'][question]), answer) == ('rl', 3, 'What is $2+2$? 0', '4')
    assert joined(found, first[0]) == 'So \\(x^2\\) is \\boxed{4}.' and first[1:] == [1, .5, 0, '4', 9, 0, [['rule', 1], ['format', .5]], []]
    assert second[1:7] == [-1, None, 2, '', 9, 1]
    assert [markup.startswith('<math') for markup, _ in found['formulas']] == [True] * 3      # each drawn once


def test_spans_carry_their_advantage_and_reward(tmp_path):
    keep(tmp_path, 0, outputs=[output(spans=[['So \\(x\\)\n', -.5, .25], ['is 4.', 1.5, None]])])
    found = data(render(tmp_path))
    [pieces, *_, spans] = found['groups'][0][4][0]
    assert pieces == [] and [(joined(found, inside), *rest) for inside, *rest in spans] == [('So \\(x\\)\n', -.5, .25), ('is 4.', 1.5, None)]


@pytest.mark.parametrize('text', HOSTILE)
def test_no_text_is_markup(tmp_path, text):
    keep(tmp_path, 0, question=text, answer=text, outputs=[output(text, extracted=text, rewards={text: 1, 'b': 2}),
                                                           output(spans=[[text, 1, 1], [text, 2, None]])])
    found = render(tmp_path)
    ElementTree.fromstring(found.removeprefix('<!DOCTYPE html>').encode())
    tags = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))
    Parser().feed(found)
    assert [attributes for tag, attributes in tags if tag == 'script'] == [{'type': 'text/plain', 'id': 'rollout-data'}, {}]
    assert not [tag for tag, _ in tags if tag in ('img', 'svg', 'iframe', 'object', 'link')]
    assert not [name for _, attributes in tags for name in attributes if name.startswith('on') or name == 'src']
    for markup, _ in data(found)['formulas']:
        elements = list(ElementTree.fromstring(markup).iter())
        assert {element.tag for element in elements} <= latex.ELEMENTS
        assert {name for element in elements for name in element.attrib} <= {'class', *latex.ATTRIBUTES}


def test_formulas_are_the_only_markup_the_script_makes():
    assert re.findall(r'\w+\.(?:innerHTML|outerHTML|insertAdjacentHTML|srcdoc)\b[^;]*', SCRIPT) == ['formula.innerHTML = data.formulas[piece[1]][0]']
    assert not re.search(r'document\.write|eval|Function\(|fetch|XMLHttp|import', SCRIPT)
    assert not set('<&') & set(SCRIPT)      # HTML and XML read them in two ways


def test_policy_names_the_script_and_without_rollouts_there_is_none(tmp_path):
    keep(tmp_path, 0)
    assert "script-src 'sha256-" in render(tmp_path)
    bare = render(tmp_path / 'none')
    assert '<script' not in bare and 'script-src' not in bare


def test_too_many_are_evenly_spread_over_the_steps_with_the_last(tmp_path):
    for step in range(10):
        keep(tmp_path, step, groups=2)
    groups, whole = rollouts_source.read({'rl': tmp_path}, 13)
    assert ([group.step for group in groups], whole) == ([0, 0, 4, 4, 9, 9], False)
    assert 'Further steps were kept' in render(tmp_path, 13) and 'Further' not in render(tmp_path, 40)
    assert len(rollouts_source.read({'rl': tmp_path}, 1)[0]) == 1
    assert rollouts_source.read({'rl': tmp_path}, 40)[1]
    assert rollouts_source.evenly([1, 2, 3, 4, 5], 3) == [1, 3, 5] and rollouts_source.evenly([1, 2], 1) == [2]


def test_long_texts_and_too_many_formulas_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts_data, 'CHARACTERS', 50)
    monkeypatch.setattr(rollouts_data, 'DRAWN', 1)
    keep(tmp_path, 0, question='$a$ and $b$', outputs=[output('x' * 80), output(spans=[['y' * 60, 1, None], ['z', 2, None]])])
    found = data(render(tmp_path))
    assert len(found['formulas']) == 1 and joined(found, found['questions'][0]) == '$a$ and $b$'
    [first, second] = found['groups'][0][4]
    assert first[0] == ['x' * 50 + ' … (30 more characters)'] and second[8] == [[['y' * 50 + ' … (10 more characters)'], 1, None]]


def test_another_file_is_one_sentence(tmp_path):
    keep(tmp_path, 0, outputs=[{'text': 'x'}])
    with pytest.raises(ValueError, match=r"000000.jsonl line 1 is no question with its rewarded outputs .*'reward'"):
        render(tmp_path)
