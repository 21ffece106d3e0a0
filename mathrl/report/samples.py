"""Sample questions of a report: the problem, an output before and one after, right or wrong."""
from typing import Sequence

from mathrl.report.markup import escape
from mathrl.report.sources import Evaluation
from mathrl.report.tables import LANGUAGES

MAX_CHARACTERS = 1500
# How many questions of each kind are shown: (right before, right after) -> number.
WANTED = {(False, True): 2, (True, True): 1, (True, False): 1, (False, False): 2}


def samples_section(before: Evaluation | None, after: Evaluation) -> str:
    """'' where the evaluations left no samples, or none of the same problem."""
    pairs = _pairs(before, after)
    if not pairs:
        return ''
    kinds = [tuple(_first(row)['correct'] for row in pair) for pair in pairs]
    chosen = choose(kinds, [pair[-1]['language'] for pair in pairs])
    names = ([(before.name, 'before')] if before else []) + [(after.name, 'after')]
    cards = ''.join(_card(pairs[index], names) for index in chosen)
    return (f'<section><h2>Sample questions</h2><p class="note">{escape(_counts(kinds))} Shown are the first '
            f'questions of each kind, the languages in turn.</p><div class="samples">{cards}</div></section>')


def choose(kinds: Sequence[tuple], languages: Sequence[str]) -> list[int]:
    """Indices of the first questions of each kind, as many as WANTED says, the languages taken in turn."""
    chosen, used = [], []
    for kind, number in WANTED.items():
        for _ in range(number):
            left = [index for index, found in enumerate(kinds)
                    if (found == kind or len(found) == 1 and found == kind[1:]) and index not in chosen]
            if left:
                best = min(left, key=lambda index: (used.count(languages[index]), index))
                chosen.append(best)
                used.append(languages[best])
    return chosen


def _pairs(before: Evaluation | None, after: Evaluation) -> list[tuple[dict, ...]]:
    if not before:
        return [(row,) for row in after.samples if _first(row)]
    earlier = {row['problem']: row for row in before.samples}
    return [(earlier[row['problem']], row) for row in after.samples
            if row['problem'] in earlier and _first(row) and _first(earlier[row['problem']])]


def _first(row: dict) -> dict | None:
    """The first sampled output, or the greedy one where nothing was sampled."""
    return row['outputs'][0] if row['outputs'] else row['greedy']


def _counts(kinds: Sequence[tuple]) -> str:
    if len(kinds[0]) == 1:
        return f'The first output is right on {kinds.count((True,))} of {len(kinds)} questions.'
    return (f'The first output of {len(kinds)} questions: from wrong to right {kinds.count((False, True))}, '
            f'from right to wrong {kinds.count((True, False))}, right both times {kinds.count((True, True))}, '
            f'wrong both times {kinds.count((False, False))}.')


def _card(pair: Sequence[dict], names: Sequence[tuple[str, str]]) -> str:
    language = escape(pair[-1]['language'])
    outputs = ''.join(_output(row, name, colour, language) for row, (name, colour) in zip(pair, names))
    return (f'<article class="sample"><header><span class="note">{LANGUAGES.get(language, language)}</span>'
            f'<span class="note">answer <b>{escape(pair[-1]["answer"])}</b></span></header>'
            f'<div class="problem" lang="{language}">{escape(pair[-1]["problem"])}</div>'
            f'<div class="pair">{outputs}</div></article>')


def _output(row: dict, name: str, colour: str, language: str) -> str:
    output = _first(row)
    text = output['text']
    left_out = len(text) - MAX_CHARACTERS
    text = text if left_out <= 0 else text[:MAX_CHARACTERS] + f' … ({left_out} more characters)'
    answered = output['extracted'] or 'none'
    return (f'<div class="output {colour}"><div class="head"><b>{escape(name)}</b>{_mark(output["correct"])}'
            f'<span class="note">answers {escape(answered)}</span>{_share(row["outputs"])}</div>'
            f'<div class="text" lang="{language}">{escape(text)}</div></div>')


def _mark(correct: bool) -> str:
    return '<b class="right">✓ right</b>' if correct else '<b class="wrong">✗ wrong</b>'


def _share(outputs: Sequence[dict]) -> str:
    if len(outputs) < 2:
        return ''
    right = sum(bool(output['correct']) for output in outputs)
    return f'<span class="note">{right} of {len(outputs)} outputs right</span>'
