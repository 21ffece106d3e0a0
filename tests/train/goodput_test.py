"""Every second of a run is in one part; what jax compiles counts as compile, wherever it does."""
import jax
import jax.numpy as jnp
import pytest

from mathrl.train import goodput
from mathrl.train.goodput import Goodput


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_each_second_is_in_the_innermost_part():
    clock = Clock()
    with Goodput(clock) as counted:
        clock.now += 5
        with counted.spent('evaluation'):
            clock.now += 2
            with goodput.spent('input'):
                clock.now += 1
            clock.now += 1
        clock.now += 1
        shares = counted.shares()
    assert shares == {'goodput/steps': .6, 'goodput/evaluation': .3, 'goodput/input': .1, 'goodput/compile': 0, 'goodput/checkpoint': 0}
    assert counted.line() == '60.0% steps, 10.0% input, 30.0% evaluation'


def test_compiling_is_taken_from_the_part_it_happens_in():
    with Goodput() as counted:
        with counted.spent('evaluation'):
            jax.jit(lambda x: jnp.tanh(x @ x) * 3)(jnp.ones((17, 17))).block_until_ready()
    shares = counted.shares()
    assert shares['goodput/compile'] > shares['goodput/evaluation'] > -1e-3 and sum(shares.values()) == pytest.approx(1)


def test_nothing_counts_outside_of_a_run():
    with goodput.spent('input'):
        pass
    with Goodput(Clock()) as counted, pytest.raises(ValueError, match="unknown part 'eval' of the time; there are: steps"):
        with counted.spent('eval'):
            pass
    jax.jit(lambda x: x * 5 + 1)(1.0)
    assert counted.shares()['goodput/compile'] == 0
