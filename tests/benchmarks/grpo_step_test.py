"""How grpo_step.py takes its rounds: every program in each, and those left out in which the machine was not quiet."""
import importlib.util
import pathlib
import sys

import pytest

spec = importlib.util.spec_from_file_location('grpo_step', pathlib.Path(__file__).with_name('grpo_step.py'))
grpo_step = importlib.util.module_from_spec(spec)
spec.loader.exec_module(grpo_step)


class Told:
    """A machine that is quiet when it is told to be."""
    answers = []

    def quiet(self) -> bool:
        return self.answers.pop(0)


@pytest.fixture
def programs(tmp_path):
    """Two that print how often they ran."""
    def counting(name):
        file = tmp_path / name
        return [sys.executable, '-c', f'p = {str(file)!r}; open(p, "a").write("x"); print(len(open(p).read()))']
    return {name: counting(name) for name in ('ours', 'peer')}


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(grpo_step, 'Machine', Told)
    monkeypatch.setattr(grpo_step.time, 'sleep', lambda seconds: None)
    return Told


def test_every_round_counts_where_quiet_was_not_asked_for(programs, monkeypatch):
    monkeypatch.setattr(grpo_step, 'Machine', None)      # nobody asks it
    assert grpo_step.in_turn(programs, 3, 0) == ({'ours': [1, 2, 3], 'peer': [1, 2, 3]}, 0)


def test_a_round_with_a_disturbance_is_left_out_for_all_programs(programs, told):
    told.answers = [False, True, True, False,      # waited; the first round, disturbed behind the peer
                    True, False,                   # the second, disturbed behind ours: the peer does not run
                    True, True, True]
    assert grpo_step.in_turn(programs, 1, 1) == ({'ours': [3], 'peer': [2]}, 2)
    assert not told.answers


def test_no_quiet_round_in_time_is_said(programs, told, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(grpo_step.time, 'monotonic', lambda: next(clock))
    told.answers = [False] * 10
    with pytest.raises(SystemExit, match='not quiet for one round in 1 minutes: 0 were left out'):
        grpo_step.in_turn(programs, 1, 1)


def test_a_slower_machine_is_not_quiet(monkeypatch):
    rates = iter([100, 98, 100, 99, 100, 92, 94, 120, 110])
    monkeypatch.setattr(grpo_step.Machine, '_rate', lambda self: next(rates))
    machine = grpo_step.Machine()
    assert [machine.quiet() for _ in range(4)] == [False, True, True, False]
