"""The rows of samples.jsonl that a page shows: read a line at a time, counted all, chosen and shortened to limits."""
import collections
import dataclasses
from collections.abc import Iterator, Mapping

from etils import epath

from mathrl.records import numbered_rows

FIELDS = ('problem', 'answer', 'language', 'greedy', 'outputs')
# Whether a problem's first answer was right in one run, and then in the other.
CHANGES = {(False, True): 'became right', (True, False): 'became wrong', (True, True): 'both right',
           (False, False): 'both wrong'}


@dataclasses.dataclass(frozen=True)
class Limits:
    """problems: shown in all, each benchmark its share; outputs: sampled ones of a problem; characters: of a text."""
    problems: int = 500
    outputs: int = 4
    characters: int = 6000


@dataclasses.dataclass(frozen=True)
class Output:
    """`name` is 'greedy' or 'sample 3'; extracted is '' where there is no answer."""
    name: str
    text: str
    extracted: str
    correct: bool
    reason: str
    length: int
    truncated: bool

    @property
    def verdict(self) -> str:
        """right, wrong, or none: no answer was found."""
        return 'right' if self.correct else 'wrong' if self.extracted else 'none'

    @property
    def kinds(self) -> list[str]:
        return [self.verdict] + ['cut'] * self.truncated


@dataclasses.dataclass(frozen=True)
class Sample:
    """A problem with its outputs, the greedy one first where there is one; `place` counts equal problems before it."""
    benchmark: str
    level: str
    language: str
    problem: str
    answer: str
    place: int
    outputs: tuple[Output, ...]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.benchmark, self.problem, self.place


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page shows: `samples`, `earlier` (of another run, by key), and counts over all of the file.

    counts: benchmark -> Counter of problems, outputs, right, wrong, none, cut, sampled (the most of a problem) and,
    against another run, of CHANGES; unmatched: problems that only one of the runs has.
    """
    samples: list[Sample]
    earlier: dict[tuple[str, str, int], Sample]
    counts: dict[str, collections.Counter]
    unmatched: int


def read(path: epath.PathLike, against: epath.PathLike | None = None, limits: Limits = Limits()) -> Page:
    """Of the run in `path`, and of an earlier one where `against` names it; changed problems are then taken first."""
    before = {sample.key: sample.outputs[0].correct for sample in _samples(against)} if against else {}
    counts, chosen_from, matched = {}, {}, 0
    for sample in _samples(path):
        if against and sample.key not in before:
            continue
        count = counts.setdefault(sample.benchmark, collections.Counter())
        count.update(['problems'], outputs=len(sample.outputs))
        count.update(kind for output in sample.outputs for kind in output.kinds)
        count['sampled'] = max(count['sampled'], sum(output.name != 'greedy' for output in sample.outputs))
        change = None
        if against:
            change = (before[sample.key], sample.outputs[0].correct)
            count[CHANGES[change]] += 1
            matched += 1
        chosen_from.setdefault(sample.benchmark, []).append((change, sample.key))
    if against and not matched:
        raise ValueError(f'{path} and {against} have no problem of the same benchmark in common, so that there is '
                         'nothing to compare')
    if not counts:
        raise ValueError(f'{path}: its problems have no outputs, so that there is nothing to show')
    keys = _chosen(chosen_from, limits.problems)
    shown = lambda source: [_shortened(sample, limits) for sample in _samples(source) if sample.key in keys]
    every = sum(1 for _ in _samples(path)) if against else 0
    return Page(shown(path), {sample.key: sample for sample in shown(against)} if against else {}, counts,
                len(before) + every - 2 * matched)


def shares(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many of each: as equal as can be, with `limit` in all. {'a': 2, 'b': 9, 'c': 9}, 12 -> a 2, b 5, c 5."""
    given, left = {}, limit
    for number, name in enumerate(sorted(counts, key=counts.get)):
        given[name] = min(counts[name], left // (len(counts) - number))
        left -= given[name]
    return given


def _chosen(found: dict[str, list[tuple]], limit: int) -> set[tuple]:
    share = shares({benchmark: len(problems) for benchmark, problems in found.items()}, limit)
    unchanged = lambda problem: problem[0] is None or problem[0][0] == problem[0][1]
    return {key for benchmark, problems in found.items()
            for _, key in sorted(problems, key=unchanged)[:share[benchmark]]}


def _shortened(sample: Sample, limits: Limits) -> Sample:
    outputs, sampled = [], 0
    for output in sample.outputs:
        sampled += output.name != 'greedy'
        if sampled <= limits.outputs:
            outputs.append(dataclasses.replace(output, text=shorten(output.text, limits.characters),
                                               extracted=shorten(output.extracted, 300)))
    return dataclasses.replace(sample, problem=shorten(sample.problem, limits.characters), outputs=tuple(outputs))


def shorten(text: str, limit: int) -> str:
    left_out = len(text) - limit
    return text if left_out <= 0 else f'{text[:limit]} … ({left_out:,} more characters)'


def _samples(path: epath.PathLike) -> Iterator[Sample]:
    """ValueError names the line of a row that is no problem with its outputs."""
    seen = collections.Counter()
    for number, row in numbered_rows(path, FIELDS):
        try:
            texts = [str(row.get(name) or '') for name in ('benchmark', 'level', 'language')]
            greedy = [] if row['greedy'] is None else [_output('greedy', row['greedy'])]
            outputs = [_output(f'sample {place}', output) for place, output in enumerate(row['outputs'], start=1)]
            problem, answer = str(row['problem']), str(row['answer'])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f'{path} line {number} is no problem with its graded outputs ({error!r}); a row of an '
                             'evaluation\'s samples.jsonl was wanted') from None
        if not greedy + outputs:
            continue
        place = seen[texts[0], problem]
        seen[texts[0], problem] += 1
        yield Sample(*texts, problem, answer, place, tuple(greedy + outputs))


def _output(name: str, value: dict) -> Output:
    return Output(name, str(value['text']), str(value['extracted'] or ''), bool(value['correct']),
                  str(value.get('reason') or ''), int(value['length']), bool(value['truncated']))
