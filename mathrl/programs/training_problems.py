"""The problems that reinforcement learning samples on, with their prompts, and which of them a step takes."""
import numpy as np

from mathrl.problems import prompts as problem_prompts
from mathrl.problems.types import read_problems
from mathrl.sampling.rollout import pad_prompts, prompt_width


class TrainingProblems:
    """Problems of a JSONL file with their prompts' tokens; room: tokens for a prompt (0: as the longest needs)."""

    def __init__(self, path: str, tokenizer, templates: problem_prompts.Templates, room: int = 0, limit: int | None = None):
        self.problems = read_problems(path)[:limit]
        write = lambda problem, shots: problem_prompts.prompt(problem, templates)
        self.prompts = [prompt.ids for prompt in problem_prompts.encode(self.problems, write, tokenizer)]
        longest = max(map(len, self.prompts))
        if room and longest > room:
            raise ValueError(f'{path}: its longest prompt has {longest} tokens, and prompt_tokens={room}')
        self.width = room or prompt_width(self.prompts)
        self._path, self._pad_id = path, tokenizer.pad_id

    def check(self, questions: int) -> None:
        if len(self.problems) < questions:
            raise ValueError(f'{self._path} holds {len(self.problems)} problems; a step wants {questions} different ones')

    def rows(self, seed: int, step: int, count: int) -> np.ndarray:
        """Which problems a step takes: whole passes, each in an order of its own."""
        per_pass = len(self.problems) // count
        order = np.random.default_rng((seed, step // per_pass)).permutation(len(self.problems))
        return order[step % per_pass * count:][:count]

    def spare_rows(self, seed: int, step: int, turn: int, taken: np.ndarray, count: int) -> np.ndarray:
        """Further problems for a step, in its turn-th time of asking (from 1): drawn at random from those not taken."""
        left = np.setdiff1d(np.arange(len(self.problems)), taken)
        if len(left) < count:
            left = np.arange(len(self.problems))
        return np.random.default_rng((seed, step, turn)).choice(left, count, replace=False)

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(prompt_QS, prompt_length_Q) of some problems."""
        return pad_prompts([self.prompts[row] for row in rows], self.width, self._pad_id)
