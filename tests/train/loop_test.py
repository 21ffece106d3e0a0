"""fit: a run that is stopped anywhere and started again ends as if it had never stopped; NaN stops it, or is left out."""
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from mathrl.checkpoint import Checkpoints, shapes_like
from mathrl.metrics import read_metrics
from mathrl.train import flops, guard, optim
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
    return [{name: x for name, x in line.items() if name not in ('seconds', 'tokens_per_s') and 'goodput' not in name} for line in lines]


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


# ---- told to stop

def test_sigterm_saves_and_leaves_with_the_code_to_start_again(tmp_path, capsys):
    schedule = Schedule(steps=10, save_every=100, log_every=3)
    whole, parts = folder(tmp_path, 'whole'), folder(tmp_path, 'parts')
    wanted = train(whole, schedule)

    def told(state, step, key):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(state, step, key)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train(parts, schedule, advance=told)
    assert stopped.value.code == 75 and signal.getsignal(signal.SIGTERM) == before
    assert 'test: told to stop; saved behind step 7 of 10: the same command goes on' in capsys.readouterr().out
    assert [path.name for path in (parts / 'checkpoints').iterdir()] == ['7']
    jax.tree.map(np.testing.assert_array_equal, train(parts, schedule), wanted)
    assert metrics_of(parts) == metrics_of(whole)


def test_told_to_stop_in_the_last_step_it_ends_well(tmp_path):
    def told(state, step, key):
        os.kill(os.getpid(), signal.SIGTERM)
        return update(state, step, key)
    assert train(folder(tmp_path), Schedule(steps=1), advance=told).step == 1


# ---- left out by a guard

GUARDED = optim.adamw(optim.constant(0.1), guard=guard.skip_spikes(6.0, 8))


def guarded(workdir, schedule, broken, stop_at=None):
    """A run whose gradients are NaN in the steps `broken`."""
    @jax.jit
    def advance(state, step):
        value, grads = jax.value_and_grad(lambda params: jnp.sum(params['up_DF'] ** 2))(state.params)
        factor = jnp.where(jnp.isin(step, jnp.array([*broken, -1])), jnp.nan, 1.0)
        loss = value * factor
        state = apply_gradients(state, jax.tree.map(lambda x: x * factor, grads), GUARDED, loss=loss)
        return state, {'loss': loss, 'grad_norm': loss}

    def stoppable(state, step):
        if step == stop_at:
            raise Stopped
        return *advance(state, jnp.int32(step)), 7
    state, _ = resume(workdir, create({'up_DF': jnp.ones((4, 3))}, GUARDED))
    return fit('test', workdir, state, stoppable, schedule)


def test_steps_left_out_are_counted_and_the_run_goes_on_also_when_it_was_stopped_between(tmp_path):
    schedule = Schedule(steps=10, save_every=2, log_every=1, most_skipped=4)
    whole, parts = folder(tmp_path, 'whole'), folder(tmp_path, 'parts')
    wanted = guarded(whole, schedule, broken=(2, 5, 6, 7))
    for stop in (3, 7, 9):
        with pytest.raises(Stopped):
            guarded(parts, schedule, broken=(2, 5, 6, 7), stop_at=stop)
    jax.tree.map(np.testing.assert_array_equal, guarded(parts, schedule, broken=(2, 5, 6, 7)), wanted)
    lines = read_metrics(parts / 'metrics.jsonl')
    assert [line['skipped'] for line in lines] == [0, 0, 1, 1, 1, 2, 3, 4, 4, 4]
    assert [line['skipped_in_a_row'] for line in lines] == [0, 0, 1, 0, 0, 1, 2, 3, 0, 0]
    assert np.isnan(lines[2]['loss']) and np.isfinite(lines[-1]['loss'])


def test_too_many_left_out_in_a_row_stop_the_run_and_name_the_steps(tmp_path):
    workdir = folder(tmp_path)
    said = (r'test: the last 4 steps up to step 9 were left out, .* \(the last: loss nan, grad_norm nan\); it was in order '
            'after step 5; the last checkpoint before that stands')
    with pytest.raises(FloatingPointError, match=said):
        guarded(workdir, Schedule(steps=20, save_every=2, log_every=1, most_skipped=4), broken=range(5, 20))
    assert sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir()) == [2, 4], 'steps left out are not saved'


# ---- measured beside training

def test_what_is_measured_is_logged_and_the_best_checkpoint_stays(tmp_path):
    workdir, values = folder(tmp_path), {3: 5.0, 6: 2.0, 9: 4.0, 12: 3.0, 14: 2.5}
    fit('test', workdir, fresh_state(), lambda state, step: (*update(state, jnp.int32(step), jax.random.key(0)), 7),
        Schedule(steps=14, save_every=3, log_every=100, measure_every=3, keep=1, best='-loss/math'),
        measure=lambda state: {'loss/math': values[int(state.step)]})
    lines = read_metrics(workdir / 'metrics.jsonl')
    assert {line['step'] + 1: line['loss/math'] for line in lines} == values
    assert sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir()) == [6, 14]
    with Checkpoints(workdir / 'checkpoints', best=True) as checkpoints:
        assert checkpoints.best() == 6 and checkpoints.latest() == 14


def test_the_best_of_what_is_not_measured_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="best='-loss' is not measured; there are: loss/math"):
        fit('test', folder(tmp_path), fresh_state(),
            lambda state, step: (*update(state, jnp.int32(step), jax.random.key(0)), 7),
            Schedule(steps=1, best='-loss'), measure=lambda state: {'loss/math': 1.0})


# ---- broken on disk

def test_a_broken_last_checkpoint_is_named_and_the_step_before_offered(tmp_path):
    workdir = folder(tmp_path)
    schedule = Schedule(steps=6, save_every=2, keep=3)
    wanted = train(workdir, schedule)
    last = workdir / 'checkpoints' / '6'
    data = max((last / 'params' / 'd').iterdir(), key=lambda path: path.stat().length)
    data.write_bytes(data.read_bytes()[:-7])
    said = f'checkpoint {last} .*; step 4 is whole: the same command goes on from there once what lies behind it in .* is moved'
    with pytest.raises(ValueError, match=said) as caught:
        train(workdir, schedule)
    assert '\n' not in str(caught.value)
    last.rename(tmp_path / 'broken')
    jax.tree.map(np.testing.assert_array_equal, train(workdir, schedule), wanted)


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
