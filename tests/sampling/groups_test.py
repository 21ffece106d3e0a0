"""Decoding in blocks: the same outputs for any number of rows, block, order and mesh; and who is in which row."""
import dataclasses
import functools

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.sampling import blocks
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding, sample_groups
from mathrl.sampling.rollout import pad_prompts, sample_jit

EOS, PAD, WIDTH, OUTPUTS, TOKENS = 1, 0, 8, 4, 13
MODEL = Llama(LlamaConfig(vocab=24, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24))
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13, 14], [15, 16], [17, 3, 9, 2], [21], [22, 23, 4, 4, 4], [9, 9]]
NAMES = ('tokens_QGT', 'length_QG', 'trained_QGT')


@functools.cache
def random_params(model=MODEL):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(np.float32), shapes)


def grouped(numbers=range(8), decoding=Decoding(), sizes=(1, 1, 1), outputs=OUTPUTS, sampling=Sampling(), model=MODEL, **settings):
    """Rollouts of the prompts of these numbers on a mesh of these sizes."""
    prompt_QS, length_Q = pad_prompts([PROMPTS[number] for number in numbers], WIDTH, PAD)
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])
    with jax.set_mesh(mesh):
        params = jax.device_put(random_params(model), sharding.parameter_shardings(mesh, random_params(model)))
        settings = {'max_tokens': TOKENS, 'eos_id': EOS} | settings
        return sample_groups(params, prompt_QS, length_Q, jax.random.key(0), np.array(numbers, np.int32), model=model, mesh=mesh,
                             outputs=outputs, sampling=sampling, decoding=decoding, **settings)


@functools.cache
def in_one_loop(sampling=Sampling(), eos_id=EOS):
    """The plain sampler's: every output a row of one batch until the last one has ended."""
    prompt_QS, length_Q = pad_prompts(PROMPTS, WIDTH, PAD)
    return sample_jit(random_params(), prompt_QS, length_Q, jax.random.key(0), np.arange(8, dtype=np.int32), model=MODEL,
                      outputs=OUTPUTS, max_tokens=TOKENS, sampling=sampling, eos_id=eos_id)


def assert_same(found, wanted, rows=slice(None)):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), np.asarray(getattr(wanted, name))[rows], name)
    for name in ('sampler_logps_QGT', 'policy_logps_QGT'):
        np.testing.assert_allclose(getattr(found, name), np.asarray(getattr(wanted, name))[rows], atol=1e-5, err_msg=name)


@pytest.mark.parametrize('decoding', [Decoding(), Decoding(block=4, smallest=1), Decoding(rows=8, block=3, smallest=2),
                                      Decoding(rows=4, block=2, smallest=1), Decoding(rows=20, block=5), Decoding(block=99)], ids=str)
def test_rows_and_blocks_change_no_output(decoding):
    wanted = in_one_loop()
    assert len(set(np.asarray(wanted.length_QG).flat)) > 5, 'the outputs must be of many lengths'
    assert_same(grouped(decoding=decoding), wanted)


@pytest.mark.parametrize('sampling', [Sampling(0.0), Sampling(1.3, top_k=7, top_p=0.8)], ids=str)
def test_other_distributions_and_several_ends(sampling):
    wanted = in_one_loop(sampling, (EOS, 5))
    assert_same(grouped(decoding=Decoding(rows=8, block=4), sampling=sampling, eos_id=(EOS, 5)), wanted)


def test_the_order_of_the_questions_changes_no_output():
    order = [7, 2, 0, 5]
    assert_same(grouped(order, Decoding(rows=8, block=4)), in_one_loop(), np.array(order))


@pytest.mark.parametrize('sizes, questions, outputs, rows', [
    ((8, 1, 1), 8, 4, 0), ((2, 2, 2), 8, 4, 16), ((1, 8, 1), 2, 4, 0), ((8, 1, 1), 3, 2, 0), ((2, 1, 2), 7, 4, 8)], ids=str)
def test_meshes_change_no_output(sizes, questions, outputs, rows):
    found, wanted = grouped(range(questions), Decoding(rows=rows, block=4, smallest=1), sizes, outputs), in_one_loop()
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), np.asarray(getattr(wanted, name))[:questions, :outputs])
    np.testing.assert_allclose(found.policy_logps_QGT, wanted.policy_logps_QGT[:questions, :outputs], atol=1e-5)


def test_greedy_is_the_full_forward():
    rollouts = grouped(decoding=Decoding(rows=8, block=4), sampling=Sampling(0.0), eos_id=99)
    forward = jax.jit(lambda params, tokens_BT: MODEL.logits(params, MODEL.hidden(
        params, tokens_BT, np.ones_like(tokens_BT), np.broadcast_to(np.arange(tokens_BT.shape[1]), tokens_BT.shape))))
    for prompt, tokens_GT in zip(PROMPTS, np.asarray(rollouts.tokens_QGT)):
        row = np.zeros((1, WIDTH + TOKENS), np.int32)
        row[0, :len(prompt) + TOKENS] = [*prompt, *tokens_GT[0]]
        logits_TV = np.asarray(forward(random_params(), row))[0, len(prompt) - 1:][:TOKENS]
        np.testing.assert_array_equal(tokens_GT[0], logits_TV.argmax(-1))
        assert (tokens_GT == tokens_GT[0]).all()


# ---- work follows what is left

@dataclasses.dataclass(frozen=True)
class CountingLlama(Llama):
    """Counts the rows that each step of its decoder advances, in STEPS."""

    def row_decoder(self, *arguments):
        step = super().row_decoder(*arguments)

        def counted(token_B, page, i):
            jax.debug.callback(lambda: STEPS.append(token_B.shape[0]))
            return step(token_B, page, i)
        return counted


STEPS = []


def row_steps(**settings) -> int:
    STEPS.clear()
    jax.block_until_ready(grouped(model=CountingLlama(MODEL.config), **settings))
    jax.effects_barrier()
    return sum(STEPS)


def test_the_batch_shrinks_and_refills():
    lengths_QG = np.asarray(in_one_loop().length_QG)
    whole = row_steps(decoding=Decoding(block=1, smallest=32))
    assert whole == 32 * lengths_QG.max()
    assert row_steps(decoding=Decoding(block=1, smallest=1)) <= 1.5 * lengths_QG.sum()
    refilled = row_steps(decoding=Decoding(rows=8, block=1, smallest=8))
    assert refilled < 1.3 * lengths_QG.sum() + 8 * TOKENS, 'free rows must be taken by the next questions'


def test_a_second_rollout_compiles_nothing():
    grouped(decoding=Decoding(rows=8, block=4))
    shapes = blocks.advance._cache_size(), blocks.prepare._cache_size()
    grouped(decoding=Decoding(rows=8, block=4))
    assert (blocks.advance._cache_size(), blocks.prepare._cache_size()) == shapes


def test_finished_questions_come_once_with_all_their_outputs():
    seen = {}
    rollouts = grouped(decoding=Decoding(rows=8, block=2), finished=lambda question, tokens_GT, length_G: seen.setdefault(
        question, []).append((tokens_GT.copy(), length_G.copy())))
    assert sorted(seen) == list(range(8)) and list(seen) != list(range(8))
    for question, calls in seen.items():
        (tokens_GT, length_G), = calls
        np.testing.assert_array_equal(tokens_GT, rollouts.tokens_QGT[question])
        np.testing.assert_array_equal(length_G, rollouts.length_QG[question])


@pytest.mark.parametrize('wrong', [{'rows': -1}, {'block': -1}, {'smallest': 0}], ids=str)
def test_a_wrong_setting_is_one_sentence(wrong):
    with pytest.raises(ValueError, match='decoding wants rows >= 0, block >= 0 and smallest >= 1; got'):
        Decoding(**wrong)
