"""Hugging Face's form to ours and back, by the program; and what transformers says of the result."""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from mathrl import sharding
from mathrl.models.llama import Llama
from mathrl.programs import convert, trained_model

TESTS = pathlib.Path(__file__).parents[1]
GOLDEN = TESTS / 'models' / 'golden'
FAMILIES = sorted(path.parent.name for path in GOLDEN.glob('*/config.json'))


@pytest.fixture
def mesh():
    return sharding.make_mesh(devices=jax.devices()[:1])


def hugging_face(folder, family='llama3') -> str:
    """A golden checkpoint with the tokenizer beside it, as published models are."""
    shutil.copytree(GOLDEN / family, folder)
    shutil.copytree(GOLDEN / 'tokenizer', folder, dirs_exist_ok=True)
    return str(folder)


def run(source, target, mesh, **changes) -> str:
    convert.run(workdir=epath.Path(target), source=str(source), target=str(target), mesh=mesh, **changes)
    return str(target)


def test_there_and_back_again_is_bit_exact(tmp_path, mesh):
    source = hugging_face(tmp_path / 'source')
    ours = run(source, tmp_path / 'ours', mesh)
    back = pathlib.Path(run(ours, tmp_path / 'back', mesh))
    found, wanted = (safetensors.numpy.load_file(pathlib.Path(folder) / 'model.safetensors') for folder in (back, source))
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name].view(np.uint8), wanted[name].view(np.uint8))
    for name in ('tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'generation_config.json'):
        assert (back / name).read_text() == (tmp_path / 'source' / name).read_text(), name
    fields = json.loads((back / 'config.json').read_text())
    assert (fields['model_type'], fields['eos_token_id'], fields['bos_token_id']) == ('llama', [1, 3], 0)
    again = run(back, tmp_path / 'again', mesh)
    assert (tmp_path / 'again' / 'model.json').read_text() == (tmp_path / 'ours' / 'model.json').read_text()
    params = [trained_model.open_params(folder, Llama(trained_model.open_config(folder)[0]), mesh) for folder in (ours, again)]
    jax.tree.map(np.testing.assert_array_equal, *params)


def test_param_dtype_is_what_is_asked_for(tmp_path, mesh):
    ours = run(hugging_face(tmp_path / 'source'), tmp_path / 'ours', mesh, param_dtype='bfloat16')
    config, _ = trained_model.open_config(ours)
    assert (config.param_dtype, config.dtype) == ('bfloat16', 'float32')
    back = run(ours, tmp_path / 'back', mesh, param_dtype='float32', file_gb=2e-5)
    index = json.loads((tmp_path / 'back' / 'model.safetensors.index.json').read_text())
    assert len(set(index['weight_map'].values())) > 1
    assert json.loads((tmp_path / 'back' / 'config.json').read_text())['torch_dtype'] == 'float32'
    params = trained_model.open_params(ours, Llama(config), mesh)
    again = run(back, tmp_path / 'again', mesh)
    wanted = jax.tree.map(lambda x: x.astype('float32'), params)
    found = trained_model.open_params(again, Llama(trained_model.open_config(again)[0]), mesh)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_a_trained_model_with_a_sentencepiece_tokenizer_is_exported(tiny, tmp_path, mesh):
    back = pathlib.Path(run(tiny.model, tmp_path / 'back', mesh))
    config, tokenizer = trained_model.open_config(run(back, tmp_path / 'again', mesh))
    assert config == tiny.config
    text = '3+4=?\n\\boxed{7} 加'
    assert tokenizer.encode(text) == trained_model.open_config(tiny.model)[1].encode(text)


def test_what_is_refused(tmp_path, mesh):
    source = hugging_face(tmp_path / 'source')
    ours = run(source, tmp_path / 'ours', mesh)
    for arguments, said in [((source, ours), r'holds a model already \(0\)'), ((source, source), 'are the same folder'),
                            ((tmp_path, tmp_path / 'x'), r'holds neither a model.json .* nor a config.json')]:
        with pytest.raises(ValueError, match=said):
            run(*arguments, mesh)
    with pytest.raises(ValueError, match="unknown param_dtype 'bf16'; there are: float32, bfloat16, float16, and '' for"):
        run(source, tmp_path / 'x', mesh, param_dtype='bf16')
    with pytest.raises(FileNotFoundError, match='gin/runs/convert.gin makes one of a Hugging Face folder'):
        trained_model.open_config(source)


def test_a_dry_run_writes_nothing(tmp_path, mesh, capsys):
    run(hugging_face(tmp_path / 'source'), tmp_path / 'ours', mesh, dry_run=True)
    assert 'to a checkpoint in' in capsys.readouterr().out and not (tmp_path / 'ours').exists()


def test_the_command_line_needs_no_workdir(tmp_path, repository):
    source, target = hugging_face(tmp_path / 'source', 'qwen2'), tmp_path / 'ours'
    command = ['--gin_file=gin/runs/convert.gin', f'--gin.SOURCE="{source}"', f'--gin.TARGET="{target}"',
               '--gin.PARAM_DTYPE="float32"']
    done = subprocess.run([sys.executable, '-m', 'mathrl.main', *command], cwd=repository, capture_output=True, text=True,
                          timeout=300, env={**os.environ, 'XLA_FLAGS': ''})
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'parameters in float32' in done.stdout
    assert sorted(path.name for path in target.iterdir() if not path.name.startswith('tok')) == [
        'chat_template.jinja', 'checkpoints', 'generation_config.json', 'model.json']
    assert (tmp_path / 'ours.run' / 'config.gin').exists()


def python_with_transformers() -> str:
    """HF_PYTHON names it, unless this one has transformers; '' for none."""
    here = all(importlib.util.find_spec(name) for name in ('transformers', 'torch'))
    return os.environ.get('HF_PYTHON', sys.executable if here else '')


@pytest.mark.skipif(not python_with_transformers(),
                    reason='needs torch and transformers, here or in the Python that HF_PYTHON names')
def test_transformers_loads_what_is_exported(tmp_path, mesh):
    arguments = []
    for family in FAMILIES:
        ours = run(hugging_face(tmp_path / family, family), tmp_path / f'{family}_ours', mesh)
        arguments += [run(ours, tmp_path / f'{family}_back', mesh, file_gb=2e-5), str(GOLDEN / family)]
    done = subprocess.run([python_with_transformers(), str(TESTS / 'models' / 'hf_load.py'), *arguments], capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    for family, line in zip(FAMILIES, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        print(family, found)
        assert found['faults'] == 0 and found['dtype'] == 'torch.float32'
        assert found['difference'] <= 1e-5
        assert found['plain'] and found['chat'] and found['ends'] == [1, 3]
