"""The controls above a page of samples: their markup, style and script. Without scripts all samples are shown."""
from collections.abc import Mapping, Sequence

from mathrl.report.markup import escape

_CHECKED = ' checked=""'


def controls(kinds: Mapping[str, tuple[str, int]], choices: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """kinds: value -> (title, number), as buttons of which one is pressed; choices: name -> (value, title) to select.

    The script shows what has all of it: a card's data-kind and outputs' data-kind, a card's data-<name>, searched text.
    """
    buttons = ''.join(f'<label><input type="radio" name="kind" value="{escape(value)}"{_CHECKED * (not value)}/>'
                      f'<span>{escape(title)} <small>{number:,}</small></span></label>'
                      for value, (title, number) in kinds.items())
    selects = ''.join(
        f'<label class="select">{escape(name)} <select name="{escape(name)}"><option value="">all</option>'
        + ''.join(f'<option value="{escape(value)}">{escape(title)}</option>' for value, title in values)
        + '</select></label>' for name, values in choices.items() if len(values) > 1)
    return ('<form class="filters" id="filters" hidden="">'
            f'<div class="chips" role="radiogroup" aria-label="Verdict">{buttons}</div><div class="row">'
            '<input type="search" id="search" placeholder="Search the texts" aria-label="Search the texts"/>'
            f'{selects}</div><div class="row"><span id="status" class="note" role="status"></span>'
            '<span class="actions"><label><input type="checkbox" id="source"/> LaTeX source</label>'
            '<button type="button" id="open">Open all</button><button type="button" id="close">Close all</button></span>'
            '</div></form><noscript><p class="note">The filters need scripts, which are off.</p></noscript>')


STYLE = '''
.filters { margin: 20px -12px 0; padding: 10px 12px 8px; background: var(--page); border-bottom: 1px solid var(--line); }
.filters[hidden] { display: none; }
.chips, .row, .actions { display: flex; flex-wrap: wrap; gap: 6px 8px; align-items: center; }
.row { margin-top: 8px; gap: 8px 14px; } .actions { margin-left: auto; gap: 6px 12px; }
.chips input { position: absolute; opacity: 0; }
.chips span { display: block; border: 1px solid var(--line); border-radius: 15px; padding: 3px 12px; background: var(--card);
  cursor: pointer; font-size: 14px; font-variant-numeric: tabular-nums; }
.chips small { color: var(--soft); margin-left: 2px; }
.chips input:checked + span { background: var(--ink); border-color: var(--ink); color: var(--page); }
.chips input:checked + span small { color: inherit; opacity: .75; }
.chips input:focus-visible + span { outline: 2px solid var(--after); outline-offset: 2px; }
.filters input[type=search] { flex: 1 1 220px; min-width: 0; }
.filters input[type=search], .filters select, .filters button { font: 14px var(--sans); color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 5px 9px; }
.filters select { max-width: 190px; } .filters button { cursor: pointer; }
.filters label { font-size: 14px; } .select { color: var(--soft); text-transform: capitalize; }
@media (min-width: 701px) { .filters { position: sticky; top: 0; z-index: 2; } }
@media (max-width: 700px) { .actions { margin-left: 0; } .filters select { max-width: 150px; } }
'''

SCRIPT = '''
(() => {
  const find = selector => [...document.querySelectorAll(selector)], named = id => document.getElementById(id);
  const cards = find('.card'), selects = find('#filters select'), search = named('search'), texts = new Map();
  const text = card => {
    if (!texts.has(card))
      texts.set(card, [...card.querySelectorAll('.raw')].map(raw => raw.textContent).join('\\n').toLowerCase());
    return texts.get(card);
  };
  const kinds = element => element.dataset.kind.split(' ');
  const has = (element, kind) => kind === '' || !('kind' in element.dataset) || kinds(element).includes(kind);
  const fits = card => selects.every(select => select.value === '' || card.dataset[select.name] === select.value);
  const apply = () => {
    const kind = document.querySelector('#filters input[name=kind]:checked').value;
    const wanted = search.value.trim().toLowerCase();
    let problems = 0, shown = 0;
    for (const card of cards) {
      const outputs = [...card.querySelectorAll('.output')];
      for (const output of outputs) output.hidden = !has(output, kind);
      const left = outputs.filter(output => !output.hidden).length;
      card.hidden = !(left ? has(card, kind) ? fits(card) ? text(card).includes(wanted) : false : false : false);
      if (!card.hidden) { problems += 1; shown += left; }
    }
    named('status').textContent = `${problems} of ${cards.length} problems, ${shown} outputs`;
  };
  let timer;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(apply, 150); });
  named('filters').addEventListener('change', apply);
  named('filters').addEventListener('submit', event => event.preventDefault());
  named('source').addEventListener('change', event => document.body.classList.toggle('as-source', event.target.checked));
  const turn = open => find('.card:not([hidden]) details.output:not([hidden])').forEach(output => { output.open = open; });
  named('open').addEventListener('click', () => turn(true));
  named('close').addEventListener('click', () => turn(false));
  named('filters').hidden = false;
  named('source').checked = false;
  apply();
})();
'''
