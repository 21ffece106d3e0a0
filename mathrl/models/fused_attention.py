"""Attention by the platform's fused kernel, which never holds the scores [B, N, T, T].

Packed rows: on TPUs splash attention of jax's Pallas ops, on NVIDIA GPUs cuDNN's flash attention. Outputs behind the prompt
that they share: splash on TPUs. All on each device's own rows and heads. Elsewhere, and for shapes and dtypes that the kernel
does not take, XLA's (models/attention.py).
"""
import math

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.models import attention
from mathrl.models.cache import take

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


def attend_units(q_QTNH, k_QTKH, v_QTKH, angles, prompt_mask_QS, output_QGT, prompt_QG=None) -> jax.Array:
    """Attention of units of P * S + G * T positions, P prompts and G rows of outputs behind them -> [Q, P * S + G * T, N, H].

    A prompt's tokens see those before them, an output's see one prompt and their own. angles: by which queries and keys are to be
    rotated before. prompt_mask_QS: of the prompts, unit by unit, False on padding; output_QGT, prompt_QG: as in units.Placement.
    """
    arguments = q_QTNH, k_QTKH, v_QTKH, angles, prompt_mask_QS, output_QGT
    if prompt_QG is not None or not takes_units(prompt_mask_QS.shape, output_QGT.shape, q_QTNH.shape[2], *k_QTKH.shape[2:]):
        return _attend_units(*arguments, prompt_QG)
    return jax.lax.platform_dependent(*arguments, tpu=splash_units, default=_attend_units)


def _attend_units(q_QTNH, k_QTKH, v_QTKH, angles, prompt_mask_QS, output_QGT, prompt_QG=None) -> jax.Array:
    (Q, G, T), own = output_QGT.shape, math.prod(output_QGT.shape[1:])
    one_QS = jnp.ones(prompt_mask_QS.shape, jnp.int32)
    # split and not sliced: the gradient is then a concatenation, where it were two padded arrays and their sum
    parts = [jax.lax.split(x, (x.shape[1] - own, own), axis=1) for x in (q_QTNH, k_QTKH, v_QTKH, *angles)]
    q_QSNH, k_QSKH, v_QSKH, *prompt_angles = (x.reshape(one_QS.shape + x.shape[2:]) for x, _ in parts)
    q_QSNH, k_QSKH = (attention.rotate(x, prompt_angles) for x in (q_QSNH, k_QSKH))
    prompt_mixed_QSNH = attend_packed(q_QSNH, k_QSKH, v_QSKH, one_QS, attention.packed_mask(one_QS), 'QS')
    if prompt_QG is not None:                      # each row is lent a prompt, as though it were a unit of its own
        k_QSKH, v_QSKH = (take(x_QSKH, prompt_QG, 'BSKH') for x_QSKH in (k_QSKH, v_QSKH))
        prompt_mask_QS, output_QGT = take(prompt_mask_QS, prompt_QG, 'BS'), output_QGT.reshape(Q * G, 1, T)
    units = len(output_QGT)
    q_QNXH, k_QKXH, v_QKXH, *own_angles = (attention.heads_first(x.reshape((units, -1) + x.shape[2:])) for _, x in parts)
    # behind the transposition: XLA's CPU backend makes one fast loop of both, and of their gradient with the concatenation
    q_QNXH, k_QKXH = (attention.rotate(x, own_angles) for x in (q_QNXH, k_QKXH))
    rows = (x.reshape(x.shape[:2] + output_QGT.shape[1:] + x.shape[3:]) for x in (q_QNXH, k_QKXH, v_QKXH))
    mixed_QGTNH = attention.attend_with_prompt(*rows, attention.packed_mask(output_QGT),
                                               *map(attention.heads_first, (k_QSKH, v_QSKH)), prompt_mask_QS)
    return jnp.concatenate([x.reshape((Q, -1) + x.shape[-2:]) for x in (prompt_mixed_QSNH, mixed_QGTNH)], 1)


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
        return attention.heads_first(jax.vmap(kernel)(q_BNTH, k_BKTH, v_BKTH, _ids(segments_BT)))
    heads = axes + 'NH', axes + 'KH', axes + 'KH'
    return sharding.per_device(local, (*heads, axes), heads[0])(q_BTNH, k_BTKH, v_BTKH, segments_BT)


def takes_units(prompt: tuple[int, int], outputs: tuple[int, int, int], heads: int, kv_heads: int, head_dim: int) -> bool:
    """Whether the TPU kernel takes prompts [Q, S] with outputs [Q, G, T] behind them, each device questions of its own."""
    (Q, S), (_, G, T) = prompt, outputs
    fits = S > 0 and S % LANES == T % LANES == head_dim % LANES == 0 and (S + G * T) << _place_bits(T) < 2 ** 31
    return fits and lies_apart((Q, S, heads, head_dim), kv_heads, 'QS')


def splash_units(q_QTNH, k_QTKH, v_QTKH, angles, prompt_mask_QS, output_QGT, interpret: bool = False) -> jax.Array:
    """The TPU kernel on whole units, for attend_units. What a query sees is computed from its place, see _places."""
    def local(q_QTNH, k_QTKH, v_QTKH, prompt_mask_QS, output_QGT):
        kernel = _units_kernel(q_QTNH.shape[2], prompt_mask_QS.shape[1], output_QGT.shape[1:], interpret)
        q_QNTH, k_QKTH, v_QKTH = (attention.heads_first(x) for x in (q_QTNH * q_QTNH.shape[3] ** -0.5, k_QTKH, v_QTKH))
        own_QT = jnp.ones((len(q_QTNH), q_QTNH.shape[1] - prompt_mask_QS.shape[1]), jnp.int32)
        kinds_QT = jnp.concatenate([prompt_mask_QS.astype(jnp.int32), own_QT], 1)
        attend = lambda place_T, q, k, v, kinds_T: _at_places(kernel, place_T)(q, k, v, _ids(kinds_T))
        places_QT = _places(prompt_mask_QS.shape[1], output_QGT)
        return attention.heads_first(jax.vmap(attend)(places_QT, q_QNTH, k_QKTH, v_QKTH, kinds_QT))
    axes = 'QTNH', 'QTKH', 'QTKH', 'QS', 'QGT'
    q_QTNH, k_QTKH = (attention.rotate(x, angles) for x in (q_QTNH, k_QTKH))
    return sharding.per_device(local, axes, axes[0])(q_QTNH, k_QTKH, v_QTKH, prompt_mask_QS, output_QGT)


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
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
    return _splash(masks.CausalMask((length, length)), heads, length, interpret)


def _units_kernel(heads: int, prompt: int, rows: tuple[int, int], interpret: bool):
    """As though every row were one output: the blocks that it visits are all that rows of several outputs need.

    A mask's function and places, and here and in _at_places those of a kernel, are fields of jax 0.10's splash attention that its
    documentation does not promise; the tests of units fail if they change.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
    positions = prompt + math.prod(rows)
    bits = _place_bits(rows[1])

    def sees(place, key):
        number, back = place >> bits, place & ((1 << bits) - 1)
        return (key <= number) & ((key < prompt) | (key >= number - back))
    mask = masks.CausalMask((positions, positions))
    mask.mask_function, mask.q_sequence = sees, _place(prompt, rows, np.tile(np.arange(rows[1], dtype=np.int32), rows[0]), np)
    return _splash(mask, heads, math.gcd(rows[1], prompt), interpret)


def _splash(mask, heads: int, length: int, interpret: bool):
    """The kernel with one mask for all heads, in blocks that divide `length`."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
    block = next(size for size in BLOCKS if length % size == 0)
    names = ('block_q', 'block_kv', 'block_q_dkv', 'block_kv_dkv', 'block_q_dq', 'block_kv_dq')
    sizes = splash.BlockSizes(**dict.fromkeys(names, block))
    return splash.make_splash_mha(masks.MultiHeadMask([mask] * heads), block_sizes=sizes, head_shards=1, q_seq_shards=1,
                                  interpret=interpret)


def _place_bits(length: int) -> int:
    return (length - 1).bit_length()


def _place(prompt: int, rows: tuple[int, int], back_T, np):
    """[S + G * T]: of each position its number, and in the bits below how many tokens of its output stand before it.

    back_T: that of the G * T positions behind the prompt. np: the numbers' library.
    """
    numbers = np.arange(prompt + math.prod(rows), dtype=np.int32) << _place_bits(rows[1])
    return numbers | np.concatenate([np.zeros(prompt, np.int32), back_T])


def _places(prompt: int, output_QGT):
    """_place of each question's positions [Q, S + G * T]."""
    Q, G, T = output_QGT.shape
    begins_QGT = jnp.concatenate([jnp.ones((Q, G, 1), bool), output_QGT[:, :, 1:] != output_QGT[:, :, :-1]], 2)
    first_QGT = jax.lax.cummax(jnp.where(begins_QGT, jnp.arange(T)[None, None], 0), axis=2)
    back_QT = (jnp.arange(T)[None, None] - first_QGT).reshape(Q, G * T)
    return jax.vmap(lambda back_T: _place(prompt, (G, T), back_T, jnp))(back_QT)


def _at_places(kernel, place_T):
    """The kernel with other places of the queries, which its mask is computed from."""
    lay = lambda info: info and info._replace(q_sequence=place_T)
    return type(kernel)(*map(lay, (kernel.fwd_mask_info, kernel.dq_mask_info, kernel.dkv_mask_info)), **kernel.kwargs)


def _ids(segments):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    return splash.SegmentIds(q=segments, kv=segments)
