"""Attention of packed rows by the platform's fused kernel, which never holds the scores [B, N, T, T].

TPU: splash attention of jax's Pallas ops. NVIDIA GPU: cuDNN's flash attention. Both on each device's own rows and heads.
Elsewhere, and for shapes and dtypes that the kernel does not take, XLA's (models/attention.py).
"""
import jax
import jax.numpy as jnp

from mathrl import sharding
from mathrl.models import attention

LANES = 128             # the TPU's vector width: heads and blocks are multiples of it
BLOCKS = (512, 256, LANES)
CUDNN_HEAD_DIM = 128    # the widest head on every GPU that has the kernel; Hopper's takes 256


def attend_packed(q_BTNH, k_BTKH, v_BTKH, segments_BT, mask_BTS, axes: str = 'BT') -> jax.Array:
    """Causal attention within the segments -> [B, T, N, H]; mask_BTS says the same. axes: letters of rows and positions."""
    kernels, apart = {}, lies_apart(q_BTNH.shape, k_BTKH.shape[2], axes)
    if apart and fits_splash(q_BTNH.shape):
        kernels['tpu'] = lambda q, k, v, segments, mask: splash_attention(q, k, v, segments, axes)
    if apart and fits_cudnn(q_BTNH.shape, q_BTNH.dtype) and has_cudnn():
        kernels['cuda'] = lambda q, k, v, segments, mask: cudnn_attention(q, k, v, mask, axes)
    plain = lambda q, k, v, segments, mask: attention.attend(q, k, v, mask)
    arguments = q_BTNH, k_BTKH, v_BTKH, segments_BT, mask_BTS
    return jax.lax.platform_dependent(*arguments, **kernels, default=plain) if kernels else plain(*arguments)


def lies_apart(shape: tuple[int, ...], kv_heads: int, axes: str) -> bool:
    """Whether each device holds rows of its own, and the keys that its own heads look at."""
    B, _, N, _ = shape
    return sharding.shards(axes[0], (B,)) == sharding.batch_shards() and (
        sharding.shards('N', (N,)) == sharding.shards('K', (kv_heads,)))


def fits_splash(shape: tuple[int, ...]) -> bool:
    """Whether the TPU kernel takes queries of this shape [B, T, N, H]: whole lanes."""
    return shape[1] % LANES == 0 and shape[3] % LANES == 0


def splash_attention(q_BTNH, k_BTKH, v_BTKH, segments_BT, axes: str = 'BT', interpret: bool = False) -> jax.Array:
    """The TPU kernel; interpret runs it step by step on any platform."""
    def local(q_BTNH, k_BTKH, v_BTKH, segments_BT):
        kernel = _kernel(q_BTNH.shape[2], q_BTNH.shape[1], interpret)
        q_BNTH, k_BKTH, v_BKTH = (attention.heads_first(x) for x in (q_BTNH * q_BTNH.shape[3] ** -0.5, k_BTKH, v_BTKH))
        return attention.heads_first(jax.vmap(kernel)(q_BNTH, k_BKTH, v_BKTH, _segment_ids(segments_BT)))
    heads = axes + 'NH', axes + 'KH', axes + 'KH'
    return sharding.per_device(local, (*heads, axes), heads[0])(q_BTNH, k_BTKH, v_BTKH, segments_BT)


def fits_cudnn(shape: tuple[int, ...], dtype) -> bool:
    """Whether cuDNN takes queries of this shape [B, T, N, H]: half precision, whole eights of a head, an even length."""
    _, T, _, H = shape
    return dtype in (jnp.bfloat16, jnp.float16) and T % 2 == 0 and H % 8 == 0 and H <= CUDNN_HEAD_DIM


def has_cudnn() -> bool:
    """Whether this process's devices are NVIDIA GPUs that the kernel runs on: Ampere (compute capability 8.0) or newer.

    Elsewhere jax cannot even trace it.
    """
    device = jax.devices()[0]
    return device.platform == 'gpu' and device.device_kind.startswith('NVIDIA') and float(device.compute_capability) >= 8


def cudnn_attention(q_BTNH, k_BTKH, v_BTKH, mask_BTS, axes: str = 'BT') -> jax.Array:
    """cuDNN's kernel. It skips what lies ahead; it knows no segment ids, so the mask says them, one for all heads."""
    def local(q_BTNH, k_BTKH, v_BTKH, mask_BTS):
        return jax.nn.dot_product_attention(q_BTNH, k_BTKH, v_BTKH, mask=mask_BTS[:, None], is_causal=True,
                                            implementation='cudnn')
    heads = axes + 'NH', axes + 'KH', axes + 'KH'
    return sharding.per_device(local, (*heads, axes[0] + 'TS'), heads[0])(q_BTNH, k_BTKH, v_BTKH, mask_BTS)


def _kernel(heads: int, length: int, interpret: bool):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
    block = next(size for size in BLOCKS if length % size == 0)
    names = ('block_q', 'block_kv', 'block_q_dkv', 'block_kv_dkv', 'block_q_dq', 'block_kv_dq')
    sizes = splash.BlockSizes(**dict.fromkeys(names, block))
    causal = masks.MultiHeadMask([masks.CausalMask((length, length))] * heads)
    return splash.make_splash_mha(causal, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)


def _segment_ids(segments_BT):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    return splash.SegmentIds(q=segments_BT, kv=segments_BT)
