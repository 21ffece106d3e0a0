"""Labels for the steps of a model's own outputs, without people: how often completions from a step's end come out right.

Math-Shepherd (Wang et al. 2024, section 3.3): a step is as good as its chance to lead to the right answer, estimated by
sampled completions; the last step's label is the output's own verdict. A beginning that outputs share is completed once.
"""
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from mathrl.evaluation.answer_files import AnswerFiles
from mathrl.evaluation.generation import Sampler, bucket, on_first_host
from mathrl.metrics import Progress
from mathrl.models.llama import Llama
from mathrl.problems.grading_pool import GradingPool
from mathrl.problems.prompts import Templates, encode, prompt
from mathrl.problems.solution_steps import check_rule
from mathrl.problems.types import read_problems
from mathrl.programs import trained_model
from mathrl.records import write_jsonl
from mathrl.rl.step_ends import output_steps
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import written

LABELS = 'hard', 'soft'
FIELDS = 'problem', 'output', 'correct', 'steps'


def run(*, workdir: epath.Path, model: str, problems: str, mesh, output: str = '', rule: str = 'lines', label: str = 'hard',
        samples: int = 4, completions: int = 8, sampling: Sampling = Sampling(), max_tokens: int = 1024, batch: int = 64,
        questions: int = 64, limit: int = 0, templates: Templates = Templates(), seed: int = 0, extraction: str = 'boxed',
        workers: int = 0, seconds: float = 10.0, config: str = '', dry_run: bool = False) -> None:
    """Writes `output` ('': labels.jsonl in workdir): `samples` outputs of each problem, a line each, with their steps.

    A step is its end (characters of the output), right (of `completions` from there, how many are right; null for the last)
    and label: 'hard', 1 if any is right, or 'soft', their share. rule: see problems/solution_steps.py. max_tokens: of an
    output, and of its beginning with a completion. limit: problems, 0 for all. questions: problems from one saved batch to
    the next; batch: prompts at once, each with its samples or completions. Random keys come from (seed, problem, output,
    step): batches and mesh change nothing, and a run that was stopped goes on to the same bytes.
    """
    # ---- what is asked of which model
    check_rule(rule)
    if label not in LABELS:
        raise ValueError(f'unknown label {label!r}; there are: {", ".join(LABELS)}')
    if min(samples, completions, max_tokens, batch, questions) < 1:
        raise ValueError(f'samples={samples}, completions={completions}, max_tokens={max_tokens}, batch={batch}, '
                         f'questions={questions}: each must be 1 or more')
    model_config, tokenizer = trained_model.open_config(model)
    llama, target = Llama(model_config), epath.Path(output or workdir / 'labels.jsonl')
    if dry_run:
        print(trained_model.parameter_table(llama, mesh))
        print(f'step_labels: {samples} outputs of {model} to each problem of {problems}, {completions} completions a step')
        return
    asked = read_problems(problems)[:limit or None]
    prompts = [one.ids for one in encode(asked, lambda problem, shots: prompt(problem, templates), tokenizer)]
    first = jax.process_index() == 0
    digest = hashlib.sha256(json.dumps([(ids, one.answer) for ids, one in zip(prompts, asked)]).encode()).hexdigest()
    settings = {'model': trained_model.params_digest(model), 'prompts_and_answers': digest, 'rule': rule, 'label': label,
                'samples': samples, 'completions': completions, 'sampling': dataclasses.asdict(sampling),
                'max_tokens': max_tokens, 'seed': seed, 'extraction': extraction}

    # ---- a batch of problems at a time; each is kept once it is done
    files = AnswerFiles(workdir / 'labels', settings, FIELDS) if first else None
    with GradingPool(workers=workers, seconds=seconds, extraction=extraction) as pool, jax.set_mesh(mesh), \
            Progress('step_labels', len(asked), 'problem', enabled=first) as progress:
        sampler = Sampler(llama, trained_model.open_params(model, llama, mesh), tokenizer, mesh, max_tokens, batch)
        labeller = Labeller(sampler, jax.random.key(seed), sampling, rule, samples, completions)
        for start in range(on_first_host(lambda: len(files.rows) // samples), len(asked), questions):
            places = range(start, min(start + questions, len(asked)))
            outputs, texts = labeller([prompts[place] for place in places], places)
            if first:
                problems_here = [asked[place] for place in places]
                files.append(label_rows(pool, problems_here, outputs, texts, rule, label, completions))
            progress.update(places[-1] + 1)

    # ---- results
    if first:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(target, files.rows)
        right = sum(row['correct'] for row in files.rows)
        steps = [step['label'] for row in files.rows for step in row['steps'][:-1]]
        print(f'step_labels: {len(files.rows)} outputs, {right / len(files.rows):.1%} right, {len(steps)} steps before the '
              f'last of mean label {sum(steps) / max(len(steps), 1):.3f}; in {target}')


@dataclasses.dataclass(frozen=True)
class Beginning:
    """An output of a problem, with its steps (character end, place of the last token)."""
    text: str
    ids: list[int]
    ended: bool
    steps: list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Labeller:
    """Samples outputs, and completions from the ends of their steps."""
    sampler: Sampler
    key: jax.Array
    sampling: Sampling
    rule: str
    samples: int
    completions: int

    def __call__(self, prompts: list[list[int]],
                 places: Sequence[int]) -> tuple[list[list[Beginning]], list[dict[tuple, list[str]]]]:
        """(each problem's outputs; for each the texts of the completions, by the beginning's tokens)."""
        outputs_key, completions_key = jax.random.split(self.key)
        found = self._sample(prompts, list(places), outputs_key, self.samples)
        outputs = [[self._read(tokens_T) for tokens_T in tokens_GT] for tokens_GT in found]
        wanted = {}      # (row, beginning's tokens) -> its number for random keys
        for row, group in enumerate(outputs):
            for number, output in enumerate(group):
                for _, place in output.steps[:-1]:
                    wanted.setdefault((row, tuple(output.ids[:place + 1])), _number(places[row], number, place))
        begun = [prompts[row] + list(ids) for row, ids in wanted]
        continued = self._sample(begun, list(wanted.values()), completions_key, self.completions)
        texts: list[dict[tuple, list[str]]] = [{} for _ in outputs]
        for (row, ids), tokens_GT in zip(wanted, continued):
            room = self.sampler.max_tokens - len(ids)
            texts[row][ids] = [self._text(ids, tokens_T[:room]) for tokens_T in tokens_GT]
        return outputs, texts

    def _sample(self, prompts: list[list[int]], numbers: list[int], key: jax.Array, outputs: int) -> list:
        """Tokens [G, T] behind each prompt, in batches of prompts of one padded length each."""
        found: list[Any] = [None] * len(prompts)
        widths = [bucket(len(prompt)) for prompt in prompts]
        for width in sorted(set(widths)):
            rows = [row for row, one in enumerate(widths) if one == width]
            tokens = self.sampler.sample_tokens([prompts[row] for row in rows], [numbers[row] for row in rows], key,
                                                outputs=outputs, sampling=self.sampling, width=width)
            for row, tokens_GT in zip(rows, tokens):
                found[row] = tokens_GT
        return found

    def _read(self, tokens_T) -> Beginning:
        tokenizer = self.sampler.tokenizer
        ids, ended = written(tokens_T, tokenizer.stop_ids)
        return Beginning(tokenizer.decode(ids), ids, ended, output_steps(tokens_T, tokenizer, self.rule))

    def _text(self, beginning: tuple[int, ...], tokens_T) -> str:
        return self.sampler.tokenizer.decode([*beginning, *written(tokens_T, self.sampler.tokenizer.stop_ids)[0]])


def _number(*numbers: int) -> int:
    """31 bits of some numbers, for a random key of their own."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], 'big') >> 1


def label_rows(pool: GradingPool, problems: list, outputs: list[list[Beginning]], texts: list[dict[tuple, list[str]]],
               rule: str, label: str, completions: int) -> list[dict]:
    """Lines of the file, a line an output, from what a Labeller gives."""
    items = [(text, problem.answer, problem.problem) for problem, group, completed in zip(problems, outputs, texts)
             for text in [output.text for output in group] + [one for some in completed.values() for one in some]]
    verdicts = iter([verdict.correct for verdict in pool.grade_all(items)])
    rows = []
    for problem, group, completed in zip(problems, outputs, texts):
        correct = [next(verdicts) for _ in group]
        right = {ids: sum(next(verdicts) for _ in some) for ids, some in completed.items()}
        for output, is_correct in zip(group, correct):
            steps = [(end, right[tuple(output.ids[:place + 1])]) for end, place in output.steps[:-1]]
            value = lambda count: int(count > 0) if label == 'hard' else count / completions
            rows.append({'problem': problem.problem, 'answer': problem.answer, 'output': output.text, 'ended': output.ended,
                         'correct': is_correct, 'rule': rule, 'completions': completions,
                         'steps': [*({'end': end, 'label': value(count), 'right': count} for end, count in steps),
                                   {'end': output.steps[-1][0], 'label': int(is_correct), 'right': None}]})
    return rows
