"""What reinforcement learning passes around."""
import dataclasses
from typing import Callable

import flax.struct
import jax

from mathrl.sampling.rollout import Rollouts


@flax.struct.dataclass
class Experience:
    """Rollouts with their rewards, ready for an update.

    rewards_QGT holds a reward at the last token of each step, step_ends_QGT is 1 there (outcome supervision is one step,
    which ends at the output's last token); old_logps_QGT are log-probs under the policy that sampled.
    """
    rollouts: Rollouts
    old_logps_QGT: jax.Array
    rewards_QGT: jax.Array
    step_ends_QGT: jax.Array


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """The paper's unified view: where the data comes from, what rewards it, and the coefficient on grad log pi.

    source: 'policy' (outputs are sampled from the policy being trained). reward(problem, output) -> float.
    coefficient(logps_QGT, ref_logps_QGT, sample) -> Terms; see rl/coefficients.py.
    """
    source: str
    reward: Callable
    coefficient: Callable

    def __post_init__(self):
        if self.source != 'policy':
            raise ValueError(f"unknown source {self.source!r}; there is: 'policy'")


@flax.struct.dataclass
class Sample:
    """The part of an experience that a coefficient reads, token by token."""
    advantages_QGT: jax.Array
    old_logps_QGT: jax.Array
