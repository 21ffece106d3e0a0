"""rollouts/<step>.jsonl: texts cut where advantages change or steps end, joined they are the output; resumed runs."""
import io
import json

import jax.numpy as jnp
import numpy as np
import pytest
import sentencepiece

from mathrl.problems.types import Problem
from mathrl.problems.verdict import grade_boxed
from mathrl.programs.rollout_files import RolloutFiles, spans
from mathrl.rl.advantages import group_advantages
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts
from mathrl.text import tokenizer as tokenizers
from mathrl.text.train_tokenizer import train

RIGHT, WRONG = 'So 1 + 1 = 2. Thus \\boxed{2}', '因此 🙂 \\boxed{3}'
T = 48


@pytest.fixture(scope='module', params=['sentencepiece', 'hugging_face'])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('tokenizer')
    made = tokenizers.SentencePieceTokenizer(train([RIGHT, '因此答案 3'] * 20, 300))
    made.export(folder)
    return made if request.param == 'sentencepiece' else tokenizers.load(folder / 'tokenizer.json')


def experience(tokenizer, texts, rewards_GT=None, ends_GT=None):
    """One group of a question; by default 1 for the first output, at its end."""
    tokens_QGT = np.full((1, len(texts), T), tokenizer.eos_id, np.int32)
    for g, text in enumerate(texts):
        ids = tokenizer.encode(text)
        tokens_QGT[0, g, :len(ids)] = ids
    length_QG = np.array([[len(tokenizer.encode(text)) + 1 for text in texts]])
    if rewards_GT is None:
        ends_GT = np.arange(T) == length_QG[0, :, None] - 1
        rewards_GT = ends_GT * (np.arange(len(texts)) == 0)[:, None].astype(np.float32)
    rollouts = Rollouts(prompt_QS=None, prompt_length_Q=None, tokens_QGT=jnp.array(tokens_QGT), length_QG=jnp.array(length_QG),
                        trained_QGT=None, sampler_logps_QGT=None, policy_logps_QGT=None)
    return Experience(rollouts, None, jnp.array(rewards_GT, jnp.float32)[None], jnp.array(ends_GT, jnp.int32)[None])


def keeper(tmp_path, tokenizer, **options):
    return RolloutFiles(tmp_path, tokenizer, grade_boxed, group_advantages, **{'every': 2, 'questions': 0, **options})


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def test_outcome_rewards_need_no_spans(tmp_path, tokenizer):
    keeper(tmp_path, tokenizer).write(4, experience(tokenizer, [RIGHT, WRONG]), [Problem('1+1?', '2')])
    [line] = lines(tmp_path / 'rollouts' / '000004.jsonl')
    assert (line['step'], line['question'], line['answer']) == (4, '1+1?', '2')
    right, wrong = line['outputs']
    assert right == {'text': RIGHT, 'reward': 1.0, 'correct': True, 'extracted': '2', 'truncated': False,
                     'tokens': len(tokenizer.encode(RIGHT)) + 1, 'advantage': pytest.approx(1.0)}
    assert (wrong['text'], wrong['correct'], wrong['advantage']) == (WRONG, False, pytest.approx(-1.0))


def test_steps_have_spans_of_their_own(tmp_path, tokenizer):
    ids, at = tokenizer.encode(RIGHT), 6
    ends_GT, rewards_GT = np.zeros((2, T)), np.zeros((2, T))
    ends_GT[:, [at, len(ids)]] = 1
    rewards_GT[0, [at, len(ids)]] = .25, .5
    keeper(tmp_path, tokenizer).write(0, experience(tokenizer, [RIGHT, RIGHT], rewards_GT, ends_GT), [Problem('1+1?', '2')])
    first = lines(tmp_path / 'rollouts' / '000000.jsonl')[0]['outputs'][0]
    expected = np.asarray(group_advantages(jnp.array(rewards_GT)[None], jnp.array(ends_GT)[None]))[0, 0]
    assert first['spans'] == [[tokenizer.decode(ids[:at + 1]), pytest.approx(expected[0], abs=1e-5), .25],
                              [RIGHT[len(tokenizer.decode(ids[:at + 1])):], pytest.approx(expected[at + 1], abs=1e-5), .5]]
    assert first['reward'] == .75


def test_a_span_for_every_token_joins_to_the_text(tokenizer):
    for text in (RIGHT, WRONG, ' 因  🙂🙂 x'):
        ids = tokenizer.encode(text)
        length = len(ids) + 1
        found = spans(ids, np.zeros(length), np.zeros(length, bool), np.arange(length, dtype=float), tokenizer)
        assert ''.join(piece for piece, _, _ in found) == text and len(found) > 2
    assert not any('\ufffd' in piece for piece, _, _ in found)


def test_spaces_stay_where_a_text_loses_its_first_one():
    """As LLaMA's model does: a space is put before every text, and taken from its front when decoded."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(['so one and one is two'] * 20), model_writer=model,
                                             vocab_size=270, byte_fallback=True, add_dummy_prefix=True, minloglevel=2)
    prefixed = tokenizers.SentencePieceTokenizer(model.getvalue())
    ids = prefixed.encode('so one and one')
    found = spans(ids, np.zeros(len(ids)), np.zeros(len(ids), bool), np.arange(len(ids), dtype=float), prefixed)
    assert ''.join(piece for piece, _, _ in found) == 'so one and one'


def test_cut_off_and_empty_outputs(tmp_path, tokenizer):
    full = experience(tokenizer, ['x' * (T - 10), ''])
    tokens_QGT = full.rollouts.tokens_QGT.at[0, 0].set(tokenizer.encode('7')[-1])
    full = full.replace(rollouts=full.rollouts.replace(tokens_QGT=tokens_QGT))
    keeper(tmp_path, tokenizer).write(0, full, [Problem('1+1?', '2')])
    cut, empty = lines(tmp_path / 'rollouts' / '000000.jsonl')[0]['outputs']
    assert (cut['truncated'], cut['tokens']) == (True, T)
    assert (empty['text'], empty['tokens'], empty['truncated'], empty['extracted']) == ('', 1, False, None)


def test_which_steps_and_questions_are_kept(tmp_path, tokenizer):
    one = experience(tokenizer, [RIGHT, WRONG])
    two = jnp.concatenate
    both = one.replace(rollouts=one.rollouts.replace(tokens_QGT=two([one.rollouts.tokens_QGT] * 2)),
                       rewards_QGT=two([one.rewards_QGT] * 2), step_ends_QGT=two([one.step_ends_QGT] * 2))
    keep = keeper(tmp_path, tokenizer, questions=1, last=5)
    for step in (0, 1, 2, 3, 5):
        keep.write(step, both, [Problem('1+1?', '2'), Problem('2+2?', '4')],
                   dict.fromkeys(('rule', 'format'), two([one.rewards_QGT.sum(-1)] * 2)))
    assert sorted(path.name for path in (tmp_path / 'rollouts').iterdir()) == ['000000.jsonl', '000002.jsonl', '000005.jsonl']
    [line] = lines(tmp_path / 'rollouts' / '000002.jsonl')
    assert line['question'] == '1+1?' and set(line['outputs'][0]['rewards']) == {'rule', 'format'}
    keep.begin(resume_step=2)
    assert [path.name for path in (tmp_path / 'rollouts').iterdir()] == ['000000.jsonl']
    keeper(tmp_path / 'none', tokenizer, every=0, last=0).write(0, both, [])
    assert not (tmp_path / 'none').exists()
