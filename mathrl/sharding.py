"""Mesh, logical axes and where they lie: the only file that writes a PartitionSpec.

Every axis of every array has a letter (models/llama.py explains them). RULES says on which mesh axes a letter lies, once
for parameters (at rest, always split) and once for activations. Nothing else decides a layout.
"""
from typing import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MESH_AXES = ('data', 'fsdp', 'tensor')
BATCH_AXES = ('data', 'fsdp')

# letter: (mesh axes of a parameter, mesh axes of an activation); a letter that is missing is an error.
RULES = {
    'L': ((), ()),
    'V': (('tensor',), ('tensor',)),
    'D': (('fsdp',), ()),
    'N': (('tensor',), ('tensor',)),
    'K': (('tensor',), ('tensor',)),
    'H': ((), ()),
    'F': (('tensor',), ('tensor',)),
    'B': (None, BATCH_AXES),
    'Q': (None, BATCH_AXES),
    'G': (None, ()),
    'T': (None, ()),
    'S': (None, ()),
}


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """The mesh of a run over all devices (or `devices`); one size may be -1: whatever is left."""
    devices = list(devices if devices is not None else jax.devices())
    sizes = {'data': data, 'fsdp': fsdp, 'tensor': tensor}
    free = [name for name, size in sizes.items() if size == -1]
    known = int(np.prod([size for size in sizes.values() if size != -1]))
    if len(free) > 1 or known < 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise ValueError(f'mesh {_mesh_text(sizes)}: sizes are positive, and at most one of them is -1')
    if free and len(devices) % known == 0:
        sizes[free[0]] = len(devices) // known
    if int(np.prod(list(sizes.values()))) != len(devices):
        raise ValueError(f'mesh {_mesh_text(sizes)} does not fit the {len(devices)} devices that are here')
    shape = tuple(sizes[name] for name in MESH_AXES)
    # Auto must be said: the default became Explicit, which refuses gathers from a sharded vocabulary.
    return jax.make_mesh(shape, MESH_AXES, devices=devices, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _mesh_text(sizes: dict[str, int]) -> str:
    return ' x '.join(f'{name}={size}' for name, size in sizes.items())


def batch_devices(mesh: Mesh) -> int:
    """Over how many devices the batch is cut."""
    return mesh.shape['data'] * mesh.shape['fsdp']


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def parameter_axes(path: str, ndim: int) -> str:
    """Logical axes of a parameter, read off its name: 'layers/q_DNH' -> 'DNH', stacked over layers -> 'LDNH'."""
    suffix = path.rsplit('/', 1)[-1].rsplit('_', 1)[-1]
    axes = suffix if len(suffix) == ndim else 'L' + suffix
    if len(axes) != ndim or any(letter not in RULES for letter in axes):
        raise ValueError(f'parameter {path} with {ndim} axes has no sharding rule: its name must end in its axes, '
                         f'of the letters {"".join(RULES)}')
    return axes


def parameter_shardings(mesh: Mesh, params):
    """A NamedSharding for every leaf of a parameter tree (arrays or shapes); errors name the parameter."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _parameter_sharding(mesh, path_text(path), leaf.shape), params)


def path_text(path) -> str:
    """A jax key path as 'layers/q_DNH'."""
    return '/'.join(str(getattr(key, 'key', getattr(key, 'name', getattr(key, 'idx', key)))) for key in path)


def _parameter_sharding(mesh: Mesh, path: str, shape: tuple[int, ...]) -> NamedSharding:
    axes = parameter_axes(path, len(shape))
    spec, taken = [], set()
    for letter, size in zip(axes, shape):
        names = RULES[letter][0]
        if names is None:
            raise ValueError(f'parameter {path}: axis {letter} is an axis of activations, not of parameters')
        for name in names:
            if name in taken:
                raise ValueError(f'parameter {path}: two of its axes {axes} lie on the mesh axis {name}')
            if size % mesh.shape[name]:
                raise ValueError(f'parameter {path}: axis {letter} of size {size} does not divide over '
                                 f'{name}={mesh.shape[name]}')
            taken.add(name)
        spec.append(names)
    return NamedSharding(mesh, _spec(mesh, spec))


def _spec(mesh, cuts) -> PartitionSpec:
    """The PartitionSpec that cuts each axis over some mesh axes, written as a compiled program writes its results'.

    Mesh axes of size 1 and what is whole at the end are left out: jit would take the same layout for another one.
    """
    parts = [tuple(name for name in names or () if mesh.shape[name] > 1) for names in cuts]
    while parts and not parts[-1]:
        parts.pop()
    return PartitionSpec(*(part[0] if len(part) == 1 else part or None for part in parts))


def tree_shardings(mesh: Mesh, tree, params):
    """Shardings for a tree that holds parameter-shaped leaves (optimizer moments) beside scalars.

    A leaf whose path ends in a parameter's path lies like that parameter; every other leaf is replicated.
    """
    shardings = jax.tree.leaves(parameter_shardings(mesh, params))
    known = {path_text(path): (sharding, leaf.ndim) for (path, leaf), sharding
             in zip(jax.tree_util.tree_flatten_with_path(params)[0], shardings)}

    def find(path, leaf):
        parts = path_text(path).split('/')
        for start in range(len(parts)):
            sharding, ndim = known.get('/'.join(parts[start:]), (None, None))
            if leaf.ndim == ndim:
                return sharding
        return replicated(mesh)
    return jax.tree_util.tree_map_with_path(find, tree)


def constrain(x: jax.Array, axes: str) -> jax.Array:
    """Says where activation x lies, by the letters of its axes; outside any mesh it does nothing.

    Questions take the batch axes if they divide; else questions and outputs are cut together, row by row, so that a
    group may lie on several devices.
    """
    if len(axes) != x.ndim:
        raise ValueError(f'constrain: {axes!r} names {len(axes)} axes of an array of shape {x.shape}')
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    if axes.startswith('QG') and x.shape[0] % batch_devices(mesh):
        rows = x.reshape((-1,) + x.shape[2:])
        return constrain(rows, 'B' + axes[2:]).reshape(x.shape)
    return jax.lax.with_sharding_constraint(x, _activation_spec(mesh, axes, x.shape))


def _activation_spec(mesh, axes: str, shape: tuple[int, ...]) -> PartitionSpec:
    unknown = [letter for letter in axes if letter not in RULES]
    if unknown:
        raise ValueError(f'no sharding rule for axis {unknown[0]} of {axes}; there are {"".join(RULES)}')
    spec = []
    for letter, size in zip(axes, shape):
        names = RULES[letter][1]
        cut = int(np.prod([mesh.shape[name] for name in names])) if names else 1
        spec.append(names if names and size % cut == 0 else None)
    used = [name for names in spec if names for name in names]
    if len(used) != len(set(used)):
        raise ValueError(f'two axes of {axes} lie on one mesh axis')
    return _spec(mesh, spec)


def place(mesh: Mesh, x: np.ndarray, axes: str) -> jax.Array:
    """Puts a host array that every process holds whole onto the mesh, cut by its axes."""
    x = np.asarray(x)
    spec, devices = _activation_spec(mesh, axes, x.shape), batch_devices(mesh)
    if axes.startswith('QG') and x.shape[0] % devices and x.shape[1] % devices == 0:
        spec = _spec(mesh, (None, BATCH_AXES))      # fewer questions than devices: cut the outputs
    return jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec), lambda index: x[index])


def place_named(mesh: Mesh, arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """`place` for arrays whose names end in their axes (tokens_BT)."""
    return {name: place(mesh, x, name.rsplit('_', 1)[-1]) for name, x in arrays.items()}


def map_rows(score: Callable, x_QGT: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays made on the host from the rows that each process holds, laid out as x is.

    score(questions, rows_QGT) is called once for every block of rows in this process (questions: their numbers) and
    returns a tuple of arrays [Q, G, T] of the block's shape.
    """
    found, blocks = {}, []
    for shard in x_QGT.addressable_shards:
        where = tuple((part.start or 0, part.stop) for part in shard.index)
        if where not in found:
            questions = np.arange(x_QGT.shape[0])[shard.index[0]]
            found[where] = score(questions, np.asarray(shard.data))
        blocks.append([jax.device_put(block, shard.device) for block in found[where]])
    return tuple(jax.make_array_from_single_device_arrays(x_QGT.shape, x_QGT.sharding, list(column)) for column in zip(*blocks))


def to_host(x: jax.Array) -> np.ndarray:
    """The whole array, on every process."""
    if x.is_fully_addressable:
        return np.asarray(x)
    from jax.experimental import multihost_utils
    return multihost_utils.process_allgather(x, tiled=True)


def layout_text(where: NamedSharding) -> str:
    """How the mesh cuts an array: 'fsdp, -, tensor', an entry an axis."""
    parts = [(names,) if isinstance(names, str) else names or () for names in where.spec]
    return ', '.join('x'.join(names) or '-' for names in parts) or 'whole'
