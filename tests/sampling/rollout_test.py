"""Groups of outputs: what they depend on, what the trainer thinks of them, and that the mesh does not show."""
import functools

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.rl.log_probs import output_logps
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding, sample_groups
from mathrl.sampling.rollout import pad_prompts, prompt_width, written

EOS, PAD, WIDTH, OUTPUTS, TOKENS = 1, 0, 8, 4, 9
MODEL = Llama(LlamaConfig(vocab=24, width=16, layers=1, heads=4, kv_heads=2, head_dim=8, mlp_width=24))
SETTINGS = {'model': MODEL, 'max_tokens': TOKENS, 'sampling': Sampling(), 'eos_id': EOS}
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13, 14], [15, 16], [17, 3, 9, 2], [21], [22, 23, 4, 4, 4], [9, 9]]


def random_params():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(np.float32), shapes)


def rollouts_of(numbers, width=WIDTH, sizes=(1, 1, 1), outputs=OUTPUTS, key=0, prompts=PROMPTS, **settings):
    """Rollouts of the prompts of these numbers, on a mesh of these sizes."""
    prompt_QS, length_Q = pad_prompts([prompts[number] for number in numbers], width, PAD)
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])
    with jax.set_mesh(mesh):
        params = jax.device_put(random_params(), sharding.parameter_shardings(mesh, random_params()))
        return sample_groups(params, prompt_QS, length_Q, jax.random.key(key), np.array(numbers, np.int32), mesh=mesh,
                             outputs=outputs, **SETTINGS | settings)


@functools.cache
def all_questions():
    return rollouts_of(range(8))


# ---- what an output depends on

def test_an_output_depends_on_key_question_and_output_alone():
    wanted = all_questions()
    for numbers, width in (([7, 2, 0, 1, 6, 5, 4, 3], WIDTH), ([6, 2], 2 * WIDTH)):
        other = rollouts_of(numbers, width)
        for place, number in enumerate(numbers):
            np.testing.assert_array_equal(other.tokens_QGT[place], wanted.tokens_QGT[number])
            np.testing.assert_allclose(other.sampler_logps_QGT[place], wanted.sampler_logps_QGT[number], atol=1e-5)


def test_outputs_of_a_group_differ_and_another_key_gives_others():
    groups, others = np.asarray(all_questions().tokens_QGT), np.asarray(rollouts_of(range(8), key=1).tokens_QGT)
    for group, other in zip(groups, others):
        assert len({tuple(row) for row in (*group, *other)}) > OUTPUTS + 2


def test_the_same_prompt_asked_twice_is_two_questions():
    rollouts = rollouts_of(range(8), prompts=[PROMPTS[2]] * 8)
    assert len({tuple(row) for row in np.asarray(rollouts.tokens_QGT).reshape(-1, TOKENS)}) > 6 * OUTPUTS


# ---- the arrays of an update

def test_sampler_and_trainer_agree_on_the_log_probs():
    rollouts = all_questions()
    logps_QGT = np.asarray(jax.jit(functools.partial(output_logps, MODEL))(random_params(), rollouts)[0])
    trained_QGT = np.asarray(rollouts.trained_QGT, bool)
    assert len(set(np.asarray(rollouts.length_QG).flat)) > 2
    np.testing.assert_allclose(rollouts.sampler_logps_QGT[trained_QGT], logps_QGT[trained_QGT], atol=1e-5)
    np.testing.assert_array_equal(rollouts.sampler_logps_QGT, rollouts.policy_logps_QGT)


def test_the_end_token_is_trained_and_nothing_behind_it():
    rollouts, ended = all_questions(), 0
    for q, g in np.ndindex(8, OUTPUTS):
        tokens_T, trained_T = rollouts.tokens_QGT[q, g].tolist(), rollouts.trained_QGT[q, g].tolist()
        length = tokens_T.index(EOS) + 1 if EOS in tokens_T else TOKENS
        assert rollouts.length_QG[q, g] == length
        assert trained_T == [1] * length + [0] * (TOKENS - length)
        ended += EOS in tokens_T
    assert 0 < ended < 8 * OUTPUTS, 'some outputs must end early and some must not'


def test_what_stands_behind_any_end_token_is_not_trained():
    rollouts, ends = rollouts_of(range(8), eos_id=(EOS, 5, 9)), set()
    for q, g in np.ndindex(8, OUTPUTS):
        ids, ended = written(np.asarray(rollouts.tokens_QGT[q, g]), (EOS, 5, 9))
        length = len(ids) + ended
        assert rollouts.length_QG[q, g] == length
        assert rollouts.trained_QGT[q, g].tolist() == [1] * length + [0] * (TOKENS - length)
        ends |= {int(rollouts.tokens_QGT[q, g, length - 1])} if ended else set()
    assert len(ends) > 1


# ---- meshes, with as many questions as devices and with fewer

@pytest.mark.parametrize('sizes, questions, outputs', [
    ((1, 1, 1), 3, 4), ((8, 1, 1), 8, 4), ((8, 1, 1), 2, 4), ((1, 8, 1), 2, 4), ((2, 2, 2), 2, 4),
    ((8, 1, 1), 3, 2)], ids=str)
def test_meshes_give_the_same_tokens(sizes, questions, outputs):
    rollouts, wanted = rollouts_of(range(questions), sizes=sizes, outputs=outputs), all_questions()
    np.testing.assert_array_equal(rollouts.tokens_QGT, wanted.tokens_QGT[:questions, :outputs])
    np.testing.assert_array_equal(rollouts.length_QG, wanted.length_QG[:questions, :outputs])
    np.testing.assert_allclose(rollouts.sampler_logps_QGT, wanted.sampler_logps_QGT[:questions, :outputs], atol=1e-5)
    if questions % (sizes[0] * sizes[1]) == 0 and np.prod(sizes) == 8:
        assert rollouts.tokens_QGT.addressable_shards[0].data.shape[0] == questions // 8

    def double(numbers, rows_QGT):
        assert rows_QGT.shape[0] == len(numbers)
        return rows_QGT * 2, np.broadcast_to(numbers[:, None, None], rows_QGT.shape)
    doubled_QGT, number_QGT = sharding.map_rows(double, rollouts.tokens_QGT)
    np.testing.assert_array_equal(doubled_QGT, 2 * np.asarray(rollouts.tokens_QGT))
    np.testing.assert_array_equal(number_QGT, np.broadcast_to(np.arange(questions)[:, None, None], number_QGT.shape))
    assert doubled_QGT.sharding == rollouts.tokens_QGT.sharding


# ---- on the host

def test_prompts_are_padded_on_the_right():
    prompt_QS, length_Q = pad_prompts([[5], [6, 7, 8]], 4, pad_id=9)
    assert prompt_QS.tolist() == [[5, 9, 9, 9], [6, 7, 8, 9]] and prompt_QS.dtype == np.int32
    assert length_Q.tolist() == [1, 3] and length_Q.dtype == np.int32


@pytest.mark.parametrize('prompts, said', [
    ([[1] * 5, [2]], 'must have 1 to 4 tokens; these have 1 to 5'),
    ([[1], []], 'must have 1 to 4 tokens; these have 0 to 1')], ids=['too long', 'empty'])
def test_a_prompt_that_does_not_fit_is_one_sentence(prompts, said):
    with pytest.raises(ValueError, match=said) as caught:
        pad_prompts(prompts, 4, 0)
    assert '\n' not in str(caught.value)


def test_the_width_is_the_longest_rounded_up():
    assert [prompt_width([[1], [1] * length]) for length in (1, 8, 9)] == [8, 8, 16]
    assert prompt_width([[1] * 5], multiple=3) == 6


def test_written_ends_before_the_end_token():
    assert written(np.array([5, 6, EOS, EOS]), EOS) == ([5, 6], True)
    assert written(np.array([5, 6, 7]), EOS) == ([5, 6, 7], False)
    assert written(np.array([EOS, 6, 7]), EOS) == ([], True)
    assert written(np.array([6, 7, EOS, 8]), (EOS, 7)) == ([6], True)
