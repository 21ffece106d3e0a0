"""The compiled sampler: one prefill a question, then one token a step for all its outputs until every one has ended."""
import functools

import jax
import jax.numpy as jnp

from mathrl.models.cache import empty_output_cache
from mathrl.sampling.choose import choose, draws
from mathrl.sampling.filters import Sampling


def end_ids(eos_id: int | tuple[int, ...]) -> tuple[int, ...]:
    """The tokens that end an output: one, or several."""
    return (eos_id,) if isinstance(eos_id, int) else eos_id


def output_keys(key: jax.Array, question_Q: jax.Array, outputs: int) -> jax.Array:
    """A key per output from (key, question, output): the same whatever shares the batch, on any mesh."""
    per_question = jax.vmap(jax.random.fold_in, (None, 0))(key, question_Q)
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(per_question, jnp.arange(outputs))


@functools.partial(jax.jit, static_argnames=('model', 'outputs', 'max_tokens', 'sampling', 'eos_id'))
def decode(params, prompt_QS, prompt_length_Q, keys_QG, *, model, outputs: int, max_tokens: int, sampling: Sampling,
           eos_id: int | tuple[int, ...]) -> dict[str, jax.Array]:
    """Samples `outputs` outputs of each prompt.

    eos_id: the token that ends an output, or several of which any does. Returns tokens_QGT (the end token included, the
    first of eos_id behind it), length_QG (tokens written, the end included), sampler_logps_QGT (of the filtered distribution
    that was sampled) and policy_logps_QGT (of the plain policy); 0 behind the end.
    """
    ends = end_ids(eos_id)
    Q = prompt_QS.shape[0]
    prompts = model.prefill(params, prompt_QS, prompt_length_Q - 1)
    advance = model.decoder(params, prompts)
    last_Q1 = jnp.take_along_axis(prompt_QS, prompt_length_Q[:, None] - 1, axis=1)
    shape = (Q, outputs, max_tokens)
    start = dict(t=jnp.int32(0), token_QG=jnp.broadcast_to(last_Q1, (Q, outputs)), done_QG=jnp.zeros((Q, outputs), bool),
                 cache=empty_output_cache(prompts, outputs, max_tokens), tokens_QGT=jnp.full(shape, ends[0], jnp.int32),
                 sampler_logps_QGT=jnp.zeros(shape), policy_logps_QGT=jnp.zeros(shape),
                 length_QG=jnp.zeros((Q, outputs), jnp.int32))

    def unfinished(carry):
        return (carry['t'] < max_tokens) & ~jnp.all(carry['done_QG'])

    def step(carry):
        t, done_QG = carry['t'], carry['done_QG']
        h_QGD, cache = advance(carry['token_QG'], carry['cache'])
        logits_QGV = model.logits(params, h_QGD)
        token_QG, sampler_QG, policy_QG = choose(logits_QGV, draws(keys_QG, t), sampling)
        token_QG = jnp.where(done_QG, ends[0], token_QG)
        put = lambda all_QGT, new_QG: jax.lax.dynamic_update_index_in_dim(all_QGT, new_QG, t, axis=2)
        return dict(t=t + 1, token_QG=token_QG, done_QG=done_QG | jnp.isin(token_QG, jnp.array(ends)), cache=cache,
                    tokens_QGT=put(carry['tokens_QGT'], token_QG),
                    sampler_logps_QGT=put(carry['sampler_logps_QGT'], jnp.where(done_QG, 0.0, sampler_QG)),
                    policy_logps_QGT=put(carry['policy_logps_QGT'], jnp.where(done_QG, 0.0, policy_QG)),
                    length_QG=carry['length_QG'] + ~done_QG)
    end = jax.lax.while_loop(unfinished, step, start)
    return {name: end[name] for name in ('tokens_QGT', 'length_QG', 'sampler_logps_QGT', 'policy_logps_QGT')}
