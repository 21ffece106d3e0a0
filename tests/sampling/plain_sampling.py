"""Sampling in its slow plain form, which tests compare with: for every token a forward pass of all that was written, no cache."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mathrl.sampling.choose import choose, draws
from mathrl.sampling.groups import Groups
from mathrl.sampling.rollout import end_ids


@functools.partial(jax.jit, static_argnames=('model', 'sampling'))
def next_tokens(params, row_BT, length_B, keys_B, t, *, model, sampling):
    """(tokens, their log-probs as sampled and under the plain policy), the t-th of outputs behind rows of these lengths."""
    ones_BT = jnp.ones_like(row_BT)
    h_BTD = model.hidden(params, row_BT, ones_BT, jnp.cumsum(ones_BT, axis=1) - 1)
    h_BD = jnp.take_along_axis(h_BTD, length_B[:, None, None] - 1, axis=1)[:, 0]
    return choose(model.logits(params, h_BD), draws(keys_B, t), sampling)


def plain_groups(params, prompt_QS, prompt_length_Q, key, question_Q, *, model, outputs, max_tokens, sampling, eos_id) -> Groups:
    """What write_groups gives on one device."""
    Q, S = prompt_QS.shape
    rows, ends = Q * outputs, end_ids(eos_id)
    keys_B = jnp.stack([jax.random.fold_in(jax.random.fold_in(key, question), output) for question in question_Q.tolist()
                        for output in range(outputs)])
    row_BT = np.pad(np.repeat(prompt_QS, outputs, axis=0), ((0, 0), (0, max_tokens)))
    prompt_length_B, done_B = np.repeat(prompt_length_Q, outputs), np.zeros(rows, bool)
    tokens_BT, length_B = np.full((rows, max_tokens), ends[0], np.int32), np.zeros(rows, np.int32)
    sampler_logps_BT, policy_logps_BT = np.zeros((rows, max_tokens), np.float32), np.zeros((rows, max_tokens), np.float32)
    for t in range(max_tokens):
        token_B, *logps = map(np.asarray, next_tokens(params, row_BT, prompt_length_B + t, keys_B, t, model=model,
                                                      sampling=sampling))
        for all_BT, new_B in ((tokens_BT, token_B), (sampler_logps_BT, logps[0]), (policy_logps_BT, logps[1])):
            all_BT[~done_B, t] = new_B[~done_B]
        row_BT[np.arange(rows), prompt_length_B + t] = token_B
        length_B += ~done_B
        done_B |= np.isin(token_B, ends)
    group = lambda x_B: x_B.reshape((Q, outputs) + x_B.shape[1:])
    return Groups(*map(group, (tokens_BT, length_B, sampler_logps_BT, policy_logps_BT)))
