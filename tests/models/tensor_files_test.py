"""Safetensors files as the library writes them, read by rows; and what is no such file."""
import io
import json
import types

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from mathrl.models import tensor_files

ARRAYS = {'a': np.arange(24, dtype=np.float32).reshape(6, 4), 'b': np.arange(5, dtype=np.float16),
          'c': np.linspace(-3, 3, 12).astype(ml_dtypes.bfloat16).reshape(3, 2, 2)}


@pytest.fixture
def path(tmp_path):
    safetensors.numpy.save_file(ARRAYS, tmp_path / 'x.safetensors', metadata={'format': 'pt'})
    return epath.Path(tmp_path / 'x.safetensors')


def check(found):
    assert found.keys() == ARRAYS.keys()
    for name, wanted in ARRAYS.items():
        assert found[name].shape == wanted.shape
        for start, stop in [(0, len(wanted)), (1, 3), (len(wanted) - 1, len(wanted))]:
            rows = tensor_files.read_rows(found[name], start, stop)
            assert rows.dtype == wanted.dtype
            np.testing.assert_array_equal(rows, wanted[start:stop])


def test_rows_are_those_that_the_library_wrote(path):
    check(tensor_files.stored(path))


def test_a_file_need_not_be_on_a_disk(path):
    """Of a path only open and stat are asked, as of gs://."""
    content = path.read_bytes()
    check(tensor_files.stored(types.SimpleNamespace(open=lambda mode: io.BytesIO(content),
                                                    stat=lambda: types.SimpleNamespace(length=len(content)))))


def with_header(header) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + bytes(16)


@pytest.mark.parametrize('content', [b'', b'\x10\0\0\0\0\0\0\0{', b'\xff' * 40, with_header([1]),
                                     with_header({'a': {'dtype': 'F32'}})])
def test_another_file_is_told(content, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='x.safetensors is not a safetensors file'):
        tensor_files.stored(path)


def test_a_file_that_is_not_whole_is_told(path):
    size = len(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f'is cut off: it has {size - 1} bytes, and its header says {size}'):
        tensor_files.stored(path)
    path.write_bytes(with_header({'a': {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [0, 12]}}))
    with pytest.raises(ValueError, match=r'tensor a has not as many bytes as its shape \[2, 2\] wants'):
        tensor_files.stored(path)
