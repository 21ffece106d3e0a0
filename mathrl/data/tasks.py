"""seqio tasks over JSONL files: text to pre-train on, solved problems to fine-tune on; and their examples.

TensorFlow and seqio are imported here, and not where models are trained: training reads what `pack` wrote.
"""
import os
from collections.abc import Iterator, Sequence

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')   # before the import: it greets at length otherwise
import numpy as np
import seqio
import tensorflow as tf

from mathrl import records
from mathrl.data.packing import Example
from mathrl.problems.prompts import Templates, prompt
from mathrl.problems.types import read_problems
from mathrl.problems.worked import worked_solution
from mathrl.text import tokenizer as tokenizers

# Text needs no accelerator, and TensorFlow would take all of its memory.
tf.config.set_visible_devices([], 'GPU')

SEQIO_VERSION = seqio.__version__
Mixture = seqio.Mixture


def text_task(paths: Sequence[str], tokenizer: str, name: str = 'text') -> seqio.Task:
    """Pre-training on `text` of JSONL files; `tokenizer` is a tokenizer.model or the folder of one."""
    return seqio.Task(
        name,
        source=JsonlSource(lambda: {'text': [row['text'] for path in paths
                                             for row in records.read_jsonl(path, ('text',))]}),
        preprocessors=[text_to_targets, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={'targets': _feature(tokenizer, add_eos=True)})


def sft_task(paths: Sequence[str], tokenizer: str, templates: Templates = Templates(),
             name: str = 'sft') -> seqio.Task:
    """Fine-tuning on `problem`, `answer` and `solution` of JSONL files: prompt in, worked solution out."""
    return seqio.Task(
        name,
        source=JsonlSource(lambda: _problem_columns(paths)),
        preprocessors=[lambda dataset: problems_to_pairs(dataset, templates),
                       seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={'inputs': _feature(tokenizer, add_eos=False),
                         'targets': _feature(tokenizer, add_eos=True)})


def mixture(parts: Sequence[tuple[seqio.Task, float]], name: str = 'mixture') -> seqio.Mixture:
    """Tasks with the same features, examples taken at the given rates: [(text_task(...), 0.56), ...]."""
    return seqio.Mixture(name, [(part, float(rate)) for part, rate in parts])


def text_to_targets(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """{'text': 'Let $x=1$.'} -> {'targets': 'Let $x=1$.'}"""
    return dataset.map(lambda row: {'targets': row['text']})


def problems_to_pairs(dataset: tf.data.Dataset, templates: Templates = Templates()) -> tf.data.Dataset:
    """{'problem': '1+1?', 'answer': '2', 'solution': '1+1=<<1+1=2>>2'} ->
    {'inputs': 'User: 1+1?\\nPlease reason ...', 'targets': '1+1=2\\nThe answer is \\boxed{2}.'}"""
    def pair(problem, answer, solution):
        problem, answer, solution = (value.decode() for value in (problem, answer, solution))
        return prompt(problem, templates).encode(), worked_solution(problem, answer, solution).encode()

    def convert(row):
        # Python, not TensorFlow's string operations: reinforcement learning must read the very same prompts.
        fields = [row['problem'], row['answer'], row['solution']]
        inputs, targets = tf.numpy_function(pair, fields, [tf.string] * 2)
        return {'inputs': tf.ensure_shape(inputs, []), 'targets': tf.ensure_shape(targets, [])}
    return dataset.map(convert)


def examples(task: seqio.Task | seqio.Mixture, seed: int, epochs: int | None = 1) -> Iterator[Example]:
    """A task's tokenized examples, shuffled; epochs=None goes round for ever (a mixture always does)."""
    dataset = task.get_dataset(sequence_length=None, split='train', shuffle=True, seed=seed,
                               num_epochs=None if isinstance(task, seqio.Mixture) else epochs)
    for row in dataset.as_numpy_iterator():
        prompt_ids = row.get('inputs', np.zeros(0, np.int32)).tolist()
        yield Example(prompt_ids + row['targets'].tolist(), len(prompt_ids))


def tokenizer_of(task: seqio.Task | seqio.Mixture):
    """Our tokenizer from the file of the task's vocabulary. ValueError if it is missing or pads otherwise."""
    vocabulary = task.output_features['targets'].vocabulary
    tokenizer = tokenizers.load(vocabulary.sentencepiece_model_file)
    if tokenizer.pad_id != vocabulary.pad_id:
        raise ValueError(f'{vocabulary.sentencepiece_model_file} pads with id {tokenizer.pad_id}; '
                         f'seqio pads with {vocabulary.pad_id}')
    return tokenizer


class JsonlSource(seqio.DataSource):
    """Columns of text, read when data is asked for and shuffled whole, since they are in memory."""

    def __init__(self, read_columns):
        self._read_columns = read_columns
        super().__init__(splits=('train',))

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return True

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def get_dataset(self, split='train', shuffle=True, seed=None, shard_info=None, *, sequence_length=None,
                    use_cached=False, num_epochs=1) -> tf.data.Dataset:
        columns = {name: np.array(values, object) for name, values in self._read_columns().items()}
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(next(iter(columns.values()))))
            columns = {name: values[order] for name, values in columns.items()}
        dataset = tf.data.Dataset.from_tensor_slices(columns)
        if shard_info and shard_info.num_shards > 1:
            dataset = dataset.shard(shard_info.num_shards, shard_info.index)
        return dataset


def _problem_columns(paths: Sequence[str]) -> dict[str, list[str]]:
    problems = [problem for path in paths for problem in read_problems(path)]
    return {'problem': [one.problem for one in problems], 'answer': [one.answer for one in problems],
            'solution': [one.solution for one in problems]}


def _feature(tokenizer: str, add_eos: bool) -> seqio.Feature:
    path = str(tokenizer)
    if path.endswith('.json'):
        raise ValueError(f'tokenizer={path!r}: seqio tasks read SentencePiece models only, a tokenizer.model')
    if not path.endswith('.model'):
        path = os.path.join(path, tokenizers.SENTENCEPIECE_FILE)
    return seqio.Feature(seqio.SentencePieceVocabulary(path, extra_ids=0), add_eos=add_eos)
