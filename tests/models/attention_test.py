"""Rotary positions, masks and attention, each against its equation."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.models import attention

BASE = 10000.0


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy_attend(q_BTNH, k_BSKH, v_BSKH, mask_BTS):
    """One query at a time, in float64."""
    B, T, N, H = q_BTNH.shape
    out = np.zeros(q_BTNH.shape)
    for b, t, n in np.ndindex(B, T, N):
        k = n // (N // k_BSKH.shape[2])
        seen = np.flatnonzero(mask_BTS[b, t])
        scores = k_BSKH[b, seen, k].astype(np.float64) @ q_BTNH[b, t, n] / np.sqrt(H)
        weights = np.exp(scores) / np.exp(scores).sum()
        out[b, t, n] = weights @ v_BSKH[b, seen, k]
    return out


def rotate(x, positions):
    return attention.rotate(x, attention.rotary_angles(positions, 4096, x.shape[-1], BASE))


def test_rotate_turns_pairs_of_coordinates():
    x_BTNH, positions_BT = normal(2, 5, 3, 8), np.array([[0, 1, 2, 3, 4], [7, 0, 100, 4000, 9]])
    pairs = x_BTNH[..., :4] + 1j * x_BTNH[..., 4:]
    turned = pairs * np.exp(1j * positions_BT[:, :, None, None] / BASE ** (np.arange(4) / 4))
    rotated = rotate(jnp.asarray(x_BTNH), jnp.asarray(positions_BT))
    np.testing.assert_allclose(rotated, np.concatenate([turned.real, turned.imag], -1), atol=1e-3)
    np.testing.assert_allclose(rotated[0], np.concatenate([turned.real, turned.imag], -1)[0], atol=1e-6)
    np.testing.assert_array_equal(rotated[0, 0], x_BTNH[0, 0])


def test_rotated_products_depend_on_distance_alone():
    q_H, k_H = normal(8, seed=1), normal(8, seed=2)
    turn = lambda x_H, at: rotate(jnp.asarray(x_H)[None, None, None], jnp.array([[at]]))[0, 0, 0]
    products = [float(turn(q_H, at + 5) @ turn(k_H, at)) for at in (0, 3, 40)]
    assert products == pytest.approx([products[0]] * 3, abs=1e-4)
    assert abs(float(turn(q_H, 6) @ turn(k_H, 0)) - products[0]) > 1e-2


@pytest.mark.parametrize('scaling', [None, attention.RopeScaling(), attention.RopeScaling(factor=4.0, original=0)], ids=str)
def test_angles_from_the_table_are_those_computed(scaling):
    positions = jnp.arange(0, 4096, 31)
    looked_up, computed = (attention.rotary_angles(positions, longest, 8, BASE, scaling=scaling)
                           for longest in (4096, attention.TABLE + 1))
    for a, b in zip(looked_up, computed):
        assert a.shape == b.shape == (len(positions), 1, 4) and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=5e-4)      # an angle of 4096 has steps of 2.4e-4 in float32
        np.testing.assert_allclose(a[:2], b[:2], atol=1e-5)


def test_rotate_keeps_bfloat16():
    assert rotate(jnp.ones((1, 1, 1, 8), jnp.bfloat16), jnp.ones((1, 1), jnp.int32)).dtype == jnp.bfloat16


def test_packed_mask_is_causal_and_within_the_example():
    segments = [1, 1, 2, 2, 0]
    wanted = [[s <= t and segments[s] == segments[t] for s in range(5)] for t in range(5)]
    np.testing.assert_array_equal(attention.packed_mask(jnp.array([segments]))[0], wanted)


@pytest.mark.parametrize('kv_heads', [1, 2, 4])
def test_attend_agrees_with_numpy(kv_heads):
    q_BTNH, k_BSKH, v_BSKH = normal(2, 5, 4, 8), normal(2, 6, kv_heads, 8, seed=1), normal(2, 6, kv_heads, 8, seed=2)
    mask_BTS = np.random.default_rng(3).random((2, 5, 6)) < 0.5
    mask_BTS[:, :, 0] = True
    got = attention.attend(jnp.asarray(q_BTNH), k_BSKH, v_BSKH, jnp.asarray(mask_BTS))
    np.testing.assert_allclose(got, numpy_attend(q_BTNH, k_BSKH, v_BSKH, mask_BTS), atol=1e-5)


def test_a_row_that_sees_nothing_gives_numbers():
    x = jnp.asarray(normal(1, 2, 1, 4))
    attend = lambda x: jnp.sum(attention.attend(x, x, x, jnp.zeros((1, 2, 2), bool)) ** 2)
    value, gradient = jax.value_and_grad(attend)(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_attend_with_prompt_is_one_softmax_over_prompt_and_own_tokens():
    Q, G, T, S, N, K, H = 3, 2, 4, 5, 4, 2, 8
    q_QGTNH, length_Q = normal(Q, G, T, N, H), np.array([0, 2, 5])
    own = [normal(Q, G, T, K, H, seed=seed) for seed in (1, 2)]
    prompt = [normal(Q, S, K, H, seed=seed) for seed in (3, 4)]
    prompt_mask_QS = np.arange(S) < length_Q[:, None]
    mask_QGTS = np.tri(T, dtype=bool) & (np.random.default_rng(5).random((Q, G, T, T)) < 0.7) | np.eye(T, dtype=bool)
    got = attention.attend_with_prompt(
        *(attention.heads_first(jnp.asarray(x)) for x in (q_QGTNH, *own)), jnp.asarray(mask_QGTS),
        *(attention.heads_first(jnp.asarray(x)) for x in prompt), jnp.asarray(prompt_mask_QS))
    for g in range(G):
        k_QSKH, v_QSKH = (np.concatenate([behind, x[:, g]], 1) for behind, x in zip(prompt, own))
        mask_QTS = np.concatenate([np.broadcast_to(prompt_mask_QS[:, None], (Q, T, S)), mask_QGTS[:, g]], -1)
        np.testing.assert_allclose(got[:, g], numpy_attend(q_QGTNH[:, g], k_QSKH, v_QSKH, mask_QTS), atol=1e-5)
