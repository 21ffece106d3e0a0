"""What the programs compile, with the shapes and layouts of its arguments: what compile_check compiles without running it."""
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
from mathrl.sampling.filters import Sampling
from mathrl.sampling.rollout import Rollouts, sample_jit
from mathrl.train import flops
from mathrl.train.state import LMBatch, TrainState, create
from mathrl.train.step import train_step


class Step(NamedTuple):
    """function(*arguments, **static) is what a run calls; parts names the arguments' pieces, for the account of memory.

    pieces: the setting that cuts its work, and its value. flops: of the whole step on all devices; cache_bytes: of the
    key-value caches that it holds, on all devices.
    """
    name: str
    function: Callable
    arguments: tuple
    static: dict
    parts: dict[str, Any]
    pieces: tuple[str, int]
    flops: float
    cache_bytes: int = 0


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
           logits_mib: float, sampling_parts: int, gather: bool, reference_dtype: str, reference: bool = True,
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
    cut = _packing(mesh, Q, G, S, T, micro_batches) if packed else None
    match algorithm:
        case Algorithm():
            experience = _experience(mesh, Q, G, T, prompt_QS, length_Q)
            update = Step('policy_step', policy_step, (state, reference, experience, cut),
                          learners.policy_static(algorithm, settings), held | {'batch': experience}, pieces, update_flops)
        case ActorCritic():
            experience, critic = _experience(mesh, Q, G, T, prompt_QS, length_Q), ScalarModel(sizes)
            critic_state = abstract_state(critic, mesh, algorithm.critic_optimizer)
            update = Step('actor_critic_step', actor_critic_step, (state, critic_state, reference, experience, None, cut),
                          learners.actor_critic_static(algorithm, settings, critic),
                          held | {'critic': critic_state.params, "critic's optimizer": critic_state.opt_state,
                                  'batch': experience}, pieces, update_flops)
        case Preferences():
            pairs = _pairs(mesh, Q, G // 2, T, prompt_QS, length_Q)
            update = Step('dpo_step', dpo_step, (state, reference, pairs), learners.preferences_static(algorithm, settings),
                          held | {'batch': pairs}, pieces, update_flops)

    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=sharding.replicated(mesh))
    per_token = 2 * sizes.layers * sizes.kv_heads * sizes.head_dim * jnp.dtype(sizes.dtype).itemsize
    sample = Step('sample', sample_jit, (state.params, prompt_QS, length_Q, key, length_Q),
                  dict(model=model, outputs=G, max_tokens=T, sampling=sampling, eos_id=0, parts=sampling_parts, gather=gather),
                  {'parameters': state.params, 'batch': (prompt_QS, length_Q)},
                  ('sampling_parts', sampling_parts), flops.outputs_forward(sizes, Q, G, S, T),
                  cache_bytes=per_token * Q // sampling_parts * (S + G * T))
    return [update, sample]


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
    return Experience(rollouts, floats, floats, integers)


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
