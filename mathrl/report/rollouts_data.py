"""Rollouts as compressed JSON for the page's script: texts cut at their formulas, each formula drawn once.

{"runs": [name], "formulas": [[MathML, as written]], "questions": [pieces], "groups": [[run, step, question, answer, [output, ...]]]}
output: [pieces, reward, advantage or null, verdict, extracted, tokens, cut off, [[source, reward]], [[pieces, advantage, reward]]]
A piece is a text, [0 or 1 (display), number of a formula], or [2, code, language]. No text is ever markup: of markup there
are formulas alone, which report/latex.py writes.
"""
import base64
import gzip
import json
from collections.abc import Sequence

from mathrl.report import latex
from mathrl.report.markup import printable
from mathrl.report.model_text import Piece, pieces
from mathrl.report.rollouts_source import Group, Output
from mathrl.report.samples_source import shorten

RIGHT, WRONG, NONE = 0, 1, 2
CHARACTERS = 6000        # of a text
DRAWN = 50_000           # different formulas; further ones stay as they were written


def encode(groups: Sequence[Group]) -> str:
    """As gzip in base64: a tenth of the size, and nothing in it is markup to HTML or XML."""
    table = _Formulas()
    runs = list(dict.fromkeys(group.run for group in groups))
    texts = list(dict.fromkeys(group.question for group in groups))
    places = {text: place for place, text in enumerate(texts)}
    questions = [table.cut(shorten(text, CHARACTERS)) for text in texts]
    encoded = [[runs.index(group.run), group.step, places[group.question], printable(shorten(group.answer, 300)),
                [_output(output, table) for output in group.outputs]] for group in groups]
    found = {'runs': [printable(run) for run in runs], 'questions': questions, 'groups': encoded, 'formulas': table.drawn}
    text = json.dumps(found, ensure_ascii=False, separators=(',', ':'), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode('utf-8'), mtime=0)).decode()


class _Formulas:
    """The formulas met so far, drawn."""

    def __init__(self):
        self.drawn, self._places = [], {}

    def cut(self, text: str) -> list:
        found = []
        for piece in pieces(printable(text)):
            one = self._piece(piece)
            if isinstance(one, str) and found and isinstance(found[-1], str):
                found[-1] += one
            elif one != '':
                found.append(one)
        return found

    def _piece(self, piece: Piece) -> str | list:
        match piece.kind:
            case 'text':
                return piece.source
            case 'code':
                return [2, piece.source, piece.inside]
        block = piece.kind == 'block'
        key = (piece.inside, block)
        if key not in self._places:
            drawn = latex.mathml(*key) if len(self.drawn) < DRAWN else None
            self._places[key] = None if drawn is None else len(self.drawn)
            if drawn is not None:
                self.drawn.append([drawn, piece.source])
        place = self._places[key]
        return piece.source if place is None else [int(block), place]


def _output(output: Output, table: _Formulas) -> list:
    verdict = RIGHT if output.correct else WRONG if output.extracted else NONE
    spans, room = [], CHARACTERS
    for text, advantage, reward in output.spans:
        spans.append([table.cut(shorten(text, room)), advantage, reward])
        room -= len(text)
        if room <= 0:
            break
    texts = [] if spans else table.cut(shorten(output.text, CHARACTERS))
    return [texts, output.reward, output.advantage, verdict, printable(shorten(output.extracted, 300)), output.tokens,
            int(output.truncated), [[printable(name), reward] for name, reward in output.rewards.items()], spans]
