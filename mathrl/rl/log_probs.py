"""Log-probs of outputs behind their prompts: the prompt is computed once a question and shared by its outputs."""
import flax.struct
import jax
import jax.numpy as jnp

from mathrl.models.units import Placement, one_output_a_row
from mathrl.train.losses import LOGITS_MIB, hidden_logps


@flax.struct.dataclass
class Rows:
    """Rollouts as an update reads them, in a form that may also hold several outputs in a row, one behind the other.

    inputs_QGT: what the model reads, see shifted_inputs; placement: which output a token belongs to, from 1, and 0 where nothing
    lies. The other fields are those of Rollouts.
    """
    prompt_QS: jax.Array
    prompt_length_Q: jax.Array
    tokens_QGT: jax.Array
    trained_QGT: jax.Array
    policy_logps_QGT: jax.Array | None
    inputs_QGT: jax.Array
    placement: Placement

    @property
    def output_QGT(self) -> jax.Array:
        return self.placement.output_QGT


def in_rows(rollouts) -> Rows:
    """Rollouts with a row for each output, as they come, for a packing."""
    same = ('prompt_QS', 'prompt_length_Q', 'tokens_QGT', 'trained_QGT', 'policy_logps_QGT')
    return Rows(inputs_QGT=shifted_inputs(rollouts), placement=one_output_a_row(*rollouts.tokens_QGT.shape),
                **{name: getattr(rollouts, name) for name in same})


def output_logps(model, params, rollouts, logits_mib: float = LOGITS_MIB) -> tuple[jax.Array, jax.Array]:
    """(log-probs of the output tokens, entropies there): [Q, G, T] float32 each; gradients flow through the first alone.

    Read of rollouts: prompt_QS, prompt_length_Q, tokens_QGT; or they are Rows. A row of an output starts with the prompt's
    last token, so that position t predicts token t; the prompt's other tokens stand before all of them, once.
    """
    h_QGTD = model.behind_prompts(params, *_read(rollouts))
    return hidden_logps(h_QGTD, model.unembed(params), rollouts.tokens_QGT, logits_mib)


def shifted_inputs(rollouts) -> jax.Array:
    """What the model reads at each position: the prompt's last token, then the output without its last."""
    Q, G, _ = rollouts.tokens_QGT.shape
    last_Q1 = jnp.take_along_axis(rollouts.prompt_QS, rollouts.prompt_length_Q[:, None] - 1, axis=1)
    first_QG1 = jnp.broadcast_to(last_Q1[:, :, None], (Q, G, 1))
    return jnp.concatenate([first_QG1, rollouts.tokens_QGT[:, :, :-1]], axis=2)


def state_values(critic, params, rollouts) -> jax.Array:
    """V(s_t), the value of the state in which token t is chosen: [Q, G, T] float32; it has read the tokens before t."""
    return critic.outputs_values(params, *_read(rollouts))


def _read(rollouts) -> tuple:
    """(what the model reads behind the prompts, the prompts, their lengths, how outputs lie in rows)."""
    packed = isinstance(rollouts, Rows)
    inputs_QGT = rollouts.inputs_QGT if packed else shifted_inputs(rollouts)
    return inputs_QGT, rollouts.prompt_QS, rollouts.prompt_length_Q - 1, rollouts.placement if packed else None
