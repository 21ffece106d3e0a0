"""The policy's gradient from a coefficient: what every update that samples outputs shares."""
import jax
import jax.numpy as jnp
import optax

from mathrl import sharding
from mathrl.rl import kl
from mathrl.rl.log_probs import output_logps
from mathrl.rl.types import Experience, Sample


def laid_out(tree):
    """The arrays of an experience, each where its axes say that it lies."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: sharding.constrain(x, sharding.path_text(path).rsplit('_', 1)[-1]), tree)


def where_trained(rollouts, values_QGT: jax.Array) -> jax.Array:
    """0 where nothing is trained: weights of 0 alone would leave a NaN where a ratio overflows."""
    return jnp.where(rollouts.trained_QGT == 1, values_QGT, 0.0)


def mapped_logps(model, params, rollouts, cut, logits_mib: float) -> jax.Array:
    """Log-probs of the whole batch [Q, G, T], without gradients, as `cut` has it computed."""
    logps = lambda part: where_trained(part, output_logps(model, params, part, logits_mib)[0])
    return cut.map(logps, cut.rows(rollouts))


def penalties(reward_kl: kl.Penalty, model, ref_params, experience: Experience, cut,
              logits_mib: float) -> tuple[jax.Array, jax.Array]:
    """(what KL in the reward takes off each token, by the model that wrote; the reference's log-probs), [Q, G, T] both.

    Where the experience has no old log-probs, the sampler's of the plain policy serve.
    """
    if ref_params is None:
        raise ValueError('KL in the reward wants a reference, and ref_params is None')
    rollouts, old_logps_QGT = experience.rollouts, experience.old_logps_QGT
    ref_logps_QGT = mapped_logps(model, ref_params, rollouts, cut, logits_mib)
    old_logps_QGT = rollouts.policy_logps_QGT if old_logps_QGT is None else old_logps_QGT
    return reward_kl(where_trained(rollouts, old_logps_QGT), ref_logps_QGT), ref_logps_QGT


def policy_gradient(model, params, ref_params, experience: Experience, advantages_QGT, *, coefficient, normalisation, cut,
                    logits_mib: float, ref_logps_QGT=None, source: str = 'policy'):
    """(gradient of -objective, metrics). Weights and shares are those of the whole batch, cut with it.

    cut: into micro-batches, parts.Groups or packing.Packing. ref_logps_QGT: the reference's log-probs where they are known
    already; without them and ref_params there are none. source: as in policy_step.
    """
    if source == 'reference' and ref_params is None and ref_logps_QGT is None:
        raise ValueError("outputs of the reference want its log-probs, and ref_params is None")
    rollouts = cut.rows(experience.rollouts)
    trained_QGT = rollouts.trained_QGT.astype(jnp.float32)
    shares_QGT = trained_QGT / jnp.maximum(trained_QGT.sum(), 1.0)      # metrics are means over trained tokens
    known = lambda x_QGT: where_trained(rollouts, x_QGT)
    old_logps_QGT = experience.old_logps_QGT
    sample = Sample(advantages_QGT=known(advantages_QGT), old_logps_QGT=None if old_logps_QGT is None else known(old_logps_QGT),
                    sampler_logps_QGT=known(experience.rollouts.sampler_logps_QGT), trained_QGT=trained_QGT,
                    output_QGT=getattr(rollouts, 'output_QGT', None))
    whole = dict(rollouts=rollouts, sample=sample, weights_QGT=normalisation(trained_QGT), shares_QGT=shares_QGT)
    if ref_logps_QGT is not None:
        whole['ref_logps_QGT'] = ref_logps_QGT

    def loss(params, part):
        rollouts, sample, weights_QGT = part['rollouts'], part['sample'], part['weights_QGT']
        ref_logps_QGT = part.get('ref_logps_QGT')
        if ref_logps_QGT is None and ref_params is not None:
            ref_logps_QGT = where_trained(rollouts, output_logps(model, ref_params, rollouts, logits_mib)[0])
            ref_logps_QGT = jax.lax.stop_gradient(ref_logps_QGT)
        logps_QGT, entropies_QGT = output_logps(model, params, rollouts, logits_mib)
        logps_QGT = where_trained(rollouts, logps_QGT)
        fixed_QGT = jax.lax.stop_gradient(logps_QGT)
        if sample.old_logps_QGT is None:
            sample = sample.replace(old_logps_QGT=fixed_QGT if source == 'policy' else ref_logps_QGT)
        terms = coefficient(fixed_QGT, ref_logps_QGT, sample)
        gap_QGT = jnp.abs(where_trained(rollouts, rollouts.policy_logps_QGT) - fixed_QGT)
        per_token = {'ratio': jnp.exp(fixed_QGT - sample.old_logps_QGT), 'clip_share': terms.clipped_QGT,
                     'entropy': entropies_QGT, 'logp_gap': gap_QGT}
        if ref_logps_QGT is not None:
            per_token['kl'] = kl.k3(fixed_QGT, ref_logps_QGT)
        metrics = {name: jnp.sum(values_QGT * part['shares_QGT']) for name, values_QGT in per_token.items()}
        metrics['loss'] = -jnp.sum(terms.objective_QGT * weights_QGT)
        return -jnp.sum(terms.gc_QGT * logps_QGT * weights_QGT), metrics
    grads, (_, metrics) = cut.gradients(loss, params, whole)
    mean = jnp.sum(sample.advantages_QGT * shares_QGT)
    metrics['advantage_std'] = jnp.sqrt(jnp.sum((sample.advantages_QGT - mean) ** 2 * shares_QGT))
    metrics['grad_norm'] = optax.tree.norm(grads)
    return grads, metrics
