"""Outputs with labels, as reward models are trained and measured on: JSONL in, padded groups of a problem's outputs out."""
import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mathrl.problems.prompts import Templates, prompt
from mathrl.records import numbered_rows
from mathrl.rl.step_ends import encoded_steps
from mathrl.sampling.rollout import pad_prompts, prompt_width


@dataclasses.dataclass(frozen=True)
class Labelled:
    """An output's tokens (the end token included), the places of its steps' last ones, a label for each, and its verdict."""
    ids: list[int]
    places: list[int]
    labels: list[float]
    correct: bool


@dataclasses.dataclass(frozen=True)
class Text:
    """An output as it is read: steps (character end, label) in order, the last at its end."""
    output: str
    ended: bool
    correct: bool
    steps: list[tuple[int, float]]


class LabelledOutputs:
    """Groups of up to group_size outputs of one problem each, out of rows (where it stands, the row); read() gives a file's.

    A row is one of step_labels, with steps, or of problem, output, correct, or of an evaluation's samples.jsonl. process:
    every step counts, as labelled; else the output's verdict, at its end. rule: how the steps were found, '' for outcome.
    """

    def __init__(self, rows: Iterable[tuple[str, dict]], tokenizer, templates: Templates, process: bool, group_size: int):
        self.rule, by_problem = '', collections.defaultdict(list)
        for where, row in rows:
            if process:
                self._agree(where, row)
            for text in _texts(row, where, process):
                by_problem[row['problem']].append(_encoded(text, tokenizer))
        self.groups = [(problem, outputs[start:start + group_size]) for problem, outputs in by_problem.items()
                       for start in range(0, len(outputs), group_size)]
        prompts = {problem: tokenizer.encode_prompt(prompt(problem, templates)) for problem in by_problem}
        self._prompts = [prompts[problem] for problem, _ in self.groups]
        self._prompt_width, self._pad_id, self._group_size = prompt_width(self._prompts), tokenizer.pad_id, group_size
        self._width = prompt_width([one.ids for one in self.outputs(range(len(self.groups)))])

    @property
    def shape(self) -> tuple[int, int]:
        """(tokens of a padded prompt, of a padded output)."""
        return self._prompt_width, self._width

    def outputs(self, rows) -> list[Labelled]:
        return [one for row in rows for one in self.groups[row][1]]

    def rows(self, seed: int, step: int, count: int) -> np.ndarray:
        """Which groups a step takes: whole passes, each in an order of its own."""
        per_pass = max(len(self.groups) // count, 1)
        order = np.random.default_rng((seed, step // per_pass)).permutation(len(self.groups))
        return np.resize(order[step % per_pass * count:], count)

    def padded(self, rows) -> dict[str, np.ndarray]:
        """Some groups under the names of rl.reward_step.RewardExamples; padding has no step end."""
        shape = (len(rows), self._group_size, self._width)
        tokens_QGT = np.full(shape, self._pad_id, np.int32)
        labels_QGT, ends_QGT = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        for q, row in enumerate(rows):
            for g, one in enumerate(self.groups[row][1]):
                tokens_QGT[q, g, :len(one.ids)] = one.ids
                labels_QGT[q, g, one.places], ends_QGT[q, g, one.places] = one.labels, 1
        prompt_QS, length_Q = pad_prompts([self._prompts[row] for row in rows], self._prompt_width, self._pad_id)
        return dict(prompt_QS=prompt_QS, prompt_length_Q=length_Q, tokens_QGT=tokens_QGT, labels_QGT=labels_QGT,
                    step_ends_QGT=ends_QGT)

    def _agree(self, where: str, row: dict) -> None:
        for field, missing in (('steps', 'are no steps'), ('rule', 'is no rule of steps')):
            if field not in row:
                raise ValueError(f'{where}: there {missing}; a process model wants lines of the program step_labels')
        self.rule = self.rule or row['rule']
        if row['rule'] != self.rule:
            raise ValueError(f"{where}: steps by the rule {row['rule']!r}, and others by {self.rule!r}; one rule was wanted")


def read(files: str | Sequence[str]) -> Iterator[tuple[str, dict]]:
    """(the file and the line, its row) of all lines."""
    for path in [files] if isinstance(files, str) else files:
        for number, row in numbered_rows(path, ('problem',)):
            yield f'{path} line {number}', row


def _texts(row: dict, where: str, process: bool) -> list[Text]:
    if 'outputs' in row:
        return [Text(one['text'], not one['truncated'], one['correct'], [(len(one['text']), float(one['correct']))])
                for one in row['outputs']]
    for field, kind in (('output', str), ('correct', bool)):
        if not isinstance(row.get(field), kind):
            raise ValueError(f'{where}: field {field!r} is {row.get(field)!r:.60}; wanted was a line of step_labels, of an '
                             "evaluation's samples.jsonl, or problem, output and correct")
    steps = [(len(row['output']), float(row['correct']))]
    if process:
        steps = [(step['end'], float(step['label'])) for step in row['steps']]
    return [Text(row['output'], row.get('ended', True), row['correct'], steps)]


def _encoded(text: Text, tokenizer) -> Labelled:
    ids, places = encoded_steps(text.output, [end for end, _ in text.steps], text.ended, tokenizer)
    labels = dict(zip(places, [label for _, label in text.steps]))      # of steps that end in one token the last counts
    return Labelled(ids, list(labels), list(labels.values()), text.correct)
