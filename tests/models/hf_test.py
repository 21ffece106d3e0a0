"""Every family against transformers' own numbers (golden/, written by hf_golden.py), and safetensors in and out."""
import dataclasses
import functools
import json
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from mathrl import sharding
from mathrl.models import hf, hf_export, hf_import
from mathrl.models.attention import RopeScaling
from mathrl.models.llama import Llama
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import write_groups
from mathrl.sampling.rollout import pad_prompts, written

GOLDEN = pathlib.Path(__file__).parent / 'golden'
FAMILIES = sorted(path.parent.name for path in GOLDEN.glob('*/config.json'))
ENDS = (1, 3)


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


@functools.cache
def opened(family):
    """(model, params) of a golden checkpoint."""
    model = Llama(hf_import.open_config(GOLDEN / family))
    return model, hf_import.load(GOLDEN / family, model, one_device())


def copied(family, folder):
    return pathlib.Path(shutil.copytree(GOLDEN / family, folder / family))


def equal_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(np.asarray(a).view(np.uint8), np.asarray(b).view(np.uint8))


# ---- the numbers

def test_there_is_a_golden_of_every_family():
    assert {'deepseek', 'llama2', 'llama3', 'qwen2', 'qwen2_tied', 'qwen3', 'qwen3_tied'} <= set(FAMILIES)


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('family', FAMILIES)
def test_logits_are_those_of_transformers(family, side):
    model, params = opened(family)
    golden = np.load(GOLDEN / family / 'logits.npz')
    mask_BT = golden[f'{side}_mask'].astype(np.int32)
    positions_BT = np.maximum(mask_BT.cumsum(1) - 1, 0)
    logits = jax.jit(lambda params, *rows: model.logits(params, model.hidden(params, *rows)))
    found_BTV = np.asarray(logits(params, golden[f'{side}_ids'].astype(np.int32), mask_BT, positions_BT))
    real_BT = mask_BT == 1
    error = np.abs(found_BTV[real_BT] - golden[f'{side}_logits'][real_BT]).max()
    print(f'{family} {side}: max |difference| {error:.1e}')
    assert error <= 2e-4
    assert np.abs(golden[f'{side}_logits'][real_BT]).max() > 1, 'the golden logits tell nothing apart'


@pytest.mark.parametrize('family', FAMILIES)
def test_greedy_tokens_are_those_of_transformers(family):
    model, params = opened(family)
    outputs = json.loads((GOLDEN / family / 'outputs.json').read_text())
    wanted = outputs['plain'] + outputs['chat']
    prompt_QS, length_Q = pad_prompts([one['prompt'] for one in wanted], 48, pad_id=2)
    with jax.set_mesh(mesh := one_device()):
        found = write_groups(params, prompt_QS, length_Q, jax.random.key(0), np.arange(len(wanted), dtype=np.int32), model=model,
                             mesh=mesh, outputs=1, max_tokens=12, sampling=Sampling(temperature=0.0), eos_id=ENDS)
    for row_T, one in zip(found.tokens_QGT[:, 0], wanted):
        ids, ended = written(row_T, ENDS)
        assert row_T[:len(ids) + ended].tolist() == one['ids']


# ---- in and out

@pytest.mark.parametrize('family', FAMILIES)
def test_export_then_import_is_bit_exact(family, tmp_path):
    model, params = opened(family)
    hf_export.save(tmp_path, params, model.config, {'eos_token_id': [1, 3]}, file_bytes=10_000)
    assert (tmp_path / 'model.safetensors.index.json').exists()
    assert hf_import.open_config(tmp_path) == model.config
    jax.tree.map(equal_bits, hf_import.load(tmp_path, model, one_device()), params)


def test_an_export_holds_the_tensors_of_the_import(tmp_path):
    model, params = opened('llama3')
    hf_export.save(tmp_path, params, model.config, {})
    found = safetensors.numpy.load_file(tmp_path / 'model.safetensors')
    wanted = safetensors.numpy.load_file(GOLDEN / 'llama3' / 'model.safetensors')
    assert found.keys() == wanted.keys()
    for name in wanted:
        equal_bits(found[name], wanted[name])


@pytest.mark.parametrize('sizes', [dict(data=8), dict(data=1, fsdp=8), dict(data=2, fsdp=2, tensor=2)], ids=str)
def test_import_and_export_on_any_mesh(sizes, tmp_path):
    model, params = opened('qwen3')
    mesh = sharding.make_mesh(**sizes)
    loaded = hf_import.load(GOLDEN / 'qwen3', model, mesh)
    jax.tree.map(equal_bits, loaded, params)
    shardings = sharding.parameter_shardings(mesh, params)
    jax.tree.map(lambda x, where: x.sharding.is_equivalent_to(where, x.ndim) or pytest.fail(str(x.sharding)), loaded, shardings)
    hf_export.save(tmp_path, loaded, model.config, {})
    assert (tmp_path / 'model.safetensors').stat().st_size > 0
    jax.tree.map(equal_bits, hf_import.load(tmp_path, model, one_device()), params)


@pytest.mark.parametrize('stored', ['bfloat16', 'float16', 'float32'])
def test_dtypes_in_and_out(stored, tmp_path):
    folder = copied('deepseek', tmp_path)
    tensors = safetensors.numpy.load_file(folder / 'model.safetensors')
    cast = {name: x.astype(getattr(ml_dtypes, stored, stored)) for name, x in tensors.items()}
    safetensors.numpy.save_file(cast, folder / 'model.safetensors')
    config = hf_import.open_config(folder)
    assert (config.param_dtype, config.dtype) == (stored, 'float32' if stored == 'float32' else 'bfloat16')
    equal_bits(hf_import.load(folder, Llama(config), one_device())['embed_VD'], cast['model.embed_tokens.weight'])
    master = dataclasses.replace(config, param_dtype='float32')
    params = hf_import.load(folder, Llama(master), one_device())
    equal_bits(params['norm_D'], cast['model.norm.weight'].astype(np.float32))
    hf_export.save(tmp_path, jax.tree.map(lambda x: x.astype(stored), params), config, {})
    again = safetensors.numpy.load_file(tmp_path / 'model.safetensors')
    for name in cast:
        equal_bits(again[name], cast[name])


# ---- what is refused

def changed_tensors(folder, change):
    path = folder / 'model.safetensors'
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


@pytest.mark.parametrize('change, said', [
    (lambda t: t.pop('model.layers.1.mlp.up_proj.weight'), r'tensor model\.layers\.1\.mlp\.up_proj\.weight is missing'),
    (lambda t: t.update({'model.layers.2.mlp.up_proj.weight': t['model.layers.1.mlp.up_proj.weight']}),
     r'tensor model\.layers\.2\.mlp\.up_proj\.weight belongs to no parameter'),
    (lambda t: t.update({'model.norm.weight': np.ones(17, np.float32)}),
     r'tensor model\.norm\.weight has shape \[17\]; \[16\] was wanted'),
    (lambda t: t.update({'model.norm.weight': np.ones(16, np.int8)}), r'tensor model\.norm\.weight is of type I8'),
    (lambda t: t.pop('model.embed_tokens.weight'), r'tensor model\.embed_tokens\.weight is missing'),
])
def test_a_tensor_that_does_not_fit_is_named(change, said, tmp_path):
    folder = copied('deepseek', tmp_path)
    changed_tensors(folder, change)
    with pytest.raises(ValueError, match=said) as caught:
        hf_import.load(folder, Llama(hf_import.open_config(folder)), one_device())
    assert '\n' not in str(caught.value)


def test_buffers_of_older_files_and_an_embedding_stored_twice_are_let_pass(tmp_path):
    folder = copied('qwen3_tied', tmp_path)
    changed_tensors(folder, lambda t: t.update({'lm_head.weight': t['model.embed_tokens.weight'],
                                                'model.layers.0.self_attn.rotary_emb.inv_freq': np.ones(4, np.float32)}))
    model, params = opened('qwen3_tied')
    jax.tree.map(equal_bits, hf_import.load(folder, model, one_device()), params)
    changed_tensors(folder, lambda t: t['lm_head.weight'].__setitem__((-1, -1), 0))
    with pytest.raises(ValueError, match=r'lm_head\.weight is not the embedding'):
        hf_import.load(folder, model, one_device())


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    folder = copied('qwen2', tmp_path)
    (folder / 'model-00002-of-00003.safetensors').unlink()
    with pytest.raises(ValueError, match='model-00002-of-00003.safetensors: the file is missing'):
        hf_import.open_config(folder)
    (folder / 'model-00002-of-00003.safetensors').write_bytes(b'\x10\0\0\0\0\0\0\0{')
    with pytest.raises(ValueError, match='model-00002-of-00003.safetensors is not a safetensors file'):
        hf_import.open_config(folder)
    (folder / 'model.safetensors.index.json').unlink()
    (folder / 'pytorch_model.bin').write_bytes(b'')
    with pytest.raises(ValueError, match='pytorch_model.bin is a pickle, which is not read'):
        hf_import.open_config(folder)


@pytest.mark.parametrize('change, said', [
    ({'model_type': 'gpt2'}, "unknown model_type 'gpt2'; there are: llama, qwen2, qwen3"),
    ({'hidden_act': 'gelu'}, "hidden_act='gelu' is not computed here; 'silu' was wanted"),
    ({'attention_bias': True}, 'attention_bias=True is not computed here'),
    ({'rope_parameters': {'rope_type': 'yarn'}}, "unknown rotary scaling 'yarn'; there are: default, linear, llama3"),
    ({'quantization_config': {'bits': 4}}, 'quantization_config='),
    ({'rope_parameters': {'rope_type': 'default', 'partial_rotary_factor': 0.5}}, 'partial_rotary_factor=0.5 is not computed'),
    ({'layer_types': ['full_attention', 'sliding_attention']}, "layers of type 'sliding_attention' are not computed"),
    ({'hidden_size': None}, "field 'hidden_size' is missing"),
])
def test_a_config_that_we_do_not_compute_is_refused(change, said, tmp_path):
    fields = json.loads((GOLDEN / 'deepseek' / 'config.json').read_text()) | change
    fields = {name: value for name, value in fields.items() if value is not None}
    with pytest.raises(ValueError, match=said):
        hf.config_from(fields, 'config.json', 'float32')


def test_configs_of_older_and_newer_files():
    older = {'model_type': 'llama', 'vocab_size': 8, 'hidden_size': 16, 'num_hidden_layers': 1, 'intermediate_size': 8,
             'num_attention_heads': 2, 'rope_theta': 5e5,
             'rope_scaling': {'type': 'llama3', 'factor': 32.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
                              'original_max_position_embeddings': 8192}}
    config = hf.config_from(older, 'config.json', 'bfloat16')
    assert (config.rope_base, config.rope_scaling) == (5e5, RopeScaling(32.0, 1.0, 4.0, 8192))
    assert (config.kv_heads, config.head_dim, config.tied, config.context) == (2, 8, False, 2048)
    assert hf.config_from(hf.config_to(config, 'bfloat16'), 'config.json', 'bfloat16') == config


def test_parts_that_no_family_has_are_not_exported():
    config = opened('qwen2')[0].config
    for change, said in [({'qk_norm': True}, 'both qkv_bias and qk_norm'), ({'head_dim': 8}, 'heads x head_dim = width')]:
        with pytest.raises(ValueError, match=said):
            hf.config_to(dataclasses.replace(config, **change), 'float32')
