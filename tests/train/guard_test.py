"""The guard: an update that is not finite or far too large is left out, bit for bit, and counted."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.train import guard, optim
from mathrl.train.state import create
from mathrl.train.step import apply_gradients

WINDOW = 8


def optimizer(deviations=6.0, **changed):
    return optim.adamw(optim.multi_step(0.1, steps=100, warmup_steps=10), guard=guard.skip_spikes(deviations, WINDOW), **changed)


def params():
    return {'up_DF': jnp.array([[1.0, -0.0], [0.0, 2.0]]), 'norm_D': jnp.ones(2)}


def gradients(scale):
    return jax.tree.map(lambda x: jnp.full_like(x, scale), params())


def run(steps, using):
    """The state after (loss, gradient) pairs."""
    step = jax.jit(lambda state, loss, scale: apply_gradients(state, gradients(scale), using, loss=loss))
    state = create(params(), using)
    for loss, scale in steps:
        state = step(state, jnp.float32(loss), jnp.float32(scale))
    return state


def usual(count):
    return [(2.0 + 0.1 * (-1) ** step, 1.0 + 0.05 * (-1) ** step) for step in range(count)]


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize('odd', [(np.nan, 1.0), (2.0, np.inf), (2.0, np.nan), (-np.inf, 1.0), (9.0, 1.0), (2.0, 50.0)], ids=str)
@pytest.mark.parametrize('changed', [{}, {'master_dtype': 'float32', 'moment_dtype': 'bfloat16'}], ids=str)
def test_an_odd_step_changes_nothing_but_the_counts(odd, changed):
    before, after = run(usual(6), optimizer(**changed)), run([*usual(6), odd], optimizer(**changed))
    assert bits(after.params) == bits(before.params)
    same = lambda state: state.opt_state._replace(skipped=0, in_a_row=0)
    assert bits(same(after)) == bits(same(before))
    assert guard.counts(before.opt_state) == {'skipped': 0, 'skipped_in_a_row': 0}
    assert guard.counts(after.opt_state) == {'skipped': 1, 'skipped_in_a_row': 1} and after.step == 7


def test_an_odd_first_step_leaves_even_the_sign_of_zero():
    after = run([(np.nan, 1.0)], optimizer())
    assert bits(after.params) == bits(params()) and guard.counts(after.opt_state)['skipped'] == 1


def test_what_follows_an_odd_step_is_as_if_it_had_not_been():
    odd = (np.nan, np.nan)
    after = run([*usual(6), odd, odd, *usual(2)], optimizer())
    assert bits(after.params) == bits(run([*usual(6), *usual(2)], optimizer()).params)
    assert guard.counts(after.opt_state) == {'skipped': 2, 'skipped_in_a_row': 0}


def test_ordinary_steps_are_those_of_the_bare_optimizer():
    bare = optim.adamw(optim.multi_step(0.1, steps=100, warmup_steps=10))
    assert bits(run(usual(20), optimizer()).params) == bits(run(usual(20), bare).params)


def test_nothing_finite_is_odd_before_half_a_window_and_without_deviations():
    assert guard.counts(run([*usual(3), (99.0, 99.0)], optimizer()).opt_state)['skipped'] == 0
    assert guard.counts(run([*usual(4), (99.0, 99.0)], optimizer()).opt_state)['skipped'] == 1
    assert guard.counts(run([*usual(20), (99.0, 99.0)], optimizer(0.0)).opt_state)['skipped'] == 0


def test_only_the_last_updates_count():
    """A level reached slowly is usual; the bound is mean + deviations x standard deviation of the window."""
    rising = [(2 + 0.5 * step, 1.0) for step in range(30)]
    state = run(rising, optimizer())
    assert guard.counts(state.opt_state)['skipped'] == 0
    assert sorted(np.asarray(state.opt_state.losses_W)) == [loss for loss, _ in rising[-WINDOW:]]
    last = np.array([loss for loss, _ in rising[-WINDOW:]])
    bound = last.mean() + 6 * last.std()
    assert guard.counts(run([*rising, (bound - 0.01, 1.0)], optimizer()).opt_state)['skipped'] == 0
    assert guard.counts(run([*rising, (bound + 0.01, 1.0)], optimizer()).opt_state)['skipped'] == 1


def test_an_optimizer_without_a_guard_counts_nothing():
    assert guard.counts(create(params(), optim.adamw(optim.constant(0.1))).opt_state) == {}


@pytest.mark.parametrize('wrong', [{'deviations': -1.0}, {'window': 1}], ids=str)
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(ValueError, match='skip_spikes: deviations=.* must be at least 0, and window=.* at least 2'):
        guard.skip_spikes(**wrong)
