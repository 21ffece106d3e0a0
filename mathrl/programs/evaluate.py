"""Evaluation: greedy and sampled answers of a trained model to held-out problems, graded; scores.json, samples.jsonl."""
import dataclasses
import json

import jax
from etils import epath

from mathrl.evaluation.evaluator import answer
from mathrl.evaluation.scores import summarize
from mathrl.metrics import Progress
from mathrl.models.llama import Llama
from mathrl.problems import prompts as problem_prompts
from mathrl.problems.types import read_problems
from mathrl.problems.verdict import grade
from mathrl.programs import trained_model
from mathrl.records import write_jsonl
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import prompt_width


def run(*, workdir: epath.Path, problems: str, model: str, mesh, samples: int = 8, sampling: Sampling = Sampling(),
        max_tokens: int = 1024, batch: int = 64, limit: int = 0, seed: int = 0,
        templates: problem_prompts.Templates = problem_prompts.Templates(), config: str = '', dry_run: bool = False) -> None:
    """Answers each problem once greedily and `samples` times by `sampling`; limit 0 takes all problems."""
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(model_config)
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        print(f'evaluate: {problems} by {model}, greedy and {samples} samples')
        return
    asked = read_problems(problems)[:limit or None]
    prompts = [tokenizer.encode(problem_prompts.prompt(problem.problem, templates)) for problem in asked]
    common = dict(max_tokens=max_tokens, seed=seed, width=prompt_width(prompts), batch=batch)
    with jax.set_mesh(mesh), Progress('evaluate', len(asked), unit='problem') as progress:
        params = trained_model.open_params(model, llama, mesh)
        ask = lambda count, how: answer(llama, params, tokenizer, mesh, asked, prompts, grade, samples=count, sampling=how, **common)
        rows = []
        for problem, greedy, outputs in zip(asked, ask(1, Sampling(temperature=0.0)), ask(samples, sampling)):
            rows.append({'problem': problem.problem, 'answer': problem.answer, 'language': problem_prompts.language(problem.problem),
                         'greedy': dataclasses.asdict(greedy[0]), 'outputs': [dataclasses.asdict(output) for output in outputs]})
            progress.update(len(rows))
    if jax.process_index() == 0:
        write_jsonl(workdir / 'samples.jsonl', rows)
        scores = summarize(rows, model=model, temperature=sampling.temperature)
        (workdir / 'scores.json').write_text(json.dumps(scores, indent=1) + '\n')
        print(', '.join(f'{name} {scores[name]:.3f}' for name in ('accuracy', 'greedy', f'maj@{samples}', f'pass@{samples}')))
