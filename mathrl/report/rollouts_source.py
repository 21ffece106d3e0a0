"""The rollouts that runs kept, read from their folders: rollouts/<step>.jsonl, a line for each question with its outputs."""
import dataclasses
from collections.abc import Iterator, Mapping

from etils import epath

from mathrl.records import numbered_rows

FOLDER = 'rollouts'
FIELDS = ('step', 'question', 'answer', 'outputs')


@dataclasses.dataclass(frozen=True)
class Output:
    """advantage: the mean over its tokens; spans: (text, advantage, reward of the step that ends there), () for one span."""
    text: str
    reward: float
    correct: bool
    extracted: str
    tokens: int
    truncated: bool
    advantage: float | None
    spans: tuple[tuple[str, float | None, float | None], ...]
    rewards: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Group:
    """A question with its outputs at a step of a run."""
    run: str
    step: int
    question: str
    answer: str
    outputs: tuple[Output, ...]


def read(folders: Mapping[str, epath.PathLike], limit: int) -> tuple[list[Group], bool]:
    """(groups, whether all are there) of runs by name: about `limit` outputs in all, of steps evenly spread, the last among them.

    A run without kept rollouts has none. ValueError names the line of a file that holds something else.
    """
    found, whole = [], True
    files = {name: sorted((epath.Path(folder) / FOLDER).glob('*.jsonl')) for name, folder in folders.items()}
    files = {name: paths for name, paths in files.items() if paths}
    for name, paths in files.items():
        share = limit // len(files)
        last = list(_groups(name, paths[-1]))
        chosen = evenly(paths, max(1, share // max(1, _outputs(last))))
        groups = [group for path in chosen[:-1] for group in _groups(name, path)] + last
        while len(groups) > 1 and _outputs(groups) > share:
            groups.pop(0)
            whole = False
        whole = whole and len(chosen) == len(paths)
        found += groups
    return found, whole


def evenly(values: list, count: int) -> list:
    """At most `count` of the values, evenly spread, the last among them. [1, 2, 3, 4, 5], 3 -> [1, 3, 5]; 1 -> [5]"""
    if len(values) <= count:
        return values
    if count == 1:
        return values[-1:]
    return [values[round(place * (len(values) - 1) / (count - 1))] for place in range(count)]


def _outputs(groups: list[Group]) -> int:
    return sum(len(group.outputs) for group in groups)


def _groups(run: str, path: epath.Path) -> Iterator[Group]:
    for number, row in numbered_rows(path, FIELDS):
        try:
            outputs = tuple(_output(one) for one in row['outputs'])
            yield Group(run, int(row['step']), str(row['question']), str(row['answer']), outputs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f'{path} line {number} is no question with its rewarded outputs ({error!r}); a line of the rollouts '
                             'that a run keeps was wanted') from None


def _output(value: dict) -> Output:
    number = lambda x: None if x is None else float(x)
    spans = tuple((str(text), number(advantage), number(reward)) for text, advantage, reward in value.get('spans', ()))
    rewards = {str(name): float(reward) for name, reward in value.get('rewards', {}).items()}
    return Output(str(value['text']), float(value['reward']), bool(value['correct']), str(value.get('extracted') or ''),
                  int(value['tokens']), bool(value['truncated']), number(value.get('advantage')), spans, rewards)
