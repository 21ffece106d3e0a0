"""--compile_for: small models through the TPU compiler, a slice of each family; what does not fit is told, and what would."""
import importlib.util
import os
import re
import subprocess
import sys

import jax
import pytest

from mathrl import sharding
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.programs import compile_check, steps, topologies
from mathrl.programs.compile_check import Compiled, DoesNotFit, Settings, changes
from mathrl.rl import coefficients
from mathrl.rl.types import Algorithm
from mathrl.sampling.filters import Sampling
from mathrl.sampling.groups import Decoding
from mathrl.train import optim

TINY = ['--gin_file=gin/models/tiny.gin', '--gin.FSDP=2']
PRETRAIN = ['--gin_file=gin/runs/pretrain.gin', *TINY, '--gin.BATCH=32', '--gin.MICRO_BATCHES=2', '--gin.pretrain.run.row_length=64']
RL = ['--gin_file=gin/runs/rl.gin', *TINY, '--gin.rl.run.architecture=@llama.LlamaConfig()', '--gin.QUESTIONS=4',
      '--gin.GROUP_SIZE=8', '--gin.MAX_TOKENS=16', '--gin.MICRO_BATCHES=2', '--gin.rl.run.prompt_tokens=16']
needs_compiler = pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason="needs the TPU compiler: pip install 'jax[tpu]'")


def run_main(repository, *arguments) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ('XLA_FLAGS', 'JAX_PLATFORMS')}
    return subprocess.run([sys.executable, '-m', 'mathrl.main', *arguments], cwd=repository, env=environment, capture_output=True,
                          text=True, timeout=600, stdin=subprocess.DEVNULL)


def memory_of(text: str, step: str) -> tuple[float, float]:
    found = re.search(rf'^{step} on .*?: ([\d.]+) of ([\d.]+) GiB a device', text, re.MULTILINE)
    assert found, text
    return float(found[1]), float(found[2])


@needs_compiler
def test_pretraining_compiles_for_v5e_without_data(repository):
    result = run_main(repository, *PRETRAIN, '--compile_for=v5e:2x2')
    assert result.returncode == 0, result.stderr
    used, room = memory_of(result.stdout, 'train_step')
    assert 0 < used < room == 15.75
    assert '922,752 parameters on mesh data=2 x fsdp=2 x tensor=1' in result.stdout
    assert re.search(r'^  all-gather: \d+ a step, [\d.]+ MiB', result.stdout, re.MULTILINE)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize('wanted, room', [('v4:2x2x1', 30.75), ('v5e:2x4', 15.75), ('v5p:2x2x2', 95.74), ('v6e:2x2', 31.25),
                                          ('tpu7x:2x2x1', 94.75), ('v5e:2x2:2', 15.75)])
def test_rl_compiles_for_every_family_and_for_two_slices(repository, wanted, room):
    result = run_main(repository, *RL, f'--compile_for={wanted}')
    assert result.returncode == 0, result.stderr
    for step in ('policy_step', 'begin', 'decode'):
        used, of = memory_of(result.stdout, step)
        assert 0 < used < of == room
    assert 'key-value caches behind the last token' in result.stdout


@needs_compiler
@pytest.mark.slow
def test_the_compilers_refusal_is_understood_and_what_fits_was_compiled(repository):
    """10 B parameters whole on every chip do not fit; cut over four of v5p they do."""
    large = ['--gin.FSDP=1', '--gin.llama.LlamaConfig.width=4096', '--gin.llama.LlamaConfig.mlp_width=16384',
             '--gin.llama.LlamaConfig.layers=48', '--gin.llama.LlamaConfig.dtype="bfloat16"']
    result = run_main(repository, *PRETRAIN, *large, '--compile_for=v5p:2x2x1')
    assert result.returncode == 2
    said = result.stderr.strip().splitlines()[-1]
    assert re.search(r"train_step does not fit on v5p:2x2x1: it wants [\d.]+ GiB of a device's 95.74; with .*fsdp=4.* it takes", said)


@pytest.mark.parametrize('arguments, said', [
    ((*PRETRAIN, '--compile_for=v5p'), 'names no TPU slice'),
    ((*PRETRAIN, '--compile_for=v5e:2x2', '--gin.FSDP=3'), 'does not fit the 4 devices'),
    (('--gin_file=gin/runs/report.gin', '--compile_for=v5e:2x2'), '@report.run has no step to compile; @pretrain.run, @sft.run and @rl.run'),
    (('--gin_file=gin/runs/rl.gin', '--gin.rl.run.prompt_tokens=8', '--compile_for=v5e:2x2'), "without the model 'not set' its sizes")])
def test_what_cannot_be_compiled_is_one_sentence(repository, arguments, said):
    if importlib.util.find_spec('libtpu') is None:
        said = r"pip install 'jax\[tpu\]'" if 'names' not in said else said
    result = run_main(repository, *arguments)
    assert result.returncode == 2 and re.search(said, result.stderr), result.stderr
    assert result.stdout == ''


# ---- what is compiled, and the search, on CPU devices

MODEL = Llama(LlamaConfig(vocab=64, width=16, layers=2, heads=4, kv_heads=4, head_dim=4, mlp_width=16))


def tiny_steps(model, mesh, times):
    shared = dict(micro_batches=2 * times, logits_mib=1.0)
    optimizer = optim.adamw(optim.constant(1e-3))
    return steps.language_model(model, mesh, optimizer, batch=32, row_length=8, **shared) + steps.policy(
        model, mesh, optimizer, Algorithm('policy', None, coefficients.grpo()), sampling=Sampling(),
        questions=4, group_size=8, prompt_tokens=8, max_tokens=8, decoding=Decoding(rows=16),
        reference_dtype='bfloat16', **shared)


def test_parts_are_what_a_device_holds():
    mesh = sharding.make_mesh(2, 2, 2)
    update, policy, *_ = tiny_steps(MODEL, mesh, 1)
    parameters = steps.device_bytes(policy.parts['parameters'])
    count = sum(leaf.size for leaf in jax.tree.leaves(policy.parts['parameters']))
    assert count < parameters < 1.1 * count      # 4 bytes each, a quarter on each device; norm scales are cut in two
    assert steps.device_bytes(policy.parts['optimizer']) == 2 * parameters + 8      # two moments, two counts
    assert steps.device_bytes(policy.parts['reference']) == parameters / 2
    assert steps.device_bytes(update.parts['batch']) == 32 * 8 * 4 * 5 / 4


def test_the_account_of_a_step_compiled_for_cpus(capsys):
    mesh = sharding.make_mesh(1, 8, 1)
    compile_check.check(lambda *settings: tiny_steps(*settings)[:1], Settings(MODEL, mesh), topologies.Slice('v5e', (2, 4)))
    said = capsys.readouterr().out
    assert 'unembed_DV' in said and 'train_step on v5e:2x4' in said and 'FLOPs analytically' in said and 'all-gather' in said


def test_steps_take_the_arguments_that_they_say():
    mesh = sharding.make_mesh(2, 2, 2)
    with jax.set_mesh(mesh):
        for step in tiny_steps(MODEL, mesh, 1):
            assert step.function.lower(*step.arguments, **step.static).as_text().startswith('module @jit_'), step.name


def test_what_was_tried_is_told(monkeypatch, capsys):
    """A step that fits with fsdp over everything and four times as many micro-batches, and no earlier."""
    mesh, compiled = sharding.make_mesh(8, 1, 1), []

    def compile_step(step, mesh):
        compiled.append((mesh.shape['fsdp'], step.static['model'].config.remat, step.static['micro_batches']))
        if mesh.shape['fsdp'] == 8 and step.static['micro_batches'] == 4:
            return Compiled(1.0, 0, 3 * 2 ** 30, 0, {})
        raise DoesNotFit(20 * 2 ** 30, 16 * 2 ** 30)
    monkeypatch.setattr(compile_check, 'compile_step', compile_step)
    with pytest.raises(ValueError) as caught:
        compile_check.check(lambda *settings: tiny_steps(*settings)[:1], Settings(MODEL, mesh), topologies.Slice('v5e', (2, 4)))
    assert str(caught.value) == ("train_step does not fit on v5e:2x4: it wants 20.00 GiB of a device's 16.00; with data=1 fsdp=8 "
                                 "remat='full' micro_batches=4 it takes 3.00 GiB.")
    assert compiled == [(1, '', 2), (1, 'full', 2), (8, '', 2), (8, 'full', 2), (8, 'full', 4)]


def test_slices_keep_their_share_of_data():
    mesh = sharding.make_mesh(4, 2, 1)
    found = changes(Settings(MODEL, mesh), slices=2)
    assert {other.mesh.shape['data'] for other in found} == {2, 4}
    assert (MODEL, mesh) not in [(other.model, other.mesh) for other in found if other.times == 1]


@pytest.mark.parametrize('text, wanted', [
    ('RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded', (20.5, 15.75)),
    ('RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (768.00G) exceeds available HBM (30.75G).', (768, 30.75)),
    ('INVALID_ARGUMENT: Used 1.00G of 2.00G hbm', None), ('RESOURCE_EXHAUSTED: vmem', None)])
def test_refusals_of_the_compiler_are_read(text, wanted):
    found = compile_check._too_large(RuntimeError(text))
    assert (found and (found.needed / 2 ** 30, found.available / 2 ** 30)) == wanted
