"""The folder of a trained reward model: a model's folder, and what was rewarded where in reward_model.json."""
import dataclasses
import json
from typing import Callable

import jax
import jax.numpy as jnp
from etils import epath

from mathrl.models.heads import ScalarModel
from mathrl.models.llama import LlamaConfig, config_from_json
from mathrl.problems.prompts import Templates
from mathrl.programs import trained_model
from mathrl.rl.reward_model import RewardModel
from mathrl.rl.rewards import Outputs, Scored, Weighted
from mathrl.text import tokenizer as tokenizers

KINDS = 'outcome', 'process'


@dataclasses.dataclass(frozen=True)
class About:
    """kind: one of KINDS. steps: the rule by which steps end (problems/solution_steps.py), '' for outcome."""
    kind: str
    steps: str
    templates: Templates


def begin(workdir: epath.Path, config: LlamaConfig, tokenizer, about: About) -> None:
    """Makes workdir a reward model's folder, before its first checkpoint."""
    trained_model.begin(workdir, config, tokenizer)
    if jax.process_index() == 0:
        text = json.dumps(dataclasses.asdict(about), indent=1, ensure_ascii=False)
        (workdir / trained_model.REWARD_FILE).write_text(text + '\n', encoding='utf-8')


def open_config(folder: str, macro: str = 'REWARD_MODEL') -> tuple[LlamaConfig, object, About]:
    """(config, tokenizer, what it rewards) of a reward model's folder."""
    path = trained_model.without_step(folder)
    if not (path / trained_model.REWARD_FILE).exists():
        what = 'that of a language model' if (path / 'model.json').exists() else 'no folder of a trained model'
        raise ValueError(f'{macro}={folder!r} is {what}; the folder of a reward model was wanted '
                         '(gin/runs/reward.gin makes one)')
    about = json.loads((path / trained_model.REWARD_FILE).read_text(encoding='utf-8'))
    about = About(about['kind'], about['steps'], Templates(**about['templates']))
    return config_from_json(json.loads((path / 'model.json').read_text())), tokenizers.load(path), about


def open_reward_model(folder: str, mesh, scale: str = 'probability', micro_batches: int = 1) -> RewardModel:
    """A folder's reward model, a reward for rl/rewards.py; its parameters are laid out on the mesh."""
    config, tokenizer, about = open_config(folder)
    model = ScalarModel(config)
    params = trained_model.open_params(folder, model, mesh)
    return RewardModel(model, params, tokenizer, mesh, about.steps, about.templates, scale, micro_batches)


def with_fresh_head(scalar: ScalarModel, params: dict, mesh, seed: int) -> dict:
    """A language model's parameters (copied) as a scalar model's, laid out on the mesh."""
    layout = jax.tree.map(lambda x: x.sharding, trained_model.parameter_shapes(scalar, mesh))
    begin = jax.jit(lambda params, key: jax.tree.map(jnp.copy, scalar.from_base(params, key)), out_shardings=layout)
    return begin(params, jax.random.key(seed))


@dataclasses.dataclass(frozen=True)
class RewardModelFolder:
    """A reward model as a run's configuration names it; the program that runs opens it (see `opened`)."""
    folder: str
    scale: str = 'probability'
    micro_batches: int = 1

    @property
    def name(self) -> str:
        return self.folder

    def __call__(self, outputs: Outputs) -> Scored:
        raise TypeError(f'the reward model {self.folder!r} has not been opened')


def opened(reward, mesh):
    """A reward (rl/rewards.py) with its reward models read from their folders."""
    return replaced(reward, lambda one: open_reward_model(one.folder, mesh, one.scale, one.micro_batches)
                    if isinstance(one, RewardModelFolder) else one)


def replaced(reward, change: Callable):
    """change(part) in place of each part of a reward."""
    if isinstance(reward, Weighted):
        return dataclasses.replace(reward, rewards=[change(one) for one in reward.rewards])
    return change(reward)
