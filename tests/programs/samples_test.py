"""mathrl/programs/samples.py: from samples.jsonl to samples.html, and the page's layout and filters in a real browser."""
import html
import json
import pathlib
import re
import subprocess
import sys

import pytest
from etils import epath

from mathrl.programs import samples
from mathrl.report.samples_source import Limits

CHROMIUM = '/usr/bin/chromium'
HOSTILE = '</script><script>window.owned = 1</script><img src=x onerror="window.owned = 1"> $\\href{javascript:alert(1)}{x}$ '
WIDE = '\\(' + '+'.join(f'x_{{{n}}}' for n in range(60)) + '\\)\n'
WIDE += '\\[' + '+'.join(f'\\frac{{x}}{{{n}}}' for n in range(60)) + '\\]\n'
# Uses every control, and reports what is then shown, what sticks out of the window, and whether a hostile text has run.
PROBE = '''<script>
addEventListener('load', async () => {
  const pause = () => new Promise(done => setTimeout(done, 300)), status = () => document.getElementById('status').textContent;
  const found = {width: innerWidth, all: status()};
  for (const kind of document.querySelectorAll('#filters input[name=kind]')) {
    kind.click();
    found[kind.value] = status();
  }
  document.querySelector('#filters input[name=kind]').click();
  for (const [name, value] of [['benchmark', 'gsm8k'], ['language', 'zh']]) {
    const select = document.querySelector(`select[name=${name}]`);
    if (!select) continue;
    select.value = value;
    select.dispatchEvent(new Event('change', {bubbles: true}));
    found[name] = status();
    select.value = '';
  }
  const search = document.getElementById('search');
  search.value = 'FRAC{X}{7}';
  search.dispatchEvent(new Event('input'));
  await pause();
  found.search = status();
  search.value = '';
  search.dispatchEvent(new Event('input'));
  await pause();
  document.getElementById('close').click();
  found.closed = document.querySelectorAll('.output[open]').length;
  document.getElementById('open').click();
  found.opened = document.querySelectorAll('.output[open]').length;
  document.querySelectorAll('.card').forEach(card => { card.style.contentVisibility = 'visible'; });
  const sticking = () => [...document.querySelectorAll('main *')].filter(element =>
    !element.parentElement.closest('pre, .scroll, .display, .wide') && element.getBoundingClientRect().right > innerWidth + 0.5);
  const root = document.documentElement;
  const wide = sticking();
  found.drawn = [...document.querySelectorAll('math mfrac')].filter(mfrac => mfrac.getBoundingClientRect().height > 0).length;
  document.getElementById('source').click();
  Object.assign(found, {scrolls: root.scrollWidth > root.clientWidth, owned: window.owned === 1,
    wide: [...wide, ...sticking()].map(element => element.className || element.tagName)});
  parent.document.documentElement.setAttribute('data-probe', JSON.stringify(found));
});
</script>'''


def output(kind, text='The answer is $\\frac{1}{2}$.'):
    return {'text': text, 'extracted': None if kind == 'none' else 'long' * 30 if kind == 'wrong' else '\\frac12',
            'correct': kind == 'right', 'length': 9, 'truncated': kind == 'none',
            'reason': {'right': 'equal'}.get(kind, 'different')}


def write(path, kinds):
    """A problem for each kind of the greedy output; each has a wrong and a wide sampled output."""
    path.parent.mkdir()
    rows = [{'benchmark': 'gsm8k' if n % 2 else 'math', 'level': f'Level {n}', 'language': 'zh' if n == 0 else 'en',
             'problem': f'Problem {n}: {HOSTILE} 求$x^2$。', 'prompt': '', 'answer': '\\frac{1}{2}', 'greedy': output(kind),
             'outputs': [output('wrong', HOSTILE + 'long' * 100),
                         output('right', (WIDE if n == 1 else '') + '```python\n' + 'x' * 300)]}
            for n, kind in enumerate(kinds)]
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return str(path)


@pytest.fixture
def runs(tmp_path):
    return {'samples': write(tmp_path / 'grpo' / 'samples.jsonl', ['right', 'right', 'wrong', 'none']),
            'against': write(tmp_path / 'sft' / 'samples.jsonl', ['right', 'wrong', 'right', 'wrong'])}


def test_page_is_written(runs, tmp_path):
    samples.run(workdir=epath.Path(tmp_path) / 'w', samples=runs['samples'])
    assert '<h1>Samples: grpo</h1>' in (tmp_path / 'w' / 'samples.html').read_text()
    samples.run(workdir=epath.Path(tmp_path), output=str(tmp_path / 'v' / 'both.html'), limits=Limits(problems=1), **runs)
    assert '<h1>Samples: sft and grpo</h1>' in (tmp_path / 'v' / 'both.html').read_text()
    assert not (tmp_path / 'samples.html').exists()


def test_dry_run_writes_nothing(runs, tmp_path, capsys):
    samples.run(workdir=epath.Path(tmp_path) / 'w', dry_run=True, **runs)
    assert not (tmp_path / 'w').exists() and 'sft/samples.jsonl' in capsys.readouterr().out


def test_samples_need_no_jax():
    code = 'import sys, mathrl.programs.samples; sys.exit("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=pathlib.Path(__file__).parents[2]).returncode == 0


def browse(page, profile, *options):
    return subprocess.run(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', f'--user-data-dir={profile}', '--window-size=1400,900',
         *options, f'file://{page}'], capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path(CHROMIUM).exists(), reason='needs /usr/bin/chromium')
@pytest.mark.parametrize('width', [1280, 400])
@pytest.mark.parametrize('compared', [False, True])
def test_page_in_a_browser(runs, tmp_path, width, compared):
    samples.run(workdir=epath.Path(tmp_path), **runs if compared else {'samples': runs['samples']})
    page = (tmp_path / 'samples.html').read_text(encoding='utf-8')
    # Without its content policy, so that the probe runs, and any text that slipped through escaping would too.
    framed = html.escape(re.sub('<meta http-equiv[^>]*>', '', page).replace('</body>', PROBE + '</body>'))
    # In a frame, since a browser's window has a smallest width.
    (tmp_path / 'frame.html').write_text(
        f'<!DOCTYPE html><iframe style="width:{width}px;height:900px;border:0" srcdoc="{framed}"></iframe>', encoding='utf-8')
    dom = browse(tmp_path / 'frame.html', tmp_path / 'profile', '--dump-dom', '--virtual-time-budget=5000')
    found = json.loads(html.unescape(re.search('data-probe="([^"]*)"', dom)[1]))
    assert found.pop('drawn') > 60
    shared = {'width': width, 'scrolls': False, 'owned': False, 'wide': [], 'closed': 0}
    if compared:
        assert found == shared | {
            'all': '4 of 4 problems, 24 outputs', '': '4 of 4 problems, 24 outputs', 'became-right': '1 of 4 problems, 6 outputs',
            'became-wrong': '1 of 4 problems, 6 outputs', 'both-right': '1 of 4 problems, 6 outputs',
            'both-wrong': '1 of 4 problems, 6 outputs', 'benchmark': '2 of 4 problems, 12 outputs',
            'language': '1 of 4 problems, 6 outputs', 'search': '1 of 4 problems, 6 outputs', 'opened': 24}
    else:
        assert found == shared | {
            'all': '4 of 4 problems, 12 outputs', '': '4 of 4 problems, 12 outputs', 'right': '4 of 4 problems, 6 outputs',
            'wrong': '4 of 4 problems, 5 outputs', 'none': '1 of 4 problems, 1 outputs', 'cut': '1 of 4 problems, 1 outputs',
            'benchmark': '2 of 4 problems, 6 outputs', 'language': '1 of 4 problems, 3 outputs',
            'search': '1 of 4 problems, 3 outputs', 'opened': 12}
    # Under the policy the page's own script runs, and no other.
    dom = browse(tmp_path / 'samples.html', tmp_path / 'profile', '--dump-dom')
    assert re.search(r'id="status"[^>]*>4 of 4 problems', dom)
