"""generate writes what transformers writes behind the same prompts; from Hugging Face's form and from ours."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest
from etils import epath

from mathrl import sharding
from mathrl.programs import convert, generate
from mathrl.records import read_jsonl, write_jsonl
from mathrl.sampling.filters import Sampling

GOLDEN = pathlib.Path(__file__).parents[1] / 'models' / 'golden'
GREEDY = Sampling(temperature=0.0)


@pytest.fixture
def mesh():
    return sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture
def prompts(tmp_path) -> str:
    write_jsonl(tmp_path / 'prompts.jsonl', [{'prompt': one} for one in wanted('llama3')['prompts']])
    return str(tmp_path / 'prompts.jsonl')


def wanted(family) -> dict:
    return json.loads((GOLDEN / family / 'outputs.json').read_text())


def hugging_face(folder, family) -> str:
    shutil.copytree(GOLDEN / family, folder)
    shutil.copytree(GOLDEN / 'tokenizer', folder, dirs_exist_ok=True)
    return str(folder)


def outputs(tmp_path, model, prompts, mesh, **changes) -> list[list[str]]:
    settings = dict(output=str(tmp_path / 'outputs.jsonl'), samples=1, sampling=GREEDY, max_tokens=12) | changes
    generate.run(workdir=epath.Path(tmp_path / 'run'), model=model, prompts=prompts, mesh=mesh, **settings)
    rows = read_jsonl(settings['output'], ('prompt', 'outputs'))
    assert [row['prompt'] for row in rows] == [row['prompt'] for row in read_jsonl(prompts, ('prompt',))]
    assert all(set(row) == {'prompt', 'outputs'} for row in rows)
    return [row['outputs'] for row in rows]


@pytest.mark.parametrize('family', ['deepseek', 'llama3', 'qwen2_tied', 'qwen3'])
def test_greedy_outputs_are_those_of_transformers(family, tmp_path, prompts, mesh):
    model, golden = hugging_face(tmp_path / 'model', family), wanted(family)
    for kind, template in [('chat', True), ('plain', False)]:
        found = outputs(tmp_path, model, prompts, mesh, template=template, batch=3)
        assert found == [[one['text']] for one in golden[kind]]


def test_our_checkpoint_writes_the_same(tmp_path, prompts, mesh):
    source, ours = hugging_face(tmp_path / 'model', 'llama2'), str(tmp_path / 'ours')
    convert.run(workdir=epath.Path(ours), source=source, target=ours, mesh=mesh)
    assert outputs(tmp_path, ours, prompts, mesh) == [[one['text']] for one in wanted('llama2')['chat']]


def test_samples_depend_on_the_seed_and_not_on_the_batch(tmp_path, prompts, mesh):
    model = hugging_face(tmp_path / 'model', 'llama3')
    sampled = dict(samples=3, sampling=Sampling())
    first, other = (outputs(tmp_path, model, prompts, mesh, batch=batch, **sampled) for batch in (1, 64))
    assert first == other and all(len(set(group)) > 1 for group in first)
    assert outputs(tmp_path, model, prompts, mesh, seed=1, **sampled) != first


def test_a_tokenizer_without_a_chat_template_is_told(tmp_path, prompts, mesh, tiny):
    model = hugging_face(tmp_path / 'model', 'llama3')
    (tmp_path / 'model' / 'chat_template.jinja').unlink()
    with pytest.raises(ValueError, match=r'no chat template .*TEMPLATE=False'):
        outputs(tmp_path, model, prompts, mesh)
    with pytest.raises(ValueError, match=r'SentencePiece tokenizer has no chat template'):
        outputs(tmp_path, tiny.model, prompts, mesh)
    assert len(outputs(tmp_path, tiny.model, prompts, mesh, template=False)) == 4


@pytest.mark.parametrize('row, said', [
    ({'problem': 'x'}, "line 2: field 'prompt' is missing"), ({'prompt': 3}, "line 2: field 'prompt' is 3; a text was wanted"),
    ({'prompt': ''}, "line 2: the prompt '' has no tokens")])
def test_a_bad_prompt_names_its_line(row, said, tmp_path, mesh, tiny):
    write_jsonl(tmp_path / 'prompts.jsonl', [{'prompt': '1+1=?'}, row])
    with pytest.raises(ValueError, match=said):
        outputs(tmp_path, tiny.model, str(tmp_path / 'prompts.jsonl'), mesh, template=False)


def test_a_token_that_the_model_lacks_is_told(tmp_path, prompts, mesh):
    model = hugging_face(tmp_path / 'model', 'llama3')
    text = (tmp_path / 'model' / 'tokenizer.json').read_text()
    (tmp_path / 'model' / 'tokenizer.json').write_text(text.replace('"x": 28', '"x": 64'))
    with pytest.raises(ValueError, match='line 2: token 64 of the prompt is past the vocab=64'):
        outputs(tmp_path, model, prompts, mesh, template=False)


def test_any_mesh_writes_the_same(tmp_path, prompts):
    model = hugging_face(tmp_path / 'model', 'llama3')
    found = outputs(tmp_path, model, prompts, sharding.make_mesh(data=2, fsdp=2, tensor=2))
    assert found == [[one['text']] for one in wanted('llama3')['chat']]


@pytest.mark.parametrize('change, said', [({'samples': 0}, 'samples=0'), ({'max_tokens': 0}, 'max_tokens=0')])
def test_wrong_numbers_are_told(change, said, tmp_path, prompts, mesh, tiny):
    with pytest.raises(ValueError, match=said):
        outputs(tmp_path, tiny.model, prompts, mesh, **change)


def test_a_folder_that_is_no_model_is_told(tmp_path, prompts, mesh):
    with pytest.raises(FileNotFoundError, match='is not the folder of a trained model'):
        outputs(tmp_path, str(tmp_path), prompts, mesh)


def test_the_command_line(tmp_path, prompts, repository):
    model, output = hugging_face(tmp_path / 'model', 'qwen3_tied'), tmp_path / 'found' / 'outputs.jsonl'
    command = ['--gin_file=gin/runs/generate.gin', f'--gin.MODEL="{model}"', f'--gin.PROMPTS="{prompts}"',
               f'--gin.OUTPUT="{output}"', '--gin.TEMPERATURE=0.0', '--gin.MAX_TOKENS=12', '--gin.TEMPLATE=False']
    done = subprocess.run([sys.executable, '-m', 'mathrl.main', *command], cwd=repository, capture_output=True, text=True,
                          timeout=300, env={**os.environ, 'XLA_FLAGS': ''})
    assert done.returncode == 0, done.stderr[-2000:]
    found = [row['outputs'] for row in read_jsonl(output, ('outputs',))]
    assert found == [[one['text']] for one in wanted('qwen3_tied')['plain']]
