"""Hugging Face's names for our models: config.json to LlamaConfig and back, and what each parameter's tensor is called.

Families: LLaMA (DeepSeek-LLM, DeepSeekMath, Llama 2 and 3), Qwen2 (and 2.5), Qwen3. A torch matrix is [out, in], ours [in, out].
"""
import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from mathrl.models.attention import RopeScaling
from mathrl.models.llama import LlamaConfig

_FAMILIES = {'llama': 'LlamaForCausalLM', 'qwen2': 'Qwen2ForCausalLM', 'qwen3': 'Qwen3ForCausalLM'}
# What we do not compute, with the value that says that it is not used; absent says so too.
_UNUSED = {'hidden_act': 'silu', 'attention_bias': False, 'mlp_bias': False, 'use_sliding_window': False,
           'quantization_config': None, 'partial_rotary_factor': 1.0}

# Our parameter: (its tensor, the axes of that tensor; letters side by side are one axis of it).
_TOP = {'embed_VD': ('model.embed_tokens.weight', 'V,D'), 'norm_D': ('model.norm.weight', 'D'),
        'unembed_DV': ('lm_head.weight', 'V,D')}
_LAYER = {
    'attention_norm_D': ('input_layernorm.weight', 'D'),
    'q_DNH': ('self_attn.q_proj.weight', 'NH,D'),
    'k_DKH': ('self_attn.k_proj.weight', 'KH,D'),
    'v_DKH': ('self_attn.v_proj.weight', 'KH,D'),
    'q_bias_NH': ('self_attn.q_proj.bias', 'NH'),
    'k_bias_KH': ('self_attn.k_proj.bias', 'KH'),
    'v_bias_KH': ('self_attn.v_proj.bias', 'KH'),
    'q_norm_H': ('self_attn.q_norm.weight', 'H'),
    'k_norm_H': ('self_attn.k_norm.weight', 'H'),
    'o_NHD': ('self_attn.o_proj.weight', 'D,NH'),
    'mlp_norm_D': ('post_attention_layernorm.weight', 'D'),
    'gate_DF': ('mlp.gate_proj.weight', 'F,D'),
    'up_DF': ('mlp.up_proj.weight', 'F,D'),
    'down_FD': ('mlp.down_proj.weight', 'D,F'),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, and the parameter (with `layer`, one layer of it) that it is.

    shape: of the parameter, without its layers; axes: of the tensor, such as 'NH,D'.
    """
    name: str
    axes: str
    parameter: str
    layer: int | None
    shape: tuple[int, ...]

    @property
    def letters(self) -> str:
        """The parameter's axes: 'q_DNH' -> 'DNH'."""
        return self.parameter.rsplit('_', 1)[-1]

    @property
    def transposed(self) -> bool:
        """Whether the tensor is the parameter's matrix on its side; else both have their numbers in one order."""
        return self.axes.replace(',', '') != self.letters

    @property
    def stored_shape(self) -> tuple[int, ...]:
        sizes = dict(zip(self.letters, self.shape))
        return tuple(math.prod(sizes[letter] for letter in group) for group in self.axes.split(','))


def tensors(config: LlamaConfig, shapes: dict) -> Iterator[Tensor]:
    """All tensors of a model in the order of its layers; shapes: the parameter tree (arrays, or their shapes)."""
    def top(name):
        return Tensor(*_TOP[name], name, None, shapes[name].shape)
    yield top('embed_VD')
    for layer in range(config.layers):
        for name, (tensor, axes) in _LAYER.items():
            if name in shapes['layers']:
                yield Tensor(f'model.layers.{layer}.{tensor}', axes, name, layer, shapes['layers'][name].shape[1:])
    yield top('norm_D')
    if not config.tied:
        yield top('unembed_DV')


def transpose(matrix: np.ndarray) -> np.ndarray:
    """matrix.T in an order of its own: by strips, which is four times as fast as NumPy's copy of a large one."""
    out = np.empty(matrix.shape[::-1], matrix.dtype)
    for start in range(0, len(matrix), 64):
        out[:, start:start + 64] = matrix[start:start + 64].T
    return out


def config_from(fields: dict, where: str, dtype: str) -> LlamaConfig:
    """The LlamaConfig of a config.json; dtype: of the tensors. ValueError names what we do not compute."""
    family = fields.get('model_type')
    if family not in _FAMILIES:
        raise ValueError(f'{where}: unknown model_type {family!r}; there are: {", ".join(_FAMILIES)}')
    rope = _rope_fields(fields)
    for name, unused in _UNUSED.items():
        found = rope.get(name, fields.get(name))
        if found not in (unused, None):
            raise ValueError(f'{where}: {name}={found!r:.80} is not computed here; {unused!r} was wanted')
    if other := set(fields.get('layer_types') or ()) - {'full_attention'}:
        raise ValueError(f'{where}: layers of type {sorted(other)[0]!r} are not computed here; full_attention was wanted')
    try:
        width, heads = fields['hidden_size'], fields['num_attention_heads']
        sizes = dict(vocab=fields['vocab_size'], width=width, layers=fields['num_hidden_layers'], heads=heads,
                     mlp_width=fields['intermediate_size'])
    except KeyError as error:
        raise ValueError(f'{where}: field {error} is missing') from None
    return LlamaConfig(
        **sizes, kv_heads=fields.get('num_key_value_heads') or heads,
        head_dim=fields.get('head_dim') or (128 if family == 'qwen3' else width // heads),
        rope_base=float(rope.get('rope_theta', 10000.0)), rope_scaling=_rope_scaling(rope, where),
        norm_eps=fields.get('rms_norm_eps', 1e-6), qkv_bias=family == 'qwen2', qk_norm=family == 'qwen3',
        tied=bool(fields.get('tie_word_embeddings', False)), context=fields.get('max_position_embeddings', 2048),
        param_dtype=dtype, dtype='float32' if dtype == 'float32' else 'bfloat16')


def _rope_fields(fields: dict) -> dict:
    """rope_theta and the scaling: one dict in newer files, a field and a dict in older ones."""
    older = {'rope_theta': fields['rope_theta']} if fields.get('rope_theta') is not None else {}
    return older | (fields.get('rope_scaling') or {}) | (fields.get('rope_parameters') or {})


def _rope_scaling(rope: dict, where: str) -> RopeScaling | None:
    kind = rope.get('rope_type', rope.get('type', 'default'))
    if kind == 'default':
        return None
    if kind == 'linear':
        return RopeScaling(factor=float(rope['factor']), original=0)
    if kind == 'llama3':
        return RopeScaling(float(rope['factor']), float(rope['low_freq_factor']), float(rope['high_freq_factor']),
                           int(rope['original_max_position_embeddings']))
    raise ValueError(f'{where}: unknown rotary scaling {kind!r}; there are: default, linear, llama3')


def config_to(config: LlamaConfig, dtype: str) -> dict:
    """The config.json of a model whose tensors are written in `dtype`; ValueError where no family has its parts."""
    if config.qkv_bias and config.qk_norm:
        raise ValueError('no Hugging Face family has both qkv_bias and qk_norm')
    family = 'qwen2' if config.qkv_bias else 'qwen3' if config.qk_norm else 'llama'
    if family == 'qwen2' and config.heads * config.head_dim != config.width:
        raise ValueError(f'Qwen2 has heads x head_dim = width; this model has {config.heads} x {config.head_dim} '
                         f'and {config.width}')
    fields = {
        'architectures': [_FAMILIES[family]], 'model_type': family, 'vocab_size': config.vocab, 'hidden_size': config.width,
        'intermediate_size': config.mlp_width, 'num_hidden_layers': config.layers, 'num_attention_heads': config.heads,
        'num_key_value_heads': config.kv_heads, 'head_dim': config.head_dim, 'hidden_act': 'silu',
        'max_position_embeddings': config.context, 'rms_norm_eps': config.norm_eps, 'rope_theta': config.rope_base,
        'rope_scaling': _rope_to(config.rope_scaling), 'tie_word_embeddings': config.tied, 'torch_dtype': dtype,
        'use_cache': True}
    if family != 'qwen2':
        fields['attention_bias'] = False
    return fields


def _rope_to(scaling: RopeScaling | None) -> dict | None:
    if scaling is None:
        return None
    if not scaling.original:
        return {'rope_type': 'linear', 'factor': scaling.factor}
    return {'rope_type': 'llama3', 'factor': scaling.factor, 'low_freq_factor': scaling.low_frequency,
            'high_freq_factor': scaling.high_frequency, 'original_max_position_embeddings': scaling.original}
