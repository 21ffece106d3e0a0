"""Trains a reward model on labelled outputs: a scalar head on the base model (DeepSeekMath section 4.2, Math-Shepherd)."""
import dataclasses
from typing import Callable, Sequence

import jax
import numpy as np
from etils import epath

from mathrl import sharding
from mathrl.evaluation.reward_scores import AGGREGATES, Judged, reward_scores
from mathrl.models.heads import ScalarModel
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.problems.prompts import Templates
from mathrl.programs import language_model, trained_model, trained_reward
from mathrl.programs.labelled_outputs import LabelledOutputs, read
from mathrl.rl.packing import device_rows, lengths, planned
from mathrl.rl.reward_model import score
from mathrl.rl.reward_step import RewardExamples, reward_step
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.reward_loss import binary, pairwise


def run(*, workdir: epath.Path, model: str, labels: str | Sequence[str], kind: str, mesh, optimizer,
        learning_rate: Callable, schedule: Schedule, questions: int, group_size: int, heldout: str | Sequence[str] = '',
        aggregate: str = 'min', loss: Callable = binary, micro_batches: int = 1, packed: bool = True,
        templates: Templates = Templates(), architecture: LlamaConfig | None = None, seed: int = 0, config: str = '',
        dry_run: bool = False) -> None:
    """Trains on `questions` groups of up to group_size outputs of a problem a step, from the model in the folder `model`.

    labels, heldout: JSONL files, see labelled_outputs.py. kind: 'process' (a number at the end of every step) or 'outcome'
    (at the output's end). loss: one of train/reward_loss.py. packed: the update computes no padding, see rl/packing.py (that
    of pairs does). aggregate: how the scores of an output's steps become one, for the metric heldout_auc. architecture: as in
    sft.
    """
    # ---- the model, the labels
    if kind not in trained_reward.KINDS:
        raise ValueError(f'unknown kind {kind!r} of reward model; there are: {", ".join(trained_reward.KINDS)}')
    if aggregate not in AGGREGATES:
        raise ValueError(f'unknown aggregate {aggregate!r}; there are: {", ".join(AGGREGATES)}')
    if loss is pairwise and kind == 'process':
        raise ValueError('loss=pairwise compares whole outputs; a process model wants loss=binary')
    device_rows(questions, group_size, micro_batches, sharding.batch_devices(mesh))
    model_config, tokenizer = trained_model.open_config(model)
    model_config = language_model.agreed(architecture, model_config, model)
    base, scalar = Llama(model_config), ScalarModel(model_config)
    if dry_run:
        print(trained_model.parameter_table(scalar, mesh))
        print(f'reward: {schedule.steps} steps of {questions} x {group_size} outputs from {labels}, starting at {model}')
        return
    train_set = LabelledOutputs(read(labels), tokenizer, templates, kind == 'process', group_size)
    heldout_set = LabelledOutputs(read(heldout), tokenizer, templates, kind == 'process', group_size) if heldout else None
    trained_reward.begin(workdir, model_config, tokenizer, trained_reward.About(kind, train_set.rule, templates))
    tokens = questions * group_size * sum(train_set.shape)

    # ---- one step, and the held-out metrics
    def advance(state, step):
        rows = train_set.padded(train_set.rows(seed, step, questions))
        examples, packing, filled = RewardExamples(**sharding.place_named(mesh, rows)), None, {}
        if packed and loss is not pairwise:
            packing, filled['update_fill'] = planned(mesh, lengths(rows['step_ends_QGT']), *train_set.shape, micro_batches)
        state, metrics = reward_step(state, examples, packing, model=scalar, optimizer=optimizer, loss=loss,
                                     micro_batches=micro_batches)
        return state, {**metrics, **filled, 'learning_rate': learning_rate(step)}, tokens

    def measure(state):
        judged = _judged(scalar, state.params, heldout_set, mesh, questions, micro_batches)
        return {f'heldout_{name}': value for name, value in reward_scores(judged, aggregate).items()}

    # ---- from the last checkpoint, or from the base model
    with jax.set_mesh(mesh):
        params = trained_reward.with_fresh_head(scalar, trained_model.open_params(model, base, mesh), mesh, seed)
        state, _ = resume(workdir, trained_model.fresh_state(params, optimizer, mesh))
        fit('reward', workdir, state, advance, schedule, meta={'config': config, 'model': dataclasses.asdict(model_config)},
            shown=('loss', 'accuracy'), measure=measure if heldout_set else None)


def _judged(scalar: ScalarModel, params, labelled: LabelledOutputs, mesh, questions: int,
            micro_batches: int) -> list[Judged]:
    found, count = [], len(labelled.groups)
    for start in range(0, count, questions):
        rows = np.minimum(np.arange(start, start + questions), count - 1)      # the last batch is filled up
        arrays = labelled.padded(rows)
        del arrays['labels_QGT']
        scores_QGT = score(params, **sharding.place_named(mesh, arrays), model=scalar, micro_batches=micro_batches)
        scores_QGT = sharding.to_host(scores_QGT)
        for row, scores_GT in zip(rows[:count - start], scores_QGT):
            found += [Judged(one.correct, np.array(one.labels), scores_T[one.places])
                      for one, scores_T in zip(labelled.outputs([row]), scores_GT)]
    return found
