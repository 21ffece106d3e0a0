"""Mesh, logical axes and where they lie: the only file that writes a PartitionSpec.

Every axis of every array has a letter (models/llama.py explains them). RULES says on which mesh axes a letter lies, once
for parameters (at rest, always split) and once for activations. Nothing else decides a layout.
"""
import contextlib
from typing import Callable

import jax
import numpy as np
from jax.experimental import mesh_utils
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
    'M': (None, ()),       # micro-batches
}


_absent_devices: list = []     # set inside compile_for


@contextlib.contextmanager
def compile_for(devices: list):
    """Meshes made inside lie on these devices, which need not be here: what is jitted for them can be compiled, not run."""
    _absent_devices[:] = devices
    try:
        yield
    finally:
        _absent_devices.clear()


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """The mesh of a run over all devices (or `devices`); one size may be -1: whatever is left.

    data alone crosses slices.
    """
    devices = list(devices if devices is not None else _absent_devices or jax.devices())
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
    types = (AxisType.Auto,) * len(MESH_AXES)
    slices = len({getattr(device, 'slice_index', None) for device in devices})     # CPUs and single slices have none
    if sizes['data'] % slices:
        raise ValueError(f'mesh {_mesh_text(sizes)}: data alone crosses slices, and the {slices} slices do not divide it')

    def arranged(**options):
        if slices == 1:
            return mesh_utils.create_device_mesh(shape, devices, **options)
        return mesh_utils.create_hybrid_device_mesh((sizes['data'] // slices, *shape[1:]), (slices, 1, 1), devices, **options)
    try:
        grid = arranged()
    except NotImplementedError:      # a mesh axis of 32 on a torus of 4x4x4: it takes half of a physical axis
        grid = arranged(allow_split_physical_axes=True)
    return Mesh(grid, MESH_AXES, axis_types=types)


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


def constrain_parameter(x: jax.Array, axes: str) -> jax.Array:
    """Says that x (a parameter's gradient, or a slice of one) lies as a parameter with these axes does at rest.

    An axis that does not divide lies whole. Outside any mesh it does nothing.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    cut = lambda letter, size: RULES[letter][0] if size % _devices(mesh, RULES[letter][0]) == 0 else None
    return jax.lax.with_sharding_constraint(x, _spec(mesh, [cut(*pair) for pair in zip(axes, x.shape)]))


def constrain_parameters(tree):
    """`constrain_parameter` for a whole tree of gradients, by the axes that the parameters' names end in."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: constrain_parameter(x, parameter_axes(path_text(path), x.ndim)), tree)


def gather_parameters(params, dtype):
    """The parameters in `dtype`, cut over tensor alone: gathered once, for what reads them many times.

    The barrier keeps the cast in front of the gathering: XLA may put it behind, and send float32 over the links.
    """
    cast = jax.lax.optimization_barrier(jax.tree.map(lambda x: x.astype(dtype), params))
    return jax.tree_util.tree_map_with_path(lambda path, x: constrain(x, parameter_axes(path_text(path), x.ndim)), cast)


def look_up(table_VD: jax.Array, tokens: jax.Array) -> jax.Array:
    """table_VD[tokens], in steps that the partitioner can take: [...] -> [..., D], its rows over all batch devices.

    A parameter lies cut along D over fsdp. Each device looks its part of D up for all rows of its fsdp group, then an all-to-all
    gives each its own rows whole; in one step XLA would gather everything everywhere ("involuntary full rematerialization").
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.shape['fsdp'] == 1 or tokens.size % batch_devices(mesh):
        return table_VD[tokens]
    lie = lambda x, *cuts: jax.lax.with_sharding_constraint(x, _spec(mesh, cuts))
    rows_BD = lie(table_VD[lie(tokens.reshape(-1), ('data',))], ('data',), ('fsdp',))
    return lie(rows_BD, BATCH_AXES).reshape(tokens.shape + table_VD.shape[1:])


def per_device(function: Callable, in_axes: tuple[str, ...], out_axes: str) -> Callable:
    """The function of each device's own pieces of activations with these axes; the result is a piece as well.

    For kernels that the partitioner cannot cut. Outside any mesh it is the function itself.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function

    def mapped(*arrays):
        # Mesh axes of size 1 are named: gradients would be summed over one that is not.
        specs = tuple(PartitionSpec(*_activation_cuts(mesh, axes, x.shape)) for axes, x in zip(in_axes, arrays))
        out = dict(zip(in_axes, specs))[out_axes]      # the result lies as the argument with the same axes does
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)(*arrays)
    return mapped


def batch_shards() -> int:
    """Into how many pieces the mesh in force cuts a batch that divides."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else batch_devices(mesh)


def shards(axes: str, shape: tuple[int, ...]) -> int:
    """Into how many pieces the mesh in force cuts an activation with these axes."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return 1
    return _devices(mesh, [name for names in _activation_cuts(mesh, axes, shape) for name in names or ()])


def _dividing(mesh, letter: str, size: int) -> tuple[str, ...] | None:
    """The mesh axes of an activation's axis; questions too few for all of them are cut over the first alone, others lie whole."""
    names = RULES[letter][1]
    choices = (names, names[:1]) if letter == 'Q' else (names,)
    return next((some for some in choices if some and size % _devices(mesh, some) == 0), None)


def _devices(mesh, names) -> int:
    return int(np.prod([mesh.shape[name] for name in names]))


def _activation_spec(mesh, axes: str, shape: tuple[int, ...]) -> PartitionSpec:
    return _spec(mesh, _activation_cuts(mesh, axes, shape))


def _activation_cuts(mesh, axes: str, shape: tuple[int, ...]) -> list:
    """The mesh axes of each axis; None where its size does not divide."""
    unknown = [letter for letter in axes if letter not in RULES]
    if unknown:
        raise ValueError(f'no sharding rule for axis {unknown[0]} of {axes}; there are {"".join(RULES)}')
    spec = []
    for letter, size in zip(axes, shape):
        spec.append(_dividing(mesh, letter, size))
    used = [name for names in spec if names for name in names]
    if len(used) != len(set(used)):
        raise ValueError(f'two axes of {axes} lie on one mesh axis')
    return spec


def place(mesh: Mesh, x: np.ndarray, axes: str) -> jax.Array:
    """Puts a host array that every process holds whole onto the mesh, cut by its axes."""
    x = np.asarray(x)
    with jax.transfer_guard_host_to_device('allow'):      # which would take it for one that nobody asked for
        return jax.make_array_from_callback(x.shape, placed_sharding(mesh, x.shape, axes), lambda index: x[index])


def placed_sharding(mesh: Mesh, shape: tuple[int, ...], axes: str) -> NamedSharding:
    """How `place` lays out an array. Fewer questions than devices: outputs are cut over the axes that questions leave."""
    cuts = _activation_cuts(mesh, axes, shape)
    if axes.startswith('QG'):
        left = tuple(name for name in BATCH_AXES if name not in (cuts[0] or ()))
        cuts[1] = left if shape[1] % _devices(mesh, left) == 0 else None
    return NamedSharding(mesh, _spec(mesh, cuts))


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
            found[where] = score(questions, jax.device_get(shard.data))
        blocks.append([jax.device_put(block, shard.device) for block in found[where]])
    return tuple(jax.make_array_from_single_device_arrays(x_QGT.shape, x_QGT.sharding, list(column)) for column in zip(*blocks))


def local_questions(mesh: Mesh, shape: tuple[int, int, int]) -> set[int]:
    """The questions of a placed array [Q, G, T] of which this process holds rows."""
    found = placed_sharding(mesh, shape, 'QGT').addressable_devices_indices_map(shape).values()
    return {question for index in found for question in range(*index[0].indices(shape[0]))}


def to_host(x: jax.Array) -> np.ndarray:
    """The whole array, on every process."""
    if x.is_fully_addressable:
        return jax.device_get(x)
    from jax.experimental import multihost_utils
    with jax.transfer_guard('allow'):      # it hands its arrays over implicitly
        return multihost_utils.process_allgather(x, tiled=True)


def layout_text(where: NamedSharding) -> str:
    """How the mesh cuts an array: 'fsdp, -, tensor', an entry an axis."""
    parts = [(names,) if isinstance(names, str) else names or () for names in where.spec]
    return ', '.join('x'.join(names) or '-' for names in parts) or 'whole'
