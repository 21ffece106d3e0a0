"""policy_step against the written objective: whole rows, no shared prompt, no micro-batches, float64, NumPy."""
import functools
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.rl import coefficients, normalisation
from mathrl.rl.step import policy_step
from mathrl.rl.types import Experience
from mathrl.sampling.rollout import Rollouts
from mathrl.train.state import create

sys.path.append(os.path.dirname(__file__))
import plain_numpy

EOS = 1
KL_COEF, CLIP = 0.3, 0.2     # a large pull of the reference, so that an error in it shows
SIZES = dict(vocab=16, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=16)
# An optimizer that keeps the gradient: reading it off the moved parameters would lose digits.
KEEP_GRADIENT = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params),
                                             lambda grads, _, params: (jax.tree.map(jnp.zeros_like, grads), grads))
GRPO = coefficients.grpo(KL_COEF, CLIP)


def make_model(dtype='float32'):
    return Llama(LlamaConfig(**SIZES, dtype=dtype, param_dtype=dtype))


def make_params(model, seed=0):
    return jax.jit(model.init)(jax.random.key(seed))


def make_rollouts(Q, G, T=5, S=6, seed=0):
    """Prompts of 1 to S tokens, outputs of 1 to T, some cut at T, padding of other tokens than zeros."""
    rng = np.random.default_rng(seed)
    length_QG = rng.integers(1, T + 1, (Q, G))
    length_QG[0, 0], length_QG[0, 1] = T, 1
    tokens_QGT = rng.integers(2, SIZES['vocab'], (Q, G, T))
    has_end_QG = (length_QG < T) | (rng.random((Q, G)) < 0.5)
    at_QGT = np.arange(T)
    tokens_QGT = np.where((at_QGT == length_QG[..., None] - 1) & has_end_QG[..., None], EOS, tokens_QGT)
    tokens_QGT = np.where(at_QGT >= length_QG[..., None], EOS, tokens_QGT)
    length_Q = rng.integers(1, S + 1, Q)
    length_Q[0] = 1
    prompt_QS = np.where(np.arange(S) < length_Q[:, None], rng.integers(2, SIZES['vocab'], (Q, S)), 0)
    trained_QGT = (at_QGT < length_QG[..., None]).astype(np.int32)
    zeros_QGT = np.zeros((Q, G, T), np.float32)
    return Rollouts(prompt_QS.astype(np.int32), length_Q.astype(np.int32), tokens_QGT.astype(np.int32),
                    length_QG.astype(np.int32), trained_QGT, zeros_QGT, zeros_QGT)


def make_experience(model, params, Q=8, G=4, noise=0.3, seed=0, process=False):
    """Rewards 0 or 1 at the last token, one group with equal rewards; noise 0 is on-policy.

    process: longer outputs have a first step too, which ends at their first token.
    """
    rng = np.random.default_rng(seed + 100)
    rollouts = make_rollouts(Q, G, seed=seed)
    rewards_QG = (np.arange(G) % 2 == rng.integers(0, 2, (Q, 1))).astype(np.float32)
    rewards_QG[-1] = 0.1
    ends_QGT = (np.arange(rollouts.tokens_QGT.shape[2]) == rollouts.length_QG[..., None] - 1).astype(np.int32)
    rewards_QGT = rewards_QG[..., None] * ends_QGT
    if process:
        ends_QGT[:, :, 0] = 1
        rewards_QGT[:, :, 0] = rng.random((Q, G))
    old_logps_QGT = np.asarray(full_logps(model, params, rollouts)) + noise * rng.normal(size=ends_QGT.shape)
    old_logps_QGT = (old_logps_QGT * rollouts.trained_QGT).astype(np.asarray(old_logps_QGT).dtype)
    return Experience(rollouts, old_logps_QGT, rewards_QGT.astype(np.float32), ends_QGT)


@functools.partial(jax.jit, static_argnums=0)
def full_logps(model, params, rollouts):
    """Log-probs of the output tokens, each output a whole row [prompt, output] of its own."""
    Q, G, T = rollouts.tokens_QGT.shape
    S = rollouts.prompt_QS.shape[1]
    rows, places = jnp.zeros((Q, G, S + T), jnp.int32), jnp.arange(T)
    rows = rows.at[:, :, :S].set(rollouts.prompt_QS[:, None])
    starts_Q = jnp.asarray(rollouts.prompt_length_Q)
    put = jax.vmap(jax.vmap(jax.lax.dynamic_update_slice, (0, 0, None)), (0, 0, 0))
    rows_BT = put(rows, jnp.asarray(rollouts.tokens_QGT), starts_Q[:, None]).reshape(Q * G, S + T)
    positions_BT = jnp.broadcast_to(jnp.arange(S + T)[None], rows_BT.shape)
    h_BTD = model.hidden(params, rows_BT, jnp.ones_like(rows_BT), positions_BT)
    logps_BTV = jax.nn.log_softmax(model.logits(params, h_BTD)).reshape(Q, G, S + T, -1)
    at_QGT = jnp.broadcast_to((starts_Q[:, None] - 1 + places[None])[:, None], (Q, G, T))
    chosen_QGTV = jnp.take_along_axis(logps_BTV, at_QGT[..., None], axis=2)
    return jnp.take_along_axis(chosen_QGTV, rollouts.tokens_QGT[..., None], axis=3)[..., 0]


def written_objective(model, params, ref_params, experience, advantages_QGT):
    """DeepSeekMath eq. 3 and 4 over whole rows."""
    logps_QGT = full_logps(model, params, experience.rollouts)
    ref_ratio_QGT = jnp.exp(full_logps(model, ref_params, experience.rollouts) - logps_QGT)
    ratio_QGT = jnp.exp(logps_QGT - experience.old_logps_QGT)
    surrogate_QGT = jnp.minimum(ratio_QGT * advantages_QGT, jnp.clip(ratio_QGT, 1 - CLIP, 1 + CLIP) * advantages_QGT)
    token_QGT = surrogate_QGT - KL_COEF * (ref_ratio_QGT - jnp.log(ref_ratio_QGT) - 1)
    mask_QGT = experience.rollouts.trained_QGT
    return jnp.mean(jnp.sum(token_QGT * mask_QGT, axis=2) / experience.rollouts.length_QG)


def numpy_tokens(model, params, ref_params, experience):
    """A dict of each trained token's numbers, keyed (q, g, t)."""
    rollouts, advantages_QGT, tokens = experience.rollouts, plain_numpy.advantages(experience), {}
    for q, g in np.ndindex(*rollouts.length_QG.shape):
        start, length = rollouts.prompt_length_Q[q], rollouts.length_QG[q, g]
        ids = np.concatenate([rollouts.prompt_QS[q, :start], rollouts.tokens_QGT[q, g, :length]])
        (logps, entropies), (ref_logps, _) = (plain_numpy.logps(model, one, ids) for one in (params, ref_params))
        for t in range(length):
            logp, advantage = logps[start - 1 + t], advantages_QGT[q, g, t]
            ratio = np.exp(logp - experience.old_logps_QGT[q, g, t])
            ref_ratio = np.exp(ref_logps[start - 1 + t] - logp)
            kl = ref_ratio - np.log(ref_ratio) - 1
            surrogate = min(ratio * advantage, np.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
            tokens[q, g, t] = dict(objective=surrogate - KL_COEF * kl, kl=kl, ratio=ratio,
                                   entropy=entropies[start - 1 + t], clipped=ratio * advantage > surrogate)
    return tokens


def update(model, params, ref_params, experience, sizes=(1, 1, 1), normalise=normalisation.sequence_mean,
           micro_batches=1, logits_mib=128):
    """(gradient, metrics) of one policy_step on a mesh data x fsdp x tensor, everything placed as a run places it."""
    mesh = sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])
    with jax.set_mesh(mesh):
        state = create(on_mesh(mesh, params), KEEP_GRADIENT)
        state, metrics = policy_step(state, on_mesh(mesh, ref_params), place(mesh, experience), model=model,
                                     optimizer=KEEP_GRADIENT, coefficient=GRPO, normalisation=normalise,
                                     micro_batches=micro_batches, logits_mib=logits_mib)
    return jax.device_get((state.opt_state, metrics))


def on_mesh(mesh, params):
    """A copy of the parameters, laid out on the mesh (the state's are donated)."""
    return jax.device_put(jax.device_get(params), sharding.parameter_shardings(mesh, params))


def place(mesh, experience):
    axes = lambda path: sharding.path_text(path).rsplit('_', 1)[-1]
    return jax.tree_util.tree_map_with_path(lambda path, x: sharding.place(mesh, x, axes(path)), experience)


def assert_close(tree, expected, tolerance):
    """Each leaf's error is at most `tolerance` of the leaf, by Euclidean norms."""
    for (path, x), (_, y) in zip(*(jax.tree_util.tree_flatten_with_path(one)[0] for one in (tree, expected))):
        error = np.linalg.norm(np.asarray(x, np.float64) - y) / np.linalg.norm(y)
        assert error <= tolerance, f'{sharding.path_text(path)}: relative error {error:.2e} > {tolerance}'


def assert_agrees(result, expected):
    """(gradient, metrics) of the same update, computed in another order."""
    assert_close(result[0], expected[0], 1e-5)
    assert result[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_allclose(result[1][name], value, rtol=1e-5, err_msg=name)


def assert_same_bits(tree, expected):
    jax.tree.map(np.testing.assert_array_equal, tree, expected)


@functools.cache
def policies(dtype='float32'):
    """A model, its parameters, and a reference some way off."""
    model = make_model(dtype)
    params = make_params(model)
    return model, params, jax.tree.map(lambda x, y: 0.7 * x + 0.3 * y, params, make_params(model, seed=1))


@functools.cache
def ordinary():
    """((model, params, ref_params), experience, (gradient, metrics)) that several tests look at from their sides."""
    experience = make_experience(*policies()[:2])
    return policies(), experience, update(*policies(), experience)


# ---- the gradient and the loss


@pytest.mark.parametrize('noise, process', [(0.0, False), (0.3, False), (0.3, True)],
                         ids=['on_policy', 'off_policy', 'process_supervision'])
def test_gradient_is_that_of_the_written_objective(noise, process):
    with jax.enable_x64(True):
        model, params, ref_params = policies('float64')
        experience = make_experience(model, params, noise=noise, process=process)
        gradient, metrics = update(model, params, ref_params, experience)
        assert metrics['clip_share'] > 0.05 if noise else metrics['clip_share'] == 0
        advantages_QGT = plain_numpy.advantages(experience)
        loss = lambda params, *rest: -written_objective(model, params, *rest)
        value, expected = jax.jit(jax.value_and_grad(loss))(params, ref_params, experience, advantages_QGT)
        np.testing.assert_allclose(metrics['loss'], value, rtol=1e-6)
        assert_close(gradient, jax.device_get(expected), 1e-6)


def test_loss_is_that_of_the_written_objective_token_by_token():
    (model, params, ref_params), experience, (_, metrics) = ordinary()
    tokens = numpy_tokens(model, params, ref_params, experience)
    Q, G = experience.rollouts.length_QG.shape
    outputs = [np.mean([tokens[q, g, t]['objective'] for t in range(experience.rollouts.length_QG[q, g])])
               for q, g in np.ndindex(Q, G)]
    np.testing.assert_allclose(metrics['loss'], -np.mean(outputs), rtol=1e-5)


def test_metrics_are_means_over_the_trained_tokens():
    (model, params, ref_params), experience, (gradient, metrics) = ordinary()
    tokens = numpy_tokens(model, params, ref_params, experience).values()
    for name, key in (('kl', 'kl'), ('ratio', 'ratio'), ('entropy', 'entropy'), ('clip_share', 'clipped')):
        np.testing.assert_allclose(metrics[name], np.mean([token[key] for token in tokens]), rtol=1e-5, err_msg=name)
    assert 0 < metrics['clip_share'] < 1
    np.testing.assert_allclose(metrics['all_equal'], 1 / 8, rtol=1e-6)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics['grad_norm'], norm, rtol=1e-5)


def test_another_normalisation():
    (model, params, ref_params), experience, _ = ordinary()
    _, metrics = update(model, params, ref_params, experience, normalise=normalisation.token_mean)
    tokens = numpy_tokens(model, params, ref_params, experience).values()
    np.testing.assert_allclose(metrics['loss'], -np.mean([token['objective'] for token in tokens]), rtol=1e-5)


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped():
    model, params, ref_params = policies()
    _, metrics = update(model, params, ref_params, make_experience(model, params, noise=0.0))
    np.testing.assert_allclose(metrics['ratio'], 1, rtol=1e-5)
    assert metrics['clip_share'] == 0


def test_reference_equal_to_the_policy_gives_no_divergence():
    (model, params, _), experience, _ = ordinary()
    assert update(model, params, params, experience)[1]['kl'] == 0


# ---- what is trained on


def test_what_stands_behind_the_end_changes_nothing():
    (model, params, ref_params), experience, expected = ordinary()
    rng = np.random.default_rng(7)
    rollouts, behind_QGT = experience.rollouts, experience.rollouts.trained_QGT == 0
    behind_QS = np.arange(rollouts.prompt_QS.shape[1]) >= rollouts.prompt_length_Q[:, None]
    assert behind_QGT.any() and behind_QS.any()
    other = lambda x, where: np.where(where, rng.integers(2, SIZES['vocab'], x.shape), x).astype(np.int32)
    changed = experience.replace(
        rollouts=rollouts.replace(tokens_QGT=other(rollouts.tokens_QGT, behind_QGT),
                                  prompt_QS=other(rollouts.prompt_QS, behind_QS)),
        old_logps_QGT=np.where(behind_QGT, -3.0, experience.old_logps_QGT).astype(np.float32),
        rewards_QGT=np.where(behind_QGT, 5.0, experience.rewards_QGT).astype(np.float32))
    assert_same_bits(update(model, params, ref_params, changed), expected)


def test_no_number_behind_the_end_can_overflow_into_the_gradient():
    (model, params, ref_params), experience, expected = ordinary()
    behind_QGT = experience.rollouts.trained_QGT == 0
    changed = experience.replace(old_logps_QGT=np.where(behind_QGT, -1e4, experience.old_logps_QGT).astype(np.float32))
    assert_same_bits(update(model, params, ref_params, changed), expected)


def test_tokens_that_the_model_did_not_write_get_no_gradient_but_are_read():
    (model, params, ref_params), experience, (gradient, _) = ordinary()
    trained_QGT = experience.rollouts.trained_QGT.copy()
    trained_QGT[0, 0, 1:3] = 0
    masked = experience.replace(rollouts=experience.rollouts.replace(trained_QGT=trained_QGT))
    result = update(model, params, ref_params, masked)
    old_logps_QGT = np.where(trained_QGT == 0, -2.0, experience.old_logps_QGT).astype(np.float32)
    assert_same_bits(update(model, params, ref_params, masked.replace(old_logps_QGT=old_logps_QGT)), result)
    tokens_QGT = experience.rollouts.tokens_QGT.copy()
    tokens_QGT[0, 0, 1] = tokens_QGT[0, 0, 1] % (SIZES['vocab'] - 2) + 2
    other = masked.replace(rollouts=masked.rollouts.replace(tokens_QGT=tokens_QGT))
    assert np.any(update(model, params, ref_params, other)[0]['unembed_DV'] != result[0]['unembed_DV'])
    assert np.any(gradient['unembed_DV'] != result[0]['unembed_DV'])


def test_the_end_token_is_learnt():
    # To end at once is rewarded, to write on is not.
    (model, params, _), experience, _ = ordinary()
    tokens_QGT = np.full(experience.rollouts.tokens_QGT.shape, EOS, np.int32)
    tokens_QGT[:, 1:, 0] = 5
    length_QG = np.full(tokens_QGT.shape[:2], 2, np.int32)
    length_QG[:, 0] = 1
    places = np.arange(tokens_QGT.shape[2])
    ends_QGT = (places == length_QG[..., None] - 1).astype(np.int32)
    rollouts = experience.rollouts.replace(tokens_QGT=tokens_QGT, length_QG=length_QG,
                                           trained_QGT=(places < length_QG[..., None]).astype(np.int32))
    old_logps_QGT = np.asarray(full_logps(model, params, rollouts))
    rewards_QGT = np.where(length_QG[..., None] == 1, ends_QGT, 0).astype(np.float32)
    experience = Experience(rollouts, old_logps_QGT, rewards_QGT, ends_QGT)
    gradient, _ = update(model, params, params, experience)
    moved = jax.tree.map(lambda x, change: x - 0.01 * change, params, gradient)
    change_QGT = np.asarray(full_logps(model, moved, rollouts)) - old_logps_QGT
    assert (change_QGT[:, 0, 0] > 0).all(), 'the rewarded end token did not become likelier'
    without_QGT = rollouts.trained_QGT * (tokens_QGT != EOS)
    without_ends = experience.replace(rollouts=rollouts.replace(trained_QGT=without_QGT))
    other_gradient, _ = update(model, params, params, without_ends)
    assert (other_gradient['unembed_DV'] != gradient['unembed_DV']).any()


def test_equal_rewards_leave_only_the_reference():
    (model, params, ref_params), experience, _ = ordinary()
    equal = experience.replace(rewards_QGT=(0.1 * experience.step_ends_QGT).astype(np.float32))
    gradient, metrics = update(model, params, params, equal)
    assert metrics['all_equal'] == 1 and metrics['loss'] == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
    gradient, _ = update(model, params, ref_params, equal)
    assert all(np.isfinite(leaf).all() and (leaf != 0).any() for leaf in jax.tree.leaves(gradient))


def test_nothing_trained_is_no_gradient_and_not_nan():
    (model, params, ref_params), experience, _ = ordinary()
    nothing = experience.replace(rollouts=experience.rollouts.replace(trained_QGT=0 * experience.rollouts.trained_QGT))
    gradient, metrics = update(model, params, ref_params, nothing)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
    assert metrics['loss'] == 0 and metrics['kl'] == 0 and metrics['ratio'] == 0


# ---- micro-batches


@functools.cache
def few_questions():
    """Two questions with eight outputs each: fewer questions than devices, and than micro-batches."""
    experience = make_experience(*policies()[:2], Q=2, G=8)
    return experience, update(*policies(), experience)


@pytest.mark.parametrize('micro_batches', [4, 16])
def test_micro_batches_give_the_same_update(micro_batches):
    experience, expected = few_questions()
    assert_agrees(update(*policies(), experience, micro_batches=micro_batches), expected)


@pytest.mark.parametrize('sizes', [(1, 1, 1), (2, 2, 2)], ids=str)
def test_the_vocabulary_in_chunks_gives_the_same_update(sizes):
    """1 KiB of logits at once, of 10 on one device: the entropy too is that of the whole vocabulary."""
    _, experience, expected = ordinary()
    assert_agrees(update(*policies(), experience, sizes, logits_mib=2 ** -10), expected)


# ---- meshes


@pytest.mark.parametrize('sizes, micro_batches', [((8, 1, 1), 1), ((2, 2, 2), 2)], ids=['8x1x1', '2x2x2'])
def test_meshes_agree(sizes, micro_batches):
    _, experience, expected = ordinary()
    assert_agrees(update(*policies(), experience, sizes, micro_batches=micro_batches), expected)


@pytest.mark.parametrize('sizes, micro_batches', [((8, 1, 1), 2), ((1, 8, 1), 1), ((2, 2, 2), 1)],
                         ids=['8x1x1', '1x8x1', '2x2x2'])
def test_meshes_agree_with_fewer_questions_than_devices(sizes, micro_batches):
    experience, expected = few_questions()
    assert_agrees(update(*policies(), experience, sizes, micro_batches=micro_batches), expected)


# ---- the compiled program


def test_traced_once_and_state_donated():
    (model, params, ref_params), experience, (gradient, _) = ordinary()
    optimizer, before, states = optax.sgd(0.5), policy_step._cache_size(), []
    state = create(jax.tree.map(jnp.copy, params), optimizer)
    for noise in (0.3, 0.1):
        given, experience = state, jax.tree.map(jnp.asarray, make_experience(model, params, noise=noise))
        state, _ = policy_step(state, ref_params, experience, model=model, optimizer=optimizer, coefficient=GRPO,
                               normalisation=normalisation.sequence_mean)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((ref_params, experience)))
        states.append(jax.tree.map(np.array, state))      # a view would keep the buffers from being donated
    assert policy_step._cache_size() == before + 1
    assert [int(each.step) for each in states] == [1, 2]
    moved = jax.tree.map(lambda x, change: np.asarray(x) - 0.5 * change, params, gradient)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), states[0].params, moved)
