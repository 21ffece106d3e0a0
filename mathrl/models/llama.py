"""The LLaMA architecture (pre-RMSNorm, SwiGLU, rotary positions, grouped heads), thin on flax linen; by its config also
Llama 3's rotary scaling, Qwen2's biases of queries, keys and values, Qwen3's norms of queries and keys, tied embeddings.

Axes: B batch, T query position, S key position, D model width, N query heads, K key-value heads, H head width, F MLP
width, V vocabulary, L layers, Q questions, G outputs per question. An array's name ends in its axes; so does a
parameter's, and scanned layers add a leading L. One stack of layers serves packed training, prefill, outputs and
decoding: they differ in what attention sees, so attention is handed in.
"""
import dataclasses
import math
from typing import Any, Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from mathrl.models import attention, fused_attention, row_attention
from mathrl.models.attention import heads_first
from mathrl.models.cache import Places, RowCache, put, store, take
from mathrl.models.units import Placement, cuts, one_output_a_row
from mathrl.sharding import constrain, look_up


# By name: what of a layer's forward pass is kept for the backward pass; None keeps all of it.
_REMAT_POLICIES = {'': None, 'full': jax.checkpoint_policies.nothing_saveable,
                   'dots': jax.checkpoint_policies.save_only_these_names('product')}


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a model; the defaults are DeepSeekMath 7B's. dtypes by name: parameters and activations."""
    vocab: int = 102400
    width: int = 4096
    layers: int = 30
    heads: int = 32
    kv_heads: int = 32
    head_dim: int = 128
    mlp_width: int = 11008
    rope_base: float = 10000.0
    rope_scaling: attention.RopeScaling | None = None
    norm_eps: float = 1e-6
    qkv_bias: bool = False       # Qwen2
    qk_norm: bool = False        # Qwen3: each head's query and key, before they are rotated
    tied: bool = False           # the unembedding is the embedding transposed
    context: int = 4096          # tokens that the model was made for, as other programs are told
    param_dtype: str = 'float32'
    dtype: str = 'float32'
    remat: str = ''              # the backward pass computes again: '' nothing, 'full' layers, 'dots' all but their products
    unroll: int = 1              # layers per loop iteration: 1 compiles fastest, all of them runs fastest on CPU

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise ValueError(f'kv_heads={self.kv_heads} does not divide heads={self.heads}')
        if self.head_dim % 2:
            raise ValueError(f'head_dim={self.head_dim} must be even, for rotary positions')
        if self.remat not in _REMAT_POLICIES:
            raise ValueError(f'unknown remat {self.remat!r}; there are: {", ".join(map(repr, _REMAT_POLICIES))}')


def config_from_json(fields: dict) -> LlamaConfig:
    """The config whose dataclasses.asdict was written as JSON."""
    known = [field.name for field in dataclasses.fields(LlamaConfig)]
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f'a model has no {unknown[0]!r}; there are: {", ".join(known)}')
    if fields.get('rope_scaling'):
        fields = fields | {'rope_scaling': attention.RopeScaling(**fields['rope_scaling'])}
    if isinstance(fields.get('remat'), bool):         # written before there was a choice
        fields = fields | {'remat': 'full' if fields['remat'] else ''}
    return LlamaConfig(**fields)


def _normal(fan_in: int, scale: float = 1.0):
    return nn.initializers.normal(scale * fan_in ** -0.5)


def _rms_norm(x, scale_D, eps):
    exact = x.astype(attention.wide(x.dtype))
    normed = exact * jax.lax.rsqrt(jnp.mean(exact * exact, axis=-1, keepdims=True) + eps)
    return normed.astype(x.dtype) * scale_D.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


@jax.custom_vjp
def _product(x_BD, weight_DF):
    """x times weight. Its own for the weight's gradient: XLA's CPU backend is faster with the narrower factor first."""
    return jnp.matmul(x_BD, weight_DF)


def _product_gradient(kept, g_BF):
    x_BD, weight_DF = kept
    across = lambda a, b: jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())))
    narrow_first = weight_DF.shape[0] <= weight_DF.shape[1]
    return g_BF @ weight_DF.T, across(x_BD, g_BF) if narrow_first else across(g_BF, x_BD).T


_product.defvjp(lambda x_BD, weight_DF: (_product(x_BD, weight_DF), (x_BD, weight_DF)), _product_gradient)


def _project(x, weight, contracted: int = 1):
    """x [..., a] times weight [a, b] over the last `contracted` axes of x, as one product of two matrices.

    XLA's CPU backend transposes the whole activation in the backward pass of a product with more leading axes.
    """
    leading, out = x.shape[:x.ndim - contracted], weight.shape[contracted:]
    rows = math.prod(weight.shape[:contracted])
    return checkpoint_name(_product(x.reshape(-1, rows), weight.reshape(rows, -1)), 'product').reshape(leading + out)


@jax.custom_vjp
def _swiglu(gate, up):
    """silu(gate) times up, with a gradient for which these two alone are kept, and each part of which is one pass over them."""
    return nn.silu(gate) * up


def _swiglu_gradient(kept, dy):
    def of_gate(gate, up, dy):
        sigmoid = nn.sigmoid(gate)
        return dy * up * (sigmoid * (1 + gate * (1 - sigmoid)))

    def of_up(gate, dy):
        return dy * nn.silu(gate)
    # each behind a barrier of its own: else XLA's CPU backend computes one sigmoid for all, in the forward pass, and keeps it
    gate, up = kept
    return of_gate(*jax.lax.optimization_barrier((gate, up)), dy), of_up(jax.lax.optimization_barrier(gate), dy)


_swiglu.defvjp(lambda gate, up: (_swiglu(gate, up), (gate, up)), _swiglu_gradient)


def _add(x, bias):
    """bias on x's last axes."""
    return x + bias.reshape((1,) * (x.ndim - bias.ndim) + bias.shape)


def _angles(c: LlamaConfig, positions, longest: int):
    return attention.rotary_angles(positions, longest, c.head_dim, c.rope_base, c.dtype, c.rope_scaling)


def _of_rotated(attend):
    """A Block's attend, of one that takes queries and keys with their positions in them."""
    return lambda q, k, v, angles, kept: attend(attention.rotate(q, angles), attention.rotate(k, angles), v, kept)


class Block(nn.Module):
    """One layer. attend(q, k, v, angles, kept) -> (mixed, keep): q and k are yet to be rotated by the angles; `kept` is this
    layer's share of a cache, `keep` what it adds.
    """
    config: LlamaConfig
    attend: Any
    axes: str

    @nn.compact
    def __call__(self, h, angles, kept):
        c, axes = self.config, self.axes
        D, N, K, H, F = c.width, c.heads, c.kv_heads, c.head_dim, c.mlp_width
        residual = (2 * c.layers) ** -0.5      # keeps the residual stream's variance flat in depth (GPT-2)

        def param(name, init, *shape):
            return self.param(name, init, shape, jnp.dtype(c.param_dtype)).astype(c.dtype)

        x = _rms_norm(h, param('attention_norm_D', nn.initializers.ones, D), c.norm_eps)
        q = _project(x, param('q_DNH', _normal(D), D, N, H))
        k = _project(x, param('k_DKH', _normal(D), D, K, H))
        v = _project(x, param('v_DKH', _normal(D), D, K, H))
        if c.qkv_bias:
            q = _add(q, param('q_bias_NH', nn.initializers.zeros, N, H))
            k = _add(k, param('k_bias_KH', nn.initializers.zeros, K, H))
            v = _add(v, param('v_bias_KH', nn.initializers.zeros, K, H))
        if c.qk_norm:
            q = _rms_norm(q, param('q_norm_H', nn.initializers.ones, H), c.norm_eps)
            k = _rms_norm(k, param('k_norm_H', nn.initializers.ones, H), c.norm_eps)
        mixed, keep = self.attend(constrain(q, axes + 'NH'), constrain(k, axes + 'KH'), v, angles, kept)
        h = h + _project(mixed, param('o_NHD', _normal(N * H, residual), N, H, D), contracted=2)
        x = _rms_norm(constrain(h, axes + 'D'), param('mlp_norm_D', nn.initializers.ones, D), c.norm_eps)
        gate = _project(x, param('gate_DF', _normal(D), D, F))
        up = _project(x, param('up_DF', _normal(D), D, F))
        x = constrain(_swiglu(gate, up), axes + 'F')
        h = h + _project(x, param('down_FD', _normal(F, residual), F, D))
        return constrain(h, axes + 'D'), keep


class Transformer(nn.Module):
    """Token ids to final hidden states; the letters of the tokens' axes (BT, or QT for units) come as `axes`."""
    config: LlamaConfig

    @nn.compact
    def __call__(self, tokens, positions, longest, attend, axes):
        c = self.config
        embed_VD = self.param('embed_VD', _normal(c.width), (c.vocab, c.width), jnp.dtype(c.param_dtype))
        if not c.tied:
            self.param('unembed_DV', _normal(c.width), (c.width, c.vocab), jnp.dtype(c.param_dtype))
        h = constrain(look_up(embed_VD.astype(c.dtype), tokens), axes + 'D')
        block = nn.remat(Block, prevent_cse=False, policy=_REMAT_POLICIES[c.remat]) if c.remat else Block
        layers = nn.scan(block, variable_axes={'params': 0}, split_rngs={'params': True}, length=c.layers,
                         in_axes=(nn.broadcast, 0), out_axes=0, unroll=c.unroll)
        h, _ = layers(c, attend, axes, name='layers')(h, _angles(c, positions, longest), None)
        return _rms_norm(h, self.param('norm_D', nn.initializers.ones, (c.width,), jnp.dtype(c.param_dtype)), c.norm_eps)


@dataclasses.dataclass(frozen=True)
class Llama:
    """The model as pure functions of its parameters; hashable, so that it can be a static argument of jit."""
    config: LlamaConfig

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters: a plain dict of arrays."""
        tokens_BT = jnp.zeros((1, 2), jnp.int32)
        attend = _attend_packed(jnp.ones((1, 2), jnp.int32))
        looped = dataclasses.replace(self.config, unroll=1, remat='')      # the same numbers, compiled faster
        return Transformer(looped).init(key, tokens_BT, tokens_BT, 2, attend, 'BT')['params']

    def _run(self, params, tokens, positions, longest, attend, axes):
        return Transformer(self.config).apply({'params': params}, tokens, positions, longest, attend, axes)

    def hidden(self, params, tokens_BT, segments_BT, positions_BT) -> jax.Array:
        """h_BTD of packed rows: position t sees its own example up to t. positions_BT are below T."""
        return self._run(params, tokens_BT, positions_BT, tokens_BT.shape[1], _attend_packed(segments_BT), 'BT')

    def behind_prompts(self, params, tokens_QGT, prompt_QS, length_Q, placement: Placement | None = None) -> jax.Array:
        """h_QGTD of Q units (training): G rows behind a prompt, both in one pass over the layers, so that a prompt is computed once.

        Prompts are padded on the right; length_Q of their tokens count. placement: what a row holds, where it is not one output; by
        its prompt_QG a unit has several prompts, which then lie unit by unit. Units too few for the devices are cut into more of
        fewer rows, each with the prompt again.
        """
        (Q, G, T), (prompts, S) = tokens_QGT.shape, prompt_QS.shape
        placement = placement or one_output_a_row(Q, G, T)
        if placement.prompt_QG is None and (pieces := cuts(Q, G)) > 1:
            rows, placement = jax.tree.map(lambda x_QGT: x_QGT.reshape(Q * pieces, G // pieces, T), (tokens_QGT, placement))
            again = [jnp.repeat(x, pieces, axis=0) for x in (prompt_QS, length_Q)]
            return self.behind_prompts(params, rows, *again, placement).reshape(Q, G, T, -1)
        length_QG = length_Q[:, None]
        if placement.prompt_QG is not None:
            length_QG = take(length_Q, placement.prompt_QG, 'B').reshape(Q, G)
        prompt_mask_QS = jnp.arange(S)[None] < length_Q[:, None]

        def attend(q_QTNH, k_QTKH, v_QTKH, angles, kept):
            return fused_attention.attend_units(q_QTNH, k_QTKH, v_QTKH, angles, prompt_mask_QS, placement.output_QGT,
                                                placement.prompt_QG), None
        joined = lambda x_QS, x_QGT: jnp.concatenate([x_QS.reshape(Q, -1), x_QGT.reshape(Q, -1)], 1)
        positions_QT = joined(jnp.broadcast_to(jnp.arange(S), (prompts, S)), length_QG[:, :, None] + placement.place_QGT)
        h_QTD = self._run(params, joined(prompt_QS, tokens_QGT), positions_QT, S + T, attend, 'QT')
        return constrain(h_QTD[:, -G * T:].reshape(Q, G, T, -1), 'QGTD')

    def decoder_params(self, params) -> dict:
        """The parameters as row_decoder reads them: each layer's are arrays of their own, in the activations' dtype."""
        c = self.config
        cast = jax.tree.map(lambda x: x.astype(c.dtype), params)
        return cast | {'layers': tuple(jax.tree.map(lambda x: x[layer], cast['layers']) for layer in range(c.layers))}

    def prefill_rows(self, params, prompt_QS, kv_dtype) -> RowCache:
        """Keys and values [Q, K, S, H] of prompts padded on the right, whose columns behind their ends are to be masked.

        params are decoder_params; kv_dtype: in which the cache is stored.
        """
        c, one_QS = self.config, jnp.ones_like(prompt_QS)          # one segment: padding stands behind the prompt
        mask_QTS = attention.packed_mask(one_QS)

        @_of_rotated
        def attend(q_QSNH, k_QSKH, v_QSKH, kept):
            mixed = fused_attention.attend_packed(q_QSNH, k_QSKH, v_QSKH, one_QS, mask_QTS, 'QS')
            return mixed, [store(constrain(heads_first(x), 'QKSH'), kv_dtype) for x in (k_QSKH, v_QSKH)]
        positions_QS = jnp.broadcast_to(jnp.arange(prompt_QS.shape[1])[None], prompt_QS.shape)
        angles = _angles(c, positions_QS, prompt_QS.shape[1])
        h_QSD, written = constrain(look_up(params['embed_VD'], prompt_QS), 'QSD'), []
        for layer in params['layers']:
            h_QSD, keep = Block(c, attend, 'QS').apply({'params': layer}, h_QSD, angles, None)
            written.append(keep)
        return RowCache(*zip(*written))

    def row_decoder(self, params, prompts: RowCache, prompt_length_Q, pages: list[RowCache], length_B, prompt_length_B,
                    places: Places) -> Callable:
        """step(token_B, page, i) -> (h_BD that predicts the next token, the page with this one's key and value in column i).

        params are decoder_params; prompts hold the questions' keys and values, of which the first prompt_length_Q columns
        count; pages what rows wrote before, the newest last: of a row that has written length_B tokens the last so many columns.
        """
        c = self.config
        prompt_mask_QS = jnp.arange(prompts.columns)[None, :] < prompt_length_Q[:, None]
        since = [sum(each.columns for each in pages[number:]) for number in range(len(pages))]
        old_masks = [(length_B >= columns)[:, None] for columns in since]

        def step(token_B, page: RowCache, i):
            masks = old_masks + [jnp.arange(page.columns)[None, :] <= i]

            @_of_rotated
            def attend(q_BNH, k_BKH, v_BKH, kept):
                prompt, *old, (keys, values) = kept
                page = put(keys, k_BKH[:, :, None], i), put(values, v_BKH[:, :, None], i)
                own = [(*keys_values, mask_BS) for keys_values, mask_BS in zip((*old, page), masks)]
                return row_attention.attend(q_BNH, own, *prompt, prompt_mask_QS, places), page
            h_BD = constrain(params['embed_VD'][token_B], 'BD')
            longest = prompts.columns + sum(each.columns for each in (*pages, page)) + 1
            angles = _angles(c, prompt_length_B + length_B + i, longest)
            written = []
            for layer, *kept in zip(params['layers'], *(zip(x.keys, x.values) for x in (prompts, *pages, page))):
                h_BD, keep = Block(c, attend, 'B').apply({'params': layer}, h_BD, angles, kept)
                written.append(keep)
            return _rms_norm(h_BD, params['norm_D'], c.norm_eps), RowCache(*zip(*written))
        return step

    def unembed(self, params) -> jax.Array:
        """unembed_DV, the matrix from hidden states to logits."""
        return params['embed_VD'].T if self.config.tied else params['unembed_DV']

    def logits(self, params, h) -> jax.Array:
        """Logits [..., V] of hidden states [..., D], in float32 (float64 for a float64 model)."""
        return jnp.matmul(h, self.unembed(params).astype(h.dtype), preferred_element_type=attention.wide(h.dtype))


def _attend_packed(segments_BT):
    mask_BTS = attention.packed_mask(segments_BT)

    @_of_rotated
    def attend(q_BTNH, k_BTKH, v_BTKH, kept):
        return fused_attention.attend_packed(q_BTNH, k_BTKH, v_BTKH, segments_BT, mask_BTS), None
    return attend
