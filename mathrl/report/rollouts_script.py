"""The script that draws rollouts a few at a time and filters them. Texts become text nodes, formulas alone are markup.

Without < and &, which HTML and XML read in two ways.
"""

SCRIPT = '''
(async () => {
  const named = id => document.getElementById(id);
  const packed = Uint8Array.from(atob(named('rollout-data').textContent), letter => letter.charCodeAt(0));
  const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
  const list = named('rollout-list'), more = named('more');
  const filters = named('rollout-filters'), search = named('rollout-search');
  const selects = [...filters.querySelectorAll('select')], source = named('rollout-source');
  const CARDS = 8, OUTPUTS = 16, SHADES = 4, LONG = 1500;
  const VERDICTS = [['right', '\\u2713 right', 'right'], ['wrong', '\\u2717 wrong', 'wrong'], ['none', '\\u2013 no answer', 'plain']];
  const groups = data.groups.map(([run, step, question, answer, outputs]) => ({run, step, question, answer,
    outputs: outputs.map(([pieces, reward, advantage, verdict, extracted, tokens, cut, rewards, spans], number) =>
      ({pieces, reward, advantage, verdict, extracted, tokens, cut, rewards, spans, number})),
  })).sort((one, other) => other.step - one.step);

  const make = (name, kind, text) => {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const number = (x, digits) => (x === 0 ? '0' : (0 > x ? '\\u2212' : '') + Math.abs(x).toFixed(digits).replace(/\\.?0+$/, ''));
  const signed = x => (x > 0 ? '+' : '') + number(x, 2);
  const shade = (x, most) => {
    const strength = most > 0 ? Math.ceil(SHADES * Math.min(1, Math.abs(x) / most)) : 0;
    return strength ? ` ${x > 0 ? 'p' : 'm'}${strength}` : '';
  };
  const written = piece => (typeof piece === 'string' ? piece : piece[0] === 2 ? piece[1] : data.formulas[piece[1]][1]);
  const draw = (into, pieces) => {
    for (const piece of pieces) {
      if (typeof piece === 'string' ? true : source.checked) { into.append(written(piece)); continue; }
      if (piece[0] === 2) {
        const code = make('pre', 'code');
        if (piece[2]) code.append(make('i', '', piece[2]));
        code.append(piece[1]);
        into.append(code);
        continue;
      }
      const formula = make('span', piece[0] ? 'display' : data.formulas[piece[1]][1].length > 40 ? 'wide' : '');
      formula.innerHTML = data.formulas[piece[1]][0];
      into.append(formula);
    }
    return into;
  };
  const size = output =>
    Math.max(...[output.advantage, ...output.spans.map(([, advantage]) => advantage)].map(x => Math.abs(x || 0)));
  const body = (output, most) => {
    const text = make('div', 'prose');
    if (output.spans.length === 0) return draw(text, output.pieces);
    for (const [pieces, advantage, reward] of output.spans) {
      const span = make('span', 'span' + (advantage === null ? '' : shade(advantage, most)));
      if (advantage !== null) span.title = `advantage ${signed(advantage)}`;
      const last = pieces[pieces.length - 1];
      let shown = pieces, behind = Array.isArray(last) ? (last[0] ? '\\n' : '') : '';
      if (typeof last === 'string') {     // the reward stands before the line break
        shown = [...pieces.slice(0, -1), last.trimEnd()];
        behind = last.slice(last.trimEnd().length);
      }
      text.append(draw(span, shown));
      if (reward !== null) text.append(make('span', 'earned', `reward ${number(reward, 3)}`));
      else if (Array.isArray(last)) behind = '';
      text.append(behind);
    }
    return text;
  };
  const fold = (output, most, opened) => {
    const [, words, colour] = VERDICTS[output.verdict], whole = make('details', `output ${colour}`), head = make('summary');
    head.append(make('b', '', `#${output.number + 1}`), make('b', colour, words));
    head.append(make('span', '', `reward ${number(output.reward, 3)}`));
    if (output.advantage !== null)
      head.append(make('span', `worth${shade(output.advantage, most)}`, `advantage ${signed(output.advantage)}`));
    for (const [name, reward] of output.rewards) head.append(make('span', 'note', `${name} ${number(reward, 3)}`));
    if (output.extracted) head.append(make('span', 'note', `answers ${output.extracted}`));
    if (output.cut) head.append(make('span', 'note', 'cut off'));
    head.append(make('span', 'note', `${output.tokens.toLocaleString('en')} tokens`));
    whole.append(head);
    const fill = () => { if (whole.children.length === 1) whole.append(body(output, most)); };
    whole.addEventListener('toggle', () => { if (whole.open) fill(); });
    if (opened) { fill(); whole.open = true; }
    return whole;
  };
  const asked = new Map();
  for (const group of groups) asked.set(group.question, (asked.get(group.question) || 0) + 1);
  let only = null;
  const card = ({group, outputs}) => {
    const whole = make('article', 'sample rollout'), head = make('header');
    const facts = make('span', 'note'), answer = make('span', 'note');
    const right = group.outputs.filter(output => output.verdict === 0).length;
    const mean = group.outputs.reduce((sum, output) => sum + output.reward, 0) / Math.max(1, group.outputs.length);
    facts.append(...(data.runs.length > 1 ? [`${data.runs[group.run]} \\u00b7 `] : []), make('b', '', `step ${group.step}`),
      ` \\u00b7 ${right} of ${group.outputs.length} right \\u00b7 mean reward ${number(mean, 3)}`);
    answer.append('answer ', make('b', '', group.answer));
    head.append(facts, answer);
    whole.append(head, draw(make('div', 'prose question'), data.questions[group.question]));
    const most = Math.max(0, ...group.outputs.map(size));
    const first = new Set([0, 1, 2].map(verdict => outputs.find(output => output.verdict === verdict)));
    const show = (from, to) => outputs.slice(from, to).forEach(output => {
      whole.append(fold(output, most, first.has(output) ? LONG > output.tokens : false));
    });
    show(0, OUTPUTS);
    if (outputs.length > OUTPUTS) {
      const rest = make('button', 'link', `${outputs.length - OUTPUTS} further outputs`);
      rest.addEventListener('click', () => { rest.remove(); show(OUTPUTS); });
      whole.append(rest);
    }
    if (asked.get(group.question) > 1) {
      const same = make('button', 'link', only === null ? 'only this question' : 'all questions');
      same.addEventListener('click', () => { only = only === null ? group.question : null; apply(); list.scrollIntoView(); });
      facts.append(' \\u00b7 ', same);
    }
    return whole;
  };

  const texts = new Map();
  const text = output => {
    if (!texts.has(output)) {
      const parts = output.spans.length ? output.spans.flatMap(([pieces]) => pieces) : output.pieces;
      texts.set(output, parts.map(written).join('').toLowerCase());
    }
    return texts.get(output);
  };
  const questions = data.questions.map(pieces => pieces.map(written).join('').toLowerCase());
  const has = (output, kind) => kind === '' || (kind === 'cut' ? output.cut === 1 : VERDICTS[output.verdict][0] === kind);
  const MIXED = {'': () => true, mixed: (right, all) => right > 0 ? all > right : false, right: (right, all) => right === all,
    wrong: right => right === 0};
  let found = [], drawn = 0;
  const draw_more = () => {
    found.slice(drawn, drawn + CARDS).forEach(one => list.append(card(one)));
    drawn = Math.min(found.length, drawn + CARDS);
    more.hidden = drawn >= found.length;
  };
  const apply = () => {
    const wanted = search.value.trim().toLowerCase(), chosen = {};
    for (const select of selects) chosen[select.name] = select.value;
    const kind = filters.querySelector('input[name=kind]:checked').value;
    const counts = {'': 0, right: 0, wrong: 0, none: 0, cut: 0};
    found = [];
    for (const group of groups) {
      if (chosen.run ? String(group.run) !== chosen.run : false) continue;
      if (chosen.step ? String(group.step) !== chosen.step : false) continue;
      if (only !== null ? group.question !== only : false) continue;
      if (!MIXED[chosen.mixed](group.outputs.filter(output => output.verdict === 0).length, group.outputs.length)) continue;
      let outputs = group.outputs;
      if (wanted ? !questions[group.question].includes(wanted) : false) outputs = outputs.filter(one => text(one).includes(wanted));
      for (const name of Object.keys(counts)) counts[name] += outputs.filter(output => has(output, name)).length;
      outputs = outputs.filter(output => has(output, kind));
      if (outputs.length) found.push({group, outputs});
    }
    for (const name of Object.keys(counts)) named(`count-${name}`).textContent = counts[name].toLocaleString('en');
    const outputs = found.reduce((sum, one) => sum + one.outputs.length, 0);
    named('rollout-status').textContent =
      `${outputs.toLocaleString('en')} outputs to ${found.length.toLocaleString('en')} questions`;
    list.replaceChildren();
    drawn = 0;
    draw_more();
  };
  let timer;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(apply, 150); });
  filters.addEventListener('change', apply);
  filters.addEventListener('submit', event => event.preventDefault());
  more.addEventListener('click', draw_more);
  new IntersectionObserver(entries => { if (entries.some(entry => entry.isIntersecting)) draw_more(); },
    {rootMargin: '600px'}).observe(more);
  source.checked = false;
  filters.hidden = false;
  apply();
})();
'''
