"""A step's hot path: which executables it launches, and that nothing goes to the devices unasked."""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax._src import pjit
from jax._src.interpreters import pxla

from mathrl import sharding
from mathrl.programs import exploration, learners, rl
from mathrl.rl import coefficients, rewards
from mathrl.rl.rewards import TextReward, Weighted
from mathrl.rl.types import Algorithm
from mathrl.sampling.filters import Sampling
from mathrl.train import optim
from mathrl.train.loop import Schedule

sys.path.append(str(pathlib.Path(__file__).parents[1] / 'benchmarks'))
from grpo_step import count_launches

OPTIMIZER, GRPO = optim.adamw(optim.constant(1e-3)), coefficients.grpo()
PARITY = TextReward('parity', lambda problem, text, tokens: float(sum(map(ord, text)) % 2))
RARE = TextReward('rare', lambda problem, text, tokens: float(sum(map(ord, text)) % 7 == 0))
BOTH = Weighted([PARITY, RARE], [1.0, 0.5])


def run(tiny, workdir, reward=PARITY, **changed):
    settings = dict(workdir=epath.Path(workdir), problems=tiny.problems, model=tiny.model, algorithm=Algorithm('policy', reward, GRPO),
                    mesh=sharding.make_mesh(devices=jax.devices()[:1]), optimizer=OPTIMIZER, sampling=Sampling(), questions=4,
                    schedule=Schedule(steps=3, save_every=9, log_every=1), group_size=4, max_tokens=6, templates=tiny.templates,
                    seed=1, rollouts_every=0)
    rl.run(**settings | changed)


@pytest.fixture
def launched(monkeypatch):
    """A list of what had been launched before each step, a Counter of names."""
    jax.clear_caches()      # what C++ has cached is launched past Python
    for owner, name in (pjit, '_get_fastpath_data'), (pxla.ExecuteReplicated, '__call__'):
        monkeypatch.setattr(owner, name, getattr(owner, name))      # puts back behind the test what count_launches replaces
    steps, counts, explore = [], count_launches(), exploration.Explorer.__call__

    def beginning(self, *arguments):
        steps.append(counts.copy())
        return explore(self, *arguments)
    monkeypatch.setattr(exploration.Explorer, '__call__', beginning)
    yield steps
    jax.clear_caches()


@pytest.mark.parametrize('reward', [PARITY, BOTH], ids=['one', 'weighted'])
def test_a_step_of_two_blocks_launches_four_executables(tiny, tmp_path, launched, reward):
    run(tiny, tmp_path, reward)
    assert launched[2] - launched[1] == {f'jit({name})': 1 for name in ('begin', 'advance', '_weighed', 'policy_step')}


@pytest.mark.parametrize('reward, changed', [(BOTH, {}), (RARE, {'refills': 3}), (PARITY, {'updates': 2})],
                         ids=['weighted', 'refills', 'updates'])
def test_nothing_is_transferred_unasked(tiny, tmp_path, monkeypatch, reward, changed):
    """Between the beginning of a step's exploration and the end of its updates, rewards on texts included."""
    explore, learner = exploration.Explorer.__call__, learners.learner

    def guarded(function):
        def call(*arguments):
            with jax.transfer_guard('disallow'):
                return function(*arguments)
        return call
    monkeypatch.setattr(exploration.Explorer, '__call__', guarded(explore))
    monkeypatch.setattr(rl, 'learner', lambda *arguments: (made := learner(*arguments))._replace(learn=guarded(made.learn)))
    run(tiny, tmp_path, reward, **changed)


@pytest.mark.parametrize('where', ['sample_groups', '_weighed', '_chosen', 'learn'])
def test_what_is_transferred_unasked_is_an_error(tiny, tmp_path, monkeypatch, where):
    def careless(function):
        return lambda *arguments, **named: (jnp.ones(3) + np.ones(3), function(*arguments, **named))[1]
    if where == 'learn':
        learner = learners.learner
        monkeypatch.setattr(rl, 'learner', lambda *arguments: (made := learner(*arguments))._replace(learn=careless(made.learn)))
    else:
        module = rewards if where == '_weighed' else exploration
        monkeypatch.setattr(module, where, careless(getattr(module, where)))
    with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
        run(tiny, tmp_path, RARE, refills=1)
