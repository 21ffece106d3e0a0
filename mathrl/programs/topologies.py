"""TPU slices that are not here, as devices to compile for: 'v5p:4x4x4', 'v5e:16x16', two slices 'v5e:16x16:2'.

The compiler comes from libtpu (pip install 'jax[tpu]'); it needs no TPU.
"""
import dataclasses
import importlib.util
import math
import os
import re
from typing import NamedTuple


class Chip(NamedTuple):
    """axes: of the torus. wraps: which sides have links around, given the slice's sides."""
    axes: int
    hbm_gib: float      # of one device; TPU7x shows each chip as two devices
    arguments: dict


# HBM that the compiler gives out, as its refusals say: a little below the data sheets' 32, 16, 95, 32 and 192 GiB a chip.
CHIPS = {
    'v4': Chip(3, 30.75, {'chip_config_name': 'megacore'}),      # two cores as one device, as v5p has by default
    'v5e': Chip(2, 15.75, {}),
    'v5p': Chip(3, 95.74, {}),
    'v6e': Chip(2, 31.25, {}),
    'tpu7x': Chip(3, 94.75, {}),
}
# Read by jax and libtpu when they start: no TPU is looked for, and two compilers may run side by side. O0 skips no pass that
# decides what memory is needed, and compiles about three times faster. The last five keep libtpu from saying that it is on no TPU.
ENVIRONMENT = {
    'JAX_PLATFORMS': 'cpu',
    'TPU_SKIP_MDS_QUERY': '1',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    'JAX_OPTIMIZATION_LEVEL': 'O0',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-16',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'TPU_STDERR_LOG_LEVEL': '3',
    'TPU_MIN_LOG_LEVEL': '3',
    'TF_CPP_MIN_LOG_LEVEL': '2',
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """A TPU slice, or several alike; sides are those of its grid of chips."""
    chip: str
    sides: tuple[int, ...]
    slices: int = 1

    def __str__(self):
        name = f'{self.chip}:{"x".join(map(str, self.sides))}'
        return f'{self.slices} slices of {name}' if self.slices > 1 else name

    @property
    def hbm_bytes(self) -> int:
        return int(CHIPS[self.chip].hbm_gib * 2 ** 30)

    def wrap(self) -> tuple[bool, bool, bool]:
        """Along which sides the torus is closed: v4, v5p, TPU7x along multiples of 4, v5e and v6e in the full 16x16 alone."""
        if CHIPS[self.chip].axes == 3:
            return tuple(side % 4 == 0 for side in self.sides)
        return (self.sides == (16, 16),) * 2 + (False,)


def parse(text: str) -> Slice:
    """'v5p:4x4x4' -> Slice('v5p', (4, 4, 4), 1)."""
    match = re.fullmatch(r'(\w+):(\d+(?:x\d+)*)(?::(\d+))?', text)
    if not match:
        raise ValueError(f"--compile_for={text} names no TPU slice: chip:sides, as in v5p:4x4x4 or v5e:16x16, and with :2 behind "
                         f"it two such slices; chips: {', '.join(CHIPS)}")
    chip, sides, slices = match[1], tuple(map(int, match[2].split('x'))), int(match[3] or 1)
    if chip not in CHIPS:
        raise ValueError(f"--compile_for={text}: unknown chip {chip}; there are: {', '.join(CHIPS)}")
    if len(sides) != CHIPS[chip].axes or min(sides) < 1 or slices < 1:
        raise ValueError(f'--compile_for={text}: a slice of {chip} has {CHIPS[chip].axes} sides of at least 1')
    return Slice(chip, sides, slices)


def set_environment() -> None:
    """To be called before jax is imported."""
    if importlib.util.find_spec('libtpu') is None:
        raise ValueError("--compile_for needs the TPU compiler, which is not installed: pip install 'jax[tpu]'")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ['JAX_PLATFORMS'] = 'cpu'


def devices(wanted: Slice) -> list:
    """The devices of the slice, for a mesh to compile for; nothing can be run on them."""
    import jax
    from jax.experimental import topologies
    arguments = {'wrap': wanted.wrap(), **CHIPS[wanted.chip].arguments}
    if wanted.slices > 1:
        arguments['num_slices'] = wanted.slices
    if any(side % 2 for side in wanted.sides[:2]):      # a host holds 2x2 chips, but for the smallest slices
        arguments['chips_per_host_bounds'] = (1, 1, 1)
    name = f'{wanted.chip}:{"x".join(map(str, wanted.sides))}'
    try:
        found = topologies.get_topology_desc(name, 'tpu', **arguments).devices
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f'the TPU compiler knows no slice {wanted}: {str(error).splitlines()[0]}') from error
    assert math.prod(wanted.sides) * wanted.slices in (len(found), len(found) // 2), 'one or two devices a chip'
    return list(found)
