"""Tokenizers: text comes back as it was, training is deterministic, and both kinds answer to the same names."""
import json
import random

import pytest

from mathrl.problems import synthetic
from mathrl.text import tokenizer, train_tokenizer
from mathrl.text.tokenizer import SentencePieceTokenizer

TEXTS = [text for problem in synthetic.generate(0, 1500) for text in (problem.problem, problem.solution)]
REAL = ['', ' ', '  two  spaces ', '\n\nlines\n', '\ttab\r\n', '\\frac{1}{2} \\leq \\boxed{x^{2}}', '小明有17支铅笔，又买了25支。',
        '２５％ ½ ², ﬁ', 'naïve café', '😀 𝒙 ∫₀¹', '<s></s><pad>', '\x00\x7f', '{problem}', '\u2028\u00a0']


@pytest.fixture(scope='module')
def model():
    return train_tokenizer.train(TEXTS, 512, symbols=['\\boxed{'])


@pytest.fixture(scope='module')
def trained(model):
    return SentencePieceTokenizer(model)


def test_text_comes_back_as_it_was(trained):
    rng = random.Random(0)
    alphabet = ''.join(REAL) + 'abcxyz0123456789+-*/=  \n\\{}$^_小明有支铅笔，。？'
    random_texts = [''.join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(500)]
    for text in TEXTS[:200] + REAL + random_texts:
        ids = trained.encode(text)
        assert trained.decode(ids) == text
        assert all(0 <= one < trained.vocab_size for one in ids) and trained.eos_id not in ids


def test_ids_are_what_the_house_expects(trained):
    assert (trained.pad_id, trained.eos_id, trained.bos_id, trained.vocab_size) == (0, 1, None, 512)
    assert trained.decode([0, 1] + trained.encode('17+25') + [1, 0]) == '17+25'


def test_digits_stand_alone_and_symbols_are_one_token(trained):
    digits = {trained.encode(str(digit))[0] for digit in range(10)}
    assert len(digits) == 10
    assert len(trained.encode('1234567890')) == 10
    assert len(trained.encode('\\boxed{')) == 1
    for text in TEXTS[:200]:
        assert sum(one in digits for one in trained.encode(text)) == sum(character.isdigit() for character in text)


def test_a_prompt_and_an_answer_are_encoded_alike_together_and_apart(trained):
    together = trained.encode('How many?\n17+25=42')
    assert trained.encode('How many?\n') + trained.encode('17+25=42') == together


def test_training_is_deterministic(model):
    assert train_tokenizer.train(iter(TEXTS), 512, symbols=['\\boxed{']) == model
    assert train_tokenizer.train(TEXTS[:900], 512, symbols=['\\boxed{']) != model
    sampled = [train_tokenizer.train(TEXTS, 400, input_sentence_size=600) for _ in range(2)]
    assert sampled[0] == sampled[1]


def test_long_lines_are_not_left_out():
    text = ' '.join(['abcdefg hijklmnop'] * 2000) + ' zq ' * 3
    trained = SentencePieceTokenizer(train_tokenizer.train([text], 285, character_coverage=1.0))
    assert len(trained.encode('abcdefg')) < 7


@pytest.mark.parametrize('model_type', ['bpe', 'unigram'])
@pytest.mark.parametrize('texts, vocab_size, wanted', [
    (TEXTS, 9000, 'vocab_size=9000 is more than these texts give pieces for; at most [0-9]+$'),
    (TEXTS, 300, 'vocab_size=300 is less than the [0-9]+ that 256 bytes and the texts'),
    (['', '\n'], 300, 'no text to train a tokenizer on'),
])
def test_a_vocabulary_that_does_not_fit_is_one_sentence(texts, vocab_size, wanted, model_type):
    with pytest.raises(ValueError, match=wanted):
        train_tokenizer.train(texts, vocab_size, model_type=model_type)


def test_an_unknown_model_type_is_one_sentence():
    with pytest.raises(ValueError, match="unknown model_type 'words'; there are: bpe, unigram"):
        train_tokenizer.train(TEXTS, 512, model_type='words')


def test_loading_a_file_or_its_folder(trained, tmp_path):
    trained.save(tmp_path)
    for path in (tmp_path, tmp_path / 'tokenizer.model', str(tmp_path)):
        loaded = tokenizer.load(path)
        assert loaded.digest == trained.digest and loaded.encode(TEXTS[0]) == trained.encode(TEXTS[0])


def test_the_digest_tells_vocabularies_apart(trained):
    assert SentencePieceTokenizer(train_tokenizer.train(TEXTS, 500)).digest != trained.digest


@pytest.mark.parametrize('name, content, wanted', [
    ('absent/tokenizer.model', None, 'there is no such tokenizer'),
    ('', None, 'holds no tokenizer.model and no tokenizer.json'),
    ('tokenizer.model', 'text', 'is not a SentencePiece model'),
    ('tokenizer.json', '{"a": 1}', 'is not a Hugging Face tokenizer'),
    ('tokenizer.json', '{', 'is not a Hugging Face tokenizer'),
])
def test_a_bad_path_is_one_sentence(tmp_path, name, content, wanted):
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=wanted) as error:
        tokenizer.load(tmp_path / name)
    assert '\n' not in str(error.value)


@pytest.fixture
def hugging_face(tmp_path):
    tokenizers = pytest.importorskip('tokenizers')
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.train_from_iterator(TEXTS, tokenizers.trainers.BpeTrainer(
        vocab_size=600, special_tokens=['<|begin|>', '<|endoftext|>', '<|pad|>'], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    made.post_processor = tokenizers.processors.TemplateProcessing(single='<|begin|> $A',
                                                                   special_tokens=[('<|begin|>', 0)])
    made.enable_truncation(5)
    made.enable_padding()
    made.save(str(tmp_path / 'tokenizer.json'))
    return tmp_path


def test_a_hugging_face_tokenizer_answers_to_the_same_names(hugging_face, tmp_path):
    loaded = tokenizer.load(hugging_face)
    assert (loaded.vocab_size, loaded.eos_id, loaded.pad_id, loaded.bos_id) == (600, 1, 1, None)
    for text in TEXTS[:50] + REAL:
        if '<s>' not in text:
            assert loaded.decode(loaded.encode(text)) == text
    assert 0 not in loaded.encode(TEXTS[0]) and len(loaded.encode(TEXTS[0])) > 5
    assert loaded.decode(loaded.encode('17') + [1, 1]) == '17'


def test_special_tokens_come_from_the_config_beside_it(hugging_face):
    names = {'eos_token': {'content': '<|endoftext|>'}, 'pad_token': '<|pad|>', 'bos_token': '<|begin|>'}
    (hugging_face / 'tokenizer_config.json').write_text(json.dumps(names))
    loaded = tokenizer.load(hugging_face)
    assert (loaded.eos_id, loaded.pad_id, loaded.bos_id) == (1, 2, 0)
    copy = hugging_face / 'copy'
    copy.mkdir()
    loaded.save(copy)
    again = tokenizer.load(copy)
    assert (again.eos_id, again.pad_id, again.digest) == (1, 2, loaded.digest)
    (hugging_face / 'tokenizer_config.json').write_text(json.dumps({'eos_token': '<|stop|>'}))
    with pytest.raises(ValueError, match=r'the end token is not in the vocabulary; looked for: <\|stop\|>'):
        tokenizer.load(hugging_face)


# ---- chat templates, and tokens that end an output

TEMPLATE = "{{ bos_token }}{% for m in messages %}<|begin|>{{ m.content }}<|endoftext|>{% endfor %}"


def test_a_chat_template_may_stand_in_either_file(hugging_face):
    with pytest.raises(ValueError, match=r'no chat template .*TEMPLATE=False'):
        tokenizer.load(hugging_face).encode_chat('17')
    names = {'bos_token': {'content': '<|pad|>'}, 'eos_token': '<|endoftext|>', 'add_bos_token': True}
    config = hugging_face / 'tokenizer_config.json'
    for template in (TEMPLATE, [{'name': 'tools', 'template': 'no'}, {'name': 'default', 'template': TEMPLATE}]):
        config.write_text(json.dumps(names | {'chat_template': template}))
        loaded = tokenizer.load(hugging_face)
        assert loaded.encode_chat('17') == [2, 0, *loaded.encode('17'), 1]
    config.write_text(json.dumps(names | {'chat_template': 'older'}))
    (hugging_face / 'chat_template.jinja').write_text(TEMPLATE)
    copy = hugging_face / 'copy'
    copy.mkdir()
    tokenizer.load(hugging_face).save(copy)
    assert tokenizer.load(copy).encode_chat('17') == [2, 0, *loaded.encode('17'), 1]


def test_a_prompt_is_encoded_as_the_file_says(hugging_face, trained):
    loaded = tokenizer.load(hugging_face)
    assert loaded.encode_prompt('17') == [0, *loaded.encode('17')]
    assert trained.encode_prompt('17') == trained.encode('17')
    with pytest.raises(ValueError, match='SentencePiece tokenizer has no chat template'):
        trained.encode_chat('17')


@pytest.mark.parametrize('generation, eos_token, wanted', [
    ({'eos_token_id': [1, 2]}, '<|pad|>', (2, 1)),            # several: the tokenizer's own is the end of a turn
    ({'eos_token_id': [1, 2]}, '<|begin|>', (1, 2)),          # which counts only where the model stops at it
    ({'eos_token_id': 2}, '<|endoftext|>', (2,)),
    ({'eos_token_id': [2, 151643]}, None, (2,)),              # past the vocabulary: no token
    ({'eos_token_id': 151643}, '<|endoftext|>', (1,)),
    ({}, '<|endoftext|>', (1,)),
])
@pytest.mark.parametrize('file', ['generation_config.json', 'config.json'])
def test_which_tokens_end_an_output(generation, eos_token, wanted, file, hugging_face):
    (hugging_face / file).write_text(json.dumps(generation))
    (hugging_face / 'tokenizer_config.json').write_text(json.dumps({'eos_token': eos_token}))
    loaded = tokenizer.load(hugging_face)
    assert (loaded.eos_id, loaded.stop_ids) == (wanted[0], wanted)
    copy = hugging_face / 'copy'
    copy.mkdir()
    loaded.save(copy)
    assert tokenizer.load(copy).stop_ids == wanted


def test_a_tokenizer_json_goes_before_a_tokenizer_model(hugging_face, model):
    (hugging_face / 'tokenizer.model').write_bytes(model)
    assert isinstance(tokenizer.load(hugging_face), tokenizer.HuggingFaceTokenizer)


def test_ids_past_the_vocabulary_are_left_out(hugging_face):
    loaded = tokenizer.load(hugging_face)
    assert loaded.decode([*loaded.encode('17'), 600, 151_000]) == '17'
