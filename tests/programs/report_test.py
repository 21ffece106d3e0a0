"""mathrl/programs/report.py: from folders to report.html and summary.json; the page in a real browser."""
import html
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from etils import epath

from mathrl import metrics
from mathrl.evaluation import scores
from mathrl.programs import report

CHROMIUM = '/usr/bin/chromium'
# Reports what sticks out of the window, and whether a hostile text has run.
PROBE = '''<script>
addEventListener('load', () => {
  const wide = [...document.querySelectorAll('main *')].filter(element =>
    !element.closest('pre, .scroll, svg') && element.getBoundingClientRect().right > innerWidth + 0.5);
  const root = document.documentElement;
  parent.document.documentElement.setAttribute('data-probe', JSON.stringify({width: innerWidth, 
    scrolls: root.scrollWidth > root.clientWidth, charts:
    [...document.querySelectorAll('.chart svg')].filter(svg => svg.getBoundingClientRect().height > 100).length,
    owned: window.owned === 1, wide: wide.map(element => element.className || element.tagName)}));
});
</script>'''


def output(value, answer, index):
    hostile = '<script>window.owned = 1</script><img src=x onerror="window.owned = 1"> ' + 'long' * 100
    text = f'First we add the numbers.\nThe answer is {value}.' if index % 3 else hostile
    return {'text': text, 'extracted': str(value) if index % 3 else hostile, 'correct': value == answer, 'length': 12, 'truncated': False}


def write_evaluation(folder, slip):
    rows = [{'problem': f'Tom has {n} pens and buys {n + 3} more. How many?' if n % 2 else f'小明有{n}支笔，又买了三支。',
             'answer': str(n + 3), 'language': 'en' if n % 2 else 'zh', 'greedy': output(n + 3, n + 3, 1),
             'outputs': [output(n + 3 + ((n + k) % slip == 0), n + 3, n + k) for k in range(8)]} for n in range(40)]
    folder.mkdir(parents=True)
    (folder / 'scores.json').write_text(json.dumps(scores.summarize(rows, model='runs/m', temperature=1.0)))
    (folder / 'samples.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))


@pytest.fixture
def folders(tmp_path):
    """Every folder that a quickstart leaves, as the arguments of report.run."""
    curves = {'rl': ('reward', 'accuracy', 'kl', 'length', 'entropy', 'truncated', 'grad_norm', 'loss', 'seconds'),
              'sft': ('loss', 'grad_norm'), 'pretrain': ('loss', 'learning_rate')}
    for run, names in curves.items():
        with metrics.Writer(tmp_path / run) as writer:
            for step in range(60):
                writer.write(step, {name: 1 - math.exp(-step / 20) for name in names})
        (tmp_path / run / 'config.gin').write_text('MODEL = "' + 'very_long_path/' * 20 + '"\n')
    write_evaluation(tmp_path / 'evaluate_sft', slip=2)
    write_evaluation(tmp_path / 'evaluate_grpo', slip=7)
    (tmp_path / 'stages.json').write_text(json.dumps({'stages': [
        {'name': name, 'seconds': 20.0, 'state': 'done'} for name in curves]}))
    return dict(workdir=epath.Path(tmp_path), runs={run: str(tmp_path / run) for run in curves},
                evaluations={name: str(tmp_path / f'evaluate_{name}') for name in ('sft', 'grpo')},
                stages=str(tmp_path), output=str(tmp_path / 'out'), config='STEPS = 3')


def test_report_and_summary_are_written(folders, tmp_path):
    report.run(**folders)
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['grpo_accuracy'] > summary['sft_accuracy'] and summary['questions'] == 40
    assert {'sft_greedy', 'grpo_greedy', 'sft_maj@8', 'grpo_pass@8', 'by_language'} <= set(summary)
    assert summary['seconds'] == 60.0
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    assert '<h1>Training report</h1>' in page and 'KL to the reference' in page
    report.run(**folders)
    assert (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8') == page


def test_a_run_alone(folders, tmp_path):
    report.run(workdir=tmp_path / 'alone', runs={'rl': folders['runs']['rl']})
    assert (tmp_path / 'alone' / 'report.html').exists()
    assert json.loads((tmp_path / 'alone' / 'summary.json').read_text()) == {}


def test_dry_run_writes_nothing(folders, tmp_path, capsys):
    report.run(**folders, dry_run=True)
    assert not (tmp_path / 'out').exists()
    assert 'report.html' in capsys.readouterr().out


def test_missing_input_is_one_sentence(folders, tmp_path):
    with pytest.raises(ValueError, match="run 'dpo': .*nowhere/metrics.jsonl does not exist"):
        report.run(**folders | {'runs': {'dpo': str(tmp_path / 'nowhere')}})
    with pytest.raises(ValueError, match='neither runs nor evaluations'):
        report.run(workdir=tmp_path)
    assert not (tmp_path / 'out').exists()


def test_report_needs_no_jax():
    code = 'import sys, mathrl.programs.report; sys.exit("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=pathlib.Path(__file__).parents[2]).returncode == 0


def browse(page, profile, width, *options):
    return subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', f'--user-data-dir={profile}', f'--window-size={width},900',
         *options, f'file://{page}'], capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path(CHROMIUM).exists(), reason='needs /usr/bin/chromium')
@pytest.mark.parametrize('width', [1280, 400])
def test_page_in_a_browser(folders, tmp_path, width):
    report.run(**folders)
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    # Without its content policy, so that the probe runs, and any text that slipped through escaping would too.
    opened = re.sub('<meta http-equiv[^>]*>', '', page).replace('<details>', '<details open="">')
    # In a frame, since a browser's window has a smallest width.
    framed = html.escape(opened.replace('</main>', '</main>' + PROBE))
    (tmp_path / 'frame.html').write_text(
        f'<!DOCTYPE html><iframe style="width:{width}px;height:900px;border:0" srcdoc="{framed}"></iframe>',
        encoding='utf-8')
    dom = browse(tmp_path / 'frame.html', tmp_path / 'profile', 1400, '--dump-dom')
    found = json.loads(html.unescape(re.search('data-probe="([^"]*)"', dom)[1]))
    assert found == {'width': width, 'scrolls': False, 'charts': 13, 'owned': False, 'wide': []}
    # The page itself, policy and all, is drawn.
    picture = tmp_path / 'page.png'
    browse(tmp_path / 'out' / 'report.html', tmp_path / 'profile', width, f'--screenshot={picture}', '--hide-scrollbars')
    assert picture.stat().st_size > 20_000  # an empty page of this size is about 5 kB
    shutil.rmtree(tmp_path / 'profile')


def keep_rollouts(folder, steps, questions):
    text = 'So \\(x^2 = {}\\).\n<b id="owned">bold</b><script>document.title = 1</script> Thus \\boxed{{4}}.'
    (folder / 'rollouts').mkdir()
    for step in range(steps):
        rows = [{'step': step, 'question': f'Is \\(y_{question}\\) <i id="owned">odd</i>?', 'answer': '4', 'outputs': [
            {'text': text.format(place), 'reward': place % 2, 'advantage': place % 2 - .5, 'correct': place % 2 == 1, 'extracted': '4',
             'tokens': 12, 'truncated': False} for place in range(20)]} for question in range(questions)]
        (folder / 'rollouts' / f'{step:06}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))


def test_kept_rollouts_are_on_the_page_as_many_as_asked_for(folders, tmp_path):
    keep_rollouts(tmp_path / 'rl', steps=4, questions=1)
    report.run(**folders)
    assert '80 outputs to 4 questions, kept at 4 steps.' in (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    report.run(**folders, rollouts=40)
    assert '40 outputs to 2 questions' in (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')


def test_refresh_makes_the_report_again_and_the_page_loads_itself(folders, tmp_path, monkeypatch):
    def sleep(seconds):
        if slept:
            raise KeyboardInterrupt
        slept.append(seconds)
        (tmp_path / 'out' / 'report.html').unlink()
    slept = []
    monkeypatch.setattr(report.time, 'sleep', sleep)
    with pytest.raises(KeyboardInterrupt):
        report.run(**folders, refresh=20)
    assert slept == [20] and '<meta http-equiv="refresh" content="20"/>' in (tmp_path / 'out' / 'report.html').read_text()


def test_summary_has_where_the_time_went(tmp_path):
    with metrics.Writer(tmp_path / 'rl') as writer:
        writer.write(0, {'reward': 1.0, 'goodput/steps': .75, 'goodput/compile': .25})
    report.run(workdir=epath.Path(tmp_path), runs={'rl': str(tmp_path / 'rl')})
    assert json.loads((tmp_path / 'summary.json').read_text()) == {'goodput': {'rl': {'steps': .75, 'compile': .25}}}


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path(CHROMIUM).exists(), reason='needs /usr/bin/chromium')
@pytest.mark.parametrize('width', [1280, 400])
def test_ten_thousand_rollouts_in_a_browser(folders, tmp_path, width):
    keep_rollouts(tmp_path / 'rl', steps=50, questions=10)
    report.run(**folders)
    dom = browse(tmp_path / 'out' / 'report.html', tmp_path / 'profile', width, '--virtual-time-budget=5000', '--dump-dom')
    assert '10,000 outputs to 500 questions</span>' in dom and '<title>Training report</title>' in dom
    cards = re.findall('<article class="sample rollout">.*?</article>', dom, re.DOTALL)
    assert 8 <= len(cards) < 50                                 # the others are drawn as the page is scrolled
    assert '<b>step 49</b>' in cards[0] and '10 of 20 right' in cards[0] and 'advantage +0.5' in cards[0]
    assert cards[0].count('<math') == 1 + 2 * 2                 # the question's, and those of the first right and wrong outputs
    assert not re.search('<[bi] id=', dom) and '&lt;b id="owned"&gt;bold' in cards[0]
    shutil.rmtree(tmp_path / 'profile')
