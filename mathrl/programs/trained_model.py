"""The folder of a trained model, as the programs share it: model.json, the tokenizer, checkpoints/<step>/params.

'runs/sft' is its last checkpoint, 'runs/sft@best' the best (loop.Schedule.best), 'runs/sft@1200' that step. Where a
program only reads a model, a Hugging Face folder may stand in its place (open_readable).
"""
import dataclasses
import hashlib
import json
import re
from typing import Any, Callable

import jax
from etils import epath

from mathrl import sharding
from mathrl.checkpoint import Checkpoints
from mathrl.models import hf_import
from mathrl.models.llama import Llama, LlamaConfig, config_from_json
from mathrl.text import tokenizer as tokenizers
from mathrl.train.state import create

REWARD_FILE = 'reward_model.json'      # what a reward model's folder has besides, see trained_reward.py


def begin(workdir: epath.Path, config: LlamaConfig, tokenizer) -> None:
    """Makes workdir a model's folder, before its first checkpoint."""
    if jax.process_index() == 0:
        (workdir / 'model.json').write_text(json.dumps(dataclasses.asdict(config), indent=1) + '\n')
        tokenizer.save(workdir)


def open_config(folder: str, macro: str = 'MODEL') -> tuple[LlamaConfig, object]:
    """(config, tokenizer) of a model's folder."""
    path = without_step(folder) / 'model.json'
    if not path.exists():
        more = '; gin/runs/convert.gin makes one of a Hugging Face folder' if hf_import.is_hugging_face(folder) else ''
        raise FileNotFoundError(f'{macro}={folder!r} is not the folder of a trained model: it has no model.json{more}')
    if (path.parent / REWARD_FILE).exists():
        raise ValueError(f'{macro}={folder!r} is the folder of a reward model; that of a language model was wanted')
    return config_from_json(json.loads(path.read_text())), tokenizers.load(path.parent)


def open_readable(folder: str) -> tuple[LlamaConfig, object, Callable[[Llama, Any], dict]]:
    """(config, tokenizer, open(model, mesh) -> parameters) of a model's folder, ours or Hugging Face's.

    The latter's parameters keep the dtype of its files.
    """
    if (without_step(folder) / 'model.json').exists() or not hf_import.is_hugging_face(folder):
        return *open_config(folder), lambda model, mesh: open_params(folder, model, mesh)
    tokenizer = tokenizers.load(folder)
    return hf_import.open_config(folder), tokenizer, lambda model, mesh: hf_import.load(folder, model, mesh)


def parameter_shapes(model: Llama, mesh) -> dict:
    """The parameters as ShapeDtypeStructs with their shardings."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes,
                        sharding.parameter_shardings(mesh, shapes))


def open_params(folder: str, model: Llama, mesh) -> dict:
    """The parameters of a folder's last checkpoint, or of the one behind '@', laid out on the mesh, in the model's dtype."""
    path = without_step(folder)
    with _checkpoints(folder) as checkpoints:
        step = _chosen_step(checkpoints, folder)
        saved_dtype = config_from_json(json.loads((path / 'model.json').read_text())).param_dtype
        cast = lambda x, dtype: jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)
        shapes = parameter_shapes(model, mesh)
        params = checkpoints.restore(step, {'params': jax.tree.map(lambda x: cast(x, saved_dtype), shapes)})['params']
        return jax.tree.map(lambda x, wanted: x.astype(wanted.dtype), params, shapes)


def params_digest(folder: str) -> str:
    """Of the parameters that open_params would give."""
    with _checkpoints(folder) as checkpoints:
        digests = checkpoints.meta(_chosen_step(checkpoints, folder))['digests']['params']
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _checkpoints(folder: str) -> Checkpoints:
    return Checkpoints(without_step(folder) / 'checkpoints', keep=None, best=bool(_STEP.search(folder)))


def _chosen_step(checkpoints: Checkpoints, folder: str) -> int:
    step, wanted = checkpoints.latest(), _STEP.search(folder)
    if step is None:
        raise FileNotFoundError(f'{without_step(folder)} holds no whole checkpoint yet')
    if wanted:
        step = checkpoints.best() if wanted[1] == 'best' else int(wanted[1])
    if step is None:
        raise FileNotFoundError(f'{folder}: none of its checkpoints was measured; loop.Schedule.best says by what')
    return step


_STEP = re.compile(r'@(best|\d+)$')


def without_step(folder: str) -> epath.Path:
    """'runs/sft@best' -> runs/sft"""
    return epath.Path(_STEP.sub('', folder))


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
