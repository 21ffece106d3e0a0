"""The TPU's kernel, run step by step on a CPU, against XLA's attention: values and gradients, one device and a mesh."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import sharding
from mathrl.models import attention, fused_attention

B, T, N, H = 2, 256, 2, 128


def case(kv_heads):
    rng = np.random.default_rng(0)
    normal = lambda heads: jnp.asarray(rng.normal(size=(B, T, heads, H)), jnp.float32)
    segments_BT = jnp.asarray(np.repeat([[1] * 100 + [2] * 120 + [0] * 36], B, 0), jnp.int32)
    return normal(N), normal(kv_heads), normal(kv_heads), segments_BT


def values_and_gradients(attend, q, k, v, slope):
    loss = lambda q, k, v: jnp.sum(attend(q, k, v) * slope)
    return jax.jit(attend)(q, k, v), *jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)


@pytest.mark.parametrize('kv_heads, sizes', [(2, (1, 1, 1)), (1, (1, 1, 1)), (2, (2, 1, 2))], ids=str)
def test_splash_is_attention(kv_heads, sizes):
    q, k, v, segments_BT = case(kv_heads)
    mask_BTS, slope = attention.packed_mask(segments_BT), jnp.cos(jnp.arange(q.size).reshape(q.shape))
    wanted = values_and_gradients(lambda q, k, v: attention.attend(q, k, v, mask_BTS), q, k, v, slope)
    with jax.set_mesh(sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])):
        got = values_and_gradients(lambda q, k, v: fused_attention.splash_attention(q, k, v, segments_BT, interpret=True),
                                   q, k, v, slope)
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def test_a_cpu_takes_xlas_attention():
    q, k, v, segments_BT = case(2)
    mask_BTS = attention.packed_mask(segments_BT)
    fused = jax.jit(fused_attention.attend_packed)
    np.testing.assert_array_equal(fused(q, k, v, segments_BT, mask_BTS), jax.jit(attention.attend)(q, k, v, mask_BTS))
    assert 'custom-call' not in fused.lower(q, k, v, segments_BT, mask_BTS).compile().as_text()


@pytest.mark.parametrize('shape, kv_heads, sizes, wanted', [
    ((2, 256, 8, 128), 4, (1, 1, 1), True), ((2, 250, 8, 128), 4, (1, 1, 1), False), ((2, 256, 8, 64), 4, (1, 1, 1), False),
    ((2, 256, 8, 128), 4, (1, 1, 8), False), ((2, 256, 8, 128), 4, (2, 1, 4), True)])
def test_what_the_kernel_takes(shape, kv_heads, sizes, wanted):
    with jax.set_mesh(sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])):
        assert jax.jit(lambda: jnp.int32(fused_attention.fits_splash(shape, kv_heads)))() == wanted
