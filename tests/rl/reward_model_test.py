"""Rewards from a reward model: at the ends of steps, from the tokens or from the texts, on any mesh."""
import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.problems.types import Problem
from mathrl.rl import reward_model
from mathrl.rl.reward_model import RewardModel, score
from mathrl.rl.rewards import Outputs, experience
from mathrl.rl.step_ends import step_ends_QGT
from mathrl.sampling.rollout import Rollouts, pad_prompts

LETTERS = {2: 'a', 3: 'b', 4: '\n', 5: 'c', 6: '1', 7: '='}


class Letters:
    """Eight tokens, of which 0 and 1 end an output; `digest` tells one from another with the same or other numbers."""
    eos_id, pad_id, stop_ids, bos_id = 1, 0, (1, 0), None

    def __init__(self, digest: str = 'policy', letters=LETTERS):
        self.digest, self._letters = digest, letters

    def decode(self, ids) -> str:
        return ''.join(self._letters.get(int(one), '') for one in ids)

    def encode(self, text: str) -> list[int]:
        numbers = {letter: one for one, letter in self._letters.items()}
        return [numbers[letter] for letter in text]

    encode_prompt = encode


TEXTS = [['ab\nc', 'b'], ['a\nb\nc', 'cc\n'], ['ab', '\na\n'], ['c=1', 'b\nb']]
PROBLEMS = [Problem(text, '1') for text in ('ab', 'c', '1=1', 'ba')]
PLAIN = reward_model.Templates(en='{problem}', zh='{problem}')


def outputs(tokenizer: Letters) -> Outputs:
    """The last of the outputs is cut, the others end."""
    prompt_QS, length_Q = pad_prompts([tokenizer.encode(problem.problem) for problem in PROBLEMS], 4, 0)
    tokens_QGT = np.full((4, 2, 6), tokenizer.eos_id, np.int32)
    for q, g in np.ndindex(4, 2):
        ids = tokenizer.encode(TEXTS[q][g])
        tokens_QGT[q, g, :len(ids)] = ids
    tokens_QGT[3, 1] = tokenizer.encode('ccc\ncc')
    blank = np.zeros((4, 2, 6), np.float32)
    rollouts = Rollouts(prompt_QS, length_Q, tokens_QGT, np.zeros((4, 2), np.int32), blank.astype(np.int32), blank, blank)
    return Outputs(jax.tree.map(jax.numpy.asarray, rollouts), PROBLEMS, tokenizer)


@pytest.fixture(scope='module')
def prm(tiny) -> RewardModel:
    critic, params = tiny.models('float32')[3:]
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return RewardModel(critic, params, Letters(), mesh, 'lines', PLAIN, 'logit')


def changed(prm, **fields) -> RewardModel:
    return reward_model.dataclasses.replace(prm, **fields)


def test_a_score_stands_at_each_steps_end_after_reading_its_last_token(tiny, prm):
    asked = outputs(Letters())
    scored = prm(asked)
    np.testing.assert_array_equal(scored.step_ends_QGT, step_ends_QGT(asked.rollouts.tokens_QGT, Letters(), 'lines'))
    assert np.flatnonzero(scored.step_ends_QGT[1, 0]).tolist() == [1, 3, 5]      # 'a\n', 'b\n', 'c' and its end
    rollouts = jax.device_get(asked.rollouts)
    longer = rollouts.replace(tokens_QGT=np.pad(rollouts.tokens_QGT, ((0, 0), (0, 0), (0, 1))))
    after_QGT = tiny.row_values(prm.model, prm.params, longer)[:, :, 1:]
    np.testing.assert_allclose(scored.rewards_QGT, after_QGT * scored.step_ends_QGT, rtol=1e-4, atol=1e-5)


def test_outcome_is_one_score_at_the_outputs_end(prm):
    steps, whole = prm(outputs(Letters())), changed(prm, steps='')(outputs(Letters()))
    assert (whole.step_ends_QGT.sum(-1) == 1).all()
    np.testing.assert_array_equal(whole.rewards_QGT, steps.rewards_QGT * whole.step_ends_QGT)
    assert (prm.name, prm.kind) == ('prm', 'process')
    assert (changed(prm, steps='').name, changed(prm, steps='').kind) == ('orm', 'outcome')


def test_a_probability_is_the_sigmoid_of_the_logit(prm):
    logits, probabilities = prm(outputs(Letters())), changed(prm, scale='probability')(outputs(Letters()))
    ends = np.asarray(logits.step_ends_QGT) == 1
    expected = 1 / (1 + np.exp(-np.asarray(logits.rewards_QGT)[ends]))
    np.testing.assert_allclose(np.asarray(probabilities.rewards_QGT)[ends], expected, rtol=1e-5)
    assert (np.asarray(probabilities.rewards_QGT)[~ends] == 0).all()


def test_an_unknown_scale_is_refused(prm):
    with pytest.raises(ValueError, match="unknown scale 'odds'; there are: probability, logit"):
        changed(prm, scale='odds')


@pytest.mark.parametrize('sizes, parts', [((1, 1, 1), 4), ((8, 1, 1), 1), ((2, 2, 2), 2)])
def test_the_same_scores_on_any_mesh_in_any_cut(tiny, prm, sizes, parts):
    asked = outputs(Letters())
    expected = prm(asked)

    def run(params, rollouts):
        return changed(prm, params=params, micro_batches=parts)(asked._replace(rollouts=rollouts))
    found = tiny.on_mesh(sizes, run, prm.params, jax.device_get(asked.rollouts))
    np.testing.assert_array_equal(found.step_ends_QGT, expected.step_ends_QGT)
    np.testing.assert_allclose(found.rewards_QGT, expected.rewards_QGT, rtol=1e-4, atol=1e-5)


def test_another_tokenizer_gets_the_scores_of_the_text_at_its_own_steps_and_the_log_says_so_once(prm, caplog):
    """The policy's tokens have other numbers, and one of them holds two letters, 'b' and the break."""
    reward_model._say_once.cache_clear()
    other = Letters('other', {2: 'c', 3: 'a', 4: 'b', 5: '\n', 6: '=', 7: '1'})
    expected, found = prm(outputs(Letters())), prm(outputs(other))
    np.testing.assert_array_equal(found.step_ends_QGT, expected.step_ends_QGT)
    np.testing.assert_allclose(found.rewards_QGT, expected.rewards_QGT, rtol=1e-4, atol=1e-5)
    prm(outputs(other))
    assert [record.getMessage() for record in caplog.records] == [
        'the reward model (prm) has another tokenizer than the policy: outputs are decoded and encoded again']


def test_steps_of_a_token_with_several_letters_keep_their_scores(prm):
    class Pairs(Letters):
        def encode(self, text):
            return super().encode(text.replace('b\n', 'B'))

        def decode(self, ids):
            return super().decode(ids).replace('B', 'b\n')
    pairs = Pairs('pairs', {2: 'a', 3: 'b', 4: '\n', 5: 'c', 6: '1', 7: '=', 8: 'B'})
    expected, found = prm(outputs(Letters())), prm(outputs(pairs))
    assert np.flatnonzero(found.step_ends_QGT[1, 0]).tolist() == [1, 2, 4]      # 'a', '\n', 'B', 'c', end
    for q, g in [(0, 0), (1, 0), (2, 1)]:
        at_ends = lambda scored: np.asarray(scored.rewards_QGT)[q, g][np.asarray(scored.step_ends_QGT)[q, g] == 1]
        np.testing.assert_allclose(at_ends(found), at_ends(expected), rtol=1e-4, atol=1e-5)


def test_it_stands_where_a_reward_does(prm):
    made, by_name = experience(outputs(Letters()), prm)
    scored = prm(outputs(Letters()))
    np.testing.assert_array_equal(made.rewards_QGT, scored.rewards_QGT)
    np.testing.assert_array_equal(by_name['prm'], scored.rewards_QGT.sum(-1))


def test_is_compiled_once(prm):
    prm(outputs(Letters()))
    before = score._cache_size()
    prm(outputs(Letters()))
    assert score._cache_size() == before
