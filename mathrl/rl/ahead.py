"""Text rewards on the host while the devices still decode: a group is rewarded as soon as all of its outputs have ended."""
import concurrent.futures
from typing import Any, Sequence

import numpy as np

from mathrl import sharding
from mathrl.rl.rewards import TextReward, parts


class Ahead:
    """scores: (reward's name, question, an output's tokens as bytes) -> the Future of TextReward.score, for Outputs.ahead.

    `begin` hands a group to a thread and returns at once. Each process rewards the questions of which it holds rows. An error
    in a reward is raised where its score is read; leaving the `with` drops what was not begun.
    """

    def __init__(self, reward, problems: Sequence[Any], tokenizer, mesh, shape: tuple[int, int, int]):
        self.scores: dict[tuple[str, int, bytes], concurrent.futures.Future] = {}
        self._rewards = [one for _, one in parts(reward) if isinstance(one, TextReward)]
        self._problems, self._tokenizer = problems, tokenizer
        self._held = sharding.local_questions(mesh, shape)
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    def begin(self, question: int, tokens_GT: np.ndarray, length_G: np.ndarray) -> None:
        """A question's outputs have all ended (`finished` of sampling/groups.py)."""
        if question not in self._held:
            return
        for reward in self._rewards:
            for tokens_T in tokens_GT:
                key = reward.name, question, tokens_T.tobytes()
                if key not in self.scores:
                    self.scores[key] = self._thread.submit(reward.score, self._problems[question], tokens_T,
                                                           self._tokenizer)

    def __enter__(self) -> 'Ahead':
        return self

    def __exit__(self, *unused) -> None:
        self._thread.shutdown(cancel_futures=True)
