"""Parameters to safetensors, tensor by tensor, with the config.json beside them: a folder that transformers and vLLM load."""
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from mathrl import sharding
from mathrl.models import hf
from mathrl.models.hf_import import INDEX, ONE_FILE
from mathrl.models.llama import LlamaConfig

DTYPES = {'float32': 'F32', 'bfloat16': 'BF16', 'float16': 'F16'}


def save(folder: epath.PathLike, params: dict, config: LlamaConfig, token_ids: dict, file_bytes: int = 5 * 10 ** 9) -> None:
    """Writes the model in its param_dtype; a file ends where the next tensor would take it past file_bytes.

    token_ids: what config.json says of special tokens, such as eos_token_id. It is written last: a folder without it
    is not whole. Every process calls this, the first one writes.
    """
    if config.param_dtype not in DTYPES:
        raise ValueError(f'param_dtype={config.param_dtype!r} has no place in safetensors; there are: {", ".join(DTYPES)}')
    folder, first = epath.Path(folder), jax.process_index() == 0
    fields = hf.config_to(config, config.param_dtype) | token_ids
    itemsize = jnp.dtype(config.param_dtype).itemsize
    groups = _groups(list(hf.tensors(config, params)), itemsize, file_bytes)
    names = [ONE_FILE] if len(groups) == 1 else [f'model-{place + 1:05}-of-{len(groups):05}.safetensors'
                                                 for place in range(len(groups))]
    for name, group in zip(names, groups):
        _write_file(folder / name if first else None, params, group, config.param_dtype)
    if first:
        if len(groups) > 1:
            index = {'metadata': {'total_size': sum(_bytes(tensor, itemsize) for group in groups for tensor in group)},
                     'weight_map': {tensor.name: name for name, group in zip(names, groups) for tensor in group}}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')
        (folder / 'config.json').write_text(json.dumps(fields, indent=2) + '\n')


def _bytes(tensor: hf.Tensor, itemsize: int) -> int:
    return math.prod(tensor.shape) * itemsize


def _groups(tensors: list[hf.Tensor], itemsize: int, file_bytes: int) -> list[list[hf.Tensor]]:
    groups, size = [[]], 0
    for tensor in tensors:
        if groups[-1] and size + _bytes(tensor, itemsize) > file_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += _bytes(tensor, itemsize)
    return groups


def _write_file(path: epath.Path | None, params: dict, tensors: list[hf.Tensor], dtype: str) -> None:
    """A safetensors file: the header's length (8 bytes, little-endian), a JSON header, the tensors' bytes.

    The library writes only what is in memory as a whole.
    """
    header, end = {'__metadata__': {'format': 'pt'}}, 0
    for tensor in tensors:
        start, end = end, end + _bytes(tensor, jnp.dtype(dtype).itemsize)
        header[tensor.name] = {'dtype': DTYPES[dtype], 'shape': list(tensor.stored_shape), 'data_offsets': [start, end]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    if path is None:
        for tensor in tensors:
            _stored(params, tensor)
        return
    with path.open('wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for tensor in tensors:
            file.write(memoryview(_stored(params, tensor).view(np.uint8).reshape(-1)))


def _stored(params: dict, tensor: hf.Tensor) -> np.ndarray:
    """One tensor as the file has it, on every process."""
    if tensor.layer is None:
        own = sharding.to_host(params[tensor.parameter])
    else:
        own = sharding.to_host(_layer(params['layers'][tensor.parameter], tensor.layer))
    return hf.transpose(own.reshape(tensor.stored_shape[::-1])) if tensor.transposed else np.ascontiguousarray(own)


@jax.jit
def _layer(stack: jax.Array, layer: int) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(stack, layer, 0, keepdims=False)
