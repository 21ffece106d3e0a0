"""A tokenizer.json made of a SentencePiece model splits texts as the model does."""
import random

import pytest
import sentencepiece

from mathrl.problems import synthetic
from mathrl.text import tokenizer, train_tokenizer

TEXTS = [text for problem in synthetic.generate(0, 1500) for text in (problem.problem, problem.solution)]
REAL = ['', ' ', '  two  spaces ', '\n\nlines\n', '\ttab\r\n', '\\frac{1}{2} \\leq \\boxed{x^{2}}', '小明有17支铅笔，又买了25支。',
        '２５％ ½ ², ﬁ', 'naïve café', '😀 𝒙 ∫₀¹', '\x7f', '{problem}', '\u2028\u00a0', '\\boxed{\\boxed{ \\boxed{']


@pytest.mark.parametrize('model_type', ['bpe', 'unigram'])
def test_ids_and_texts_are_the_same(model_type, tmp_path):
    ours = tokenizer.SentencePieceTokenizer(train_tokenizer.train(TEXTS, 540, model_type=model_type, symbols=['\\boxed{']))
    ours.export(tmp_path)
    theirs = tokenizer.load(tmp_path)
    assert isinstance(theirs, tokenizer.HuggingFaceTokenizer)
    ids = lambda one: (one.vocab_size, one.eos_id, one.pad_id, one.bos_id, one.stop_ids)
    assert ids(theirs) == ids(ours)
    rng = random.Random(0)
    alphabet = ''.join(REAL) + 'abcxyz0123456789+-*/=  \n\\{}$^_小明有支铅笔，。？'
    texts = TEXTS + REAL + [''.join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(2000)]
    differ = [text for text in texts if theirs.encode(text) != ours.encode(text)]
    assert not differ, f'{len(differ)} of {len(texts)}: {differ[0]!r} {theirs.encode(differ[0])} {ours.encode(differ[0])}'
    for text in texts[:200] + REAL:
        assert theirs.decode(ours.encode(text) + [ours.eos_id]) == text


def test_a_model_that_changes_texts_is_exported_as_it_is(tmp_path):
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS[:500]), model_prefix=str(tmp_path / 'made'),
                                             vocab_size=200, model_type='bpe', minloglevel=2)
    (tmp_path / 'out').mkdir()
    tokenizer.load(tmp_path / 'made.model').export(tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['tokenizer.model']
    assert (tmp_path / 'out' / 'tokenizer.model').read_bytes() == (tmp_path / 'made.model').read_bytes()
