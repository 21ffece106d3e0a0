"""seqio tasks over files: texts to pre-train on, solved problems to fine-tune on; mixtures of them; their examples.

TensorFlow and seqio are imported here and below, and not where models are trained: training reads what `pack` wrote.
"""
import functools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf

from mathrl.data import files, preprocessors, sources
from mathrl.data.mixing import check_rates
from mathrl.data.packing import Example
from mathrl.data.vocabularies import tokenizer_of, vocabulary
from mathrl.problems.prompts import TOOL_TEMPLATES, Templates

SEQIO_VERSION = seqio.__version__
Task = seqio.Task
Mixture = seqio.Mixture
__all__ = ['tokenizer_of']      # handed on


def text_task(paths: Sequence[str], tokenizer: str, name: str = 'text', field: str = 'text', lacking: str = 'refuse',
              language: str = '', min_score: float | None = None, heldout: float = 0.0) -> seqio.Task:
    """Pre-training on the texts of files (data/files.py): the mined corpus, AlgebraicStack, arXiv, code, natural language.

    tokenizer: a tokenizer.model, a tokenizer.json or the folder of one. field: where rows keep their text (`content` in The
    Stack's code); lacking: 'refuse' or 'skip' rows without it. language, min_score: keep only rows whose `language` is this,
    whose `score` is at least this, as `mine` writes both. heldout: the share of texts that the split 'heldout' has alone.
    """
    if lacking not in ('refuse', 'skip'):
        raise ValueError(f"lacking={lacking!r}; 'refuse' or 'skip' was wanted")
    kept = [functools.partial(preprocessors.keep_language, language=language)] if language else []
    kept += [functools.partial(preprocessors.keep_scores, at_least=min_score)] if min_score is not None else []
    return seqio.Task(
        name,
        source=sources.FileSource(paths, functools.partial(sources.text_columns, field=field, lacking=lacking),
                                  sources.TEXT, heldout),
        preprocessors=[*kept, preprocessors.text_to_targets, preprocessors.encode_texts],
        output_features={'targets': seqio.Feature(vocabulary(tokenizer))})


def sft_task(paths: Sequence[str], tokenizer: str, templates: Templates = Templates(), name: str = 'sft',
             programs: Sequence[str] = (), tools: Sequence[str] = (), tool_templates: Templates = TOOL_TEMPLATES,
             heldout: float = 0.0) -> seqio.Task:
    """Fine-tuning on `problem`, `answer` and `solution` of files: prompt in, solution out; only the solution is trained on.

    paths: chains of thought; programs: solutions that are programs (PoT); tools: solutions with ```python and ```output
    blocks, of which the latter are not trained on. All are shuffled as one.
    """
    of = functools.partial(sources.problem_columns, programs=tuple(map(str, programs)), tools=tuple(map(str, tools)))
    known = vocabulary(tokenizer)
    return seqio.Task(
        name,
        source=sources.FileSource([*paths, *programs, *tools], of, sources.PROBLEM, heldout),
        preprocessors=[functools.partial(preprocessors.problems_to_pairs, templates=templates,
                                         tool_templates=tool_templates), preprocessors.encode_pairs],
        output_features={'inputs': seqio.Feature(known, add_eos=False), 'targets': seqio.Feature(known),
                         'trained': seqio.Feature(seqio.PassThroughVocabulary(2), add_eos=False)})


def mixture(tasks: Sequence[seqio.Task], rates: Mapping[str, float], name: str = 'mixture') -> seqio.Mixture:
    """Tasks with the same features, examples taken at random at the rates {task's name: any positive number}."""
    names = [task.name for task in tasks]
    check_rates(rates, names)
    return seqio.Mixture(name, [(task, float(rates[task.name])) for task in tasks])


def parts(task: seqio.Task | seqio.Mixture) -> list[seqio.Task]:
    """The tasks of a mixture; the task itself."""
    return task.tasks if isinstance(task, seqio.Mixture) else [task]


def examples(task: seqio.Task | seqio.Mixture, seed: int, epochs: int | None = 1, split: str = sources.TRAIN,
             part: tuple[int, int] | None = None, shuffle: bool = True) -> Iterator[Example]:
    """A task's tokenized examples, shuffled; epochs=None goes round for ever (a mixture always does).

    part: (index, of how many parts), which together are the whole.
    """
    dataset = task.get_dataset(sequence_length=None, split=split, shuffle=shuffle, seed=seed,
                               shard_info=seqio.ShardInfo(*part) if part else None,
                               num_epochs=None if isinstance(task, seqio.Mixture) else epochs)
    for row in as_numpy(dataset):
        yield _example(row)


def _example(row: dict) -> Example:
    asked = row.get('inputs', np.zeros(0, np.int32)).tolist()
    trained = row.get('trained')
    if trained is not None and not trained.all():
        trained = [0] * len(asked) + trained.tolist()
    else:
        trained = None
    return Example(asked + row['targets'].tolist(), len(asked), trained, len(row.get('targets_pretokenized', b'')))


def as_numpy(dataset: tf.data.Dataset) -> Iterator[dict]:
    """The rows. A reader's ValueError comes as it was raised, without TensorFlow's words around it."""
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.OpError as error:
        said = re.search(r'ValueError: (.*?)\n+Traceback', error.message, re.DOTALL)
        if not said:
            raise
        raise ValueError(said[1]) from None


def inputs(task: seqio.Task | seqio.Mixture) -> list[tuple[str, int]]:
    """The files of a task, with their bytes."""
    return [(file, files.size(file)) for one in parts(task) if isinstance(one.source, sources.FileSource)
            for group in one.source.groups() for file in group]


def natural_parts(task: seqio.Task | seqio.Mixture, split: str = sources.TRAIN) -> int:
    """Into how many parts its files fall; of a mixture, those of the task that has most."""
    return max(len(one.source.list_shards(split)) for one in parts(task))


def check(task: seqio.Task | seqio.Mixture, split: str = sources.TRAIN) -> None:
    """ValueError, before anything is computed: a file is missing or cut off, a split or a task is empty."""
    for one in parts(task):
        if isinstance(one.source, sources.FileSource):
            one.source.check()
        if next(examples(one, seed=0, split=split, shuffle=False), None) is None:
            raise ValueError(f'task {one.name} is empty: no row of its files is in the split {split!r} and kept')
