"""Preprocessors: what goes in and what comes out, for texts, for the three forms of solutions, for both kinds of tokenizer."""
import json

import numpy as np
import pytest

from mathrl.problems import synthetic
from mathrl.problems.prompts import TOOL_TEMPLATES, Templates, prompt
from mathrl.text import tokenizer, train_tokenizer

tf = pytest.importorskip('tensorflow')
tokenizers = pytest.importorskip('tokenizers')
pytest.importorskip('seqio')
import seqio                                             # noqa: E402
from mathrl.data import preprocessors, vocabularies      # noqa: E402
from seqio.test_utils import assert_dataset              # noqa: E402

TOOLS = 'Add é.\n```python\nprint(1+1)\n```\n```output\n2 é\n```\nSo \\boxed{2}.'


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocabulary') / 'tokenizer.model'
    path.write_bytes(train_tokenizer.train(synthetic.texts(0, 800) + [TOOLS], 450))
    return str(path)


@pytest.fixture(scope='module')
def begins(tmp_path_factory):
    """A tokenizer.json that begins texts with a token of its own."""
    folder = tmp_path_factory.mktemp('begins')
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    special = ['<|begin|>', '<|endoftext|>']
    made.train_from_iterator(synthetic.texts(0, 800) + [TOOLS], tokenizers.trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    made.post_processor = tokenizers.processors.TemplateProcessing(single='<|begin|> $A', special_tokens=[('<|begin|>', 0)])
    made.save(str(folder / 'tokenizer.json'))
    names = {'bos_token': special[0], 'eos_token': special[1]}
    (folder / 'tokenizer_config.json').write_text(json.dumps(names))
    return str(folder)


def _features(path):
    known = vocabularies.vocabulary(path)
    return {'inputs': seqio.Feature(known), 'targets': seqio.Feature(known)}


def _of(*rows):
    return tf.data.Dataset.from_tensor_slices({name: [row[name] for row in rows] for name in rows[0]})


def test_texts_and_what_is_kept_of_them():
    rows = [{'text': 'Let $x=1$.', 'language': 'en', 'score': 0.95}, {'text': '解', 'language': 'zh', 'score': 0.2}]
    assert_dataset(preprocessors.text_to_targets(_of(*rows)), [{'targets': 'Let $x=1$.'}, {'targets': '解'}])
    assert_dataset(preprocessors.keep_language(_of(*rows), 'zh'), [rows[1] | {'score': np.float32(0.2)}])
    assert_dataset(preprocessors.keep_scores(_of(*rows), 0.9), [rows[0] | {'score': np.float32(0.95)}])


def test_texts_begin_and_end_as_the_tokenizer_says(model, begins):
    for path in (model, begins):
        ours = tokenizer.load(path)
        wanted = ours.encode_prompt('Let é = 1. ') + [ours.eos_id]
        assert_dataset(preprocessors.encode_texts(_of({'targets': 'Let é = 1. '}), _features(path)),
                       {'targets': wanted, 'targets_pretokenized': 'Let é = 1. '})
        assert (wanted[0] == ours.bos_id) == (path == begins)


def test_three_forms_of_solutions():
    templates = Templates(en='Q: {problem}\n')
    asked = {'problem': '1+1?', 'answer': '2'}
    rows = [asked | {'solution': '1+1=<<1+1=2>>2', 'form': 'cot'}, asked | {'solution': 'print(1 << 1)\n', 'form': 'pot'},
            asked | {'solution': TOOLS, 'form': 'tir'}, asked | {'solution': 'It is 2.', 'form': 'tir'}]
    tools = prompt('1+1?', TOOL_TEMPLATES)
    assert_dataset(preprocessors.problems_to_pairs(_of(*rows), templates), [
        {'inputs': 'Q: 1+1?\n', 'targets': '1+1=2\nThe answer is \\boxed{2}.'},
        {'inputs': tools, 'targets': '```python\nprint(1 << 1)\n```'},
        {'inputs': tools, 'targets': TOOLS},
        {'inputs': tools, 'targets': 'It is 2.\nThe answer is \\boxed{2}.'}])


def test_prompts_are_those_of_evaluation_and_all_of_an_answer_is_trained_on(model, begins):
    for path in (model, begins):
        ours = tokenizer.load(path)
        answer = ours.encode('So 2.') + [ours.eos_id]
        assert_dataset(preprocessors.encode_pairs(_of({'inputs': 'Q: 1?\n', 'targets': 'So 2.'}), _features(path)),
                       {'inputs': ours.encode_prompt('Q: 1?\n'), 'targets': answer, 'trained': [1] * len(answer),
                        'inputs_pretokenized': 'Q: 1?\n', 'targets_pretokenized': 'So 2.'})


def test_nothing_that_a_tool_wrote_is_trained_on(model, begins):
    for path in (model, begins):
        ours = tokenizer.load(path)
        row, = preprocessors.encode_pairs(_of({'inputs': 'Q', 'targets': TOOLS}), _features(path)).as_numpy_iterator()
        assert row['targets'].tolist() == ours.encode(TOOLS) + [ours.eos_id]
        trained = ours.decode(row['targets'][row['trained'] == 1])
        assert trained == TOOLS.replace('```output\n2 é\n```\n', '')
        assert row['trained'][-1] == 1


@pytest.mark.parametrize('text, wanted', [
    ('A\n```output\n2\n```\nB', [[2, 18]]),
    ('no call', []),
    ('```output\n1\n```\nx ```output\n2\n``` ', [[0, 16], [18, 34]]),
    ('cut ```output\n3', [[4, 15]]),
    ('```python\nprint()\n```', []),
])
def test_tool_spans(text, wanted):
    assert preprocessors.tool_spans(text.encode()).tolist() == wanted


def test_a_tokenizer_json_is_a_vocabulary(begins):
    known, ours = vocabularies.vocabulary(begins), tokenizer.load(begins)
    ids = ours.encode('Let é = 1.')
    assert (known.vocab_size, known.eos_id, known.bos_id) == (ours.vocab_size, ours.eos_id, ours.bos_id)
    assert known.encode('Let é = 1.') == ids and known.decode(ids) == ours.decode(ids)
    assert known.encode_tf(tf.constant('Let é = 1.')).numpy().tolist() == ids
    assert known.decode_tf(tf.constant(ids)).numpy().decode() == ours.decode(ids)
    assert known == vocabularies.vocabulary(begins) != vocabularies.vocabulary('other.json')
