"""Attention of packed rows by the platform's fused kernel, which never holds the scores [B, N, T, T].

TPU: splash attention of jax's Pallas ops, on each device's own rows and heads. Elsewhere, and for shapes that the kernel does
not take, XLA's (models/attention.py).
"""
import jax

from mathrl import sharding
from mathrl.models import attention

LANES = 128             # the TPU's vector width: heads and blocks are multiples of it
BLOCKS = (512, 256, LANES)


def attend_packed(q_BTNH, k_BTKH, v_BTKH, segments_BT, mask_BTS) -> jax.Array:
    """Causal attention within the segments -> [B, T, N, H]; mask_BTS says the same, for XLA's attention."""
    plain = lambda q, k, v, segments, mask: attention.attend(q, k, v, mask)
    arguments = q_BTNH, k_BTKH, v_BTKH, segments_BT, mask_BTS
    if not fits_splash(q_BTNH.shape, k_BTKH.shape[2]):
        return plain(*arguments)
    splash = lambda q, k, v, segments, mask: splash_attention(q, k, v, segments)
    return jax.lax.platform_dependent(*arguments, tpu=splash, default=plain)


def fits_splash(shape: tuple[int, ...], kv_heads: int) -> bool:
    """Whether the TPU kernel takes queries of this shape [B, T, N, H]: whole lanes, and the same cut of queries and keys."""
    _, T, N, H = shape
    same_cut = sharding.shards('N', (N,)) == sharding.shards('K', (kv_heads,))
    return T % LANES == 0 and H % LANES == 0 and same_cut


def splash_attention(q_BTNH, k_BTKH, v_BTKH, segments_BT, interpret: bool = False) -> jax.Array:
    """The TPU kernel; interpret runs it step by step on any platform."""
    def local(q_BTNH, k_BTKH, v_BTKH, segments_BT):
        kernel = _kernel(q_BTNH.shape[2], q_BTNH.shape[1], interpret)
        q_BNTH, k_BKTH, v_BKTH = (attention.heads_first(x) for x in (q_BTNH * q_BTNH.shape[3] ** -0.5, k_BTKH, v_BTKH))
        return attention.heads_first(jax.vmap(kernel)(q_BNTH, k_BKTH, v_BKTH, _segment_ids(segments_BT)))
    return sharding.per_device(local, ('BTNH', 'BTKH', 'BTKH', 'BT'), 'BTNH')(q_BTNH, k_BTKH, v_BTKH, segments_BT)


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
