"""How grpo_step.py takes its rounds: every program in each, and those left out in which the machine was not quiet."""
import importlib.util
import pathlib
import sys

import pytest

spec = importlib.util.spec_from_file_location('grpo_step', pathlib.Path(__file__).with_name('grpo_step.py'))
grpo_step = importlib.util.module_from_spec(spec)
spec.loader.exec_module(grpo_step)


@pytest.fixture
def rates(monkeypatch):
    """What the machine's rate is to be, in turn; the first five are those of its beginning."""
    told = []
    monkeypatch.setattr(grpo_step.Machine, '_measured', lambda self: told.pop(0))
    monkeypatch.setattr(grpo_step.time, 'sleep', lambda seconds: None)
    return told


@pytest.fixture
def programs(tmp_path):
    """Two that print how often they ran."""
    def counting(name):
        file = tmp_path / name
        return [sys.executable, '-c', f'p = {str(file)!r}; open(p, "a").write("x"); print(len(open(p).read()))']
    return {name: counting(name) for name in ('ours', 'peer')}


def test_every_round_counts_where_quiet_was_not_asked_for(programs, rates):
    assert grpo_step.in_turn(programs, 3, 0) == ({'ours': [1, 2, 3], 'peer': [1, 2, 3]}, 0)      # and nobody asks for a rate


def test_a_round_with_a_disturbance_is_left_out_for_all_programs(programs, rates):
    rates += [100, 98, 70, 99, 100,
              92, 94, 100, 60,        # waited; the first round, disturbed behind the peer
              100, 50,                # the second, disturbed behind ours: the peer does not run
              95, 99, 93]
    assert grpo_step.in_turn(programs, 1, 1) == ({'ours': [3], 'peer': [2]}, 2)
    assert not rates


def test_a_round_on_a_machine_that_turns_out_to_be_faster_is_left_out(programs, rates):
    rates += [80, 80, 80, 80, 80] + [80, 80, 80] + [100, 100, 100] + [100, 99, 100]
    assert grpo_step.in_turn(programs, 2, 1) == ({'ours': [2, 3], 'peer': [2, 3]}, 1)
    assert not rates


def test_no_quiet_round_in_time_is_said(programs, rates, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(grpo_step.time, 'monotonic', lambda: next(clock))
    rates += [100] * 5 + [50] * 10
    with pytest.raises(SystemExit, match='not quiet for one round in 1 minutes: 0 were left out'):
        grpo_step.in_turn(programs, 1, 1)


def test_quiet_rounds_are_those_beside_peers(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['grpo_step.py', '--quiet=5'])
    with pytest.raises(SystemExit):
        grpo_step.flags()
    assert '--peers, which is not there' in capsys.readouterr().err
    monkeypatch.setattr(sys, 'argv', ['grpo_step.py', '--quiet=5', '--peers'])
    assert grpo_step.flags().quiet == 5
