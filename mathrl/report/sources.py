"""What a report is made from, read from the folders of runs, evaluations and stages."""
import dataclasses
import json
import math

from etils import epath

from mathrl import metrics, records


SAMPLE_FIELDS = ('problem', 'answer', 'language', 'greedy', 'outputs')


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run: series maps a metric's name to its steps and values (NaN where it was not finite)."""
    name: str
    series: dict[str, tuple[list[int], list[float]]]
    config: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """scores: the content of scores.json; samples: the lines of samples.jsonl, none if there is no such file."""
    name: str
    scores: dict
    samples: list[dict]
    config: str

    @property
    def score_names(self) -> list[str]:
        """accuracy, greedy, maj@k, pass@k: those that were measured."""
        return [name for name in self.scores
                if name in ('accuracy', 'greedy') or name.startswith(('maj@', 'pass@'))]


def read_run(name: str, folder: epath.PathLike) -> Run:
    path = epath.Path(folder) / 'metrics.jsonl'
    if not path.exists():
        raise ValueError(f'run {name!r}: {path} does not exist; the folder of a training run was wanted')
    series = {}
    for line in metrics.read_metrics(path):
        for metric, value in line.items():
            if metric != 'step':
                steps, values = series.setdefault(metric, ([], []))
                steps.append(line['step'])
                values.append(value if math.isfinite(value) else math.nan)
    return Run(name, series, _read_config(path.parent))


def read_evaluation(name: str, folder: epath.PathLike) -> Evaluation:
    folder = epath.Path(folder)
    path = folder / 'scores.json'
    if not path.exists():
        raise ValueError(f'evaluation {name!r}: {path} does not exist; the folder of an evaluation was wanted')
    try:
        scores = json.loads(path.read_text(encoding='utf-8'))
        scores['questions'], scores['samples'], scores['temperature'], scores['by_language'].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'evaluation {name!r}: {path} is not the scores of an evaluation ({error!r})') from error
    samples = folder / 'samples.jsonl'
    rows = records.read_jsonl(samples, SAMPLE_FIELDS) if samples.exists() else []
    evaluation = Evaluation(name, scores, rows, _read_config(folder))
    if not evaluation.score_names:
        raise ValueError(f'evaluation {name!r}: {path} holds no accuracy, greedy, maj@k or pass@k')
    return evaluation


def read_stages(folder: epath.PathLike) -> list[tuple[str, float]]:
    """(name, seconds so far) of each stage, in order."""
    path = epath.Path(folder) / 'stages.json'
    if not path.exists():
        raise ValueError(f'{path} does not exist; the folder of a stages run was wanted')
    try:
        stages = json.loads(path.read_text(encoding='utf-8'))['stages']
        return [(str(stage['name']), float(stage['seconds'] or 0)) for stage in stages]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not the record of a stages run ({error!r})') from error


def _read_config(folder: epath.Path) -> str:
    path = folder / 'config.gin'
    return path.read_text(encoding='utf-8') if path.exists() else ''
