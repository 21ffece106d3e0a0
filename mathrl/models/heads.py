"""A scalar head on the language model's architecture: reward models and value models (critics).

It has the model's layers, no unembedding, and one vector from the last hidden state to a number.
"""
import dataclasses

import jax
import jax.numpy as jnp

from mathrl.models import attention
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.models.units import Placement
from mathrl.sharding import constrain


@dataclasses.dataclass(frozen=True)
class ScalarModel:
    """A number after every token, as pure functions of the parameters; hashable, so that jit takes it as static.

    Parameters: those of a Llama with the same config, without its unembedding, and head_D. What a number means depends on
    what its position has read. After reading token t: a reward of what is written up to t. Before token t, that is after
    reading token t - 1: the value V(s_t) of the state in which t is chosen; for it the caller hands in shifted tokens.
    """
    config: LlamaConfig

    @property
    def trunk(self) -> Llama:
        """The layers; `tied`, since a tied model has no unembedding of its own."""
        return Llama(dataclasses.replace(self.config, tied=True))

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters: a plain dict of arrays."""
        trunk_key, head_key = jax.random.split(key)
        return self.from_base(self.trunk.init(trunk_key), head_key)

    def from_base(self, params, key: jax.Array) -> dict:
        """The parameters of a language model (of this config) with a fresh head in place of its unembedding.

        The head is small, of standard deviation 1 / (D + 1) (Stiennon et al. 2020): its first numbers are near 0.
        """
        width = self.config.width
        head_D = jax.random.normal(key, (width,), jnp.dtype(self.config.param_dtype)) / (width + 1)
        return {name: x for name, x in params.items() if name != 'unembed_DV'} | {'head_D': head_D}

    def values(self, params, tokens_BT, segments_BT, positions_BT) -> jax.Array:
        """[B, T] of packed rows, float32: after reading token t of its own example."""
        return self._head(params, self.trunk.hidden(_trunk(params), tokens_BT, segments_BT, positions_BT))

    def outputs_values(self, params, tokens_QGT, prompt_QS, prompt_length_Q, placement: Placement | None = None) -> jax.Array:
        """[Q, G, T] of G outputs behind each prompt, float32: after reading the prompt and tokens_QGT up to t, t included.

        placement: as in Llama.behind_prompts. The prompt is computed once a question. With prompt_length_Q - 1 tokens as the
        prompt, and its last one in front of the output without its last (rl.log_probs.shifted_inputs), position t has not
        read token t yet: V(s_t).
        """
        return self._head(params, self.trunk.behind_prompts(_trunk(params), tokens_QGT, prompt_QS, prompt_length_Q, placement))

    def _head(self, params, h) -> jax.Array:
        wide = attention.wide(h.dtype)
        head_D = constrain(params['head_D'].astype(wide), 'D')
        return jnp.sum(h.astype(wide) * head_D.reshape((1,) * (h.ndim - 1) + (-1,)), axis=-1)


def _trunk(params) -> dict:
    return {name: x for name, x in params.items() if name != 'head_D'}
