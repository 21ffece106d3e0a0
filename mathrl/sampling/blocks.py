"""The compiled parts of decoding: prompts come in, rows are regrouped, and every row writes up to a block of tokens.

Each is an executable of few shapes: rows B, pages of the cache, fresh prompts F. What belongs to which row is said by a Plan,
which the host makes between blocks (sampling/slots.py).
"""
import functools

import flax.struct
import jax
import jax.numpy as jnp

from mathrl.models.cache import Places, RowCache, empty_row_cache, take
from mathrl.sampling.choose import choose, draws
from mathrl.sampling.filters import Sampling
from mathrl.sharding import constrain, gather_parameters

LOOK = 8     # tokens between two looks at whether all rows are done, on which all devices wait for each other


@flax.struct.dataclass
class Plan:
    """What the rows of a block are. Numbers of places are local to each of the P parts of the batch.

    place_PB, row_PX: as in Places. token_B: the token before the next; length_B: the tokens written so far; limit_B: at how
    many a row ends whatever it writes. A row that is done from the start writes nothing.
    """
    place_PB: jax.Array | None
    row_PX: jax.Array | None
    token_B: jax.Array
    length_B: jax.Array
    limit_B: jax.Array
    done_B: jax.Array
    question_B: jax.Array
    output_B: jax.Array
    prompt_length_B: jax.Array
    prompt_length_Q: jax.Array


@flax.struct.dataclass
class Written:
    """What a block wrote: tokens (the first end token behind the end) with their log-probs, and the tokens' number."""
    tokens_BT: jax.Array
    sampler_logps_BT: jax.Array
    policy_logps_BT: jax.Array
    written_B: jax.Array
    done_B: jax.Array


@functools.partial(jax.jit, donate_argnames=('prompts',), static_argnames=('model',))
def admit(params, prompts: RowCache, fresh_FS, slot_PF, *, model) -> RowCache:
    """The prompts with F fresh ones in the question slots slot_PF of each part (a number past the last slot: nowhere)."""
    cut = lambda x: x.reshape((slot_PF.shape[0], -1) + x.shape[1:])

    def put(old_QKSH, new_FKSH):
        placed = jax.vmap(lambda old, slots, new: old.at[slots].set(new, mode='drop'))(cut(old_QKSH), slot_PF, cut(new_FKSH))
        return constrain(placed.reshape(old_QKSH.shape), 'QKSH')
    return jax.tree.map(put, prompts, model.prefill_rows(params, fresh_FS, prompts.dtype))


@jax.jit
def regroup(pages: list[RowCache], source_PB) -> list[RowCache]:
    """The pages for other rows: row i was row source_PB[i] of its part."""
    return jax.tree.map(lambda x_BKSH: take(x_BKSH, source_PB, 'BKSH'), pages)


@functools.partial(jax.jit, static_argnames=('model', 'outputs', 'block', 'sampling', 'ends'))
def advance(params, prompts: RowCache, pages: list[RowCache], plan: Plan, key, *, model, outputs: int, block: int,
            sampling: Sampling, ends: tuple[int, ...]) -> tuple[RowCache, Written]:
    """`block` more tokens of every row that is not done, or fewer where all are done before, and the page that holds them.

    When limits end it is known ahead; whether end tokens did is looked at behind every LOOK-th token.
    params are those of `begin`; pages: of the blocks before, oldest first, as far back as any row has been writing.
    """
    rows = plan.token_B.shape[0]
    step = model.row_decoder(params, prompts, plan.prompt_length_Q - 1, pages, plan.length_B, plan.prompt_length_B - 1,
                             Places(outputs, plan.place_PB, plan.row_PX))
    fold = lambda question, output: jax.random.fold_in(jax.random.fold_in(key, question), output)
    keys_B = jax.vmap(fold)(plan.question_B, plan.output_B)
    draws_BT2 = draws(jnp.broadcast_to(keys_B[:, None], (rows, block)), plan.length_B[:, None] + jnp.arange(block)[None])
    page = jax.tree.map(lambda x: constrain(x, 'BKSH'), empty_row_cache(prompts, rows, block))
    shape = (rows, block)
    most = jnp.minimum(block, jnp.max(jnp.where(plan.done_B, 0, plan.limit_B - plan.length_B)))
    start = dict(i=jnp.int32(0), all_done=jnp.bool_(False), token_B=plan.token_B, done_B=plan.done_B, page=page,
                 written_B=jnp.zeros(rows, jnp.int32), tokens_BT=jnp.full(shape, ends[0], jnp.int32),
                 sampler_logps_BT=jnp.zeros(shape), policy_logps_BT=jnp.zeros(shape))

    def unfinished(carry):
        return (carry['i'] < most) & ~carry['all_done']

    def one(carry):
        i, done_B = carry['i'], carry['done_B']
        h_BD, page = step(carry['token_B'], carry['page'], i)
        token_B, sampler_B, policy_B = choose(model.logits(params, h_BD), draws_BT2[:, i], sampling)
        token_B = jnp.where(done_B, ends[0], token_B)
        put = lambda all_BT, new_B: jax.lax.dynamic_update_index_in_dim(all_BT, new_B, i, axis=1)
        done_now_B = done_B | jnp.isin(token_B, jnp.array(ends)) | (plan.length_B + i + 1 >= plan.limit_B)
        all_done = jax.lax.cond((i + 1) % LOOK == 0, jnp.all, lambda _: False, done_now_B)
        return dict(i=i + 1, all_done=all_done, token_B=token_B, done_B=done_now_B, page=page,
                    written_B=carry['written_B'] + ~done_B, tokens_BT=put(carry['tokens_BT'], token_B),
                    sampler_logps_BT=put(carry['sampler_logps_BT'], jnp.where(done_B, 0.0, sampler_B)),
                    policy_logps_BT=put(carry['policy_logps_BT'], jnp.where(done_B, 0.0, policy_B)))
    end = jax.lax.while_loop(unfinished, one, start)
    written = {name: constrain(end[name], name.rsplit('_', 1)[-1]) for name in (
        'tokens_BT', 'sampler_logps_BT', 'policy_logps_BT', 'written_B', 'done_B')}
    return end['page'], Written(**written)


@functools.partial(jax.jit, static_argnames=('model', 'outputs', 'block', 'sampling', 'ends', 'gather', 'kv_dtype'))
def begin(params, prompt_QS, plan: Plan, key, step, *, model, outputs: int, block: int, sampling: Sampling,
          ends: tuple[int, ...], gather: bool = True, kv_dtype: str = '') -> tuple[dict, RowCache, jax.Array, RowCache, Written]:
    """The parameters as the other parts read them, keys and values of the first prompts in all question slots, the key, and
    the page and what was written of the first block, as `advance` gives them: all of it one program.

    step: a number that is folded into the key, where it is not negative. gather: parameters are gathered over fsdp once, and
    a device then holds them cut over tensor alone. kv_dtype: of all caches from here on, '' for the activations'.
    """
    params = model.decoder_params(gather_parameters(params, model.config.dtype) if gather else params)
    prompts = model.prefill_rows(params, prompt_QS, kv_dtype or model.config.dtype)
    prompts = jax.lax.optimization_barrier(prompts)      # the first block, too, reads what is stored and not what was rounded to it
    key = jnp.where(step < 0, key, jax.random.fold_in(key, step))
    return params, prompts, key, *advance(params, prompts, [], plan, key, model=model, outputs=outputs, block=block,
                                          sampling=sampling, ends=ends)
