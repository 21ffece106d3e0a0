"""Pages of a mining report for a person to judge: kept and rejected near the threshold, and the contaminated."""
import re
import unicodedata
from typing import Sequence

from mathrl.report.markup import escape
from mathrl.report.tables import LANGUAGES

SHOWN = 30              # contaminated pages shown in full
MAX_CHARACTERS = 900    # of a sample's text
# A word is a run of letters and digits, or one Chinese, Japanese or Korean character: such may touch each other.
_CJK = '\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff'
_CHARACTER, _LETTER = f'[{_CJK}]', f'[^\\W_{_CJK}]'
_TOKEN = re.compile(f'{_CHARACTER}|{_LETTER}+')
_BETWEEN = r'(?:\\(?:begin|end)\{[^{}]{0,40}\}|\\[a-zA-Z]+|[\W_]){0,60}'   # n-grams are without LaTeX's commands


def near_threshold(samples: dict, rounds: Sequence[dict]) -> str:
    """Kept pages on the left, rejected ones on the right, in the order given."""
    sides = [(title, colour, samples.get(key) or []) for title, colour, key in (
        ('Kept, just above', 'after', 'kept'), ('Rejected, just below', 'plain', 'rejected'))]
    if not any(pages for _, _, pages in sides):
        return ''
    threshold = rounds[-1]['threshold'] if rounds else None
    at = '' if threshold is None else f' The last threshold is {threshold:.3g}.'
    return ('<p class="note">Pages that the classifier was least sure of, with their scores. If many on the left '
            f'are not mathematics, or many on the right are, the threshold is wrong.{at}</p><div class="sides">'
            + ''.join(_side(*side) for side in sides if side[2]) + '</div>')


def _side(title: str, colour: str, pages: Sequence[dict]) -> str:
    return (f'<div class="side"><h3><i class="swatch {colour}"></i>{title}</h3>'
            + ''.join(_sample(page, colour) for page in pages) + '</div>')


def _sample(page: dict, colour: str) -> str:
    language, text = escape(page['language']), page['text']
    text = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rstrip() + ' …'
    return (f'<article class="sample {colour}"><header><b class="score">{page["score"]:.3f}</b>'
            f'<span class="note">{escape(LANGUAGES.get(page["language"], page["language"]))}</span></header>'
            f'<div class="address">{escape(page["url"])}</div>'
            f'<div class="prose" lang="{language}">{escape(text)}</div></article>')


def contaminated(summary: dict) -> str:
    """Each page that held a benchmark question, with the words that it shares marked within its text."""
    pages = summary.get('contaminated') or []
    if not pages:
        return ''
    rest = len(pages) - SHOWN
    more = f'<p class="facts">{rest:,} more pages like these are not shown.</p>' if rest > 0 else ''
    return ('<p class="note">Left out, because a run of words stands in a benchmark’s question or answer too. '
            '<mark>Marked</mark> is that run.</p><div class="sides">'
            + ''.join(_hit(page) for page in pages[:SHOWN]) + f'</div>{more}')


def _hit(page: dict) -> str:
    return (f'<article class="sample"><header><h3>{escape(page["benchmark"])}</h3></header>'
            f'<div class="address">{escape(page["url"])}</div>'
            f'<div class="prose">{marked(page["excerpt"], page["ngram"])}</div>'
            f'<p class="note shared">Shared: <q>{escape(page["ngram"])}</q><br/>'
            f'Record: {escape(page["record_id"])}</p></article>')


def marked(excerpt: str, ngram: str) -> str:
    """The excerpt as markup, the n-gram marked where it occurs; case, spaces, punctuation, commands do not matter.

    marked('Find  the AREA, of it', 'the area of') -> 'Find  <mark>the AREA, of</mark> it'
    """
    tokens = [token if re.match(_CHARACTER, token) else f'(?<!{_LETTER}){token}(?!{_LETTER})'
              for token in _TOKEN.findall(ngram)]
    if not tokens:
        return escape(excerpt)
    # Full-width letters and digits count as plain ones; what would change the length stays, so places agree.
    plain = ''.join(form if len(form := unicodedata.normalize('NFKC', letter)) == 1 else letter for letter in excerpt)
    shown, end = [], 0
    for hit in re.finditer(_BETWEEN.join(tokens), plain, re.IGNORECASE):
        shown += [escape(excerpt[end:hit.start()]), f'<mark>{escape(excerpt[hit.start():hit.end()])}</mark>']
        end = hit.end()
    return ''.join(shown) + escape(excerpt[end:])
