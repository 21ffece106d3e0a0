"""Safetensors files read by rows, from wherever epath opens files (a disk, gs://); the library maps local ones alone.

A file is the length of its header (8 bytes, little-endian), the header (JSON: {tensor: dtype, shape, data_offsets}), and
the tensors' bytes.
"""
import json
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from etils import epath

DTYPES = {'F32': 'float32', 'BF16': 'bfloat16', 'F16': 'float16'}
_HEADER_BYTES = 100 * 2 ** 20      # the largest header that the library takes


class Stored(NamedTuple):
    """Where a tensor lies: start is the first of its bytes in the file. dtype as the file has it: 'BF16'."""
    file: epath.Path
    dtype: str
    shape: tuple[int, ...]
    start: int


def stored(path: epath.Path) -> dict[str, Stored]:
    """The tensors of a file by name. ValueError where it is no safetensors file, or not whole."""
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        text = file.read(length) if 2 <= length <= _HEADER_BYTES else b''
    try:
        header = json.loads(text)
        header.pop('__metadata__', None)
        found = {name: Stored(path, one['dtype'], tuple(one['shape']), 8 + length + one['data_offsets'][0])
                 for name, one in header.items()}
        ends = {name: 8 + length + one['data_offsets'][1] for name, one in header.items()}
        wrong = [name for name, one in found.items() if one.dtype in DTYPES and ends[name] - one.start != _bytes(one)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f'{path} is not a safetensors file') from None
    if wrong:
        raise ValueError(f'{path}: tensor {wrong[0]} has not as many bytes as its shape {list(found[wrong[0]].shape)} wants')
    end = max(ends.values(), default=0)
    if path.stat().length < end:
        raise ValueError(f'{path} is cut off: it has {path.stat().length} bytes, and its header says {end}')
    return found


def _bytes(tensor: Stored) -> int:
    return math.prod(tensor.shape) * jnp.dtype(DTYPES[tensor.dtype]).itemsize


def read_rows(tensor: Stored, start: int, stop: int) -> np.ndarray:
    """tensor[start:stop], in the file's dtype."""
    dtype = jnp.dtype(DTYPES[tensor.dtype])
    row = math.prod(tensor.shape[1:]) * dtype.itemsize
    with tensor.file.open('rb') as file:
        file.seek(tensor.start + start * row)
        content = file.read((stop - start) * row)
    return np.frombuffer(content, dtype).reshape((stop - start,) + tensor.shape[1:])
