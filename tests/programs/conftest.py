"""A random model of 40,000 parameters with its tokenizer, problems and packed rows, for programs run end to end."""
import dataclasses
import pathlib
import types

import jax
import pytest
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.data import packed
from mathrl.data.packing import Counts, Example, pack
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.problems.prompts import Templates, prompt
from mathrl.problems.types import Problem
from mathrl.programs import trained_model
from mathrl.records import write_jsonl
from mathrl.text import tokenizer as tokenizers
from mathrl.text.train_tokenizer import train

ROW = 24


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> types.SimpleNamespace:
    """Paths: tokenizer, problems, heldout, text (packed), solutions (packed), model; config, templates beside them."""
    folder = epath.Path(tmp_path_factory.mktemp('tiny'))
    templates = Templates(en='{problem}\n', zh='{problem}\n')
    problems = [Problem(f'{a}+{b}=?' if a % 2 else f'{a}加{b}=?', str(a + b)) for a in range(1, 6) for b in range(1, 5)]
    solved = [(prompt(problem.problem, templates), f'\\boxed{{{problem.answer}}}') for problem in problems]
    (folder / 'tokenizer.model').write_bytes(train([f'{asked}{answer}' for asked, answer in solved], 275,
                                                   symbols=['\\boxed{'], character_coverage=1.0))
    tokenizer = tokenizers.load(folder)
    write_jsonl(folder / 'problems.jsonl', map(dataclasses.asdict, problems[:16]))
    write_jsonl(folder / 'heldout.jsonl', map(dataclasses.asdict, problems[16:]))
    encoded = [(tokenizer.encode(asked), tokenizer.encode(answer) + [tokenizer.eos_id]) for asked, answer in solved]
    texts = [Example(asked + answer) for asked, answer in encoded]
    solutions = [Example(asked + answer, len(asked)) for asked, answer in encoded]
    config = LlamaConfig(vocab=280, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=32)
    return types.SimpleNamespace(
        folder=folder, tokenizer=str(folder / 'tokenizer.model'), problems=str(folder / 'problems.jsonl'),
        heldout=str(folder / 'heldout.jsonl'), text=_pack(folder / 'text', texts, tokenizer),
        solutions=_pack(folder / 'solutions', solutions, tokenizer), config=config, templates=templates,
        model=_save_random(folder / 'model', config, tokenizer))


def _pack(folder, examples, tokenizer) -> str:
    folder.mkdir()
    counts = Counts()
    files = packed.write_packed(folder, pack(iter(examples), ROW, counts, pad_id=tokenizer.pad_id), ROW)
    packed.write_manifest(folder, {'task': 'tiny', 'row_length': ROW, 'rows': counts.rows, 'tokens': counts.tokens,
                                   'tokenizer_digest': tokenizer.digest, 'files': files})
    return str(folder)


def _save_random(folder, config, tokenizer) -> str:
    folder.mkdir()
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    trained_model.begin(folder, config, tokenizer)
    with Checkpoints(folder / 'checkpoints') as checkpoints:
        checkpoints.save(1, {'params': trained_model.fresh_params(Llama(config), mesh, seed=0)}, {})
    return str(folder)


@pytest.fixture(scope='session')
def compilation_cache(tmp_path_factory) -> pathlib.Path:
    """Shared by the processes that tests start, so that the same run is compiled once."""
    return tmp_path_factory.mktemp('compilation_cache')
