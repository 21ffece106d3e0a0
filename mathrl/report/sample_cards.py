"""A problem with its outputs as a card: of one run, or of two side by side."""
from collections.abc import Sequence

from mathrl.report import model_text
from mathrl.report.markup import escape
from mathrl.report.samples_source import CHANGES, Output, Sample
from mathrl.report.tables import LANGUAGES

VERDICTS = {'right': '✓ right', 'wrong': '✗ wrong', 'none': '– no answer'}
COLOURS = {'right': 'right', 'wrong': 'wrong', 'none': 'plain'}
# Reasons that the verdict already says.
PLAIN_REASONS = ('', 'equal', 'different', 'no answer')
OPEN_CHARACTERS = 1500   # a longer output is folded at first, and so are all but the first

STYLE = model_text.STYLE + '''
.card { content-visibility: auto; contain-intrinsic-size: auto 420px; }
.card header b { color: var(--ink); } .card[hidden], .output[hidden] { display: none; }
.card .question { font-size: 16px; margin: 6px 0 12px; line-height: 1.6; }
.card .question .raw, .card .output .raw { display: none; white-space: pre-wrap; overflow-wrap: anywhere; }
.as-source .card .raw { display: block; } .as-source .card .shown { display: none; }
.card .output { margin-top: 8px; padding: 4px 0 4px 12px; }
.card .output summary { font-size: 14px; font-weight: 400; color: var(--ink); }
.card .output summary > * { display: inline-block; margin-right: 9px; }
.card .prose { contain: paint; margin: 8px 0 2px; }
.card .sides { margin-top: 12px; gap: 8px 24px; } .card .side { display: block; }
.card h3 .note { font-weight: 400; margin-left: 6px; }
.card .side h3 { font-size: 14px; padding-bottom: 4px; border-bottom: 1px solid var(--hair); }
'''


def card(sample: Sample, number: int) -> str:
    """Of one run."""
    return _card(sample, number, ''.join(_outputs(sample, kinds=True)))


def pair_card(before: Sample, after: Sample, number: int, names: Sequence[str]) -> str:
    """Of two runs; data-kind is the change from the first answer of the one to that of the other."""
    change = CHANGES[before.outputs[0].correct, after.outputs[0].correct]
    sides = ''.join(f'<div class="side"><h3>{escape(name)} <span class="note">{_share(sample)}</span></h3>'
                    f'{"".join(_outputs(sample, kinds=False))}</div>' for name, sample in zip(names, (before, after)))
    return _card(after, number, f'<div class="sides">{sides}</div>', change)


def _card(sample: Sample, number: int, outputs: str, change: str = '') -> str:
    told = [f'#{number}', sample.benchmark, sample.level, LANGUAGES.get(sample.language, sample.language), change]
    kind = f' data-kind="{change.replace(" ", "-")}"' if change else ''
    answer = model_text.answer_to_html(sample.answer)
    return (f'<article class="sample card" data-benchmark="{escape(sample.benchmark)}" data-level="{escape(sample.level)}" '
            f'data-language="{escape(sample.language)}"{kind}><header>'
            f'<span class="note">{escape(" · ".join(part for part in told if part))}</span>'
            f'<span class="note">answer <b>{answer}</b></span></header>'
            f'<div class="question" lang="{escape(sample.language)}">{_text(sample.problem)}</div>{outputs}</article>')


def _outputs(sample: Sample, kinds: bool) -> list[str]:
    return [_output(output, sample.language, kinds, not place and len(output.text) <= OPEN_CHARACTERS)
            for place, output in enumerate(sample.outputs)]


def _output(output: Output, language: str, kinds: bool, opened: bool) -> str:
    kind = f' data-kind="{" ".join(output.kinds)}"' if kinds else ''
    facts = [f'answers {model_text.answer_to_html(output.extracted)}'] * bool(output.extracted)
    facts += [escape(output.reason)] * (output.reason not in PLAIN_REASONS) + ['cut off'] * output.truncated
    facts.append(f'{output.length:,} tokens')
    notes = ''.join(f'<span class="note">{fact}</span>' for fact in facts)
    colour, unfolded = COLOURS[output.verdict], ' open=""' * opened
    return (f'<details class="output {colour}"{kind}{unfolded}><summary><b>{escape(output.name)}</b>'
            f'<b class="{colour}">{VERDICTS[output.verdict]}</b>{notes}</summary>'
            f'<div lang="{escape(language)}">{_text(output.text)}</div></details>')


def _text(text: str) -> str:
    """As HTML, and as written: for the search, and to see what formulas were made from."""
    return f'<div class="prose shown">{model_text.to_html(text)}</div><div class="text raw">{escape(text)}</div>'


def _share(sample: Sample) -> str:
    right = sum(output.correct for output in sample.outputs)
    return f'{right} of {len(sample.outputs)} shown outputs right' if len(sample.outputs) > 1 else ''
