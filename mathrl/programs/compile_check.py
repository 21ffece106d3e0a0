"""--compile_for: compiles a run's real steps for TPUs that are not here, and says what they take and whether they fit.

  python -m mathrl.main --gin_file=gin/paper/grpo_7b.gin --compile_for=v5p:4x4x4

Nothing is run or written, and no data, tokenizer or checkpoint is read: shapes come from the gin files alone.
"""
import dataclasses
import re
import time
from typing import Callable, NamedTuple

import jax

from mathrl import sharding
from mathrl.models.llama import Llama
from mathrl.programs import trained_model
from mathrl.programs.collectives import Collective, collectives
from mathrl.programs.steps import Step, device_bytes
from mathrl.programs.topologies import Slice, devices
from mathrl.train import flops

GIB = 2 ** 30


class Settings(NamedTuple):
    """What may be changed to make a step fit. times: of the micro-batches that were asked for, or of the parts of sampling."""
    model: Llama
    mesh: jax.sharding.Mesh
    times: int = 1


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled step's account, in bytes of one device: reserved is the sum of arguments, temporaries and program."""
    seconds: float
    temporaries: int
    reserved: int
    most_in_use: int
    collectives: dict[str, Collective]


class DoesNotFit(Exception):
    """needed, available: bytes of one device, as the compiler says."""

    def __init__(self, needed: int, available: int):
        super().__init__(f'{needed / GIB:.2f} of {available / GIB:.2f} GiB')
        self.needed, self.available = needed, available


def run(program: Callable, wanted: Slice) -> None:
    """Compiles the steps of a configured program; raises ValueError, one sentence, where one does not fit."""
    with sharding.compile_for(devices(wanted)):
        program(workdir=None, config='', check=lambda build, model, mesh: check(build, Settings(model, mesh), wanted))


def check(build: Callable[[Llama, jax.sharding.Mesh, int], list[Step]], settings: Settings, wanted: Slice) -> None:
    """Prints the parameters' layout and the account of each of build's steps."""
    print(trained_model.parameter_table(settings.model, settings.mesh), flush=True)
    too_large = []
    for index, step in enumerate(build(*settings)):
        try:
            print(account(step, compile_step(step, settings.mesh), wanted, settings.mesh), flush=True)
        except DoesNotFit as error:
            advice = what_fits(lambda other: build(*other)[index], settings, wanted.slices)
            too_large.append(f"{step.name} does not fit on {wanted}: it wants {error.needed / GIB:.2f} GiB of a device's "
                             f'{error.available / GIB:.2f}; {advice}')
    if too_large:
        raise ValueError('; '.join(too_large) + '.')


def compile_step(step: Step, mesh) -> Compiled:
    """Compiles the function that a run calls, for the mesh's devices."""
    began = time.perf_counter()
    with jax.set_mesh(mesh):
        lowered = step.function.lower(*step.arguments, **step.static)
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            raise _too_large(error) or error from None
    memory = compiled.memory_analysis()
    new_outputs = memory.output_size_in_bytes - memory.alias_size_in_bytes
    reserved = memory.argument_size_in_bytes + new_outputs + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    return Compiled(time.perf_counter() - began, memory.temp_size_in_bytes, reserved, memory.peak_memory_in_bytes,
                    collectives(compiled.as_text(), step.turns))


def _too_large(error: Exception) -> DoesNotFit | None:
    """What the compiler's refusal says of memory; it has two ways to put it. None where the error is another one."""
    size = r'([\d.]+)([KMG])'
    found = (re.search(rf'Used {size} of {size} hbm', str(error))
             or re.search(rf'memory required for .*?\({size}\) exceeds available HBM \({size}\)', str(error)))
    if not found or 'RESOURCE_EXHAUSTED' not in str(error):
        return None
    unit = {'K': 2 ** 10, 'M': 2 ** 20, 'G': 2 ** 30}
    return DoesNotFit(int(float(found[1]) * unit[found[2]]), int(float(found[3]) * unit[found[4]]))


def account(step: Step, compiled: Compiled, wanted: Slice, mesh) -> str:
    """The lines that are printed of a step."""
    parts = {name: device_bytes(tree) for name, tree in step.parts.items()}
    cache = step.cache_bytes / mesh.size
    holding = (f', in which the key-value caches behind the last token are {_size(cache)}' if cache
               else ': activations, gradients')
    rows = [f'  {_size(size):>9}  {name}' for name, size in parts.items()]
    rows.append(f'  {_size(compiled.temporaries):>9}  temporaries{holding}')
    moved = [f'  {kind}: {one.count:,} a step, {_size(one.bytes)} of results a device'
             for kind, one in compiled.collectives.items()]
    peak = flops.peak(mesh.devices.flat[0].device_kind)
    least = f'; at the peak of {wanted} {step.flops / (peak * mesh.size):.2f} s' if peak else ''
    return '\n'.join([
        f'\n{step.name} on {wanted}: {compiled.reserved / GIB:.2f} of {wanted.hbm_bytes / GIB:.2f} GiB a device '
        f'(in use at a time {compiled.most_in_use / GIB:.2f}), compiled in {compiled.seconds:.0f} s', *rows,
        f'  {step.flops:.3e} FLOPs analytically, {step.flops / mesh.size:.3e} a device{least}', *(moved or ['  no collectives'])])


def _size(count: float) -> str:
    return f'{count / GIB:.2f} GiB' if count >= GIB / 10 else f'{count / 2 ** 20:.2f} MiB'


def what_fits(build_step: Callable[[Settings], Step], settings: Settings, slices: int) -> str:
    """Compiles the step with other settings until one fits, and says which."""
    tried = []
    for other in changes(settings, slices):
        try:
            step = build_step(other)
        except ValueError:      # this mesh or so many micro-batches do not divide the model's or the batch's sizes
            continue
        change = words(settings, other, step)
        print(f'{step.name} does not fit; trying {change}', flush=True)
        try:
            found = compile_step(step, other.mesh)
        except DoesNotFit:
            tried.append(change)
            continue
        return f'with {change} it takes {found.reserved / GIB:.2f} GiB'
    return f'nor does it with {", nor with ".join(tried)}' if tried else 'and there was nothing to try'


def words(settings: Settings, other: Settings, step: Step) -> str:
    """What is other, as a user sets it: "fsdp=64 remat='full' micro_batches=16"."""
    found = [f'{name}={size}' for name, size in other.mesh.shape.items() if size != settings.mesh.shape[name]]
    if other.model != settings.model:
        found.append(f"remat='{other.model.config.remat}'")
    if other.times > 1:
        found.append(f'{step.pieces[0]}={step.pieces[1]}')
    return ' '.join(found)


def changes(settings: Settings, slices: int) -> list[Settings]:
    """From the cheapest on: recomputation, all of data's devices to fsdp, both, then smaller pieces, then tensor as well."""
    sizes, all_devices = settings.mesh.shape, list(settings.mesh.devices.flat)
    batch = sizes['data'] * sizes['fsdp']

    def mesh(tensor: int):
        return sharding.make_mesh(slices, batch // slices // tensor, sizes['tensor'] * tensor, devices=all_devices)
    full = Llama(dataclasses.replace(settings.model.config, remat='full'))
    found = [Settings(full, settings.mesh), Settings(settings.model, mesh(1)), Settings(full, mesh(1))]
    found += [Settings(full, mesh(1), times) for times in (2, 4, 8)]
    found += [Settings(full, mesh(tensor), times) for tensor in (4, 8) for times in (1, 4) if batch // slices % tensor == 0]
    distinct = {(other.model, tuple(other.mesh.shape.values()), other.times): other for other in found}
    distinct.pop((settings.model, tuple(sizes.values()), 1), None)
    return list(distinct.values())
