"""What reinforcement learning passes around."""
import dataclasses
from typing import Any, Callable

import flax.struct
import jax

from mathrl.rl.advantages import group_advantages
from mathrl.rl.kl import Penalty
from mathrl.rl.normalisation import sequence_mean, token_mean
from mathrl.sampling.rollout import Rollouts


@flax.struct.dataclass
class Experience:
    """Rollouts with their rewards, ready for an update.

    rewards_QGT holds a reward at the last token of each step, step_ends_QGT is 1 there (outcome supervision is one step,
    which ends at the output's last token). old_logps_QGT: log-probs under the model that wrote, as a forward pass of training
    gives them (decoding rounds otherwise: at 16 bits, by some hundredths); None: an update takes its own, see policy_step.
    """
    rollouts: Rollouts
    old_logps_QGT: jax.Array | None
    rewards_QGT: jax.Array
    step_ends_QGT: jax.Array


SOURCES = 'policy', 'reference'


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """The paper's unified view: where the data comes from, what rewards it, and the coefficient on grad log pi.

    source: who writes the outputs, the 'policy' being trained, or the 'reference', the model that this iteration began with
    (offline methods: RFT). reward(outputs) -> Scored, see rl/rewards.py. coefficient(logps_QGT, ref_logps_QGT, sample) ->
    Terms, see rl/coefficients.py. normalisation(trained_QGT) -> the tokens' weights; advantages(rewards_QGT, step_ends_QGT):
    how rewards become what a coefficient reads; reward_kl: KL in the reward, or None.
    """
    source: str
    reward: Callable
    coefficient: Callable
    normalisation: Callable = sequence_mean
    advantages: Callable = group_advantages
    reward_kl: Penalty | None = None

    def __post_init__(self):
        _check_source(self.source)


@dataclasses.dataclass(frozen=True)
class ActorCritic:
    """PPO: source, reward, coefficient, normalisation and reward_kl as in Algorithm; the rest as in rl/actor_critic.py."""
    source: str
    reward: Callable
    coefficient: Callable
    critic_optimizer: Any
    normalisation: Callable = token_mean
    reward_kl: Penalty | None = None
    gamma: float = 1.0
    lam: float = 0.95
    value_clip: float = 0.2
    whitened: bool = True

    def __post_init__(self):
        _check_source(self.source)


@dataclasses.dataclass(frozen=True)
class Preferences:
    """DPO on the outputs of a group, the i-th best against the i-th worst; offline if the reference writes them."""
    source: str
    reward: Callable
    beta: float = 0.1

    def __post_init__(self):
        _check_source(self.source)


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise ValueError(f'unknown source {source!r}; there are: {", ".join(map(repr, SOURCES))}')


@flax.struct.dataclass
class Sample:
    """The part of an experience that a coefficient reads, token by token; log-probs are 0 where nothing is trained.

    old_logps_QGT: as in Experience, but never None to a coefficient; sampler_logps_QGT: under the distribution that the tokens
    were in fact drawn from (see Rollouts). output_QGT: which output a token belongs to; None where each row is one of them.
    """
    advantages_QGT: jax.Array
    old_logps_QGT: jax.Array | None
    sampler_logps_QGT: jax.Array
    trained_QGT: jax.Array
    output_QGT: jax.Array | None = None
