"""jax.profiler traces the steps that were asked for, and no others."""
import jax
import pytest

from mathrl.train.trace import Trace


def run(workdir, steps, first=0, fail_at=None, calls=None):
    with Trace(workdir, steps) as trace:
        for step in range(first, 6):
            trace.before(step)
            if step == fail_at:
                raise KeyboardInterrupt
            trace.behind(step + 1, jax.numpy.ones(()) * step)
            if calls is not None:
                calls.append(step)


@pytest.fixture
def traced(monkeypatch):
    """What was called, in order, in place of the profiler."""
    calls = []
    monkeypatch.setattr(jax.profiler, 'start_trace', lambda folder: calls.append('start'))
    monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: calls.append('stop'))
    return calls


def test_the_steps_asked_for_are_traced(traced, tmp_path):
    run(tmp_path, (2, 4), calls=traced)
    assert traced == [0, 1, 'start', 2, 'stop', 3, 4, 5]


def test_none_by_default_and_the_rest_of_them_in_a_run_that_goes_on(traced, tmp_path):
    run(tmp_path, ())
    assert traced == []
    run(tmp_path, (2, 4), first=3, calls=traced)
    assert traced == ['start', 'stop', 3, 4, 5]


def test_a_run_that_ends_in_the_middle_keeps_its_trace(traced, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, (2, 5), fail_at=3)
    assert traced == ['start', 'stop']


def test_wrong_steps_are_one_sentence(tmp_path):
    for steps in ((3,), (4, 4), (-1, 2)):
        with pytest.raises(ValueError, match=r'profile=.*such as \(10, 13\)'):
            Trace(tmp_path, steps)


def test_files_are_written(tmp_path):
    run(tmp_path, (1, 2))
    assert list((tmp_path / 'profile').rglob('*.xplane.pb'))
