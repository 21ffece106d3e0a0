"""The folder of a trained model, as the programs share it: model.json, the tokenizer, checkpoints/<step>/params.

Where a program only reads a model, a Hugging Face folder may stand in its place (open_readable).
"""
import dataclasses
import json
from typing import Any, Callable

import jax
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.models import hf_import
from mathrl.models.llama import Llama, LlamaConfig, config_from_json
from mathrl.text import tokenizer as tokenizers
from mathrl.train.state import create


def begin(workdir: epath.Path, config: LlamaConfig, tokenizer) -> None:
    """Makes workdir a model's folder, before its first checkpoint."""
    if jax.process_index() == 0:
        (workdir / 'model.json').write_text(json.dumps(dataclasses.asdict(config), indent=1) + '\n')
        tokenizer.save(workdir)


def open_config(folder: str) -> tuple[LlamaConfig, object]:
    """(config, tokenizer) of a model's folder."""
    path = epath.Path(folder) / 'model.json'
    if not path.exists():
        more = '; gin/runs/convert.gin makes one of a Hugging Face folder' if hf_import.is_hugging_face(folder) else ''
        raise FileNotFoundError(f'MODEL={folder!r} is not the folder of a trained model: it has no model.json{more}')
    return config_from_json(json.loads(path.read_text())), tokenizers.load(folder)


def open_readable(folder: str) -> tuple[LlamaConfig, object, Callable[[Llama, Any], dict]]:
    """(config, tokenizer, open(model, mesh) -> parameters) of a model's folder, ours or Hugging Face's.

    The latter's parameters keep the dtype of its files.
    """
    path = epath.Path(folder)
    if (path / 'model.json').exists() or not hf_import.is_hugging_face(folder):
        return *open_config(folder), lambda model, mesh: open_params(folder, model, mesh)
    tokenizer = tokenizers.load(folder)
    return hf_import.open_config(folder), tokenizer, lambda model, mesh: hf_import.load(folder, model, mesh)


def parameter_shapes(model: Llama, mesh) -> dict:
    """The parameters as ShapeDtypeStructs with their shardings."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes,
                        sharding.parameter_shardings(mesh, shapes))


def open_params(folder: str, model: Llama, mesh) -> dict:
    """The parameters of a folder's last checkpoint, laid out on the mesh."""
    with Checkpoints(epath.Path(folder) / 'checkpoints') as checkpoints:
        step = checkpoints.latest()
        if step is None:
            raise FileNotFoundError(f'{folder} holds no whole checkpoint yet')
        return checkpoints.restore(step, {'params': parameter_shapes(model, mesh)})['params']


def fresh_params(model: Llama, mesh, seed: int) -> dict:
    """Random parameters, made where they will lie."""
    shardings = jax.tree.map(lambda x: x.sharding, parameter_shapes(model, mesh))
    return jax.jit(model.init, out_shardings=shardings)(jax.random.key(seed))


def fresh_state(params, optimizer, mesh):
    """The train state before the first update, its moments laid out like the parameters."""
    shapes = jax.eval_shape(lambda params: create(params, optimizer), params)
    shardings = sharding.tree_shardings(mesh, shapes, params)
    return jax.jit(lambda params: create(params, optimizer), out_shardings=shardings, donate_argnums=0)(params)


def parameter_table(model: Llama, mesh) -> str:
    """A line a parameter: name, shape, how the mesh cuts it; and their number."""
    shapes = parameter_shapes(model, mesh)
    rows = [(sharding.path_text(path), f'{leaf.dtype}{list(leaf.shape)}', sharding.layout_text(leaf.sharding))
            for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f'{name:{widths[0]}}  {shape:{widths[1]}}  {layout}' for name, shape, layout in rows]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    mesh_text = ' x '.join(f'{name}={size}' for name, size in mesh.shape.items())
    return '\n'.join(lines + [f'{count:,} parameters on mesh {mesh_text}'])
