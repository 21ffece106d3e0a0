"""The mining report's page: what was kept and why the rest was not, the rounds, samples to judge by; HTML text."""
from mathrl.report import mining_samples, mining_tables
from mathrl.report.histogram import columns, histogram
from mathrl.report.markup import document, escape
from mathrl.report.mining_tables import count, of_total
from mathrl.report.plots import format_value
from mathrl.report.tables import LANGUAGES, duration


def render(summary: dict, config: str = '', title: str = 'Mined corpus') -> str:
    """The whole page from the summary of a mining run (mining_source.SECTIONS says its shape).

    Sections may be absent or empty: they then leave no heading. config: by default what the summary bears with it.
    """
    rounds = summary.get('rounds') or []
    sections = [
        ('', '', _header(summary, rounds, title)),
        ('Where every page went', 'accounting', mining_tables.accounting(summary)),
        ('What the corpus holds', 'holdings', mining_tables.holdings(summary)),
        ('Rounds', 'rounds', _rounds(rounds)),
        ('Scores', 'scores', _scores(rounds)),
        ('Domains', 'domains', mining_tables.domains(summary.get('domains') or [])),
        ('Parts of domains', 'prefixes', mining_tables.prefixes(summary.get('prefixes') or [])),
        ('On either side of the threshold', 'threshold',
         mining_samples.near_threshold(summary.get('near_threshold') or {}, rounds)),
        ('Pages with benchmark questions', 'contaminated', mining_samples.contaminated(summary)),
        ('Duplicates', 'duplicates', mining_tables.duplicates(summary.get('duplicates') or {})),
        ('Where the time went', 'time', mining_tables.stages(summary.get('stages') or [])),
        ('Configuration', 'configuration', _configuration(config or summary.get('config') or '')),
    ]
    shown = [section for section in sections if section[2]]
    links = ''.join(f'<a href="#{anchor}">{name}</a>' for name, anchor, _ in shown if name)
    body = [content if not name else f'<section id="{anchor}"><h2>{name}</h2>{content}</section>'
            for name, anchor, content in shown]
    body.insert(1, f'<nav class="jump">{links}</nav>')
    return document(title, '\n'.join(body))


def _header(summary: dict, rounds: list[dict], title: str) -> str:
    pages, kept, tokens = summary['pages'], summary['kept'], summary['tokens']
    stopped = [f'round {row["round"]} was the last: {row["stopped"]}' for row in rounds if row['stopped']]
    facts = [f'{len(rounds)} {"round" if len(rounds) == 1 else "rounds"} of classifying'] if rounds else []
    return (f'<header><h1>{escape(title)}</h1><p class="lede"><b class="after">{count(kept)}</b> of '
            f'{count(pages)} pages became the corpus: <b class="after">{format_value(tokens)} tokens</b> in '
            f'{mining_tables.size(summary["corpus_bytes"])} of text, in {duration(summary["seconds"])}.</p>'
            + (f'<p class="facts">{escape(" · ".join(facts + stopped))}</p>' if facts else '')
            + f'<div class="tiles">{"".join(_tiles(summary))}</div></header>')


def _tiles(summary: dict) -> list[str]:
    pages, kept, tokens, seconds = (summary[key] for key in ('pages', 'kept', 'tokens', 'seconds'))
    languages = summary.get('by_language') or {}
    names = {language: LANGUAGES.get(language, language) for language in languages}
    left = {mining_tables.reason_title(reason): number for reason, number in summary['by_reason'].items()}
    times = {row['name']: row['seconds'] for row in summary.get('stages') or []}
    rate = f'{format_value(pages / seconds)} pages/s' if seconds else ''
    mean = f', {count(tokens / kept)} a page' if kept else ''
    return [
        _tile('Kept', count(kept), f'{of_total(kept, pages)} of the pages read', 'after',
              {names[language]: held['pages'] for language, held in languages.items()}, count),
        _tile('Tokens', format_value(tokens), count(tokens) + mean, 'after',
              {names[language]: held['tokens'] for language, held in languages.items()}, count),
        _tile('Left out', count(pages - kept), f'{of_total(pages - kept, pages)} of the pages read', 'plain',
              left, count),
        _tile('Time', duration(seconds), rate, 'plain', times, duration),
    ]


def _tile(title: str, figure: str, note: str, colour: str, parts: dict, written) -> str:
    """A key figure and the largest parts that it is made of."""
    falling = sorted(((name, value) for name, value in parts.items() if value), key=lambda part: -part[1])
    others = sum(value for _, value in falling[3:])
    falling = falling if len(falling) <= 4 else falling[:3] + [('all others', others)]
    lines = ''.join(f'<div><span>{escape(name)}</span><span>{written(value)}</span></div>'
                    for name, value in falling)
    kind = f'{colour} long' if len(figure) > 7 else colour
    return (f'<div class="tile"><h3>{title}</h3><div class="figure"><strong class="{kind}">{figure}</strong>'
            f'<small>{note}</small></div>' + (f'<div class="languages">{lines}</div>' if lines else '') + '</div>')


def _rounds(rounds: list[dict]) -> str:
    if not rounds:
        return ''
    note = ('Each round teaches a classifier from the seeds (pages taken to be mathematics) and from pages at '
            'random, scores the crawl with it, and collects the pages with the best scores. Domains where many pages '
            'were collected are then judged, and those found to be mathematics give the next round its new seeds.')
    return (f'<p class="note">{note}</p>' + (_round_charts(rounds) if len(rounds) > 1 else '')
            + mining_tables.rounds_table(rounds))


def _round_charts(rounds: list[dict]) -> str:
    names = [str(row['round']) for row in rounds]
    again = [row['collected'] - min(row['new'], row['collected']) for row in rounds]
    charts = [
        ('Pages collected', 'pale: collected before', columns(
            names, [row['collected'] for row in rounds], label='Pages collected', lower=again)),
        ('Tokens collected', 'in the pages of the round', columns(
            names, [row['tokens'] for row in rounds], label='Tokens collected')),
        ('Seeds', 'pages that the round starts from', columns(
            names, [row['seeds'] for row in rounds], label='Seeds')),
        ('Overlap', 'had by the round before too', columns(
            names, [None] + [row['overlap'] for row in rounds[1:]], label='Overlap', share=True)),
    ]
    return '<div class="charts four">' + ''.join(
        f'<figure class="chart after"><h3>{title}, by round</h3><div class="note">{note}</div>{picture}</figure>'
        for title, note, picture in charts) + '</div>'


def _scores(rounds: list[dict]) -> str:
    drawn = [_score_chart(row) for row in rounds if any(row['histogram']['counts'])]
    if not drawn:
        return ''
    torn = (' A bar with a slanted gap is taller than drawn: its number of pages is written above it.'
            if any('class="tear"' in chart for chart in drawn) else '')
    return ('<p class="note">The score is the probability of mathematics that the classifier gives a page. A good '
            f'threshold lies in the valley between two hills.{torn}</p>'
            f'<div class="charts two">{"".join(drawn)}</div>')


def _score_chart(row: dict) -> str:
    name = f'Scores of round {row["round"]}'
    picture = histogram(row['histogram']['edges'], row['histogram']['counts'], row['threshold'], label=(
        f'{name}: {count(row["collected"])} of {count(row["scored"])} pages collected, threshold '
        f'{mining_tables.decimal(row["threshold"])}'))
    return (f'<figure class="chart after"><h3>{escape(name)}</h3><div class="legend">'
            f'<span><i class="swatch plain faint"></i>{count(row["scored"] - row["collected"])} pages not collected'
            '</span>'
            f'<span><i class="swatch after"></i>{count(row["collected"])} collected</span></div>{picture}</figure>')


def _configuration(config: str) -> str:
    if not config.strip():
        return ''
    return f'<details><summary>All settings of the run</summary><pre>{escape(config)}</pre></details>'
