"""Reinforcement learning: outputs sampled from the policy, rewarded, and one update a step (GRPO, DeepSeekMath section 4)."""
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
from mathrl.problems.types import read_problems
from mathrl.problems.verdict import grade_boxed
from mathrl.programs import language_model, steps, trained_model
from mathrl.rl.rewards import outcome_experience
from mathrl.rl.step import policy_step
from mathrl.rl.types import Algorithm, Experience
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import pad_prompts, prompt_width, sample_jit
from mathrl.train import flops
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.losses import LOGITS_MIB


def run(*, workdir: epath.Path, problems: str, model: str, mesh, algorithm: Algorithm, normalisation: Callable, optimizer,
        schedule: Schedule, sampling: Sampling, questions: int, group_size: int, max_tokens: int, micro_batches: int = 1,
        templates: problem_prompts.Templates = problem_prompts.Templates(), seed: int = 0, heldout: str = '',
        heldout_questions: int = 256, heldout_every: int = 20, grade: Callable = grade_boxed, prompt_tokens: int = 0,
        sampling_parts: int = 1, gather: bool = True, logits_mib: float = LOGITS_MIB, reference_dtype: str = '',
        architecture: LlamaConfig | None = None, config: str = '', dry_run: bool = False,
        check: Callable | None = None) -> None:
    """Trains the model in the folder `model` on problems (JSONL), group_size outputs for each of `questions` a step.

    The reference is the model as it was. heldout: problems whose sampled accuracy is logged before every
    heldout_every-th update, the first among them; grade(output, reference, problem) -> Verdict decides there.
    prompt_tokens: room for a prompt (0: as the longest needs); sampling_parts: in how many turns the questions are sampled,
    so that the caches of one turn alone exist at a time; gather: for sampling the parameters are cut over tensor alone;
    reference_dtype: what the reference is kept in ('': as the policy). logits_mib, check: as in
    pretrain; architecture: as in sft.
    """
    # ---- the model, the reference, the problems
    _check_sizes(questions, group_size, micro_batches, sampling_parts, sharding.batch_devices(mesh))
    if check:
        def build(model, mesh, times):
            parts, pieces = sampling_parts * times, micro_batches * times
            _check_sizes(questions, group_size, pieces, parts, sharding.batch_devices(mesh))
            return steps.policy(model, mesh, optimizer, coefficient=algorithm.coefficient, normalisation=normalisation,
                                sampling=sampling, questions=questions, group_size=group_size, prompt_tokens=prompt_tokens,
                                max_tokens=max_tokens, micro_batches=pieces, logits_mib=logits_mib,
                                sampling_parts=parts, gather=gather, reference_dtype=reference_dtype)
        if not prompt_tokens:
            raise ValueError('to compile without problems the room for a prompt must be given: bind rl.run.prompt_tokens')
        return check(build, Llama(language_model.known_architecture(architecture, model)), mesh)
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(language_model.agreed(architecture, model_config, model))
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        print(f'rl: {schedule.steps} steps of {questions} questions x {group_size} outputs from {problems}, starting at {model}')
        return
    train_set = _Prompts(problems, tokenizer, templates, prompt_tokens)
    if len(train_set.problems) < questions:
        raise ValueError(f'{problems} holds {len(train_set.problems)} problems; a step wants {questions} different ones')
    heldout_set = _Prompts(heldout, tokenizer, templates, prompt_tokens, heldout_questions) if heldout else None
    trained_model.begin(workdir, llama.config, tokenizer)

    update_flops = flops.policy_step(llama.config, questions, group_size, train_set.width, max_tokens)     # padding included

    # ---- one step: sample, reward, update
    def advance(state, step):
        before = {}
        if heldout_set and step % heldout_every == 0:
            before = {'accuracy': heldout_accuracy(state.params)}
        began = time.perf_counter()
        rows = train_set.rows(seed, step, questions)
        chosen = [train_set.problems[row] for row in rows]
        prompt_QS, length_Q = pad_prompts([train_set.prompts[row] for row in rows], train_set.width, tokenizer.pad_id)
        rollouts = sample_jit(state.params, sharding.place(mesh, prompt_QS, 'QS'), sharding.place(mesh, length_Q, 'Q'),
                              jax.random.fold_in(key, step), sharding.place(mesh, np.arange(questions, dtype=np.int32), 'Q'),
                              model=llama, outputs=group_size, max_tokens=max_tokens, sampling=sampling,
                              eos_id=tokenizer.eos_id, parts=sampling_parts, gather=gather)
        experience = outcome_experience(rollouts, chosen, algorithm.reward, tokenizer)
        rollout_metrics, sampled = _rollout_metrics(experience, tokenizer.eos_id), time.perf_counter()
        state, metrics = policy_step(state, reference, experience, model=llama, optimizer=optimizer,
                                     coefficient=algorithm.coefficient, normalisation=normalisation,
                                     micro_batches=micro_batches, logits_mib=logits_mib)
        jax.block_until_ready(metrics)
        written, update_seconds = rollout_metrics['length'] * questions * group_size, time.perf_counter() - sampled
        metrics |= rollout_metrics | {'rollout_tokens_per_s': written / (sampled - began),
                                      'update_tokens_per_s': written / update_seconds,
                                      **{f'update_{name}': x for name, x in flops.mfu(update_flops, update_seconds).items()}}
        return state, metrics | before, int(written)

    def heldout_accuracy(params):
        graded = answer(llama, params, tokenizer, mesh, heldout_set.problems, heldout_set.prompts, grade,
                        samples=1, sampling=sampling, max_tokens=max_tokens, seed=seed, width=heldout_set.width,
                        batch=questions)
        return np.mean([outputs[0].correct for outputs in graded])

    # ---- from the last checkpoint, or from the start
    with jax.set_mesh(mesh):
        reference = trained_model.open_params(model, llama, mesh)
        state = trained_model.fresh_state(jax.tree.map(jnp.copy, reference), optimizer, mesh)     # which donates them
        if reference_dtype:
            reference = jax.tree.map(lambda x: x.astype(reference_dtype), reference)
        extra = {'reference': reference, 'random': {'key': jax.random.key_data(jax.random.key(seed))}}
        state, extra = resume(workdir, state, extra)
        reference, key = extra['reference'], jax.random.wrap_key_data(extra['random']['key'])
        fit('rl', workdir, state, advance, schedule, extra=extra, meta={'config': config, 'model': 'model.json'},
            shown=('reward', 'kl', 'length'))


def _rollout_metrics(experience: Experience, eos_id: int) -> dict[str, float]:
    """reward_std is the mean over the groups of a group's standard deviation; length is in tokens, the end included."""
    rewards_QG = sharding.to_host(experience.rewards_QGT).sum(-1)
    tokens_QGT, length_QG = (sharding.to_host(x) for x in (experience.rollouts.tokens_QGT, experience.rollouts.length_QG))
    return {'reward': rewards_QG.mean(), 'reward_std': rewards_QG.std(1).mean(), 'length': length_QG.mean(),
            'truncated': (tokens_QGT[..., -1] != eos_id).mean()}     # behind an end stand end tokens


class _Prompts:
    """Problems with their prompts' tokens."""

    def __init__(self, path: str, tokenizer, templates, room: int, limit: int | None = None):
        self.problems = read_problems(path)[:limit]
        write = lambda problem, shots: problem_prompts.prompt(problem, templates)
        self.prompts = [prompt.ids for prompt in problem_prompts.encode(self.problems, write, tokenizer)]
        self.width = room or prompt_width(self.prompts)

    def rows(self, seed: int, step: int, count: int) -> np.ndarray:
        """Which problems a step takes: whole passes, each in an order of its own."""
        per_pass = len(self.problems) // count
        order = np.random.default_rng((seed, step // per_pass)).permutation(len(self.problems))
        return order[step % per_pass * count:][:count]


def _check_sizes(questions: int, group_size: int, micro_batches: int, sampling_parts: int, devices: int) -> None:
    if questions % sampling_parts:
        raise ValueError(f'{questions} questions do not divide into sampling_parts={sampling_parts}')
    if group_size < 2:
        raise ValueError(f'group_size={group_size}: advantages are relative to a group, which needs at least 2 outputs')
    if questions * group_size % (micro_batches * devices):
        raise ValueError(f'{questions} questions x {group_size} outputs do not divide into {micro_batches} micro-batches '
                         f'over {devices} devices')
