"""Checkpoints by Orbax: several trees a step, saved behind the run's back, each leaf with a digest checked on restore.

Orbax writes a step under a temporary name and renames it when it is whole, so a kill at any moment leaves the last whole
step; it does not notice a flipped bit, hence the digests. They are computed on device and do not depend on the layout.
"""
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from mathrl.sharding import path_text


class Checkpoints:
    """The checkpoints of one folder: folder/<step>/<item>; `keep` steps stay, None keeps all."""

    def __init__(self, folder: epath.PathLike, keep: int | None = 2):
        self._folder = epath.Path(folder).resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True))

    def save(self, step: int, trees: dict[str, Any], meta: dict) -> None:
        """Starts saving the trees of arrays, with `meta` (JSON values) beside them; returns before they are written."""
        if step in self._manager.all_steps():
            return
        digests = {name: tree_digests(tree) for name, tree in trees.items()}
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        self._manager.save(step, args=ocp.args.Composite(meta=ocp.args.JsonSave({**meta, 'digests': digests}), **items))

    def latest(self) -> int | None:
        """The last whole step, None where there is none."""
        return self._manager.latest_step()

    def meta(self, step: int) -> dict:
        """What was saved beside the trees, with their digests."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))['meta']

    def restore(self, step: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """The trees of a step, laid out as `wanted` says (ShapeDtypeStructs with shardings), each leaf's digest checked."""
        where, steps = f'checkpoint {self._folder / str(step)}', f'steps here: {self._manager.all_steps()}'
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()})
        try:
            digests = self.meta(step)['digests']
            _refuse_other_leaves(self._folder / str(step), wanted, list(digests))
            trees = dict(self._manager.restore(step, args=args))
        except Exception as error:      # TensorStore's reading errors come as bare Exceptions of many lines
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f'{where} cannot be restored ({", ".join(wanted)}): {reason}; {steps}') from error
        for name, tree in trees.items():
            broken = [leaf for leaf, digest in tree_digests(tree).items() if digests[name][leaf] != digest]
            if broken:
                raise ValueError(f'{where}: {name}/{broken[0]} is not what was saved (its digest differs, '
                                 f'{len(broken)} of {len(digests[name])} leaves do); {steps}')
        return trees

    def close(self) -> None:
        """Waits for what is still being written."""
        self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> 'Checkpoints':
        return self

    def __exit__(self, *unused) -> None:
        self.close()


def tree_digests(tree) -> dict[str, int]:
    """A 32-bit digest per leaf, by its path; equal for equal bits on any mesh, whatever number of processes."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    values = jax.device_get([_digest(leaf) for _, leaf in leaves])
    return {path_text(path): int(value) for (path, _), value in zip(leaves, values)}


@jax.jit
def _digest(x: jax.Array) -> jax.Array:
    """Sum over the elements of a mix of bits and global index; integer sums do not depend on their order."""
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
    if x.dtype == bool or x.dtype.itemsize not in unsigned:
        x = x.astype(jnp.float32)      # no such leaf holds more than 32 bits without jax_enable_x64
    bits = jax.lax.bitcast_convert_type(x, unsigned[x.dtype.itemsize]).astype(jnp.uint32)
    index = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):      # the flat index, without a reshape that would gather a sharded array
        index = index * np.uint32(size % 2**32) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    mixed = (bits ^ (index * np.uint32(0x9E3779B1))) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(0xC2B2AE35)
    return jnp.sum(mixed ^ (mixed >> 16), dtype=jnp.uint32)


def _refuse_other_leaves(folder: epath.Path, wanted: dict[str, Any], saved: list[str]) -> None:
    """Raises where a wanted tree was not saved, or with other leaves; Orbax's own words do not name the leaf."""
    for name, tree in wanted.items():
        if name not in saved:
            raise ValueError(f'{name} was not saved; there are: {", ".join(saved)}')
        want, have = _leaf_shapes(tree), _leaf_shapes(ocp.StandardCheckpointHandler().metadata(folder / name).tree)
        for leaf in sorted({*want, *have}):
            if want.get(leaf) != have.get(leaf):
                raise ValueError(f'{name}/{leaf} is wanted as {want.get(leaf, "nothing")} '
                                 f'and was saved as {have.get(leaf, "nothing")}')


def _leaf_shapes(tree) -> dict[str, str]:
    """'float32[8, 16]' per leaf, by its path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_text(path): f'{leaf.dtype}{list(leaf.shape)}' for path, leaf in leaves}


def shapes_like(tree) -> Any:
    """ShapeDtypeStructs, with shardings, of a tree of arrays: what `restore` wants."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
