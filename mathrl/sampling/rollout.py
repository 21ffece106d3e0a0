"""Groups of outputs for a batch of prompts, as the arrays that an update reads."""
import flax.struct
import jax
import numpy as np


@flax.struct.dataclass
class Rollouts:
    """G outputs of each of Q questions, padded on the right.

    trained_QGT is 1 on what the model wrote, end token included. sampler_logps_QGT belong to the distribution that was
    sampled (after temperature, top-k, top-p), policy_logps_QGT to the plain policy; they agree at temperature 1.
    """
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    tokens_QGT: jax.Array
    length_QG: jax.Array
    trained_QGT: jax.Array
    sampler_logps_QGT: jax.Array
    policy_logps_QGT: jax.Array


def pad_prompts(prompts: list[list[int]], width: int, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token lists -> (prompt_QS padded on the right to `width`, prompt_length_Q)."""
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    if shortest == 0 or longest > width:
        raise ValueError(f'prompts must have 1 to {width} tokens; these have {shortest} to {longest}')
    prompt_QS = np.full((len(prompts), width), pad_id, np.int32)
    for row, prompt in zip(prompt_QS, prompts):
        row[:len(prompt)] = prompt
    return prompt_QS, np.array([len(prompt) for prompt in prompts], np.int32)


def prompt_width(prompts: list[list[int]], multiple: int = 8) -> int:
    """The longest prompt's length, rounded up, so that one compiled shape serves the run."""
    return -(-max(len(prompt) for prompt in prompts) // multiple) * multiple


def end_ids(eos_id: int | tuple[int, ...]) -> tuple[int, ...]:
    """The tokens that end an output: one, or several."""
    return (eos_id,) if isinstance(eos_id, int) else eos_id


def written(tokens_T: np.ndarray, eos_id: int | tuple[int, ...]) -> tuple[list[int], bool]:
    """(the output's tokens without its end token, whether it ended): what a person reads of a row of tokens_QGT."""
    ends = np.flatnonzero(np.isin(tokens_T, end_ids(eos_id)))
    return (tokens_T[:ends[0]].tolist(), True) if len(ends) else (tokens_T.tolist(), False)
