"""The reward model's update: the written objective, any cut of the batch, any mesh, padding."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl.rl.packing import lengths
from mathrl.rl.reward_step import RewardExamples, labelled, reward_step
from mathrl.train.reward_loss import binary, pairwise
from mathrl.train.state import create


@pytest.fixture(scope='module')
def examples(tiny) -> RewardExamples:
    """Outputs with one or two steps each and labels from 0 to 1; one output is padding."""
    experience = tiny.experience(process=True)
    ends_QGT = np.array(experience.step_ends_QGT)
    ends_QGT[1, 2] = 0
    labels_QGT = np.random.default_rng(3).random(ends_QGT.shape) * ends_QGT
    rollouts = experience.rollouts
    return RewardExamples(rollouts.prompt_QS, rollouts.prompt_length_Q, rollouts.tokens_QGT, labels_QGT.astype(np.float32),
                          ends_QGT)


def update(tiny, examples, params=None, **options):
    """(gradient, metrics) of one update."""
    critic, critic_params = tiny.models('float32')[3:]
    state = tiny.state(jax.tree.map(jnp.copy, params or critic_params))
    state, metrics = reward_step(state, examples, model=critic, optimizer=tiny.keep_gradient, **options)
    return jax.device_get(state.opt_state), jax.device_get(metrics)


@pytest.mark.parametrize('loss', [binary, pairwise])
def test_equals_autodiff_of_the_loss_over_whole_rows(tiny, examples, loss):
    critic, params = tiny.models('float32')[3:]

    def written(params):
        before_QGT = tiny.row_values(critic, params, _Longer(examples))      # before token t + 1: after token t
        total, count = loss(before_QGT[:, :, 1:], examples.labels_QGT, examples.step_ends_QGT)
        return total / count
    expected_loss, expected = jax.value_and_grad(written)(params)
    gradient, metrics = update(tiny, examples, loss=loss)
    np.testing.assert_allclose(metrics['loss'], expected_loss, rtol=1e-5)
    tiny.assert_close(gradient, jax.device_get(expected), 1e-5)
    np.testing.assert_allclose(metrics['grad_norm'], optax.tree.norm(expected), rtol=1e-5)


class _Longer:
    """The outputs with one more token, so that the state behind their last one has a place."""

    def __init__(self, examples):
        self.prompt_QS, self.prompt_length_Q = examples.prompt_QS, examples.prompt_length_Q
        self.tokens_QGT = np.pad(examples.tokens_QGT, ((0, 0), (0, 0), (0, 1)))


@pytest.mark.parametrize('loss, parts', [(binary, 2), (binary, 4), (binary, 16), (pairwise, 2), (pairwise, 4)])
def test_does_not_depend_on_micro_batches(tiny, examples, loss, parts):
    expected, metrics = update(tiny, examples, loss=loss)
    gradient, cut = update(tiny, examples, loss=loss, micro_batches=parts)
    tiny.assert_close(gradient, expected, 1e-5)
    for name, value in metrics.items():
        np.testing.assert_allclose(cut[name], value, rtol=1e-5)


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2)])
def test_does_not_depend_on_the_mesh(tiny, examples, sizes):
    expected, _ = update(tiny, examples)
    gradient = tiny.on_mesh(sizes, lambda params, examples: update(tiny, examples, params, micro_batches=2)[0],
                            tiny.models('float32')[4], examples)
    tiny.assert_close(gradient, expected, 1e-5)


@pytest.mark.parametrize('which, sizes', [(which, sizes) for which in ('coarse', 'fine') for sizes in ((1, 1, 1), (2, 2, 2))]
                         + [('lent', (1, 1, 1)), ('lent', (2, 1, 2))], ids=str)
def test_does_not_depend_on_being_packed(tiny, examples, which, sizes):
    length_QG = lengths(examples.step_ends_QGT)
    assert length_QG[1, 2] == 0 < length_QG.max() <= examples.tokens_QGT.shape[2]
    expected, metrics = update(tiny, examples)

    def run(params, placed):
        packed = tiny.packing(placed, 2, which, length_QG)
        assert (len(packed.index_MQGT) == 1) == (which == 'lent') == (packed.prompt_MQG is not None)
        return update(tiny, placed, params, packing=packed)
    gradient, found = tiny.on_mesh(sizes, run, tiny.models('float32')[4], examples)
    tiny.assert_close(gradient, expected, 1e-5)
    for name, value in metrics.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)


def test_does_not_depend_on_padding(tiny, examples):
    wide = lambda x, value: np.pad(x, ((0, 0), (0, 0), (0, 3)), constant_values=value)
    padded = examples.replace(tokens_QGT=wide(examples.tokens_QGT, 5), labels_QGT=wide(examples.labels_QGT, 1.0),
                              step_ends_QGT=wide(examples.step_ends_QGT, 0))
    tiny.assert_close(update(tiny, padded)[0], update(tiny, examples)[0], 1e-5)


def test_pairs_of_outputs_are_not_cut(tiny, examples):
    with pytest.raises(ValueError, match='8 micro-batches do not divide 4 questions'):
        update(tiny, examples, loss=pairwise, micro_batches=8)
    with jax.set_mesh(jax.make_mesh((1, 1, 1), ('data', 'fsdp', 'tensor'), devices=jax.devices()[:1])), pytest.raises(
            ValueError, match='compares outputs of a group'):
        update(tiny, examples, loss=pairwise, packing=tiny.packing(examples, 1, 'coarse', lengths(examples.step_ends_QGT)))


def test_is_traced_once_and_learns_its_labels(tiny, examples):
    critic, params = tiny.models('float32')[3:]
    traces, optimizer = [], optax.adam(3e-2)

    def counted(*arguments):
        traces.append(1)
        return binary(*arguments)
    hard = examples.replace(labels_QGT=np.round(examples.labels_QGT))
    state = create(jax.tree.map(jnp.copy, params), optimizer)
    for _ in range(60):
        state, metrics = reward_step(state, hard, model=critic, optimizer=optimizer, loss=counted)
    assert len(traces) == 1
    assert metrics['loss'] < 0.1 and metrics['accuracy'] > 0.95 and metrics['steps'] == np.sum(hard.step_ends_QGT)


def test_labelled_rollouts_are_examples(tiny, examples):
    rollouts = jax.tree.map(jnp.asarray, tiny.experience(process=True).rollouts)
    arrays = labelled(rollouts, jnp.asarray(examples.labels_QGT), jnp.asarray(examples.step_ends_QGT))
    tiny.assert_close(update(tiny, RewardExamples(**arrays))[0], update(tiny, examples)[0], 1e-6)
