"""Reinforcement learning: outputs are sampled, rewarded and learned from, in iterations (DeepSeekMath 4, algorithm 1)."""
import dataclasses
import time
from typing import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from mathrl import sharding
from mathrl.evaluation.evaluator import answer
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.problems import prompts as problem_prompts
from mathrl.problems.verdict import grade_boxed
from mathrl.programs import language_model, steps, trained_model, trained_reward
from mathrl.programs.exploration import Explorer
from mathrl.programs.learners import Settings, learner, update_flops
from mathrl.programs.reward_iterations import RewardIterations, RewardTraining
from mathrl.programs.rollout_files import RolloutFiles
from mathrl.programs.training_problems import TrainingProblems
from mathrl.rl.packing import device_rows
from mathrl.rl.reward_model import RewardModel
from mathrl.rl.rewards import parts
from mathrl.rl.types import ActorCritic, Algorithm, Preferences
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding
from mathrl.train import goodput
from mathrl.train.flops import mfu
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.losses import LOGITS_MIB


def run(*, workdir: epath.Path, problems: str, model: str, mesh, algorithm: Algorithm | ActorCritic | Preferences, optimizer,
        schedule: Schedule, sampling: Sampling, questions: int, group_size: int, max_tokens: int, micro_batches: int = 1,
        packed: bool = True, updates: int = 1, iterations: int = 1, reward_training: RewardTraining | None = None,
        refills: int = 0, reference: bool = True, templates: problem_prompts.Templates = problem_prompts.Templates(),
        seed: int = 0, heldout: str = '', heldout_questions: int = 256, heldout_every: int = 20,
        grade: Callable = grade_boxed, prompt_tokens: int = 0, decoding: Decoding = Decoding(), rollouts_every: int = 10,
        rollout_questions: int = 8, logits_mib: float = LOGITS_MIB, reference_dtype: str = '',
        architecture: LlamaConfig | None = None, config: str = '', dry_run: bool = False,
        check: Callable | None = None) -> None:
    """Trains the model in the folder `model` on problems (JSONL), group_size outputs for each of `questions` a step.

    packed: the update computes no padding, see rl/packing.py. updates: how many for each step's outputs (the paper's mu); for
    more than one, a forward pass before them gives the old log-probs. iterations: into how many equal parts the steps are cut;
    each begins with the policy as the new reference, and with the reward model trained on where reward_training says how.
    refills: see Explorer. reference: False where nothing reads one. heldout: problems whose sampled accuracy is logged before
    every heldout_every-th step, the first among them; grade(output, reference, problem) -> Verdict decides there.

    prompt_tokens: room for a prompt (0: as the longest needs); decoding: how outputs are sampled; reference_dtype: what the
    reference is kept in ('': as the policy). rollouts_every: how often a step's outputs are written for the report (0: never;
    else the last step's are too), of so many questions (0: all). logits_mib, check: as in pretrain; architecture: as in sft.
    """
    # ---- the model, the reference, the problems
    counts = dict(questions=questions, max_tokens=max_tokens, micro_batches=micro_batches, heldout_every=heldout_every)
    if wrong := [f'{name}={value}' for name, value in counts.items() if value < 1]:
        raise ValueError(f'{" and ".join(wrong)} must be at least 1')
    if refills < 0:
        raise ValueError(f'refills={refills} must be at least 0')
    _check_sizes(algorithm, questions, group_size, micro_batches, packed, mesh)
    if iterations < 1 or schedule.steps % iterations:
        raise ValueError(f'{schedule.steps} steps do not divide into {iterations} iterations')
    if not reference and (wanted := _wants_reference(algorithm, iterations)):
        raise ValueError(f'reference=False, and {wanted}')
    if reward_training:
        device_rows(reward_training.batch, group_size, reward_training.micro_batches, sharding.batch_devices(mesh))
    if check:
        def build(model, mesh, times):
            pieces, rows = micro_batches * times, (decoding.rows or questions * group_size) // times
            _check_sizes(algorithm, questions, group_size, pieces, packed, mesh)
            return steps.policy(model, mesh, optimizer, algorithm, sampling=sampling,
                                questions=questions, group_size=group_size, prompt_tokens=prompt_tokens, max_tokens=max_tokens,
                                micro_batches=pieces, logits_mib=logits_mib, decoding=dataclasses.replace(decoding, rows=rows),
                                reference_dtype=reference_dtype, reference=reference, packed=packed)
        if not prompt_tokens:
            raise ValueError('to compile without problems the room for a prompt must be given: bind rl.run.prompt_tokens')
        return check(build, Llama(language_model.known_architecture(architecture, model)), mesh)
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(language_model.agreed(architecture, model_config, model))
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        print(f'rl: {schedule.steps} steps of {questions} questions x {group_size} outputs from {problems}, '
              f'starting at {model}')
        return
    train_set = TrainingProblems(problems, tokenizer, templates, prompt_tokens)
    train_set.check(questions)
    heldout_set = TrainingProblems(heldout, tokenizer, templates, prompt_tokens, heldout_questions) if heldout else None
    learn = learner(algorithm, Settings(llama, optimizer, micro_batches, logits_mib, updates, packed), seed)
    trained_model.begin(workdir, llama.config, tokenizer)

    explore = Explorer(llama, mesh, tokenizer, train_set, sampling, questions, group_size, max_tokens, seed, refills, decoding)
    of_rewards_alone = isinstance(algorithm, Algorithm) and algorithm.reward_kl is None
    kept = RolloutFiles(workdir, tokenizer, grade, advantages=algorithm.advantages if of_rewards_alone else None,
                        every=rollouts_every, questions=rollout_questions, last=schedule.steps - 1)

    # ---- one step: sample, reward, update
    def advance(state, step):
        before = {}
        if heldout_set and step % heldout_every == 0:
            with goodput.spent('evaluation'):
                before = {'accuracy': heldout_accuracy(state.params)}
        if step and step % (schedule.steps // iterations) == 0:
            before |= begin_iteration(state.params, step // (schedule.steps // iterations))
        began = time.perf_counter()
        writer = state.params if algorithm.source == 'policy' else extra['reference']
        experience, rows, by_name, explored = explore(writer, current_reward(), key, step)
        kept.write(step, experience, [train_set.problems[row] for row in rows], by_name)
        sampled = time.perf_counter()
        trained = {name: extra[name] for name in beside}
        with jax.transfer_guard('disallow'):
            state, trained, metrics = learn.learn(state, trained, extra.get('reference'), experience)
        extra.update(trained)
        jax.block_until_ready(metrics)
        written, update_seconds = explored['length'] * questions * group_size, time.perf_counter() - sampled
        flops = updates * update_flops(algorithm, llama.config, reference, questions, group_size, train_set.width,
                                       explored['length'])
        metrics |= explored | {'rollout_tokens_per_s': written / (sampled - began),
                               'update_tokens_per_s': updates * written / update_seconds,
                               **{f'update_{name}': x for name, x in mfu(flops, update_seconds).items()}}
        done = sharding.place(mesh, np.asarray(step + 1, state.step.dtype), '')
        return state.replace(step=done), metrics | before, int(written)

    def begin_iteration(params, iteration):
        extra['reference'] = as_reference(params)
        if not rounds:
            return {}
        extra['reward_model'], extra['replay'], metrics = rounds(params, extra['reward_model'], extra['replay'], key,
                                                                 iteration)
        return metrics

    def current_reward():
        if not rounds:
            return reward
        newest = dataclasses.replace(rounds.reward, params=extra['reward_model'].params)
        return trained_reward.replaced(reward, lambda one: newest if one is rounds.reward else one)

    def as_reference(params):
        return jax.tree.map(lambda x: jnp.array(x, reference_dtype or x.dtype, copy=True), params)

    def heldout_accuracy(params):
        graded = answer(llama, params, tokenizer, mesh, heldout_set.problems, heldout_set.prompts, grade,
                        samples=1, sampling=sampling, max_tokens=max_tokens, seed=seed, width=heldout_set.width,
                        batch=questions)
        return np.mean([outputs[0].correct for outputs in graded])

    # ---- from the last checkpoint, or from the start
    with jax.set_mesh(mesh):
        params = trained_model.open_params(model, llama, mesh)
        beside = learn.extra(params, mesh)
        reward = trained_reward.opened(algorithm.reward, mesh)
        rounds = reward_iterations(reward_training, explore, reward) if reward_training else None
        extra = {'random': {'key': jax.random.key_data(jax.random.key(seed))}, **beside}
        if reference:
            extra['reference'] = as_reference(params)
        if rounds:
            extra |= rounds.fresh()
        state = trained_model.fresh_state(params, optimizer, mesh)      # which donates them
        state, extra = resume(workdir, state, extra)
        key = jax.random.wrap_key_data(extra['random']['key'])
        kept.begin(int(state.step))
        if jax.process_index() == 0:
            print(trained_model.parameter_table(llama, mesh), flush=True)
        fit('rl', workdir, state, advance, schedule, extra=extra,
            meta={'config': config, 'model': dataclasses.asdict(llama.config)},
            shown=('reward', 'kl', 'length') if reference and not isinstance(algorithm, Preferences) else ('reward', 'length'))


def reward_iterations(training: RewardTraining, explore: Explorer, reward) -> RewardIterations:
    """What trains the reward's one model on between iterations."""
    models = [one for _, one in parts(reward) if isinstance(one, RewardModel)]
    if len(models) != 1:
        raise ValueError(f'reward_training is given, and the reward has {len(models)} reward models; one was wanted')
    if models[0].tokenizer.digest != explore.tokenizer.digest:
        raise ValueError("a reward model is trained on with the policy's tokens, and this one has another tokenizer")
    return RewardIterations(training, explore, models[0])


def _wants_reference(algorithm: Algorithm | ActorCritic | Preferences, iterations: int) -> str:
    """Why a run needs one, '' where it does not."""
    if iterations > 1:
        return 'an iteration begins with a new reference'
    if algorithm.source == 'reference':
        return 'outputs are to come from the reference'
    return 'DPO compares the policy with one' if isinstance(algorithm, Preferences) else ''


def _check_sizes(algorithm: Algorithm | ActorCritic | Preferences, questions: int, group_size: int, micro_batches: int,
                 packed: bool, mesh) -> None:
    if group_size < 2:
        raise ValueError(f'group_size={group_size}: advantages are relative to a group, which needs at least 2 outputs')
    devices = sharding.batch_devices(mesh)
    device_rows(questions, group_size, micro_batches, devices)
    if isinstance(algorithm, Preferences):      # whose pairs lie in rows on all devices, where no padding is computed
        device_rows(questions, group_size // 2, micro_batches, devices if packed else 1, 'pairs')
