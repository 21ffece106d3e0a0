"""Plans of updates without padding: every token lies somewhere, once, behind its own prompt."""
import jax
import numpy as np
import pytest

from mathrl import sharding
from mathrl.rl import coefficients, normalisation, packing
from mathrl.rl.log_probs import output_logps
from mathrl.rl.step import policy_step

Q, G, S, T = 6, 4, 5, 12
CHOICES = [packing.layouts(Q, G, S, T, micro_batches, devices) for micro_batches, devices in ((1, 1), (2, 1), (3, 4), (1, 8))]
LENDING = [packing.lending_layouts(Q, G, devices) for devices in (1, 2, 3, Q)]


def random_lengths(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(rng.lognormal(1.2, 0.9, (Q, G))), 1, T).astype(np.int32)


LENGTHS = {'ones': np.ones((Q, G), np.int32), 'full': np.full((Q, G), T, np.int32), 'random': random_lengths(0),
           'one_is_long': np.where(np.arange(Q * G).reshape(Q, G) == 7, T, 1).astype(np.int32)}


@pytest.mark.parametrize('choices', CHOICES + LENDING, ids=str)
@pytest.mark.parametrize('name', LENGTHS)
def test_every_token_lies_somewhere_once_and_in_order(choices, name):
    length_QG = LENGTHS[name]
    rows_Q = [len(packing.first_fit(lengths, T)) for lengths in length_QG]
    for layout in choices:
        if layout.dealt(rows_Q) is None:
            assert choices in LENDING, 'other layouts take whatever comes'
            with pytest.raises(ValueError):
                packing.plan(length_QG, S, T, (layout,))
            continue
        arrays, fill = packing.plan(length_QG, S, T, (layout,))
        assert {key: x.shape for key, x in arrays.items() if key != 'count'} == layout.shapes(T)
        index_MQGT, count = arrays['index_MQGT'], int(arrays['count'])
        real = index_MQGT < Q * G * T
        wanted = [(q * G + g) * T + t for q, g in np.ndindex(Q, G) for t in range(length_QG[q, g])]
        assert sorted(index_MQGT[real].tolist()) == wanted
        assert not real[count:].any() and real[:count].any((1, 2, 3)).all()
        np.testing.assert_allclose(fill, len(wanted) / index_MQGT[:count].size)
        question_MQP = arrays['question_MQ'].reshape(layout.pieces, layout.units, layout.prompts)
        prompt_MQG = arrays.get('prompt_MQG', np.zeros(index_MQGT.shape[:3], int))
        for row in np.ndindex(*prompt_MQG.shape):
            held = real[row]
            assert set(index_MQGT[row][held] // (G * T)) <= {question_MQP[row[:2]][prompt_MQG[row]]}, 'behind its own prompt'
            assert held.argmin() == held.sum() or held.all(), 'nothing lies behind room that is left'
            follows = (np.diff(index_MQGT[row][held]) == 1) | (index_MQGT[row][held][1:] % T == 0)
            assert follows.all(), 'an output lies whole'


def test_the_layout_that_computes_the_least_is_taken():
    coarse, fine = packing.layouts(8, 8, 32, 64, 4, 1)
    assert (coarse, fine) == (packing.Layout(4, 2, 8), packing.Layout(8, 4, 2))
    count = lambda length_QG: int(packing.plan(length_QG, 32, 64, (coarse, fine))[0]['count'])
    assert count(np.full((8, 8), 64)) == 4, 'each prompt once'
    assert count(np.full((8, 8), 8)) == 2, '8 units, whose second rows stay empty'
    positions = [layout.computed(layout.dealt([1] * 8), 32, 64) for layout in (coarse, fine)]
    assert positions == [4 * 2 * (32 + 8 * 64), 2 * 4 * (32 + 2 * 64)]


@pytest.mark.parametrize('devices', [1, 2])
def test_prompts_are_lent_where_all_is_computed_at_once(devices):
    """A prompt once a question, and no more rows than there are, to a sixteenth of a device's share, and what balance costs."""
    mesh = jax.make_mesh((devices, 1, 1), ('data', 'fsdp', 'tensor'), devices=jax.devices()[:devices])
    length_QG = np.random.default_rng(0).integers(1, 30, (8, 8))
    packed, fill = packing.planned(mesh, length_QG, 32, 64, 1)
    rows = sum(len(packing.first_fit(lengths, 64)) for lengths in length_QG)
    step = 4 // devices
    assert packed.prompt_MQG.shape == (1, devices, -(-rows // devices // step) * step)
    assert packed.index_MQGT.shape == packed.prompt_MQG.shape + (64,) and packed.question_MQ.shape == (1, 8)
    assert packing.planned(mesh, np.full((8, 8), 64), 32, 64, 1)[0].prompt_MQG is None, 'full outputs leave nothing out'
    assert packing.planned(mesh, length_QG, 32, 64, 2)[0].prompt_MQG is None


def test_units_that_lend_have_as_many_prompts_and_nearly_as_many_rows():
    layout = packing.Layout(1, 2, 9, 3)
    units = layout.dealt([1, 2, 3, 4, 3, 4])
    assert [len(unit) for unit in units] == [9, 8] and all(len({q for q, _ in unit}) == 3 for unit in units)
    assert layout.computed(units, 32, 64) == 2 * (3 * 32 + 9 * 64)
    assert packing.Layout(1, 2, 8, 3).dealt([1, 2, 3, 4, 3, 4]) is None
    assert packing.lending_layouts(6, 4, 4) == (), '6 questions do not divide over 4 devices'


@pytest.mark.parametrize('seed', range(5))
def test_no_more_than_half_of_the_rows_is_room(seed):
    """Two rows that are both at most half full would have been one."""
    for lengths in random_lengths(seed):
        rows = packing.first_fit(lengths, T)
        assert sorted(sum(rows, [])) == list(range(G))
        assert sum(sum(lengths[row]) <= T / 2 for row in rows) <= 1


def test_pairs_lie_together():
    length_QG = np.random.default_rng(0).integers(1, T + 1, (Q, G))
    layout = packing.Layout(Q * G // 2, 1, 1)
    arrays, fill = packing.plan(length_QG, S, T, (layout,), together=2)
    index_RT = arrays['index_MQGT'].reshape(-1, 2 * T)
    seen = np.sort(index_RT[index_RT < Q * G * T])
    np.testing.assert_array_equal(seen, np.flatnonzero((np.arange(T) < length_QG[..., None]).reshape(-1)))
    rows_of = [set(row[row < Q * G * T] // (2 * T)) for row in index_RT]      # which pairs a row has
    assert sum(map(len, rows_of)) == Q * G // 2 > int(arrays['count']), 'each in one row, and some rows have several'
    assert fill == length_QG.sum() / (int(arrays['count']) * 2 * T)


def test_bad_sizes_say_so():
    with pytest.raises(ValueError, match='6 questions x 4 outputs do not divide into 5 micro-batches$'):
        packing.layouts(Q, G, S, T, 5, 1)
    with pytest.raises(ValueError, match='13 tokens does not fit into a row of 12'):
        packing.first_fit(np.array([3, 13]), 12)


def test_other_lengths_compile_nothing(tiny):
    policy, params, reference = tiny.models('float32')[:3]
    made, coefficient = tiny.experience(), coefficients.grpo()
    with jax.set_mesh(jax.make_mesh((1, 1, 1), ('data', 'fsdp', 'tensor'), devices=jax.devices()[:1])):
        before = None
        for longest in (5, 1, 2):
            length_QG = np.minimum(made.rollouts.length_QG, longest)
            trained_QGT = (np.arange(5) < length_QG[..., None]).astype(np.int32)
            shorter = made.replace(rollouts=made.rollouts.replace(length_QG=length_QG, trained_QGT=trained_QGT))
            packed = tiny.packing(jax.tree.map(jax.numpy.asarray, shorter.rollouts), 4, 'fine')
            policy_step(tiny.state(jax.tree.map(jax.numpy.copy, params)), reference, jax.tree.map(jax.numpy.asarray, shorter),
                        packed, model=policy, optimizer=tiny.keep_gradient, coefficient=coefficient,
                        normalisation=normalisation.sequence_mean)
            before = before or policy_step._cache_size()
        assert policy_step._cache_size() == before


@pytest.mark.parametrize('micro_batches, most', [(1, packing.SIZES + 2), (4, 2)])
def test_plans_of_all_lengths_have_few_shapes(micro_batches, most):
    """And an update is compiled for shapes alone."""
    mesh, rng = sharding.make_mesh(devices=jax.devices()[:2]), np.random.default_rng(0)
    shapes = set()
    for _ in range(60):
        length_QG = np.clip(np.rint(rng.lognormal(rng.uniform(0, 3), 0.9, (8, 16))), 1, T).astype(np.int32)
        packed, _ = packing.planned(mesh, length_QG, S, T, micro_batches)
        shapes.add(tuple(x.shape for x in jax.tree.leaves(packed)))
    assert 1 < len(shapes) <= most


def test_log_probs_put_back_are_those_of_single_rows(tiny):
    """Through `map`: nothing but its own output and prompt is seen by a token, whatever lies beside it."""
    policy, params = tiny.models('float32')[:2]
    made = tiny.experience(width=9).rollouts
    rollouts = jax.tree.map(jax.numpy.asarray, made)
    with jax.set_mesh(jax.make_mesh((1, 1, 1), ('data', 'fsdp', 'tensor'), devices=jax.devices()[:1])):
        packed = tiny.packing(rollouts, 1, 'fine')
        logps_QGT = jax.jit(lambda params, packed: packed.map(lambda part: output_logps(policy, params, part)[0],
                                                              packed.rows(rollouts)))(params, packed)
    written = np.arange(9) < made.length_QG[..., None]
    expected_QGT = jax.jit(lambda params: tiny.row_logps(policy, params, made))(params)
    np.testing.assert_allclose(np.where(written, logps_QGT, 0), np.where(written, expected_QGT, 0), rtol=1e-5, atol=1e-5)
