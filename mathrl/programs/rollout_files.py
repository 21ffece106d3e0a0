"""The rollouts that a run keeps for its report: rollouts/<step>.jsonl, a line for each question of the step."""
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from mathrl import sharding
from mathrl.records import write_jsonl
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import written

FOLDER = 'rollouts'


@dataclasses.dataclass(frozen=True)
class RolloutFiles:
    """Keeps the outputs to the first `questions` questions (0: all) of every `every`-th step (0: none) and of step `last`.

    advantages(rewards_QGT, step_ends_QGT) -> [Q, G, T], or None where they are not made from rewards alone;
    grade(output, reference, problem) -> Verdict says which outputs are marked as right.
    """
    workdir: epath.Path
    tokenizer: Any
    grade: Callable
    advantages: Callable | None = None
    every: int = 10
    questions: int = 8
    last: int | None = None

    def begin(self, resume_step: int) -> None:
        """Removes what a killed run wrote of resume_step or a later one: those steps are run again."""
        if jax.process_index() == 0 and (folder := self.workdir / FOLDER).exists():
            for path in folder.glob('*.jsonl'):
                if int(path.stem) >= resume_step:
                    path.unlink()

    def write(self, step: int, experience: Experience, problems: Sequence[Any],
              by_name: Mapping[str, jax.Array] | None = None) -> None:
        """problems[q]: that of question q; by_name: the rewards [Q, G] of each source. All processes call it."""
        if not self.every or (step % self.every and step != self.last):
            return
        arrays = {'tokens_QGT': experience.rollouts.tokens_QGT, 'rewards_QGT': experience.rewards_QGT,
                  'step_ends_QGT': experience.step_ends_QGT}
        if self.advantages:
            arrays['advantages_QGT'] = jax.jit(self.advantages)(experience.rewards_QGT, experience.step_ends_QGT)
        arrays = {name: sharding.to_host(x) for name, x in arrays.items()}
        sources = {name: sharding.to_host(x) for name, x in (by_name or {}).items()}
        if jax.process_index():
            return
        (self.workdir / FOLDER).mkdir(parents=True, exist_ok=True)
        shown = problems[:self.questions] if self.questions else problems
        write_jsonl(self.workdir / FOLDER / f'{step:06}.jsonl',
                    rows(step, shown, sources, self.tokenizer, self.grade, **arrays))


def rows(step: int, problems: Sequence[Any], sources: Mapping[str, np.ndarray], tokenizer, grade: Callable, *,
         tokens_QGT: np.ndarray, rewards_QGT: np.ndarray, step_ends_QGT: np.ndarray,
         advantages_QGT: np.ndarray | None = None) -> Iterator[dict]:
    """The lines of a step's file.

    {"step", "question", "answer", "outputs": [{"text", "reward", "correct", "extracted", "tokens", "truncated",
    "advantage" (the mean over its tokens), "spans", "rewards" by source}]}. spans cuts the text where the advantage
    changes or a step ends: [[text, advantage, reward of the step that ends there or None], ...]; it is left out where
    there is one span, and the advantages where none are known.
    """
    for q, problem in enumerate(problems):
        outputs = []
        for g, tokens_T in enumerate(tokens_QGT[q]):
            ids, ended = written(tokens_T, tokenizer.stop_ids)
            length = len(ids) + ended
            text, ends_T = tokenizer.decode(ids), step_ends_QGT[q, g, :length].astype(bool)
            verdict = grade(text, problem.answer, problem.problem)
            output = {'text': text, 'reward': _number(rewards_QGT[q, g].sum()), 'correct': bool(verdict.correct),
                      'extracted': verdict.extracted, 'tokens': length, 'truncated': not ended}
            advantages_T = None if advantages_QGT is None else advantages_QGT[q, g, :length]
            if advantages_T is not None and length:
                output['advantage'] = _number(advantages_T.mean())
            found = spans(ids, rewards_QGT[q, g, :length], ends_T, advantages_T, tokenizer)
            if len(found) > 1:
                output['spans'] = found
            if len(sources) > 1:
                output['rewards'] = {name: _number(one_QG[q, g]) for name, one_QG in sources.items()}
            outputs.append(output)
        yield {'step': int(step), 'question': problem.problem, 'answer': problem.answer, 'outputs': outputs}


def spans(ids: Sequence[int], rewards_T: np.ndarray, ends_T: np.ndarray, advantages_T: np.ndarray | None, tokenizer) -> list:
    """[[text, advantage, reward or None], ...] of tokens that belong together; the texts joined are the output's.

    A token that ends in the middle of a character goes to the span behind it, the end token to the last one.
    """
    cuts = ends_T.copy()
    if advantages_T is not None:
        cuts[:-1] |= advantages_T[1:] != advantages_T[:-1]
    inner = [int(cut) for cut in np.flatnonzero(cuts[:max(len(ids) - 1, 0)]) + 1]
    found, before, begin = [], 0, 0
    for end in [*inner, len(ids)]:
        # Decoded together with the span before: a token's text may depend on whether it is the first.
        known, both = (tokenizer.decode(ids[before:stop]) for stop in (begin, end))
        text, last = both[len(known):], end == len(ids)
        if text.endswith('\ufffd') and not last:
            continue
        here = slice(begin, None if last else end)
        reward = _number(rewards_T[here][ends_T[here]].sum()) if ends_T[here].any() else None
        found.append([text, None if advantages_T is None else _number(advantages_T[begin]), reward])
        before, begin = begin, end
    return found


def _number(value) -> float:
    return round(float(value), 6)
