"""seqio preprocessors: from the rows of files to tokens, with the tokens that are trained on marked.

{'targets': ids} is a text; {'inputs': ids, 'targets': ids, 'trained': 0 or 1 for each target} a solved problem.
"""
import re

import numpy as np
import tensorflow as tf

from mathrl.data.vocabularies import encode, encode_with_offsets, first_ids
from mathrl.problems import extract
from mathrl.problems.prompts import TOOL_TEMPLATES, Templates, language, prompt
from mathrl.problems.worked import ANSWER, worked_solution

# What a tool wrote into a solution: an ```output block, with the line break behind it.
_OUTPUT = re.compile(rb'```output[ \t]*\n.*?(?:```[ \t]*(?:\n|\Z)|\Z)', re.DOTALL)


# ---- texts
def text_to_targets(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """{'text': 'Let $x=1$.', 'url': 'https://a.org/x'} -> {'targets': 'Let $x=1$.'}"""
    return dataset.map(lambda row: {'targets': row['text']})


def keep_language(dataset: tf.data.Dataset, language: str) -> tf.data.Dataset:
    """With language='zh': {'text': '解', 'language': 'zh'} stays, {'text': 'So', 'language': 'en'} goes."""
    return dataset.filter(lambda row: row['language'] == language)


def keep_scores(dataset: tf.data.Dataset, at_least: float) -> tf.data.Dataset:
    """With at_least=0.9: {'text': 'Let', 'score': 0.95} stays, {'text': 'Buy', 'score': 0.2} goes."""
    return dataset.filter(lambda row: row['score'] >= at_least)


def encode_texts(dataset: tf.data.Dataset, output_features) -> tf.data.Dataset:
    """{'targets': 'Let $x=1$.'} -> {'targets': [0, 7, 8, 1], 'targets_pretokenized': 'Let $x=1$.'}

    0 stands for the token that the tokenizer begins a text with, where it does; 1 is its end token.
    """
    known = output_features['targets'].vocabulary
    first, end = first_ids(known), known.eos_id
    return dataset.map(lambda row: {'targets': tf.concat([first, encode(known, row['targets']), [end]], 0),
                                    'targets_pretokenized': row['targets']})


# ---- solved problems
def problems_to_pairs(dataset: tf.data.Dataset, templates: Templates = Templates(),
                      tool_templates: Templates = TOOL_TEMPLATES) -> tf.data.Dataset:
    """{'problem': '1+1?', 'answer': '2', 'solution': '1+1=<<1+1=2>>2', 'form': 'cot'} ->
    {'inputs': 'User: 1+1?\\nPlease reason ...', 'targets': '1+1=2\\nThe answer is \\boxed{2}.'}

    A row without `form` is 'cot'. With form 'pot' and solution 'print(1+1)': targets '```python\\nprint(1+1)\\n```'
    behind the prompt for tools, as the paper shows no prompt for programs. With 'tir' the solution stands as it is.
    """
    def pair(problem, answer, solution, form):
        problem, answer, solution, form = (value.decode() for value in (problem, answer, solution, form))
        asked = prompt(problem, templates if form == 'cot' else tool_templates)
        return asked.encode(), _written(problem, answer, solution, form).encode()

    def convert(row):
        # Python, not TensorFlow's string operations: reinforcement learning must read the very same prompts.
        fields = [row['problem'], row['answer'], row['solution'], row.get('form', 'cot')]
        inputs, targets = tf.numpy_function(pair, fields, [tf.string] * 2)
        return {'inputs': tf.ensure_shape(inputs, []), 'targets': tf.ensure_shape(targets, [])}
    return dataset.map(convert)


def _written(problem: str, answer: str, solution: str, form: str) -> str:
    """What the model is to write."""
    if form == 'cot':
        return worked_solution(problem, answer, solution)
    text = solution.strip()
    if form == 'pot':
        return text if text.startswith('```') else f'```python\n{text}\n```'
    if extract.boxed(text) is not None:
        return text
    return f'{text}\n{ANSWER[language(problem)].format(answer=answer)}'


def encode_pairs(dataset: tf.data.Dataset, output_features) -> tf.data.Dataset:
    """{'inputs': 'User: 1+1?', 'targets': '```python\\nprint(1+1)\\n```\\n```output\\n2\\n```\\n2'} ->
    {'inputs': [50, 7], 'targets': [9, 4, 5, 9, 6, 2, 9, 2, 1], 'trained': [1, 1, 1, 1, 0, 0, 0, 1, 1]}

    Both texts stay, as inputs_pretokenized and targets_pretokenized. The prompt begins as prompts do, the answer ends with
    the end token. Not trained on: what lies in ```output blocks.
    """
    known = output_features['targets'].vocabulary
    first, end = first_ids(known), known.eos_id

    def convert(row):
        ids, starts, ends = encode_with_offsets(known, row['targets'])
        spans = tf.ensure_shape(tf.numpy_function(tool_spans, [row['targets']], tf.int64), [None, 2])
        begins, behind = starts[:, None] >= spans[:, 0], ends[:, None] > spans[:, 0]
        tool = tf.reduce_any((starts[:, None] < spans[:, 1]) & (begins | behind), 1)
        return {'inputs': tf.concat([first, encode(known, row['inputs'])], 0),
                'targets': tf.concat([ids, [end]], 0),
                'trained': tf.concat([1 - tf.cast(tool, tf.int32), [1]], 0),
                'inputs_pretokenized': row['inputs'], 'targets_pretokenized': row['targets']}
    return dataset.map(convert)


def tool_spans(text: bytes) -> np.ndarray:
    """[[start, end]] in bytes of the ```output blocks: b'A\\n```output\\n2\\n```\\nB' -> [[2, 18]]"""
    spans = [match.span() for match in _OUTPUT.finditer(text)]
    return np.array(spans, np.int64).reshape(-1, 2)

