"""What an algorithm does with an experience: one or more updates of the policy, and of what it trains beside it."""
import dataclasses
from typing import Any, Callable, NamedTuple

import jax
import numpy as np

from mathrl import sharding
from mathrl.models.heads import ScalarModel
from mathrl.programs import trained_model, trained_reward
from mathrl.rl import dpo, packing
from mathrl.rl.actor_critic import actor_critic_step, sampled_values
from mathrl.rl.pairs import best_with_worst
from mathrl.rl.step import policy_step, writer_logps
from mathrl.rl.types import ActorCritic, Algorithm, Experience, Preferences
from mathrl.train import flops
from mathrl.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every kind of update takes: updates is their number for each experience (the paper's mu)."""
    model: Any
    optimizer: Any
    micro_batches: int
    logits_mib: float
    updates: int = 1
    packed: bool = True       # without padding, see rl/packing.py

    def __post_init__(self):
        if self.updates < 1:
            raise ValueError(f'updates={self.updates}: an experience serves at least one update')


class Learner(NamedTuple):
    """extra(params, mesh): the states trained beside the policy's, by name, before the first update.

    learn(state, extra, reference, experience) -> (state, extra, metrics of the last update); it donates both states.
    """
    extra: Callable[[Any, Any], dict[str, TrainState]]
    learn: Callable[..., tuple[TrainState, dict[str, TrainState], dict]]


def learner(algorithm: Algorithm | ActorCritic | Preferences, settings: Settings, seed: int) -> Learner:
    match algorithm:
        case Algorithm():
            return _policy(algorithm, settings)
        case ActorCritic():
            return _actor_critic(algorithm, settings, seed)
        case Preferences():
            return _preferences(algorithm, settings)
    raise ValueError(f'unknown algorithm {algorithm!r}; there are: Algorithm, ActorCritic, Preferences of rl/types.py')


def policy_static(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """What policy_step takes as static."""
    return _static(settings) | dict(coefficient=algorithm.coefficient, normalisation=algorithm.normalisation,
                                    advantages=algorithm.advantages, reward_kl=algorithm.reward_kl, source=algorithm.source)


def actor_critic_static(algorithm: ActorCritic, settings: Settings, critic: ScalarModel) -> dict[str, Any]:
    """What actor_critic_step takes as static."""
    return _static(settings) | dict(critic=critic, critic_optimizer=algorithm.critic_optimizer,
                                    coefficient=algorithm.coefficient, normalisation=algorithm.normalisation,
                                    reward_kl=algorithm.reward_kl, gamma=algorithm.gamma, lam=algorithm.lam,
                                    value_clip=algorithm.value_clip, whitened=algorithm.whitened, source=algorithm.source)


def preferences_static(algorithm: Preferences, settings: Settings) -> dict[str, Any]:
    """What dpo_step takes as static."""
    return _static(settings) | dict(beta=algorithm.beta)


def update_flops(algorithm: Algorithm | ActorCritic | Preferences, sizes, reference: bool, questions: int, outputs: int,
                 prompt: int, length: int) -> float:
    """Of one update: the policy forward and backward, the reference and a critic where there are any."""
    if isinstance(algorithm, Preferences):
        outputs -= outputs % 2      # an odd output is in no pair
    forward = flops.outputs_forward(sizes, questions, outputs, prompt, length)
    critic = 0.0
    if isinstance(algorithm, ActorCritic):      # its values before the update; forward, backward
        critic = 4 * (forward - questions * outputs * length * flops.unembedding(sizes))
    return (3 + reference) * forward + critic


def _static(settings: Settings) -> dict[str, Any]:
    return dict(model=settings.model, optimizer=settings.optimizer, micro_batches=settings.micro_batches,
                logits_mib=settings.logits_mib)


def _packing(settings: Settings, lengths: Callable[[], np.ndarray], prompt: int, tokens: int,
             together: int = 1) -> tuple[packing.Packing | None, dict[str, float]]:
    """(how the update of outputs of these lengths is cut, metrics of it); inside jax.set_mesh. The rest: as packing.planned."""
    if not settings.packed:
        return None, {}
    packed, fill = packing.planned(jax.sharding.get_mesh(), lengths(), prompt, tokens, settings.micro_batches, together)
    return packed, {'update_fill': fill}


def _of_rollouts(settings: Settings, rollouts) -> tuple[packing.Packing | None, dict[str, float]]:
    lengths = lambda: sharding.to_host(rollouts.length_QG)
    return _packing(settings, lengths, rollouts.prompt_QS.shape[1], rollouts.tokens_QGT.shape[2])


def _for_updates(settings: Settings, source: str, params, experience: Experience, packed) -> Experience:
    """With old log-probs where later updates need them: those of the policy before the first one."""
    if settings.updates == 1 or source == 'reference':      # whose log-probs every update has
        return experience
    logps_QGT = writer_logps(params, experience, packed, model=settings.model, micro_batches=settings.micro_batches,
                             logits_mib=settings.logits_mib)
    return experience.replace(old_logps_QGT=logps_QGT)


def _policy(algorithm: Algorithm, settings: Settings) -> Learner:
    static = policy_static(algorithm, settings)

    def learn(state, extra, reference, experience: Experience):
        packed, filled = _of_rollouts(settings, experience.rollouts)
        experience = _for_updates(settings, algorithm.source, state.params, experience, packed)
        for _ in range(settings.updates):
            state, metrics = policy_step(state, reference, experience, packed, **static)
        return state, extra, metrics | filled
    return Learner(lambda params, mesh: {}, learn)


def _actor_critic(algorithm: ActorCritic, settings: Settings, seed: int) -> Learner:
    critic = ScalarModel(settings.model.config)
    static = actor_critic_static(algorithm, settings, critic)

    def extra(params, mesh):
        begin = trained_reward.with_fresh_head(critic, params, mesh, seed)
        return {'critic': trained_model.fresh_state(begin, algorithm.critic_optimizer, mesh)}

    def learn(state, extra, reference, experience: Experience):
        critic_state, old_values_QGT = extra['critic'], None
        packed, filled = _of_rollouts(settings, experience.rollouts)
        experience = _for_updates(settings, algorithm.source, state.params, experience, packed)
        if settings.updates > 1:
            old_values_QGT = sampled_values(critic_state.params, experience, packed, critic=critic,
                                            micro_batches=settings.micro_batches)
        for _ in range(settings.updates):
            state, critic_state, metrics = actor_critic_step(state, critic_state, reference, experience, old_values_QGT,
                                                             packed, **static)
        return state, {'critic': critic_state}, metrics | filled
    return Learner(extra, learn)


def _preferences(algorithm: Preferences, settings: Settings) -> Learner:
    static = preferences_static(algorithm, settings)

    def learn(state, extra, reference, experience: Experience):
        pairs = best_with_worst(experience)
        packed, filled = _packing(settings, lambda: dpo.lengths(pairs), pairs.prompt_QS.shape[1], pairs.chosen_QGT.shape[2],
                                  together=2)
        for _ in range(settings.updates):
            state, metrics = dpo.dpo_step(state, reference, pairs, packed, **static)
        return state, extra, metrics | filled
    return Learner(lambda params, mesh: {}, learn)
