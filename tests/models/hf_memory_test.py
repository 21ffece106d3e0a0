"""Importing a checkpoint takes the memory of its parameters and of a tensor or two, not of a second model."""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

LAYERS, WIDTH, MLP = 16, 256, 4096
TENSOR = WIDTH * MLP * 4
# Loads the folder in a process of its own and prints the bytes that the parameters take, and by how much the peak exceeded them.
MEASURE = """
import sys
import jax
from mathrl import sharding
from mathrl.models import hf_import
from mathrl.models.llama import Llama

def memory(name):
    with open('/proc/self/status') as file:
        return 1024 * int(next(line for line in file if line.startswith(name)).split()[1])

mesh = sharding.make_mesh(data=1, fsdp=-1)
for folder in sys.argv[1:]:      # the first is small: libraries load, memory for compiling is taken
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')          # the peak starts again from here
    before = memory('VmRSS')
    params = hf_import.load(folder, Llama(hf_import.open_config(folder)), mesh)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    print(size, memory('VmHWM') - before - size)
"""


def write(folder, layers, width, mlp):
    """A checkpoint of one file, all of it ones."""
    folder.mkdir()
    fields = dict(model_type='llama', vocab_size=64, hidden_size=width, num_hidden_layers=layers, intermediate_size=mlp,
                  num_attention_heads=4)
    (folder / 'config.json').write_text(json.dumps(fields))
    square, wide, norm = np.ones((width, width), np.float32), np.ones((mlp, width), np.float32), np.ones(width, np.float32)
    tensors = {'model.embed_tokens.weight': np.ones((64, width), np.float32), 'model.norm.weight': norm,
               'lm_head.weight': np.ones((64, width), np.float32)}
    for layer in range(layers):
        own = {f'self_attn.{name}_proj.weight': square for name in 'qkvo'}
        own |= {'mlp.gate_proj.weight': wide, 'mlp.up_proj.weight': wide, 'mlp.down_proj.weight': wide.T.copy(),
                'input_layernorm.weight': norm, 'post_attention_layernorm.weight': norm}
        tensors |= {f'model.layers.{layer}.{name}': x for name, x in own.items()}
    safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
    return str(folder)


@pytest.mark.skipif(not pathlib.Path('/proc/self/clear_refs').exists(), reason='the peak is read from /proc')
@pytest.mark.parametrize('devices', [1, 4])
def test_the_peak_of_an_import_stays_near_one_tensor(devices, tmp_path, repository):
    # The same number of layers, so that the same programs are compiled; only sizes differ.
    folders = [write(tmp_path / 'small', LAYERS, 32, 64), write(tmp_path / 'large', LAYERS, WIDTH, MLP)]
    env = {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}', 'PATH': '/usr/bin',
           'MALLOC_MMAP_THRESHOLD_': '1000000', 'MALLOC_TRIM_THRESHOLD_': '1000000'}      # what is freed leaves the process
    done = subprocess.run([sys.executable, '-c', MEASURE, *folders], cwd=repository, env=env, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    size, over = map(int, done.stdout.splitlines()[-1].split())
    print(f'{devices} devices: parameters of {size / TENSOR:.0f} largest tensors; peak {over / TENSOR:.1f} tensors above them')
    assert size > 50 * TENSOR
    assert over < 10 * TENSOR
