"""What a model writes behind its prompts, as text: in float32 the same on any mesh and for any batch size."""
import dataclasses
import json
from typing import Any, Callable, Sequence

import jax
import numpy as np

from mathrl.sampling import slots
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding, write_groups
from mathrl.sampling.rollout import pad_prompts, written


TURN = 16      # batches whose outputs are on the host together; within them the next prompts take the places of what has ended


@dataclasses.dataclass(frozen=True)
class Written:
    """One output. length: its tokens, the end included; truncated: it was cut at a limit before it came to an end."""
    text: str
    length: int
    truncated: bool


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A model that writes behind prompts, outputs of `batch` prompts at once and at most max_tokens tokens behind each.

    Any of the tokenizer's stop_ids ends an output.
    """
    model: Any
    params: Any
    tokenizer: Any
    mesh: Any
    max_tokens: int
    batch: int

    def sample(self, prompts: Sequence[list[int]], questions: Sequence[int], key: jax.Array, *, outputs: int,
               sampling: Sampling, width: int, limits: Sequence[int] = (),
               finished: Callable[[int], None] | None = None) -> list[list[Written]]:
        """`outputs` outputs of each prompt (token ids, padded to `width`), in order.

        Random keys come from (key, question, output): questions[i] is the number of prompt i. limits: the most tokens of each
        prompt's outputs, where they differ. finished(i) is called once all outputs of prompt i have ended, while others go on.
        """
        tokens = self.sample_tokens(prompts, questions, key, outputs=outputs, sampling=sampling, width=width, limits=limits,
                                    finished=finished)
        return [[self._read(tokens_T) for tokens_T in tokens_GT] for tokens_GT in tokens]

    def sample_tokens(self, prompts: Sequence[list[int]], questions: Sequence[int], key: jax.Array, *, outputs: int,
                      sampling: Sampling, width: int, limits: Sequence[int] = (),
                      finished: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """The outputs' tokens instead: an array [G, T] for each prompt, T its limit; end tokens behind each output."""
        limits, found = limits or [self.max_tokens] * len(prompts), []
        for start in range(0, len(prompts), TURN * self.batch):
            rows = range(start, min(start + TURN * self.batch, len(prompts)))
            fillers = max(0, min(slots.bucket(len(rows)), 2 * self.batch) - len(rows))      # few sizes are compiled
            filled = lambda values: [*(values[row] for row in rows), *[values[rows[-1]]] * fillers]
            prompt_QS, length_Q = pad_prompts(filled(prompts), width, self.tokenizer.pad_id)
            limit_Q = np.array([*(limits[row] for row in rows), *[1] * fillers])
            ended = lambda place, *_: finished(rows[place]) if place < len(rows) else None
            numbers_Q = np.array(filled(questions), np.int32)
            groups = write_groups(self.params, prompt_QS, length_Q, key, numbers_Q, model=self.model, mesh=self.mesh,
                                  outputs=outputs, max_tokens=self.max_tokens, sampling=sampling,
                                  eos_id=self.tokenizer.stop_ids, decoding=Decoding(rows=self.batch * outputs),
                                  limit_QG=np.tile(limit_Q[:, None], outputs), finished=finished and ended)
            found += [tokens_GT[:, :limits[row]] for row, tokens_GT in zip(rows, groups.tokens_QGT)]
        return found

    def _read(self, tokens_T: np.ndarray) -> Written:
        ids, ended = written(tokens_T, self.tokenizer.stop_ids)
        return Written(self.tokenizer.decode(ids), len(ids) + ended, not ended)

    def shortened(self, output: Written, text: str) -> Written:
        """The output with its first part `text` alone, which comes to an end there."""
        if text == output.text:
            return output
        return Written(text, len(self.tokenizer.encode(text)), False)


def bucket(length: int, smallest: int = 64) -> int:
    """The padded length of a prompt, from its own length alone, and one of few: a power of two, 64 or more."""
    return max(smallest, 1 << (length - 1).bit_length())


def on_first_host(compute: Callable[[], Any]) -> Any:
    """compute()'s result, a JSON value, on every process; the first alone computes it.

    What a program prints may differ from run to run, and all processes must go on from the same text.
    """
    if jax.process_count() == 1:
        return compute()
    from jax.experimental import multihost_utils
    content = json.dumps(compute()).encode() if jax.process_index() == 0 else b''
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.frombuffer(content.ljust(size, b' '), np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes())
