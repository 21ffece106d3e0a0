"""Decoding in blocks: the same outputs for any number of rows, block, order and mesh; and who is in which row."""
import dataclasses
import functools
import os
import sys

import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models.cache import store
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.rl.log_probs import output_logps
from mathrl.sampling import blocks, slots
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding, sample_groups
from mathrl.sampling.rollout import pad_prompts

sys.path.append(os.path.dirname(__file__))
from plain_sampling import plain_groups

EOS, PAD, WIDTH, OUTPUTS, TOKENS = 1, 0, 8, 4, 12
MODEL = Llama(LlamaConfig(vocab=24, width=16, layers=1, heads=4, kv_heads=2, head_dim=8, mlp_width=24))
REFILLED = Decoding(rows=8, block=4)     # the settings that several tests share are compiled once
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13, 14], [15, 16], [17, 3, 9, 2], [21], [22, 23, 4, 4, 4], [9, 9]]
NAMES = ('tokens_QGT', 'length_QG')


@functools.cache
def random_params(model=MODEL):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.4).astype(np.float32), shapes)


def grouped(numbers=range(8), decoding=Decoding(), sizes=(1, 1, 1), outputs=OUTPUTS, sampling=Sampling(), model=MODEL,
            **settings):
    """Rollouts of the prompts of these numbers on a mesh of these sizes."""
    prompt_QS, length_Q = pad_prompts([PROMPTS[number] for number in numbers], WIDTH, PAD)
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:np.prod(sizes)])
    with jax.set_mesh(mesh):
        params = jax.device_put(random_params(model), sharding.parameter_shardings(mesh, random_params(model)))
        settings = {'max_tokens': TOKENS, 'eos_id': EOS} | settings
        return sample_groups(params, prompt_QS, length_Q, settings.pop('key', jax.random.key(0)), np.array(numbers, np.int32),
                             model=model, mesh=mesh, outputs=outputs, sampling=sampling, decoding=decoding, **settings)


@functools.cache
def plainly(sampling=Sampling(), eos_id=EOS):
    """The slow plain form's."""
    prompt_QS, length_Q = pad_prompts(PROMPTS, WIDTH, PAD)
    return plain_groups(random_params(), prompt_QS, length_Q, jax.random.key(0), np.arange(8, dtype=np.int32), model=MODEL,
                        outputs=OUTPUTS, max_tokens=TOKENS, sampling=sampling, eos_id=eos_id)


def assert_same(found, wanted, rows=slice(None)):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), np.asarray(getattr(wanted, name))[rows], name)
    for name in ('sampler_logps_QGT', 'policy_logps_QGT'):
        np.testing.assert_allclose(getattr(found, name), np.asarray(getattr(wanted, name))[rows], atol=1e-5, err_msg=name)


@pytest.mark.parametrize('decoding', [Decoding(), Decoding(block=5, smallest=2), REFILLED,
                                      Decoding(rows=20, block=99)], ids=str)
def test_rows_and_blocks_change_no_output(decoding):
    wanted = plainly()
    assert len(set(np.asarray(wanted.length_QG).flat)) > 5, 'the outputs must be of many lengths'
    assert_same(grouped(decoding=decoding), wanted)


@pytest.mark.parametrize('sampling', [Sampling(0.0), Sampling(1.3, top_k=7, top_p=0.8)], ids=str)
def test_other_distributions_and_several_ends(sampling):
    wanted = plainly(sampling, (EOS, 5))
    assert_same(grouped(decoding=REFILLED, sampling=sampling, eos_id=(EOS, 5)), wanted)


def test_the_order_of_the_questions_changes_no_output():
    order = [7, 2, 0, 5]
    assert_same(grouped(order, REFILLED), plainly(), np.array(order))


@pytest.mark.parametrize('sizes, questions, outputs, rows', [
    ((8, 1, 1), 8, 4, 0), ((2, 2, 2), 8, 4, 16), ((1, 8, 1), 2, 4, 0), ((8, 1, 1), 3, 2, 0)], ids=str)
def test_meshes_change_no_output(sizes, questions, outputs, rows):
    decoding, wanted = Decoding(rows=rows, block=4, gather=sizes != (2, 2, 2)), plainly()
    found = grouped(range(questions), decoding, sizes, outputs)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), np.asarray(getattr(wanted, name))[:questions, :outputs])
    np.testing.assert_allclose(found.policy_logps_QGT, wanted.policy_logps_QGT[:questions, :outputs], atol=1e-5)


def test_greedy_is_the_full_forward():
    rollouts = grouped(decoding=REFILLED, sampling=Sampling(0.0), eos_id=99)
    forward = jax.jit(lambda params, tokens_BT, ones_BT, positions_BT: MODEL.logits(
        params, MODEL.hidden(params, tokens_BT, ones_BT, positions_BT)))
    for prompt, tokens_GT in zip(PROMPTS, np.asarray(rollouts.tokens_QGT)):
        row = np.zeros((1, WIDTH + TOKENS), np.int32)
        row[0, :len(prompt) + TOKENS] = [*prompt, *tokens_GT[0]]
        logits_TV = np.asarray(forward(random_params(), row, np.ones_like(row), np.arange(row.size)[None]))[0]
        logits_TV = logits_TV[len(prompt) - 1:][:TOKENS]
        np.testing.assert_array_equal(tokens_GT[0], logits_TV.argmax(-1))
        assert (tokens_GT == tokens_GT[0]).all()


# ---- keys and values in fewer bits

BOUND = 0.05      # of a log-prob, on this model, whose weights are large; bfloat16 has 8 bits of mantissa, int8 7 and a sign


@functools.cache
def stored(kv_dtype):
    return grouped(decoding=Decoding(kv_dtype=kv_dtype))


@pytest.mark.parametrize('kv_dtype', ['int8', 'bfloat16'])
def test_fewer_bits_are_close_to_the_exact_log_probs(kv_dtype):
    rollouts = stored(kv_dtype)
    wanted = jax.jit(functools.partial(output_logps, MODEL))(random_params(), rollouts)[0]
    away = np.abs(np.asarray(rollouts.policy_logps_QGT - wanted)[np.asarray(rollouts.trained_QGT, bool)])
    assert 1e-4 < away.max() < BOUND and away.mean() < BOUND / 5
    np.testing.assert_array_equal(rollouts.sampler_logps_QGT, rollouts.policy_logps_QGT)


@pytest.mark.parametrize('sizes, rows', [((1, 1, 1), 8), ((1, 1, 1), 20), ((2, 2, 2), 16), ((1, 8, 1), 0)], ids=str)
def test_int8_is_the_same_for_any_rows_refills_and_mesh(sizes, rows):
    found = grouped(decoding=Decoding(rows=rows, block=4, kv_dtype='int8'), sizes=sizes)
    assert_same(found, stored('int8'))


def test_bfloat16_is_the_same_in_the_first_block_and_behind_it():
    found, wanted = grouped(decoding=Decoding(rows=8, block=4, kv_dtype='bfloat16')), stored('bfloat16')
    assert_same(found, wanted)


def test_int8_is_nowhere_else_in_the_programs():
    """The caches that go in and out of a block are int8 and their scales."""
    integer, Q, block = functools.partial(jax.ShapeDtypeStruct, dtype=np.int32), 8, 4
    of_row = integer((Q * OUTPUTS,))
    plan = blocks.Plan(None, None, of_row, of_row, of_row, jax.ShapeDtypeStruct(of_row.shape, bool), of_row, of_row, of_row,
                       integer((Q,)))
    begin = functools.partial(blocks.begin, model=MODEL, outputs=OUTPUTS, block=block, sampling=Sampling(), ends=(EOS,),
                              kv_dtype='int8')
    params, prompts, _, page, _ = jax.eval_shape(begin, random_params(), integer((Q, WIDTH)), plan, jax.random.key(0), np.int32(-1))
    assert prompts.dtype == page.dtype == np.int8
    assert prompts.keys[0].scale_BK1S.shape == (Q, 2, 1, WIDTH) and page.values[0].scale_BK1S.shape == (Q * OUTPUTS, 2, 1, block)
    assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_numbers_come_back_from_int8_within_half_a_step():
    x_BKSH = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    x_BKSH[0, 1, 2] = 0
    one = store(jax.numpy.asarray(x_BKSH), 'int8')
    scale_BKS1 = np.swapaxes(one.scale_BK1S, 2, 3)
    assert np.abs(one.x_BKSH * scale_BKS1 - x_BKSH).max() <= scale_BKS1.max() / 2 * 1.001
    assert np.abs(one.x_BKSH).max() == 127 and not np.asarray(one.x_BKSH[0, 1, 2]).any()


def test_an_unknown_kv_dtype_is_one_sentence():
    with pytest.raises(ValueError, match="unknown kv_dtype 'int4'; there are: '', 'int8', 'bfloat16'"):
        Decoding(kv_dtype='int4')


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
    lengths_QG = np.asarray(plainly().length_QG)
    limit_QG = np.minimum(np.random.default_rng(0).integers(1, TOKENS + 1, lengths_QG.shape), lengths_QG)
    written, longest = limit_QG.sum(), limit_QG.max()
    shrunk = row_steps(decoding=Decoding(block=3, smallest=2), limit_QG=limit_QG)
    refilled = row_steps(decoding=Decoding(rows=8, block=3, smallest=8), limit_QG=limit_QG)
    assert 32 * longest > 1.7 * written, 'outputs must be of many lengths'
    assert written <= shrunk < 1.5 * written + 32 * 2, 'rows that have ended are left out in the next block'
    assert written <= refilled < 1.5 * written + 8 * longest, 'rows that have ended go to the next questions'


@pytest.mark.parametrize('limit, ends, steps', [
    (1, MODEL.config.vocab, 1), (TOKENS, MODEL.config.vocab, TOKENS), (TOKENS, tuple(range(MODEL.config.vocab)), blocks.LOOK),
], ids=['limits end it', 'nothing ends it', 'end tokens end it'])
def test_a_block_stops_when_every_output_has_ended(limit, ends, steps):
    limit_QG = np.full((8, OUTPUTS), limit)
    for decoding in Decoding(block=TOKENS), Decoding(rows=16, block=TOKENS):      # by `begin` alone; by `advance` too
        assert row_steps(limit_QG=limit_QG, eos_id=ends, decoding=decoding) == steps * limit_QG.size


@pytest.mark.parametrize('name', ['begin', 'advance'])
def test_devices_wait_for_each_other_at_a_look_alone(name, monkeypatch):
    """A step of decoding has no all-reduce but in the branch that looks whether all are done."""
    texts, part = [], getattr(blocks, name)

    def recording(*arguments, **named):
        texts.append(part.lower(*arguments, **named).compile().as_text())
        return part(*arguments, **named)
    monkeypatch.setattr(blocks, name, recording)
    grouped(sizes=(4, 1, 1))
    steps = [computation for computation in texts[-1].split('\n\n') if ' conditional(' in computation]
    assert len(steps) == 1 and 'all-reduce' in texts[-1]
    assert 'all-reduce' not in steps[0]


def test_an_output_ends_at_its_limit():
    wanted, limit_QG = plainly(), np.arange(8 * OUTPUTS).reshape(8, OUTPUTS) % TOKENS + 1
    found = grouped(decoding=REFILLED, limit_QG=limit_QG)
    np.testing.assert_array_equal(found.length_QG, np.minimum(wanted.length_QG, limit_QG))
    for q, g in np.ndindex(8, OUTPUTS):
        np.testing.assert_array_equal(found.tokens_QGT[q, g, :limit_QG[q, g]], wanted.tokens_QGT[q, g, :limit_QG[q, g]])
        assert (found.tokens_QGT[q, g, limit_QG[q, g]:] == EOS).all()
        assert not found.policy_logps_QGT[q, g, limit_QG[q, g]:].any()


@pytest.mark.parametrize('limit_QG', [np.zeros((8, OUTPUTS), int), np.full((8, OUTPUTS), TOKENS + 1), np.ones((2, 3), int)],
                         ids=['too few', 'too many', 'shape'])
def test_limits_that_do_not_fit_are_one_sentence(limit_QG):
    with pytest.raises(ValueError, match='limits of 8 x 4 outputs must lie in 1 .. max_tokens=12; got'):
        grouped(limit_QG=limit_QG)


def test_a_step_has_random_numbers_of_its_own():
    fourth = grouped(step=3)
    assert_same(grouped(key=jax.random.fold_in(jax.random.key(0), 3)), fourth)
    assert not np.array_equal(grouped(step=4).tokens_QGT, fourth.tokens_QGT)


@pytest.mark.parametrize('decoding', [Decoding(block=4, smallest=2), REFILLED], ids=str)
def test_whatever_lengths_come_few_programs_are_compiled(decoding):
    """Of all rows that `bucket` has up to those in flight, each with up to so many pages, at places of their own or not."""
    rng, batch = np.random.default_rng(0), slots.new_batch(8, OUTPUTS, 1, decoding.rows, decoding.smallest)
    sizes = {max(batch.smallest, slots.bucket(rows)) for rows in range(1, batch.capacity + 1)}
    pages = TOKENS // decoding.block
    bounds = {'begin': 1, 'admit': len(set(map(slots.bucket, range(1, batch.slots + 1)))),
              'regroup': len(sizes) ** 2 * pages, 'advance': 2 * len(sizes) * pages}
    jax.clear_caches()

    def compiled() -> dict[str, int]:
        return {name: getattr(blocks, name)._cache_size() for name in bounds}
    drawn = [np.clip(np.rint(rng.lognormal(1, 1, (8, OUTPUTS))), 1, TOKENS).astype(int) for _ in range(20)]
    for limit_QG in drawn:
        grouped(decoding=decoding, limit_QG=limit_QG, eos_id=MODEL.config.vocab)
    there = compiled()
    assert there['advance'] and all(there[name] <= bound for name, bound in bounds.items()), there
    for limit_QG in drawn:
        grouped(decoding=decoding, limit_QG=limit_QG, eos_id=MODEL.config.vocab)
    assert compiled() == there


def test_finished_questions_come_once_with_all_their_outputs():
    seen = {}
    limit_QG = np.full((8, OUTPUTS), TOKENS)
    limit_QG[3:] = 1                      # which are done long before the first
    rollouts = grouped(decoding=REFILLED, limit_QG=limit_QG, finished=lambda question, tokens_GT, length_G: seen.setdefault(
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
