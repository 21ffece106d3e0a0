"""Google's names of TPU slices -> chips, hosts, topology, machine type.

A name counts TensorCores for v4, v5p and tpu7x (two a chip) and chips for v5e and v6e: v5p-128 and v5e-64 both hold 64
chips. The shape may stand in place of the number: v5p-4x4x4. From Google's tables of each TPU version and of GKE.
"""

import dataclasses
import difflib
import functools
import itertools
import math
import re

SMALL_3D = ('2x2x1', '2x2x2', '2x2x4', '2x4x4')
ALL_2D = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
LONGEST_SIDE = 244


@dataclasses.dataclass(frozen=True)
class Family:
    """One version of the TPU.

    cores: TensorCores a chip, as names count them. cubes: a large slice is built of up to so many cubes of 4x4x4 chips.
    runtime: the software version that tpu-vm create asks for; '' where TPU VMs are not offered. devices: jax's, a chip.
    """
    name: str
    cores: int
    label: str
    machine: str
    runtime: str
    shapes: tuple[str, ...]
    cubes: int = 0
    devices: int = 1


@dataclasses.dataclass(frozen=True)
class Slice:
    """name: the accelerator type; label: GKE's cloud.google.com/gke-tpu-accelerator; devices: jax's, in all."""
    name: str
    family: str
    topology: str
    chips: int
    hosts: int
    machine: str
    label: str
    runtime: str
    devices: int

    @property
    def chips_per_host(self) -> int:
        return self.chips // self.hosts


FAMILIES = (
    Family('v4', 2, 'tpu-v4-podslice', 'ct4p-hightpu', 'tpu-ubuntu2204-base',
           (*SMALL_3D, '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x12', '8x8x16', '8x16x16')),
    Family('v5litepod', 1, 'tpu-v5-lite-podslice', 'ct5lp-hightpu', 'v2-alpha-tpuv5-lite', ALL_2D),
    Family('v5p', 2, 'tpu-v5p-slice', 'ct5p-hightpu', 'v2-alpha-tpuv5', SMALL_3D, cubes=96),
    Family('v6e', 1, 'tpu-v6e-slice', 'ct6e-standard', 'v2-alpha-tpuv6e', ALL_2D),
    Family('tpu7x', 2, 'tpu7x', 'tpu7x-standard', '', ('1x1x1', *SMALL_3D), cubes=144, devices=2),
)
ALIASES = {'v5e': 'v5litepod', 'v7x': 'tpu7x'}


def find(name: str) -> Slice:
    """'v5p-128' -> Slice('v5p-128', 'v5p', '4x4x4', chips=64, hosts=16, ...); 'v5e-64' -> 'v5litepod-64', 8x8.

    Raises:
        ValueError: no such type, size or topology; says what is nearest.
    """
    family, _, size = name.strip().lower().partition('-')
    family = ALIASES.get(family, family)
    known = {one.name: one for one in FAMILIES}
    if family not in known or not re.fullmatch(r'\d+(x\d+)*', size):
        raise ValueError(f'--tpu={name} is no TPU type{_nearest_type(name)}; a type is a version and a size, as in v5p-128; '
                         f'versions: v4, v5e, v5p, v6e, tpu7x.')
    slices = _slices(known[family])
    if 'x' in size:
        found = next((one for one in slices if one.topology == size), None)
        if found is None:
            raise ValueError(f'--tpu={name}: {family} has no topology {size}{_nearest_topology(slices, size)}.')
        return found
    found = next((one for one in slices if one.name == f'{family}-{size}'), None)
    if found is None:
        raise ValueError(f'--tpu={name}: {family} has no slice of that size; nearest: {_around(slices, size)}.')
    return found


@functools.cache
def _slices(family: Family) -> tuple[Slice, ...]:
    """By size."""
    shapes = [*family.shapes, *(_cubes(count) for count in range(1, family.cubes + 1))]
    found = [_slice(family, shape) for shape in shapes if shape]
    return tuple(sorted(found, key=lambda one: one.chips))


def _slice(family: Family, shape: str) -> Slice:
    chips = math.prod(map(int, shape.split('x')))
    # Eight chips of v5e and v6e are one host; larger slices are of hosts with four.
    per_host = chips if chips < 4 or shape == '2x4' else 4
    return Slice(f'{family.name}-{chips * family.cores}', family.name, shape, chips, chips // per_host,
                 f'{family.machine}-{per_host}t', family.label, family.runtime, chips * family.devices)


def _cubes(count: int) -> str:
    """The shape nearest to a cube of so many 4x4x4 cubes: 6 -> '4x8x12'; '' where a side would be too long."""
    shapes = [(a, b, count // a // b) for a, b in itertools.product(range(1, count + 1), repeat=2)
              if a * a * a <= count and a <= b and count % (a * b) == 0 and b <= count // a // b]
    a, b, c = min(shapes, key=lambda sides: (sides[2], -sides[0]))
    return '' if 4 * c > LONGEST_SIDE else f'{4 * a}x{4 * b}x{4 * c}'


def _nearest_type(name: str) -> str:
    names = [one.name for family in FAMILIES for one in _slices(family)]
    names += [one.name.replace('v5litepod', 'v5e') for one in _slices(FAMILIES[1])]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f'; did you mean {close[0]}' if close else ''


def _nearest_topology(slices, size: str) -> str:
    same = [one for one in slices if sorted(one.topology.split('x')) == sorted(size.split('x'))]
    chips = math.prod(map(int, size.split('x')))
    nearest = same[0] if same else min(slices, key=lambda one: abs(math.log(one.chips / max(chips, 1))))
    return f'; nearest: {nearest.topology}, which is {nearest.name}'


def _around(slices, size: str) -> str:
    count = lambda one: int(one.name.rpartition('-')[2])
    below = [one.name for one in slices if count(one) < int(size)][-1:]
    return ' and '.join(below + [one.name for one in slices if count(one) > int(size)][:1])
