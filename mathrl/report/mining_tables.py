"""The tables of a mining report: the accounting of all pages, the corpus, rounds, domains, duplicates, times."""
from typing import Sequence

from mathrl.report.markup import escape
from mathrl.report.plots import format_value
from mathrl.report.tables import LANGUAGES, duration

SHOWN = 20   # rows of a table before the rest is folded away

# reason -> title, what it means, the colour of its part of the bar
REASONS = {
    'kept': ('Kept', 'in the corpus', 'after'),
    'low_score': ('Low score', 'the classifier does not take it for mathematics', 'plain'),
    'duplicate_url': ('Same address', 'its address, written in one standard way, was read before', 'before'),
    'duplicate_content': ('Same text', 'nearly the text of another page, which stands for it', 'before faint'),
    'contaminated': ('Benchmark inside', 'shares a run of words with a benchmark question', 'wrong'),
    'too_short': ('Too short', 'too little text is left once menus and the like are gone', 'plain faint'),
    'bad_record': ('Damaged', 'cut off, not HTML, or not readable', 'wrong faint'),
    'timeout': ('Took too long', 'given up; the pages around it were not held back', 'wrong fainter'),
}


def count(value: float) -> str:
    """1234567 -> '1,234,567'."""
    return f'{value:,.0f}'


def size(number: float) -> str:
    """Bytes as a person writes them: 9604000 -> '9.6 MB'."""
    power = next((power for power in (4, 3, 2, 1) if number >= 1000 ** power), 0)
    return f'{format_value(number / 1000 ** power)} {("bytes", "kB", "MB", "GB", "TB")[power]}'


def of_total(part: float, whole: float) -> str:
    """A share in percent that does not round something to nothing: (1, 3488) -> '0.03%', (0, 9) -> '0%'."""
    share = 100 * part / whole if whole else 0
    if not share or share == 100:
        return f'{share:.0f}%'
    return '<0.01%' if 0 < share < 0.005 else f'{share:.2f}%' if share < 0.1 else f'{share:.1f}%'


def decimal(value: float | None) -> str:
    return '–' if value is None else f'{value:.3g}'


def reason_title(reason: str) -> str:
    return REASONS[reason][0] if reason in REASONS else reason


def accounting(summary: dict) -> str:
    """A bar of all pages and a table that sums up to them; pages without a reason are shown as such."""
    falling = sorted(summary['by_reason'].items(), key=lambda item: -item[1])
    parts = [('kept', summary['kept'])] + [item for item in falling if item[1]]
    lost = summary['pages'] - sum(number for _, number in parts)
    rows = [_reason(reason, number, summary) for reason, number in parts]
    if lost:
        rows.append(_row(['<i class="swatch wrong"></i><b class="wrong">Not accounted for</b>',
                          '<span class="note">the reasons do not add up to the pages read</span>'],
                         [count(lost).replace('-', '−'), of_total(abs(lost), summary['pages'])]))
    rows.append(_row(['<b>All pages read</b>', ''], [count(summary['pages']), '100%'], 'total'))
    bar = ''.join(f'<span class="{_colour(reason)}" style="flex-grow:{number}">'
                  f'{_in_bar(reason, number, summary["pages"])}</span>'
                  for reason, number in parts + [('', max(lost, 0))] if number)
    return (f'<div class="stack">{bar}</div>'
            + _table(['What became of a page', ''], ['pages', 'share'], rows, 'reasons'))


def _reason(reason: str, number: float, summary: dict) -> str:
    details = (summary.get('by_detail') or {}).get(reason) or {}
    listed = ' · '.join(f'{escape(name)} {count(of)}' for name, of in
                        sorted(details.items(), key=lambda item: -item[1]))
    meaning = REASONS[reason][1] if reason in REASONS else ''
    notes = f'<span class="note">{meaning}</span>'
    notes += f'<span class="note detail">{listed}</span>' if listed else ''
    return _row([f'<i class="swatch {_colour(reason)}"></i>{escape(reason_title(reason))}', notes],
                [count(number), of_total(number, summary['pages'])])


def _colour(reason: str) -> str:
    return REASONS[reason][2] if reason in REASONS else 'soft'


def _in_bar(reason: str, number: float, pages: float) -> str:
    """What is written inside a part of the bar, where the part is wide enough for it."""
    return f'<b>{escape(reason_title(reason))} {count(number)}</b>' if number > 0.14 * pages else ''


def holdings(summary: dict) -> str:
    """The corpus by language and by snapshot of the crawl."""
    made = [_held(title, held, names) for title, held, names in (
        ('language', summary.get('by_language'), LANGUAGES), ('crawl snapshot', summary.get('by_snapshot'), {}))
        if held]
    return f'<div class="sides tables">{"".join(made)}</div>' if made else ''


def _held(title: str, held: dict, names: dict) -> str:
    whole = sum(part['tokens'] for part in held.values())
    rows = [_row([escape(names.get(name, name)) + _share_bar(part['tokens'], whole)],
                 [count(part['pages']), count(part['tokens']), of_total(part['tokens'], whole)])
            for name, part in sorted(held.items(), key=lambda item: -item[1]['tokens'])]
    return _table([title], ['pages', 'tokens', 'of the tokens'], rows)


def rounds_table(rounds: Sequence[dict]) -> str:
    """A column for each round, in the order in which a round goes; its rule and its end as notes below."""
    groups = [
        ('Taught with', [('Seeds', 'seeds', count), ('Examples of mathematics', 'positives', count),
                         ('Examples of anything else', 'negatives', count)]),
        ('Collected', [('Pages scored', 'scored', count), ('Threshold of the score', 'threshold', decimal),
                       ('Pages collected', 'collected', count), ('of them new', 'new', count),
                       ('had by the round before', 'overlap', _percent), ('Tokens collected', 'tokens', count)]),
        ('Learned for the next', [('Domains of mathematics', 'math_domains', count),
                                  ('Parts of domains judged', 'annotated_prefixes', count),
                                  ('New seeds', 'new_seeds', count)]),
        ('Needed', [('Time', 'seconds', duration)]),
    ]
    rows = []
    for name, lines in groups:
        rows.append(f'<tr class="group"><th colspan="{len(rounds) + 1}">{name}</th></tr>')
        for title, key, written in lines:
            shown = ['–' if key == 'overlap' and not place else written(row[key])
                     for place, row in enumerate(rounds)]
            rows.append(_row([title], shown))
    return (_table([''], [f'round {escape(row["round"])}' for row in rounds], rows, 'rounds')
            + ''.join(f'<p class="facts">{escape(note)}</p>' for note in _round_notes(rounds)))


def _percent(value: float | None) -> str:
    return '–' if value is None else f'{100 * value:.1f}%'


def _round_notes(rounds: Sequence[dict]) -> list[str]:
    rules = list(dict.fromkeys(row['threshold_rule'] for row in rounds if row['threshold_rule']))
    if len(rules) == 1:
        notes = [f'How the threshold was set: {rules[0]}']
    else:
        notes = [f'How the threshold of round {row["round"]} was set: {row["threshold_rule"]}' for row in rounds
                 if row['threshold_rule']]
    return notes + [f'Why round {row["round"]} was the last: {row["stopped"]}' for row in rounds if row['stopped']]


def domains(rows: Sequence[dict]) -> str:
    made = [_row([_breakable(row['domain']) + _share_bar(row['share'], 1)],
                 [count(row['collected']), count(row['pages']), _percent(row['share']),
                  _verdict(row['math'])]) for row in rows]
    return _folded('The domains with the most collected pages. The bar is the share of the domain’s pages that '
                   'were collected; a domain with a large share is taken for one of mathematics.', ['domain'],
                   ['collected', 'of its pages', 'share', 'math'], made)


def prefixes(rows: Sequence[dict]) -> str:
    made = [_row([_breakable(row['prefix']) + _share_bar(row['collected'], row['pages'])],
                 [count(row['collected']), count(row['pages']), decimal(row['mean_score']), _verdict(row['math']),
                  escape({'rule': 'the rule', 'person': 'a person'}.get(row['by'], row['by']))]) for row in rows]
    return _folded('Parts of domains (pages whose addresses begin alike) that were judged as a whole, and who '
                   'judged them. All pages of a part that is mathematics become seeds, collected or not.',
                   ['addresses that begin with'],
                   ['collected', 'of its pages', 'mean score', 'math', 'judged by'], made)


def duplicates(found: dict) -> str:
    if not found or not (found.get('url') or found.get('content')):
        return ''
    return (f'<p class="note"><b>{count(found.get("url", 0))}</b> pages had an address read before, '
            f'<b>{count(found.get("content", 0))}</b> had nearly the text of another page. Of each group one page '
            'stays.</p>')


def stages(rows: Sequence[dict]) -> str:
    """Seconds, items and speed of each stage; a stage that took no time has no speed."""
    whole = sum(row['seconds'] for row in rows)
    made = [_row([escape(row['name']) + _share_bar(row['seconds'], whole)],
                 [f'{row["seconds"]:,.1f}', of_total(row['seconds'], whole), count(row['items']),
                  _rate(row['items'], row['seconds'])]) for row in rows]
    return _table(['stage'], ['seconds', 'of the time', 'pages', 'pages/s'], made) if rows else ''


def _rate(items: float, seconds: float) -> str:
    rate = items / seconds if seconds else None
    return '–' if rate is None else count(rate) if rate >= 10 else decimal(rate)


def _verdict(math: bool) -> str:
    return '<span class="right">✓ yes</span>' if math else '<span class="soft">no</span>'


def _breakable(address: str) -> str:
    return f'<span class="address">{escape(address)}</span>'


def _share_bar(part: float, whole: float) -> str:
    width = 100 * min(max(part / whole, 0), 1) if whole else 0
    return f'<span class="share"><i style="width:{width:.1f}%"></i></span>'


def _row(heads: Sequence[str], numbers: Sequence[str], kind: str = '') -> str:
    kind = f' class="{kind}"' if kind else ''
    return (f'<tr{kind}><th>{heads[0]}</th>' + ''.join(f'<td>{head}</td>' for head in heads[1:])
            + ''.join(f'<td class="number">{number}</td>' for number in numbers) + '</tr>')


def _table(heads: Sequence[str], numbers: Sequence[str], rows: Sequence[str], kind: str = 'listed') -> str:
    return (f'<div class="scroll"><table class="mining {kind}"><thead><tr>'
            + ''.join(f'<th>{head}</th>' for head in heads)
            + ''.join(f'<th class="number">{number}</th>' for number in numbers)
            + f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def _folded(note: str, heads: Sequence[str], numbers: Sequence[str], rows: Sequence[str]) -> str:
    """A table of which a reader sees the first rows and can open the rest; '' without any row."""
    if not rows:
        return ''
    rest = '' if len(rows) <= SHOWN else (f'<details><summary>{len(rows) - SHOWN} more</summary>'
                                          + _table(heads, numbers, rows[SHOWN:]) + '</details>')
    return (f'<p class="note">{note}</p>' if note else '') + _table(heads, numbers, rows[:SHOWN]) + rest
