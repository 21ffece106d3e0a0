"""mathrl/report: the page is well-formed, fetches nothing, lets no text in as markup; summary.json has its keys."""
import html.parser
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from mathrl.evaluation import scores
from mathrl.report import page, samples, tables
from mathrl.report.markup import document, escape
from mathrl.report.sources import Evaluation, Run

HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", '</div></style>',
           '<!-- ', ']]>', '&lt;b&gt; & <b>', 'a\x00b\x1b[31m', 'half \ud800 a pair', 'javascript:alert(1)', '\u202eabc']


def answer(text, right):
    return {'text': text, 'extracted': text or None, 'correct': right, 'length': len(text), 'truncated': False}


def evaluation(name, rights, hostile=''):
    """Problems alternate in language; each has the given pattern of right outputs."""
    rows = [{'problem': f'problem {index} {hostile}', 'answer': f'7{hostile}', 'language': ('en', 'zh')[index % 2],
             'greedy': answer(f'7{hostile}', True),
             'outputs': [answer(f'so {right}{hostile}', right) for right in pattern]}
            for index, pattern in enumerate(rights)]
    return Evaluation(name, scores.summarize(rows, model=f'runs/{name}', temperature=1.0), rows, f'MODEL = 1 {hostile}')


def run(name, hostile='', **series):
    return Run(name, {metric: (list(range(len(values))), values) for metric, values in series.items()},
               f'STEPS = 3 # {hostile}')


def render(hostile='', **changes):
    given = dict(title=f'Report {hostile}', config=f'A = 1 {hostile}', stages=[(f'sft{hostile}', 61.0), ('rl', 9.4)],
                 runs=[run('rl', hostile, reward=[0.1, 0.2, math.nan, 0.4], accuracy=[0.5] * 4),
                       run('sft', hostile, loss=[3.0, 2.0])],
                 evaluations=[evaluation('sft', [[True, False], [False, False]] * 4, hostile),
                              evaluation('grpo', [[True, True], [False, True]] * 4, hostile)])
    return page.render(**(given | changes))


def tags(text):
    """Every start tag of a page with its attributes, by the browser's rules rather than XML's."""
    found = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))
    Parser(convert_charrefs=True).feed(text)
    return found


def tree(text):
    return ElementTree.fromstring(text.removeprefix('<!DOCTYPE html>').encode('utf-8'))


@pytest.mark.parametrize('text', HOSTILE)
def test_no_text_becomes_markup(text):
    plain, hostile = tags(render('zz')), tags(render(text))
    assert [tag for tag, _ in hostile] == [tag for tag, _ in plain]
    assert [list(attributes) for _, attributes in hostile] == [list(attributes) for _, attributes in plain]
    tree(render(text))


def test_hostile_names_of_runs_metrics_and_languages_stay_text():
    for text in HOSTILE[:5]:
        odd = evaluation(text, [[True, False]] * 2)
        odd.samples[0]['language'] = text
        odd.scores['by_language'][text] = odd.scores['by_language'].pop('en')
        strange = run(text, reward=[1.0, 2.0], **{text: [1.0, 2.0]})
        found = render(runs=[strange, run(text + 'b', loss=[1.0])], evaluations=[odd, odd])
        assert not [tag for tag, attributes in tags(found) if tag in ('script', 'img') or 'onload' in attributes]
        tree(found)


def test_page_shows_hostile_text_as_written():
    shown = ''.join(tree(render(HOSTILE[0])).itertext())
    assert f'so True{HOSTILE[0]}' in shown


def test_page_fetches_and_runs_nothing():
    found = render()
    for tag, attributes in tags(found):
        assert tag not in ('script', 'link', 'iframe', 'object', 'embed', 'img', 'base', 'form')
        assert not {'src', 'href', 'action', 'xlink:href'} & set(attributes)
        assert not [name for name in attributes if name.startswith('on')]
    assert not re.search(r'https?://|url\(|@import', found)
    assert "default-src 'none'" in found


def test_escape():
    assert escape('<a href="x">&\'') == '&lt;a href=&quot;x&quot;&gt;&amp;&#x27;'
    assert escape('a\x00\ud83d\x85b\n\tc') == 'a\ufffd\ufffd\ufffdb\n\tc'
    assert escape('小明 😀') == '小明 😀'
    tree(document('<t>', escape('</p>')))


@pytest.mark.parametrize('changes', [
    dict(runs=[]), dict(evaluations=[]), dict(stages=[], config=''), dict(runs=[], evaluations=[], stages=[]),
    dict(runs=[run('rl', reward=[0.5])]), dict(runs=[run('rl', reward=[math.nan] * 3), run('empty')]),
    dict(runs=[run('critic', strange_loss=[1.0, 2.0])]), dict(runs=[run('a', reward=[1.0]), run('b', reward=[2.0])]),
    dict(evaluations=[evaluation('sft', [[True, False]])]),
    dict(evaluations=[evaluation('sft', [[True]]), evaluation('rft', [[True]]), evaluation('grpo', [[False]])]),
    dict(evaluations=[evaluation('sft', [[]]), evaluation('grpo', [[], []])]),
    dict(evaluations=[evaluation('sft', [[True, False]]), evaluation('grpo', [[True]])]),
])
def test_any_subset_gives_a_page(changes):
    tree(render(**changes))


def test_every_known_curve_is_drawn_once():
    series = {name: [0.5, 0.6] for name in (*page.RL_CURVES, *page.OTHER_CURVES, 'mine')}
    titles = [element.text for element in tree(render(runs=[run('rl', **series)])).iter('h3')]
    for curve in (*page.RL_CURVES.values(), *page.OTHER_CURVES.values(), page.Curve('mine')):
        assert titles.count(curve.title) == 1 + (curve.title == 'Accuracy')  # which is a key figure too


def test_header_says_what_came_out():
    shown = ' '.join(''.join(tree(render()).itertext()).split())
    assert 'Sampled accuracy rises to 75.0% after grpo, from 25.0% after sft: +50.0 points' in shown
    assert '(95% interval +50.0 to +50.0)' in shown
    assert '8 held-out questions (4 English, 4 Chinese) · 2 samples each at temperature 1 · 1 min 10 s' in shown


def test_fall_is_called_a_fall():
    pair = [evaluation('sft', [[True, True]] * 3), evaluation('grpo', [[True, False]] * 3)]
    assert 'falls to' in render(evaluations=pair) and '−50.0 points' in render(evaluations=pair)
    assert 'stays at' in render(evaluations=[pair[0], pair[0]])


def test_paired_interval_needs_the_same_problems():
    before, after = evaluation('a', [[True, False]] * 4), evaluation('b', [[True, True]] * 3)
    assert tables.accuracy_change(before, after) == (0.5, None)


def test_summary_has_the_keys_of_the_contract():
    pair = [evaluation('sft', [[True, False]] * 4), evaluation('grpo', [[True, True]] * 4)]
    summary = tables.summarize(pair, 12.345)
    names = {f'{name}_{score}' for name in ('sft', 'grpo') for score in ('accuracy', 'greedy', 'maj@2', 'pass@2')}
    assert set(summary) == names | {'by_language', 'questions', 'seconds'}
    assert set(summary['by_language']) == {'en', 'zh'} and set(summary['by_language']['en']) == names
    assert (summary['sft_accuracy'], summary['grpo_accuracy']) == (0.5, 1.0)
    assert (summary['questions'], summary['seconds']) == (4, 12.3)
    assert tables.summarize([], None) == {}


def test_samples_are_the_first_of_each_kind_in_both_languages():
    kinds = [(True, True), (False, True), (False, True), (False, True), (False, False), (True, False)]
    assert samples.choose(kinds, ['en', 'en', 'en', 'zh', 'en', 'zh']) == [1, 3, 0, 5, 4]
    assert samples.choose([(True,), (False,)], ['en', 'en']) == [0, 1]


def test_long_output_is_cut_and_says_so():
    long = evaluation('grpo', [[True]], hostile='x' * 5000)
    assert '(3507 more characters)' in render(evaluations=[long])


def test_durations():
    assert [tables.duration(seconds) for seconds in (0, 59.6, 83, 3725)] == ['0 s', '1 min 0 s', '1 min 23 s', '1 h 2 min']
