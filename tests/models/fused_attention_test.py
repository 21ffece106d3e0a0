"""The fused kernels: the TPU's run step by step on a CPU, against XLA's attention; cuDNN's, which no CPU runs, as lowered."""
import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from mathrl import sharding
from mathrl.models import attention, fused_attention
from mathrl.models.llama import Llama, LlamaConfig

B, T, N, H = 2, 256, 2, 128


def mesh_of(*sizes):
    return sharding.make_mesh(*sizes, devices=jax.devices()[:int(np.prod(sizes))])


def case(kv_heads):
    rng = np.random.default_rng(0)
    normal = lambda heads: jnp.asarray(rng.normal(size=(B, T, heads, H)), jnp.float32)
    segments_BT = jnp.asarray(np.repeat([[1] * 100 + [2] * 120 + [0] * 36], B, 0), jnp.int32)
    return normal(N), normal(kv_heads), normal(kv_heads), segments_BT


def values_and_gradients(attend, q, k, v, slope):
    loss = lambda q, k, v: jnp.sum(attend(q, k, v) * slope)
    return jax.jit(attend)(q, k, v), *jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)


# ---- TPU

@pytest.mark.parametrize('kv_heads, sizes, axes', [(2, (1, 1, 1), 'BT'), (1, (1, 1, 1), 'BT'), (2, (2, 1, 2), 'BT'),
                                                   (2, (2, 2, 1), 'QS')], ids=str)
def test_splash_is_attention(kv_heads, sizes, axes):
    q, k, v, segments_BT = case(kv_heads)
    mask_BTS, slope = attention.packed_mask(segments_BT), jnp.cos(jnp.arange(q.size).reshape(q.shape))
    wanted = values_and_gradients(lambda q, k, v: attention.attend(q, k, v, mask_BTS), q, k, v, slope)
    with jax.set_mesh(mesh_of(*sizes)):
        got = values_and_gradients(lambda q, k, v: fused_attention.splash_attention(q, k, v, segments_BT, axes, interpret=True),
                                   q, k, v, slope)
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def units_case(kv_heads):
    """Rows of several outputs with room at their ends, and prompts with padding, one of them empty."""
    rng = np.random.default_rng(0)
    Q, G, T, S = 4, 2, 256, 128
    normal = lambda heads: jnp.asarray(rng.normal(size=(Q, S + G * T, heads, H)), jnp.float32)
    length_Q, ids = jnp.array([100, S, 0, 1]), [[1] * 100 + [2] * 20 + [0] * 136, [3] * 200 + [4] * 56]
    prompt_mask_QS = jnp.arange(S)[None] < length_Q[:, None]
    slope = rng.normal(size=(Q, S + G * T, N, H)) * np.pad(prompt_mask_QS, ((0, 0), (0, G * T)), constant_values=1)[..., None, None]
    angles = attention.rotary_angles(jnp.asarray(rng.integers(0, S + T, (Q, S + G * T))), S + T, H, 10000.0)
    return (normal(N), normal(kv_heads), normal(kv_heads)), (angles, prompt_mask_QS, jnp.asarray([ids] * Q, jnp.int32)), slope


@pytest.mark.parametrize('kv_heads, sizes', [(2, (1, 1, 1)), (1, (1, 1, 1)), (2, (2, 1, 2)), (2, (1, 4, 1))], ids=str)
def test_splash_of_units_is_attention(kv_heads, sizes):
    """But for the prompts' padding, which nothing reads."""
    arrays, others, slope = units_case(kv_heads)
    results = lambda attend: values_and_gradients(lambda q, k, v: attend(q, k, v, *others), *arrays, slope)
    wanted = results(fused_attention.attend_units)
    with jax.set_mesh(mesh_of(*sizes)):
        got = results(functools.partial(fused_attention.splash_units, interpret=True))
    for number, (a, b) in enumerate(zip(got, wanted)):
        a, b = (a, b) if number else (a * (slope != 0), b * (slope != 0))
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


@pytest.mark.parametrize('prompt, rows, heads, sizes, wanted', [
    (128, (4, 256), (8, 8, 128), (1, 1, 1), True), (100, (4, 256), (8, 8, 128), (1, 1, 1), False),
    (0, (4, 256), (8, 8, 128), (1, 1, 1), False), (128, (4, 250), (8, 8, 128), (1, 1, 1), False),
    (128, (4, 256), (8, 8, 64), (1, 1, 1), False), (128, (4096, 1024), (8, 8, 128), (1, 1, 1), False),
    (128, (4, 256), (8, 8, 128), (2, 2, 2), False), (128, (4, 256), (8, 8, 128), (1, 2, 4), True)])
def test_which_units_the_tpus_kernel_takes(prompt, rows, heads, sizes, wanted):
    with jax.set_mesh(mesh_of(*sizes)):
        assert jax.jit(lambda: jnp.int32(fused_attention.takes_units((2, prompt), (2, *rows), *heads)))() == wanted


def test_a_cpu_takes_xlas_attention():
    q, k, v, segments_BT = case(2)
    mask_BTS = attention.packed_mask(segments_BT)
    fused = jax.jit(fused_attention.attend_packed)
    np.testing.assert_array_equal(fused(q, k, v, segments_BT, mask_BTS), jax.jit(attention.attend)(q, k, v, mask_BTS))
    assert 'custom-call' not in fused.lower(q, k, v, segments_BT, mask_BTS).compile().as_text()


@pytest.mark.parametrize('shape, wanted', [((2, 256, 8, 128), True), ((2, 250, 8, 128), False), ((2, 256, 8, 64), False)])
def test_what_the_tpus_kernel_takes(shape, wanted):
    assert fused_attention.fits_splash(shape) == wanted


@pytest.mark.parametrize('rows, kv_heads, sizes, axes, wanted', [
    (2, 4, (1, 1, 1), 'BT', True), (2, 4, (1, 1, 8), 'BT', False), (2, 4, (2, 1, 4), 'BT', True), (8, 8, (2, 2, 2), 'QS', True),
    (3, 8, (2, 2, 2), 'BT', False), (2, 8, (2, 2, 2), 'QS', False)])
def test_rows_or_heads_that_devices_share_are_xlas(rows, kv_heads, sizes, axes, wanted):
    """A kernel of each device's own pieces would compute shared ones on each, and sum their gradients over all."""
    with jax.set_mesh(mesh_of(*sizes)):
        assert jax.jit(lambda: jnp.int32(fused_attention.lies_apart((rows, 256, 8, 128), kv_heads, axes)))() == wanted


# ---- NVIDIA GPU

@pytest.fixture
def gpu(monkeypatch):
    """A process that thinks that it has a GPU: programs can be lowered for one, and not compiled."""
    monkeypatch.setattr(fused_attention, 'has_cudnn', lambda: True)
    monkeypatch.setattr(fused_attention_stablehlo, 'check_cudnn_version', lambda: 91000)


def lowered(function, *arguments, platform='cuda') -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def abstract(mesh, shape, axes, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.placed_sharding(mesh, shape, axes))


def loss(q, k, v, segments_BT):
    mixed = fused_attention.attend_packed(q, k, v, segments_BT, attention.packed_mask(segments_BT))
    return jnp.sum(mixed.astype(jnp.float32) ** 2)


@pytest.mark.parametrize('sizes', [(1, 1, 1), (2, 2, 2)], ids=str)
def test_a_gpu_takes_cudnns_kernel_with_the_segments_as_its_mask(sizes, gpu):
    """Forward and backward, causal, each device's own rows and heads, one mask for all heads."""
    mesh = mesh_of(*sizes)
    rows, cut = 8 // (sizes[0] * sizes[1]), sizes[2]
    with jax.set_mesh(mesh):
        q, k, v = (abstract(mesh, (8, T, heads, 64), 'BTNH') for heads in (8, 4, 4))
        arguments = jax.grad(loss, (0, 1, 2)), q, k, v, abstract(mesh, (8, T), 'BT', jnp.int32)
        text, other = lowered(*arguments), lowered(*arguments, platform='cpu')
    calls = [line for line in text.splitlines() if '@__cudnn$fmhaScaleBiasSoftmax' in line]
    names = [re.search(r'@__cudnn\$(\w+)', line)[1] for line in calls]
    assert names == ['fmhaScaleBiasSoftmax', 'fmhaScaleBiasSoftmaxBackward']
    for line in calls:
        operands = line.rsplit(' : (', 1)[1].split(') -> ')[0]
        assert operands.startswith(f'tensor<{rows}x{T}x{8 // cut}x64xbf16>, tensor<{rows}x{T}x{4 // cut}x64xbf16>')
        assert f'tensor<{rows}x1x{T}x{T}xbf16>' in operands
        assert r'mask_type\22: \22CAUSAL\22' in line      # quotes, as MLIR writes them
    assert '__cudnn' not in other


@pytest.mark.parametrize('kv_heads, sizes', [(2, (1, 1, 1)), (1, (1, 1, 1)), (2, (2, 1, 2))], ids=str)
def test_what_cudnn_is_asked_for_is_attention(kv_heads, sizes, monkeypatch):
    """With the same arguments jax's own attention gives the numbers of ours."""
    ask = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, 'dot_product_attention',
                        lambda *arrays, implementation, **settings: ask(*arrays, implementation='xla', **settings))
    q, k, v, segments_BT = case(kv_heads)
    mask_BTS, slope = attention.packed_mask(segments_BT), jnp.cos(jnp.arange(q.size).reshape(q.shape))
    wanted = values_and_gradients(lambda q, k, v: attention.attend(q, k, v, mask_BTS), q, k, v, slope)
    with jax.set_mesh(mesh_of(*sizes)):
        got = values_and_gradients(lambda q, k, v: fused_attention.cudnn_attention(q, k, v, mask_BTS), q, k, v, slope)
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def test_the_model_goes_through_it(gpu):
    model = Llama(LlamaConfig(vocab=64, width=32, layers=2, heads=2, kv_heads=1, head_dim=16, mlp_width=32, dtype='bfloat16'))
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens, outputs, length = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((2, 64), (2, 4, 16), (2,)))
    assert '@__cudnn$fmha' in lowered(model.hidden, params, tokens, tokens, tokens)
    assert '@__cudnn$fmha' in lowered(model.behind_prompts, params, outputs, tokens, length)


@pytest.mark.parametrize('shape, kv_heads, dtype, wanted', [
    ((2, 64, 8, 64), 4, jnp.bfloat16, True), ((2, 64, 8, 128), 8, jnp.float16, True), ((2, 64, 8, 64), 4, jnp.float32, False),
    ((2, 63, 8, 64), 4, jnp.bfloat16, False), ((2, 64, 8, 60), 4, jnp.bfloat16, False), ((2, 64, 8, 256), 4, jnp.bfloat16, False)])
def test_what_cudnn_takes(shape, kv_heads, dtype, wanted, gpu):
    """What it does not take is XLA's on a GPU too."""
    assert fused_attention.fits_cudnn(shape, dtype) == wanted
    rows, heads, kv = shape[:2], shape, (*shape[:2], kv_heads, shape[3])
    arrays = [jax.ShapeDtypeStruct(one, dtype) for one in (heads, kv, kv)] + [jax.ShapeDtypeStruct(rows, jnp.int32)]
    assert ('@__cudnn$fmha' in lowered(loss, *arrays)) == wanted


@pytest.mark.parametrize('platform, kind, capability, wanted', [
    ('gpu', 'NVIDIA H100 80GB HBM3', '9.0', True), ('gpu', 'NVIDIA A100-SXM4-40GB', '8.0', True),
    ('gpu', 'Tesla V100-SXM2-16GB', '7.0', False), ('gpu', 'AMD Instinct MI300X', 'gfx942', False), ('cpu', 'cpu', None, False)])
def test_where_cudnn_is(platform, kind, capability, wanted, monkeypatch):
    device = types.SimpleNamespace(platform=platform, device_kind=kind, compute_capability=capability)
    monkeypatch.setattr(jax, 'devices', lambda: [device])
    assert fused_attention.has_cudnn() == wanted
