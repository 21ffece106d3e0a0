"""Groups of outputs for questions, decoded in blocks: what has ended makes room for the next questions, or the batch shrinks.

An output's random numbers depend on (key, question, output) alone, and so, in float32, do its tokens behind its prompt: not
on rows, blocks, the order in which questions come in, or the mesh. Log-probs agree to rounding, since a matrix product of other
sizes adds in another order; at 16 bits that is enough to change tokens too.
"""
import dataclasses
import functools
from typing import Callable

import jax
import numpy as np

from mathrl import sharding
from mathrl.sampling import blocks, slots
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import Rollouts, end_ids

KV_DTYPES = '', 'int8', 'bfloat16'


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How outputs are decoded; none of it but kv_dtype changes what they are in float32.

    rows: outputs in flight at once, one a device at least (0: all); block: tokens between two looks at which have ended (0:
    half of max_tokens, 256 at most); smallest: the fewest rows of a device that a batch shrinks to; gather: parameters are
    gathered over fsdp once, and a device then holds them cut over tensor alone. kv_dtype: of keys and values, of prompts too, one
    of KV_DTYPES ('': the activations'); log-probs are those of the model that reads them so, from which outputs are in fact drawn.
    """
    rows: int = 0
    block: int = 0
    smallest: int = 8
    gather: bool = True
    kv_dtype: str = ''

    def __post_init__(self):
        if self.kv_dtype not in KV_DTYPES:
            raise ValueError(f'unknown kv_dtype {self.kv_dtype!r}; there are: {", ".join(map(repr, KV_DTYPES))}')
        if self.rows < 0 or self.block < 0 or self.smallest < 1:
            raise ValueError(f'decoding wants rows >= 0, block >= 0 and smallest >= 1; got {self}')

    def block_of(self, max_tokens: int) -> int:
        return min(self.block or min(-(-max_tokens // 2), 256), max_tokens)


@dataclasses.dataclass(frozen=True)
class Groups:
    """Outputs on the host: see Rollouts. Behind an output stands the first end token."""
    tokens_QGT: np.ndarray
    length_QG: np.ndarray
    sampler_logps_QGT: np.ndarray
    policy_logps_QGT: np.ndarray


def sample_groups(params, prompt_QS: np.ndarray, prompt_length_Q: np.ndarray, key: jax.Array, question_Q: np.ndarray, *,
                  mesh, **settings) -> Rollouts:
    """What write_groups gives for the same arguments as the arrays that an update reads, laid out over the mesh."""
    groups = write_groups(params, prompt_QS, prompt_length_Q, key, question_Q, mesh=mesh, **settings)
    trained_QGT = (np.arange(groups.tokens_QGT.shape[2]) < groups.length_QG[..., None]).astype(np.int32)
    return Rollouts(**sharding.place_named(mesh, vars(groups) | dict(
        prompt_QS=prompt_QS, prompt_length_Q=prompt_length_Q, trained_QGT=trained_QGT)))


def write_groups(params, prompt_QS: np.ndarray, prompt_length_Q: np.ndarray, key: jax.Array, question_Q: np.ndarray, *,
                 model, mesh, outputs: int, max_tokens: int, sampling: Sampling, eos_id: int | tuple[int, ...],
                 decoding: Decoding = Decoding(), step: int = -1, limit_QG: np.ndarray | None = None,
                 finished: Callable[[int, np.ndarray, np.ndarray], None] | None = None) -> Groups:
    """`outputs` outputs of each prompt (host arrays), on the host; question_Q: the questions' numbers in random keys.

    step: folded into the key where it is not negative, without a program of its own. limit_QG: the most tokens of each output,
    where they differ (at least 1, at most max_tokens).
    finished(question's place in the arrays, tokens_GT, length_G) is called for each question when all of its outputs have
    ended, while the devices write on; what it returns is not read.
    """
    parts, (Q, ends) = sharding.batch_devices(mesh), (len(prompt_QS), end_ids(eos_id))
    block, batch = decoding.block_of(max_tokens), slots.new_batch(Q, outputs, parts, decoding.rows, decoding.smallest)
    results, left_Q = _empty(Q, outputs, max_tokens, ends[0]), np.full(Q, outputs)
    limit_QG = np.full((Q, outputs), max_tokens) if limit_QG is None else limit_QG
    if limit_QG.shape != (Q, outputs) or limit_QG.min() < 1 or limit_QG.max() > max_tokens:
        raise ValueError(f'limits of {Q} x {outputs} outputs must lie in 1 .. max_tokens={max_tokens}; '
                         f'got {" x ".join(map(str, limit_QG.shape))} in {limit_QG.min()} .. {limit_QG.max()}')
    place, pages, done = functools.partial(sharding.place, mesh), [], []
    static = dict(model=model, outputs=batch.size, block=block, sampling=sampling, ends=ends)
    taken, prompts = batch.admit(), None
    while batch.alive():
        if fresh := slots.fresh(batch, taken) if prompts is not None else None:
            fresh_F, slot_PF = fresh
            prompts = blocks.admit(params, prompts, place(prompt_QS[fresh_F], 'QS'), place(slot_PF, 'BT'), model=model)
        pages = pages[len(pages) - batch.longest() // block:]
        tables = batch.lay_out()
        if pages and tables['source'] is not None:
            pages = blocks.regroup(pages, place(tables['source'], 'BT'))
        plan = _plan(batch, tables, place, results, prompt_QS, prompt_length_Q, question_Q, limit_QG)
        if prompts is None:
            params, prompts, key, page, written = blocks.begin(
                params, place(prompt_QS[batch.slot_questions()], 'QS'), plan, key, place(np.int32(step), ''), **static,
                gather=decoding.gather, kv_dtype=decoding.kv_dtype)
        else:
            page, written = blocks.advance(params, prompts, pages, plan, key, **static)
        for question in done:
            finished(question, results.tokens_QGT[question], results.length_QG[question])
        ended = _read(batch, results, {field.name: sharding.to_host(getattr(written, field.name))
                                       for field in dataclasses.fields(written)})
        for question in ended:
            left_Q[question] -= 1
        done = sorted({question for question in ended if not left_Q[question]}) if finished else []
        pages, taken = [*pages, page], batch.admit()
    for question in done:
        finished(question, results.tokens_QGT[question], results.length_QG[question])
    return results


def _empty(questions: int, outputs: int, tokens: int, end: int) -> Groups:
    shape = questions, outputs, tokens
    return Groups(np.full(shape, end, np.int32), np.zeros(shape[:2], np.int32), np.zeros(shape, np.float32),
                  np.zeros(shape, np.float32))


def _plan(batch: slots.Batch, tables: dict, place: Callable, results: Groups, prompt_QS, prompt_length_Q, question_Q,
          limit_QG) -> blocks.Plan:
    """The rows of the next block, on the devices."""
    flat = lambda x_PB: place(x_PB.reshape(-1).astype(x_PB.dtype if x_PB.dtype == bool else np.int32), 'B')
    question_PB, output_PB, length_PB = tables['question'], tables['output'], tables['length']
    token_PB = np.where(length_PB > 0, results.tokens_QGT[question_PB, output_PB, np.maximum(length_PB - 1, 0)],
                        prompt_QS[question_PB, prompt_length_Q[question_PB] - 1])
    whole = tables['place'] is None
    return blocks.Plan(
        place_PB=None if whole else place(tables['place'], 'BT'), row_PX=None if whole else place(tables['row_PX'], 'BT'),
        token_B=flat(token_PB), length_B=flat(length_PB), limit_B=flat(limit_QG[question_PB, output_PB]),
        done_B=flat(tables['done']), question_B=flat(question_Q[question_PB]), output_B=flat(output_PB),
        prompt_length_B=flat(prompt_length_Q[question_PB]),
        prompt_length_Q=place(prompt_length_Q[batch.slot_questions()].astype(np.int32), 'Q'))


def _read(batch: slots.Batch, results: Groups, written: dict[str, np.ndarray]) -> list[int]:
    """Puts what a launch wrote into the results; rows that are done leave -> the question of each of them."""
    by_part = {name: x.reshape((len(batch.parts), batch.rows) + x.shape[1:]) for name, x in written.items()}
    ended = []
    for p, part in enumerate(batch.parts):
        for row in part.rows:
            count, where = int(by_part['written_B'][p, row.number]), (*row.place, slice(row.length, None))
            for name in ('tokens', 'sampler_logps', 'policy_logps'):
                getattr(results, f'{name}_QGT')[where][:count] = by_part[f'{name}_BT'][p, row.number, :count]
            row.length += count
            results.length_QG[row.place] = row.length
        done = [row for row in part.rows if by_part['done_B'][p, row.number]]
        ended += [row.unit.question for row in done]
        part.give_up(done)
    return ended
