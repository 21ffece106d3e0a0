"""fit: a run that is stopped anywhere and started again ends as if it had never stopped; NaN stops it."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from mathrl.checkpoint import Checkpoints, shapes_like
from mathrl.metrics import read_metrics
from mathrl.train import flops, optim
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.state import create
from mathrl.train.step import apply_gradients

OPTIMIZER = optim.adamw(optim.multi_step(0.1, steps=10, warmup_steps=3))


class Stopped(Exception):
    """The process dies here."""


def fresh_state():
    return create({'up_DF': jnp.ones((4, 3)), 'norm_D': jnp.ones(4)}, OPTIMIZER)


@jax.jit
def update(state, step, key):
    """One update on a loss with noise drawn from (key, step)."""
    noise_D = jax.random.normal(jax.random.fold_in(key, step), (4,))

    def loss(params):
        return jnp.sum((noise_D @ params['up_DF'] - 2) ** 2) + jnp.sum((params['norm_D'] - noise_D) ** 2)
    value, grads = jax.value_and_grad(loss)(state.params)
    return apply_gradients(state, grads, OPTIMIZER), {'loss': value, 'rate': 0.5}


def train(workdir, schedule, stop_at=None, advance=update, seed=0):
    """A program's run: resume, then fit; stop_at is the step that kills it. The key comes back from the checkpoint."""
    extra = {'random': {'key': jax.random.key_data(jax.random.key(seed))}}
    state, extra = resume(workdir, fresh_state(), extra)
    key = jax.random.wrap_key_data(extra['random']['key'])

    def stoppable(state, step):
        if step == stop_at:
            raise Stopped
        return *advance(state, jnp.int32(step), key), 7
    return fit('test', workdir, state, stoppable, schedule, extra=extra, meta={'config': 'here'})


def metrics_of(workdir):
    lines = read_metrics(workdir / 'metrics.jsonl')
    return [{name: x for name, x in line.items() if name not in ('seconds', 'tokens_per_s')} for line in lines]


def folder(tmp_path, name='run'):
    path = epath.Path(tmp_path) / name
    path.mkdir()
    return path


# ---- stopped and started again

@pytest.mark.parametrize('log_every', [1, 4])
@pytest.mark.parametrize('stops', [[5], [1, 3, 9]], ids=str)
def test_a_stopped_run_ends_like_an_uninterrupted_one(tmp_path, stops, log_every):
    schedule = Schedule(steps=10, save_every=3, log_every=log_every)
    whole, parts = folder(tmp_path, 'whole'), folder(tmp_path, 'parts')
    wanted = train(whole, schedule)
    for stop in stops:
        with pytest.raises(Stopped):
            train(parts, schedule, stop)
    ended = train(parts, schedule, seed=99)      # the seed is read from the checkpoint, not from the second command
    if stops == [1, 3, 9]:
        assert sorted(int(path.name) for path in (parts / 'checkpoints').iterdir()) == [9, 10]
    jax.tree.map(np.testing.assert_array_equal, ended, wanted)
    assert ended.step == 10
    assert metrics_of(parts) == metrics_of(whole)
    assert [line['step'] for line in metrics_of(whole)] == (list(range(10)) if log_every == 1 else [3, 7, 9])
    saved, _ = resume(parts, fresh_state())
    jax.tree.map(np.testing.assert_array_equal, saved, wanted)


def test_a_finished_run_started_again_does_nothing(tmp_path):
    workdir, schedule = folder(tmp_path), Schedule(steps=2, log_every=1)
    wanted = train(workdir, schedule)
    lines = (workdir / 'metrics.jsonl').read_text()
    jax.tree.map(np.testing.assert_array_equal, train(workdir, schedule, stop_at=2), wanted)
    assert (workdir / 'metrics.jsonl').read_text() == lines


def test_a_run_that_never_saved_starts_from_what_it_was_given(tmp_path):
    state, extra = resume(folder(tmp_path), fresh_state(), {'random': {'key': np.arange(2)}})
    jax.tree.map(np.testing.assert_array_equal, state, fresh_state())
    assert extra['random']['key'].tolist() == [0, 1]


def test_checkpoints_hold_state_extra_and_meta_and_only_the_last_stay(tmp_path):
    workdir = folder(tmp_path)
    state = train(workdir, Schedule(steps=7, save_every=2, keep=2))
    with Checkpoints(workdir / 'checkpoints') as checkpoints:
        assert checkpoints.latest() == 7
        assert checkpoints.meta(7)['config'] == 'here'
        params = checkpoints.restore(7, {'params': shapes_like(state.params)})['params']
    jax.tree.map(np.testing.assert_array_equal, params, state.params)
    assert sorted(path.name for path in (workdir / 'checkpoints').iterdir()) == ['6', '7']


def test_resuming_removes_no_checkpoint(tmp_path):
    """resume() and a later fit() may keep different numbers; only fit's counts."""
    workdir = folder(tmp_path)
    train(workdir, Schedule(steps=5, save_every=1, keep=None))
    resume(workdir, fresh_state())
    assert len(list((workdir / 'checkpoints').iterdir())) == 5


def test_another_shape_of_parameters_is_refused_in_one_sentence(tmp_path):
    workdir = folder(tmp_path)
    train(workdir, Schedule(steps=1))
    other = create({'up_DF': jnp.ones((4, 5)), 'norm_D': jnp.ones(4)}, OPTIMIZER)
    with pytest.raises(ValueError, match=r'checkpoint .*/1 .*up_DF is wanted as float32\[4, 5\]') as caught:
        resume(workdir, other)
    assert '\n' not in str(caught.value)


# ---- not a number

def breaking(at, name='loss', value=float('nan')):
    def advance(state, step, key):
        state, metrics = update(state, step, key)
        if step >= at:
            state = state.replace(params=jax.tree.map(lambda x: x * value, state.params))
            metrics = {**metrics, name: jnp.float32(value)}
        return state, metrics
    return advance


@pytest.mark.parametrize('name, value', [('loss', float('nan')), ('grad_norm', float('inf'))])
def test_a_number_that_is_not_finite_names_the_steps_between_which_it_appeared(tmp_path, name, value):
    workdir = folder(tmp_path)
    said = f'test: {name} is {value} after step 6; it was finite after step 4'
    with pytest.raises(FloatingPointError, match=said) as caught:
        train(workdir, Schedule(steps=12, save_every=2, log_every=4), advance=breaking(5, name, value))
    assert '\n' not in str(caught.value)
    assert [line['step'] for line in metrics_of(workdir)] == [3]


@pytest.mark.parametrize('save_every, log_every', [(1, 10), (2, 3), (4, 2)])
def test_a_checkpoint_never_holds_what_is_not_finite(tmp_path, save_every, log_every):
    """Checkpoints that follow one another must not push out the last good one before the NaN is seen."""
    workdir = folder(tmp_path)
    with pytest.raises(FloatingPointError):
        train(workdir, Schedule(steps=12, save_every=save_every, log_every=log_every), advance=breaking(5))
    state, _ = resume(workdir, fresh_state())
    assert state.step == 5 // save_every * save_every
    jax.tree.map(lambda x: np.testing.assert_array_equal(np.isfinite(x), True), state)
    ended = train(workdir, Schedule(steps=12, save_every=save_every, log_every=log_every))
    assert ended.step == 12


@pytest.mark.parametrize('wrong', [{'steps': 0}, {'steps': 1, 'save_every': 0}, {'steps': 1, 'log_every': -1}], ids=str)
def test_a_wrong_schedule_is_one_sentence(wrong):
    with pytest.raises(ValueError, match='must be at least 1; got'):
        Schedule(**wrong)


def test_the_logs_have_mfu_where_the_peak_is_known(tmp_path, monkeypatch):
    """1e9 FLOPs a step on eight devices of 1e9 FLOP/s each."""
    run = lambda name: fit(name, folder(tmp_path, name), fresh_state(),
                           lambda state, step: (*update(state, jnp.int32(step), jax.random.key(0)), 7),
                           Schedule(4, log_every=2), flops=1e9)
    run('unknown')
    assert 'mfu' not in read_metrics(tmp_path / 'unknown' / 'metrics.jsonl')[0]
    monkeypatch.setattr(flops, 'peak', lambda kind: 1e9)
    run('known')
    for line in read_metrics(tmp_path / 'known' / 'metrics.jsonl'):
        assert line['mfu'] == pytest.approx(1 / (8 * line['seconds']), rel=1e-6)
