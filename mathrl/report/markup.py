"""The HTML around a report: escaping, the document, its style. Nothing is fetched, and no script but its own runs."""
import base64
import hashlib
import html
import re

# Forbidden in XML, or dropped by browsers: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')


def escape(text: object) -> str:
    """Text for an element or a quoted attribute: <, >, &, quotes escaped; the unprintable becomes U+FFFD."""
    return html.escape(printable(str(text)))


def printable(text: str) -> str:
    return _UNPRINTABLE.sub('\ufffd', text)


def document(title: str, body: str, style: str = '', script: str = '', refresh: float = 0) -> str:
    """A whole page that is well-formed XML too. The content policy lets a browser fetch nothing and run `script` alone.

    style: in addition to STYLE. script: without < and &, which HTML and XML read in two ways. refresh: seconds after
    which a browser loads the page anew.
    """
    policy, element = "default-src 'none'; style-src 'unsafe-inline'", ''
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, element = f"{policy}; script-src 'sha256-{digest}'", f'<script>{script}</script>\n'
    again = f'<meta http-equiv="refresh" content="{refresh:g}"/>\n' if refresh else ''
    return f'''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="{policy}"/>
{again}<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<main>
{body}
</main>
{element}</body>
</html>
'''


STYLE = '''
:root {
  --page: #faf9f6; --card: #ffffff; --ink: #1c2024; --soft: #59616b; --line: #dedbd3; --hair: #ebe8e1;
  --before: #a65a0e; --after: #0b6a85; --plain: #55606e; --right: #1b7443; --wrong: #b3322a;
  --mark: #ffe9a8;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial,
    "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f23; --ink: #e8e6e1; --soft: #a0a8b1; --line: #343a41; --hair: #272c31;
    --before: #e6a356; --after: #5fc0de; --plain: #a9b4c0; --right: #63cf93; --wrong: #f28b82;
    --mark: #66521a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 var(--sans); }
main { max-width: 1152px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 32px; line-height: 1.15; letter-spacing: -.02em; margin: 0 0 12px; font-weight: 680; }
h2 { font-size: 20px; letter-spacing: -.01em; margin: 48px 0 4px; padding-top: 14px; font-weight: 650;
  border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 0; font-weight: 620; color: var(--ink); }
p { margin: 0; max-width: 46em; }
.lede { font-size: 18px; line-height: 1.5; max-width: 52em; }
.note, .facts { color: var(--soft); font-size: 14px; line-height: 1.45; max-width: 64em; }
.facts { margin-top: 8px; }
.before { color: var(--before); } .after { color: var(--after); } .plain { color: var(--plain); }
.right { color: var(--right); } .wrong { color: var(--wrong); }
b { font-weight: 640; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px;
  border: 2px solid currentColor; }
.key.after { background: currentColor; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(250px, 100%), 1fr)); gap: 16px;
  margin: 28px 0 0; }
.tile, .chart, .sample { background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
.tile { padding: 16px 18px 12px; min-width: 0; }
.figure { font-variant-numeric: tabular-nums; margin: 10px 0 8px; }
.figure strong { display: block; font-size: 34px; line-height: 1.1; letter-spacing: -.02em; font-weight: 660; }
.figure small { display: block; font-size: 13.5px; color: var(--soft); }
.figure span { display: block; font-size: 14px; }
.languages { padding-top: 7px; border-top: 1px solid var(--hair); font-size: 13.5px; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.languages div { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 8px; }

svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.last { font-size: 12px; font-weight: 640; fill: currentColor; }
svg .grid { stroke: var(--hair); stroke-width: 1; }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg .raw { stroke: currentColor; stroke-width: 1; opacity: .3; fill: none; stroke-linejoin: round; }
svg .curve { stroke: currentColor; stroke-width: 1.9; fill: none; stroke-linejoin: round;
  stroke-linecap: round; }
svg .dot { fill: currentColor; }
svg .ring { fill: var(--card); stroke: currentColor; stroke-width: 2; }
svg .whisker { stroke: currentColor; stroke-width: 5; opacity: .28; stroke-linecap: round; }
svg .change { stroke: var(--soft); stroke-width: 1.5; }

.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 16px;
  margin-top: 16px; }
.chart { margin: 0; padding: 14px 14px 10px 16px; }
.chart .note { font-size: 13px; min-height: 1.45em; margin-bottom: 8px; }
.none { color: var(--soft); font-size: 14px; padding: 48px 0; text-align: center; }

.scroll { overflow-x: auto; margin-top: 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 15px; }
th { text-align: left; font-weight: 600; }
thead th { font-size: 13px; color: var(--soft); border-bottom: 1px solid var(--line); padding: 6px 12px 6px 0; }
tbody th { font-weight: 500; }
td, tbody th { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--hair); vertical-align: middle; }
table.small { max-width: 520px; }
tr.first td, tr.first th { border-top: 1px solid var(--line); }
tr.first th { font-weight: 640; }
tr.part th { padding-left: 14px; color: var(--soft); }
td.number, th.number { text-align: right; white-space: nowrap; }
td small { color: var(--soft); font-size: 12.5px; margin-left: 6px; display: inline-block; min-width: 84px; }
td.picture, th.picture { width: 34%; padding-right: 0; padding-left: 12px; }
th.picture span { display: flex; justify-content: space-between; font-weight: 400; font-size: 12px; }

.samples { display: grid; gap: 16px; margin-top: 16px; }
.sample { padding: 14px 18px 16px; min-width: 0; }
h1, h2, h3, p, summary, .sample { overflow-wrap: anywhere; }
.sample header { display: flex; flex-wrap: wrap; gap: 4px 14px; justify-content: space-between; }
.problem { font-size: 16px; margin: 4px 0 12px; }
.problem, .text { white-space: pre-wrap; unicode-bidi: isolate; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr)); gap: 14px 20px; }
.output { border-left: 3px solid currentColor; padding-left: 12px; min-width: 0; }
.output .head { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: baseline; font-size: 14px; }
.text { color: var(--ink); font: 13.5px/1.55 var(--mono); margin-top: 6px; }

svg .bar.above { fill: currentColor; } svg .bar.below { fill: var(--plain); opacity: .6; }
svg .bar.pale { fill: currentColor; opacity: .3; }
svg .tear { stroke: var(--card); stroke-width: 3.5; }
svg text.limit { font-size: 12px; font-weight: 640; fill: var(--ink); }
svg .threshold { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
.charts.two { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.charts.four { grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr)); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; color: var(--soft); margin: 4px 0 8px;
  font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 8px;
  background: currentColor; }
.soft { color: var(--soft); } .faint { opacity: .6; } .fainter { opacity: .35; }
.jump { display: flex; flex-wrap: wrap; gap: 6px 20px; margin-top: 20px; font-size: 14px; }
.jump a { color: var(--after); text-decoration: none; }
.jump a:hover, .jump a:focus-visible { text-decoration: underline; text-underline-offset: 3px; }

.stack { display: flex; gap: 2px; margin: 16px 0 4px; height: 40px; }
.stack span { flex: 1 1 0; min-width: 3px; background: currentColor; overflow: hidden; white-space: nowrap; }
.stack b { color: var(--card); font-weight: 600; font-size: 14px; line-height: 40px; padding-left: 10px; }
.mining th .share { display: block; max-width: 280px; height: 4px; margin-top: 4px;
  background: var(--hair); border-radius: 2px; }
.mining .share i { display: block; height: 4px; background: var(--after); border-radius: 2px; }
.mining tbody th { min-width: 150px; }
.mining .detail { display: block; }
.mining tr.total th, .mining tr.total td { border-bottom: 0; border-top: 1px solid var(--line); font-weight: 640; }
.mining tr.group th { font-size: 13px; font-weight: 640; color: var(--soft); padding-top: 16px; }
.mining td:last-child, .mining th:last-child { padding-right: 0; }
.address { overflow-wrap: anywhere; }
div.address { font-size: 13px; color: var(--soft); margin-top: 2px; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 20px;
  margin-top: 16px; }
.sides.tables { column-gap: 48px; margin-top: 0; }
.side { display: grid; gap: 12px; align-content: start; min-width: 0; }
.sample .score { font-variant-numeric: tabular-nums; color: currentColor; }
.prose { white-space: pre-wrap; unicode-bidi: isolate; overflow-wrap: anywhere; color: var(--ink); font-size: 14px;
  line-height: 1.6; margin-top: 8px; }
mark { background: var(--mark); color: inherit; padding: 1px 2px; border-radius: 2px; }
.shared { margin-top: 10px; padding-top: 8px; border-top: 1px solid var(--hair); }

.times { margin-top: 16px; max-width: 720px; }
.times td:first-child { width: 1%; white-space: nowrap; padding-right: 20px; }
.times td:last-child { width: 70%; }
.times .bar { display: block; height: 10px; border-radius: 2px; background: var(--plain); min-width: 1px; }
details { margin-top: 14px; }
summary { cursor: pointer; font-weight: 600; font-size: 15px; }
summary:focus-visible { outline: 2px solid var(--after); outline-offset: 3px; }
pre { font: 12.5px/1.55 var(--mono); background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 12px 14px; overflow-x: auto; margin: 10px 0 0; }
@media (max-width: 700px) {
  main { padding: 24px 16px 48px; }
  h1 { font-size: 26px; } .lede { font-size: 17px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tile { padding: 12px 12px 10px; }
  .figure strong { font-size: 28px; }
  td.picture, th.picture { display: none; }
  td small { display: block; margin: 0; min-width: 0; }
  td, tbody th { padding-right: 8px; }
  .figure strong.long { font-size: 22px; line-height: 31px; }
  .charts.two svg text { font-size: 14px; } .charts.two svg text.limit { font-size: 15px; }
  .mining { font-size: 14px; }
  .mining tbody th { min-width: 124px; }
  .rounds tbody th { position: sticky; left: 0; background: var(--page); }
  .listed tr, .reasons tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--hair); padding: 6px 0; }
  .listed th:first-child { flex: 0 0 100%; } .listed td, .listed thead th.number { flex: 1 1 0; font-size: 13px; }
  .reasons th:first-child { flex: 1 1 0; } .reasons td.number, .reasons thead th.number { flex: 0 0 64px; }
  .reasons td:not(.number) { order: 1; flex: 0 0 100%; } .reasons thead th:nth-child(2) { display: none; }
  .listed tr > *, .reasons tr > *, .mining tr.total > * { border: 0; padding-top: 0; padding-bottom: 2px; }
  .listed thead th.number { white-space: normal; align-self: end; }
}
'''
