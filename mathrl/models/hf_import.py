"""Safetensors to parameters: tensor by tensor, each device's part read from the file, so that no host holds a model."""
import functools
import json
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from mathrl import sharding
from mathrl.models import hf, tensor_files
from mathrl.models.llama import Llama, LlamaConfig

ONE_FILE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_EMBEDDING = 'model.embed_tokens.weight'


class Checkpoint:
    """The tensors of a Hugging Face folder: which file holds each, its shape and its dtype."""

    def __init__(self, folder: epath.PathLike):
        self._folder, self._stored = epath.Path(folder), {}
        for file in self._files():
            self._stored |= _tensors_of(self._folder / file)
        self.shapes = {name: one.shape for name, one in self._stored.items()}
        for name, one in self._stored.items():
            if one.dtype not in tensor_files.DTYPES:
                raise ValueError(f'{self._folder}: tensor {name} is of type {one.dtype}; '
                                 f'there are: {", ".join(tensor_files.DTYPES)}')

    def _files(self) -> list[str]:
        if (self._folder / INDEX).exists():
            named = _json(self._folder / INDEX).get('weight_map', {})
            return sorted(set(named.values()))
        if (self._folder / ONE_FILE).exists():
            return [ONE_FILE]
        pickles = sorted(path.name for path in self._folder.glob('*.bin'))
        more = f'; {pickles[0]} is a pickle, which is not read: save the model with safe_serialization' if pickles else ''
        raise ValueError(f'{self._folder} holds no {ONE_FILE} and no {INDEX}{more}')

    def dtype(self) -> str:
        """Of the embedding: 'bfloat16'."""
        if _EMBEDDING not in self._stored:
            raise ValueError(f'{self._folder}: tensor {_EMBEDDING} is missing')
        return tensor_files.DTYPES[self._stored[_EMBEDDING].dtype]

    def check(self, wanted: list[hf.Tensor]) -> None:
        """ValueError where a tensor is missing, left over or of another shape; it names the tensor."""
        for tensor in wanted:
            if tensor.name not in self.shapes:
                raise ValueError(f'{self._folder}: tensor {tensor.name} is missing')
            if self.shapes[tensor.name] != tensor.stored_shape:
                raise ValueError(f'{self._folder}: tensor {tensor.name} has shape {list(self.shapes[tensor.name])}; '
                                 f'{list(tensor.stored_shape)} was wanted')
        extra = sorted(set(self.shapes) - {tensor.name for tensor in wanted})
        extra = [name for name in extra if not name.endswith('rotary_emb.inv_freq')]      # a buffer of older files
        if 'lm_head.weight' in extra and not any(tensor.name == 'lm_head.weight' for tensor in wanted):
            self._check_tied()
            extra.remove('lm_head.weight')
        if extra:
            raise ValueError(f'{self._folder}: tensor {extra[0]} belongs to no parameter of the model')

    def _check_tied(self) -> None:
        """Some tied models are stored with their embedding twice."""
        shape = self.shapes[_EMBEDDING]
        same, rows = self.shapes['lm_head.weight'] == shape, max(1, 2 ** 24 // shape[1])
        for start in range(0, shape[0] if same else 0, rows):
            part = start, min(start + rows, shape[0])
            same = same and self.read('lm_head.weight', *part).tobytes() == self.read(_EMBEDDING, *part).tobytes()
        if not same:
            raise ValueError(f'{self._folder}: tensor lm_head.weight is not the embedding, though config.json ties them')

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Some rows of a tensor, in the file's dtype."""
        return tensor_files.read_rows(self._stored[name], start, stop)


def _tensors_of(path: epath.Path) -> dict[str, tensor_files.Stored]:
    if not path.exists():
        raise ValueError(f'{path}: the file is missing, though {INDEX} names it')
    return tensor_files.stored(path)


def _json(path: epath.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error})') from None


def is_hugging_face(folder: epath.PathLike) -> bool:
    return (epath.Path(folder) / 'config.json').exists()


def open_config(folder: epath.PathLike) -> LlamaConfig:
    """The config of a Hugging Face folder; parameters in the file's dtype."""
    path = epath.Path(folder) / 'config.json'
    return hf.config_from(_json(path), str(path), Checkpoint(folder).dtype())


def load(folder: epath.PathLike, model: Llama, mesh) -> dict:
    """The parameters of a Hugging Face folder, cast to the model's param_dtype and laid out on the mesh."""
    checkpoint = Checkpoint(folder)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    layouts = sharding.parameter_shardings(mesh, shapes)
    wanted = list(hf.tensors(model.config, shapes))
    checkpoint.check(wanted)
    params = {'layers': {name: _zeros(leaf, layouts['layers'][name]) for name, leaf in shapes['layers'].items()}}
    for tensor in wanted:
        one = _place(checkpoint, tensor, mesh)
        if tensor.layer is None:
            params[tensor.parameter] = _cast(layouts[tensor.parameter], model.config.param_dtype)(one)
        else:
            put = _put(layouts['layers'][tensor.parameter])
            params['layers'][tensor.parameter] = put(params['layers'][tensor.parameter], one, np.int32(tensor.layer))
        jax.block_until_ready(params)      # else the tensors to come are read while this one waits in memory
    return params


def _place(checkpoint: Checkpoint, tensor: hf.Tensor, mesh) -> jax.Array:
    """One tensor as our parameter's array (a single layer of it), in the file's dtype."""
    layout = sharding.parameter_shardings(mesh, {tensor.parameter: jax.ShapeDtypeStruct(tensor.shape, np.float32)})
    read = functools.cache(functools.partial(checkpoint.read, tensor.name))      # parts that are columns share their rows

    @functools.cache      # devices that hold the same part share it
    def part(*bounds: tuple[int, int]) -> np.ndarray:
        return _own_part(read, tensor, bounds)
    bounds_of = lambda index: [one.indices(size)[:2] for one, size in zip(index, tensor.shape)]
    return jax.make_array_from_callback(tensor.shape, layout[tensor.parameter], lambda index: part(*bounds_of(index)))


def _own_part(read: Callable, tensor: hf.Tensor, bounds: tuple[tuple[int, int], ...]) -> np.ndarray:
    """The part of a parameter within `bounds`, an entry an axis; read(start, stop) gives rows of the stored tensor."""
    size, bound = dict(zip(tensor.letters, tensor.shape)), dict(zip(tensor.letters, bounds))
    groups = tensor.axes.split(',')

    def stored(group: str) -> slice:
        inner = math.prod(size[letter] for letter in group[1:])
        if any(bound[letter] != (0, size[letter]) for letter in group[1:]):
            raise ValueError(f'{tensor.parameter}: axis {group[1:]} is cut by the mesh, behind {group[0]} in {tensor.name}')
        return slice(bound[group[0]][0] * inner, bound[group[0]][1] * inner)
    rows, *columns = [stored(group) for group in groups]
    block = read(rows.start, rows.stop)[(slice(None), *columns)]
    return (hf.transpose(block) if tensor.transposed else block).reshape([end - start for start, end in bounds])


@functools.cache
def _cast(layout, dtype: str):
    return jax.jit(lambda x: x.astype(dtype), out_shardings=layout)


@functools.cache
def _put(layout):
    return jax.jit(lambda stack, one, layer: jax.lax.dynamic_update_index_in_dim(stack, one.astype(stack.dtype), layer, 0),
                   out_shardings=layout, donate_argnums=0)


def _zeros(leaf, layout) -> jax.Array:
    return jax.jit(lambda: jnp.zeros(leaf.shape, leaf.dtype), out_shardings=layout)()
