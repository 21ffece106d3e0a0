"""Evaluation: greedy and sampled answers of a trained model to benchmarks, graded; a table like the paper's.

Writes samples.jsonl (a line a problem), samples.html, scores.json and table.md; answers/ is what a stopped run goes on from.
"""
import contextlib
import dataclasses
import json
import logging
from typing import Callable, Sequence

import jax
from etils import epath

from mathrl.evaluation import evaluator, tasks
from mathrl.evaluation.answer_files import AnswerFiles
from mathrl.evaluation.generation import Sampler, on_first_host
from mathrl.evaluation.score_table import score_table
from mathrl.evaluation.scores import summarize
from mathrl.evaluation.tool_turns import MAX_OUTPUTS, Tools
from mathrl.evaluation.votes import add_votes
from mathrl.metrics import Progress
from mathrl.models.llama import Llama
from mathrl.problems.grading_pool import GradingPool, cores
from mathrl.problems.prompts import TOOL_TEMPLATES, Templates, language
from mathrl.problems.python_tool import PythonTool, SandboxUnavailable
from mathrl.programs import trained_model
from mathrl.records import write_jsonl
from mathrl.report.samples_page import write_samples_page
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import prompt_width

GREEDY = Sampling(temperature=0.0)


def run(*, workdir: epath.Path, model: str, mesh, problems: str = '', benchmarks: Sequence[tuple[str, ...]] = (),
        data: str = '', protocol: str = 'zero_shot_cot', exemplars: dict[str, str] | None = None, samples: int = 8,
        sampling: Sampling = Sampling(), max_tokens: int = 1024, context: int = 4096, batch: int = 64, limit: int = 0,
        seed: int = 0, tool_rounds: int = 4, tool_seconds: float = 5.0, grading_seconds: float = 10.0, workers: int = 0,
        templates: Templates = Templates(), tool_templates: Templates = TOOL_TEMPLATES, config: str = '',
        dry_run: bool = False) -> None:
    """Answers each problem once greedily and `samples` times by `sampling`, and grades the answers.

    problems or benchmarks, data, protocol, exemplars: see evaluation/tasks.py. context: tokens of a prompt and its output
    at most. limit: problems of each benchmark, 0 for all. tool_rounds, tool_seconds: of programs that the model calls.
    grading_seconds: for one output. workers: processes that grade and that run programs, 0 for one a core.
    """
    # ---- what is asked of which model
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(model_config)
    sources = tasks.sources(problems, benchmarks, data, protocol, exemplars or {}, templates, tool_templates)
    if not 0 <= samples <= MAX_OUTPUTS or not 0 < max_tokens < context:
        raise ValueError(f'samples={samples}, max_tokens={max_tokens}, context={context}: 0 to {MAX_OUTPUTS} samples, '
                         'and room for a prompt before the output, were wanted')
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        for source in sources:
            how = f'{source.path}, {source.protocol.name}, {source.protocol.shots} shots'
            print(f'evaluate: {source.title} ({how}) by {model}, greedy and {samples} samples')
        return
    asked = [tasks.open_task(source, tokenizer, context - max_tokens, limit) for source in sources]
    for task in asked:
        if task.shots()['prompts_with_fewer']:
            logging.warning('%s: %d of %d prompts lost exemplars, to fit into the context', task.source.label,
                            task.shots()['prompts_with_fewer'], len(task.prompts))
    first = jax.process_index() == 0
    fixed = {'model': trained_model.params_digest(model), 'samples': samples, 'sampling': dataclasses.asdict(sampling),
             'max_tokens': max_tokens, 'seed': seed}
    of_tools = {'tool_rounds': tool_rounds, 'tool_seconds': tool_seconds}
    calls_tools = lambda source: source.protocol.form in ('pot', 'tir')

    with contextlib.ExitStack() as stack:
        # ---- what grades and what runs programs: on the first process, before anything is generated
        pool = stack.enter_context(GradingPool(workers=workers, seconds=grading_seconds,
                                               extraction=sources[0].protocol.extraction)) if first else None
        tools = None
        if any(map(calls_tools, sources)):
            tools = Tools(_start_tool(stack, workers or cores(), tool_seconds) if first else None, tool_rounds)

        # ---- what an earlier run has answered: settings that differ show before the parameters are read
        kept = [AnswerFiles(workdir / 'answers' / task.source.folder,
                            task.settings() | fixed | (of_tools if calls_tools(task.source) else {}))
                for task in asked] if first else [None] * len(asked)

        # ---- answers, a batch of problems at a time
        stack.enter_context(jax.set_mesh(mesh))
        total = sum(len(task.problems) for task in asked)
        progress = stack.enter_context(Progress('evaluate', total, 'problem', enabled=first))
        sampler = Sampler(llama, trained_model.open_params(model, llama, mesh), tokenizer, mesh, max_tokens, batch)
        rows = []
        for task, files in zip(asked, kept):
            before, count = len(rows), len(task.problems)
            done = on_first_host(lambda: len(files.rows))
            for start in range(done, count, batch):
                places = range(start, min(start + batch, count))
                given = _answers(sampler, task, places, samples, sampling, seed, tools)
                if first:
                    files.append(_graded_rows(pool, task, places, given))
                progress.update(before + places[-1] + 1)
            rows += [row | {'benchmark': task.source.label} for row in files.rows] if first else [None] * count

    # ---- results
    if first:
        write_jsonl(workdir / 'samples.jsonl', rows)
        scores = summarize(rows, model=model, temperature=sampling.temperature)
        scores['protocols'] = {task.source.label: {'protocol': task.source.protocol.name, **task.shots()} for task in asked}
        (workdir / 'scores.json').write_text(json.dumps(scores, indent=1) + '\n')
        table = score_table(scores, {source.label: source.title for source in sources},
                            {source.label: source.protocol.name for source in sources})
        (workdir / 'table.md').write_text(table)
        write_samples_page(workdir / 'samples.html', workdir / 'samples.jsonl')
        print(table, end='')


def _start_tool(stack: contextlib.ExitStack, workers: int, seconds: float) -> Callable:
    try:
        return stack.enter_context(PythonTool(workers=workers, seconds=seconds)).run_all
    except SandboxUnavailable as error:
        raise ValueError(f'programs that a model writes cannot be run here: {error}') from error


def _answers(sampler: Sampler, task: tasks.Task, places: range, samples: int, sampling: Sampling, seed: int,
             tools: Tools | None) -> list[list[evaluator.Answer]]:
    """Each problem's answers: the greedy one, then the sampled ones."""
    prompts, width = [task.prompts[place] for place in places], prompt_width([prompt.ids for prompt in task.prompts])
    ask = lambda count, how: evaluator.answers(sampler, task.source.protocol, prompts, places, task.key(seed), samples=count,
                                               sampling=how, width=width, tools=tools)
    sampled = ask(samples, sampling) if samples else [[] for _ in places]
    return [greedy + others for greedy, others in zip(ask(1, GREEDY), sampled)]


def _graded_rows(pool: GradingPool, task: tasks.Task, places: range, given: list[list[evaluator.Answer]]) -> list[dict]:
    problems = [task.problems[place] for place in places]
    verdicts = iter(pool.grade_all([(answer.final, problem.answer, problem.problem)
                                    for problem, group in zip(problems, given) for answer in group]))
    rows = []
    for place, problem, group in zip(places, problems, given):
        outputs = [dataclasses.asdict(evaluator.graded(answer.output, next(verdicts))) for answer in group]
        rows.append({'benchmark': task.source.label, 'level': problem.level, 'language': language(problem.problem),
                     'problem': problem.problem, 'prompt': task.prompts[place].text, 'answer': problem.answer,
                     'greedy': outputs[0], 'outputs': outputs[1:]})
    add_votes(rows, pool.grade_all)
    return rows
