"""What the programs compile, with the shapes and layouts of its arguments: what compile_check compiles without running it."""
import functools
from typing import Any, Callable, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.models.heads import ScalarModel
from mathrl.models.llama import Llama
from mathrl.programs import learners, trained_model
from mathrl.rl import packing
from mathrl.rl.actor_critic import actor_critic_step
from mathrl.rl.dpo import dpo_step
from mathrl.rl.pairs import Pairs
from mathrl.rl.step import policy_step
from mathrl.rl.types import ActorCritic, Algorithm, Experience, Preferences
from mathrl.sampling import blocks, slots
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding
from mathrl.sampling.rollout import Rollouts
from mathrl.train import flops
from mathrl.train.state import LMBatch, TrainState, create
from mathrl.train.step import train_step


class Step(NamedTuple):
    """function(*arguments, **static) is what a run calls; parts names the arguments' pieces, for the account of memory.

    pieces: the setting that cuts its work, and its value. flops: of the whole step on all devices; cache_bytes: of the
    key-value caches that it holds, on all devices. turns: how often a loop runs whose end the program does not say: over
    micro-batches, whose number depends on the outputs' lengths.
    """
    name: str
    function: Callable
    arguments: tuple
    static: dict
    parts: dict[str, Any]
    pieces: tuple[str, int]
    flops: float
    cache_bytes: int = 0
    turns: int = 1


def language_model(model: Llama, mesh, optimizer, *, batch: int, row_length: int, micro_batches: int,
                   logits_mib: float) -> list[Step]:
    """The update of pre-training and supervised fine-tuning."""
    state = abstract_state(model, mesh, optimizer)
    shape = (batch, row_length)
    integers, floats = (_abstract(mesh, shape, dtype, 'BT') for dtype in (jnp.int32, jnp.float32))
    rows = LMBatch(tokens_BT=integers, targets_BT=integers, weights_BT=floats, segments_BT=integers, positions_BT=integers)
    static = dict(model=model, optimizer=optimizer, micro_batches=micro_batches, logits_mib=logits_mib)
    return [Step('train_step', train_step, (state, rows), static,
                 {'parameters': state.params, 'optimizer': state.opt_state, 'batch': rows},
                 ('micro_batches', micro_batches), flops.train_step(model.config, batch, row_length))]


def policy(model: Llama, mesh, optimizer, algorithm: Algorithm | ActorCritic | Preferences, *,
           sampling: Sampling, questions: int, group_size: int, prompt_tokens: int, max_tokens: int, micro_batches: int,
           logits_mib: float, decoding: Decoding, reference_dtype: str, reference: bool = True,
           packed: bool = True) -> list[Step]:
    """The update of reinforcement learning, and its sampling."""
    Q, G, S, T = questions, group_size, prompt_tokens, max_tokens
    state, sizes = abstract_state(model, mesh, optimizer), model.config
    reference = _cast(state.params, reference_dtype) if reference else None
    prompt_QS, length_Q = _abstract(mesh, (Q, S), jnp.int32, 'QS'), _abstract(mesh, (Q,), jnp.int32, 'Q')
    settings = learners.Settings(model, optimizer, micro_batches, logits_mib)
    update_flops = learners.update_flops(algorithm, sizes, reference is not None, Q, G, S, T)
    held = {'parameters': state.params, 'optimizer': state.opt_state, 'reference': reference}
    pieces = 'micro_batches', micro_batches
    cut, turns = (_packing(mesh, Q, G, S, T, micro_batches), micro_batches) if packed else (None, 1)
    match algorithm:
        case Algorithm():
            experience = _experience(mesh, Q, G, T, prompt_QS, length_Q)
            update = Step('policy_step', policy_step, (state, reference, experience, cut),
                          learners.policy_static(algorithm, settings), held | {'batch': experience}, pieces, update_flops,
                          turns=turns)
        case ActorCritic():
            experience, critic = _experience(mesh, Q, G, T, prompt_QS, length_Q), ScalarModel(sizes)
            critic_state = abstract_state(critic, mesh, algorithm.critic_optimizer)
            update = Step('actor_critic_step', actor_critic_step, (state, critic_state, reference, experience, None, cut),
                          learners.actor_critic_static(algorithm, settings, critic),
                          held | {'critic': critic_state.params, "critic's optimizer": critic_state.opt_state,
                                  'batch': experience}, pieces, update_flops, turns=turns)
        case Preferences():
            pairs = _pairs(mesh, Q, G // 2, T, prompt_QS, length_Q)
            cut = _packing(mesh, Q, G // 2, S, 2 * T, micro_batches) if packed else None      # a pair lies in one row
            update = Step('dpo_step', dpo_step, (state, reference, pairs, cut), learners.preferences_static(algorithm, settings),
                          held | {'batch': pairs}, pieces, update_flops, turns=turns)

    return [update, *_decoding(model, mesh, state.params, Q, G, S, T, sampling, decoding)]


def _decoding(model: Llama, mesh, params, Q: int, G: int, S: int, T: int, sampling: Sampling, decoding: Decoding) -> list[Step]:
    """Prompts with the first block of tokens, and the last block, of as many rows as are ever in flight."""
    sizes, devices, block = model.config, sharding.batch_devices(mesh), decoding.block_of(T)
    batch = slots.new_batch(Q, G, devices, decoding.rows, decoding.smallest)
    questions, rows = devices * batch.slots, devices * batch.capacity
    prompt_QS = _abstract(mesh, (questions, S), jnp.int32, 'QS')
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=sharding.replicated(mesh))
    of_row = lambda dtype: _abstract(mesh, (rows,), dtype, 'B')
    integer, whole = of_row(jnp.int32), batch.capacity == batch.slots * batch.size
    place = lambda count: None if whole else _abstract(mesh, (devices, count), jnp.int32, 'BT')
    plan = blocks.Plan(place_PB=place(batch.capacity), row_PX=place(batch.slots * batch.size), token_B=integer,
                       length_B=integer, limit_B=integer, done_B=of_row(bool), question_B=integer, output_B=integer,
                       prompt_length_B=integer, prompt_length_Q=_abstract(mesh, (questions,), jnp.int32, 'Q'))
    static = dict(model=model, outputs=batch.size, block=block, sampling=sampling, ends=(0,))
    begin = static | dict(gather=decoding.gather, kv_dtype=decoding.kv_dtype)
    first = params, prompt_QS, plan, key, _abstract(mesh, (), jnp.int32, '')
    read, prompts, _, page, _ = jax.eval_shape(functools.partial(blocks.begin, **begin), *first)
    lie = jax.tree_util.tree_map_with_path(functools.partial(_gathered, mesh), read) if decoding.gather else (
        sharding.parameter_shardings(mesh, read))
    read = jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), read, lie)
    placed = lambda cache, axes: jax.tree.map(lambda x: _abstract(mesh, x.shape, x.dtype, axes), cache)
    page, prompts = placed(page, 'BKSH'), placed(prompts, 'QKSH')
    pages = [page] * (-(-T // block) - 1)
    cache_bytes = lambda *caches: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(caches))
    pieces = 'decoding.rows', rows
    prefill = flops.outputs_forward(sizes, questions, 0, S, 0)
    written = lambda before, after: rows * (flops.outputs_forward(sizes, 1, 1, S, after) -
                                            flops.outputs_forward(sizes, 1, 1, S, before))
    return [Step('begin', blocks.begin, first, begin, {'parameters': params, 'batch': prompt_QS}, pieces,
                 prefill + written(0, block), cache_bytes=cache_bytes(prompts, page)),
            Step('decode', blocks.advance, (read, prompts, pages, plan, key), static,
                 {'parameters': read, 'prompts': prompts, 'outputs': pages}, pieces, written(T - block, T),
                 cache_bytes=cache_bytes(prompts, pages, page))]


def _gathered(mesh, path, x):
    """Where a parameter lies that was gathered for decoding: cut over tensor alone."""
    return sharding.placed_sharding(mesh, x.shape, sharding.parameter_axes(sharding.path_text(path), x.ndim))


def _packing(mesh, Q: int, G: int, S: int, T: int, micro_batches: int) -> packing.Packing:
    """Of the coarser layout: the finer one's micro-batches are no larger."""
    shapes = packing.layouts(Q, G, S, T, micro_batches, sharding.batch_devices(mesh))[0].shapes(T)
    arrays = {name: _abstract(mesh, shape, jnp.int32, name.rsplit('_', 1)[-1]) for name, shape in shapes.items()}
    return packing.Packing(count=_abstract(mesh, (), jnp.int32, ''), **arrays)


def _experience(mesh, Q: int, G: int, T: int, prompt_QS, length_Q) -> Experience:
    integers, floats = (_abstract(mesh, (Q, G, T), dtype, 'QGT') for dtype in (jnp.int32, jnp.float32))
    rollouts = Rollouts(prompt_QS=prompt_QS, prompt_length_Q=length_Q, tokens_QGT=integers,
                        length_QG=_abstract(mesh, (Q, G), jnp.int32, 'QG'), trained_QGT=integers,
                        sampler_logps_QGT=floats, policy_logps_QGT=floats)
    return Experience(rollouts, None, floats, integers)


def _pairs(mesh, Q: int, G: int, T: int, prompt_QS, length_Q) -> Pairs:
    tokens = _abstract(mesh, (Q, G, T), jnp.int32, 'QGT')
    return Pairs(prompt_QS, length_Q, tokens, tokens, tokens, tokens, _abstract(mesh, (Q, G), jnp.float32, 'QG'))


def abstract_state(model: Llama | ScalarModel, mesh, optimizer) -> TrainState:
    """The train state as shapes with their layouts."""
    params = trained_model.parameter_shapes(model, mesh)
    shapes = jax.eval_shape(lambda params: create(params, optimizer), params)
    return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes,
                        sharding.tree_shardings(mesh, shapes, params))


def device_bytes(tree) -> int:
    """What one device holds of a tree of shapes with layouts."""
    return sum(int(np.prod(x.sharding.shard_shape(x.shape))) * jnp.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))


def _cast(tree, dtype: str):
    cast = lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(dtype or x.dtype), sharding=x.sharding)
    return jax.tree.map(cast, tree)


def _abstract(mesh, shape: tuple[int, ...], dtype, axes: str) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.placed_sharding(mesh, shape, axes))
