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
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from mathrl.sharding import layout_text, path_text


class Checkpoints:
    """The checkpoints of one folder: folder/<step>/<item>; the last `keep` stay (None: all), and with `best` the best one."""

    def __init__(self, folder: epath.PathLike, keep: int | None = 2, best: bool = False):
        self._folder = epath.Path(folder).resolve()
        kept = [LatestN(keep), *([BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False)] if best else [])]
        self._manager = ocp.CheckpointManager(self._folder, options=ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy(kept), best_fn=_score if best else None,
            enable_async_checkpointing=True, cleanup_tmp_directories=True))

    def save(self, step: int, trees: dict[str, Any], meta: dict, score: float | None = None) -> None:
        """Starts saving the trees of arrays, with `meta` (JSON values) beside them; returns before they are written.

        score: the higher the better (None: it was not measured).

        Raises:
            OSError: the save before this one failed; it is not there, and nothing was started.
        """
        self.wait()
        if step in self._manager.all_steps():
            return
        about = {**meta, 'digests': {name: tree_digests(tree) for name, tree in trees.items()},
                 'layout': {name: _layout(tree) for name, tree in trees.items()}, 'processes': jax.process_count()}
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        # force: else Orbax would pass over a step below another one that is there.
        self._manager.save(step, args=ocp.args.Composite(meta=ocp.args.JsonSave(about), **items), force=True,
                           metrics=None if score is None else {'score': score})

    def wait(self) -> None:
        """Until what is being saved is there. OSError: it could not be."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:      # whatever the file system or TensorStore say
            raise OSError(f'a checkpoint in {self._folder} could not be saved: {_reason(error)}; steps here: '
                          f'{self._manager.all_steps()}') from error

    def latest(self) -> int | None:
        """The last whole step, None where there is none."""
        return self._manager.latest_step()

    def meta(self, step: int) -> dict:
        """What was saved beside the trees, with their digests."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))['meta']

    def best(self) -> int | None:
        """The whole step with the highest score, None where none has one; of Checkpoints(..., best=True)."""
        return self._manager.best_step()

    def restore(self, step: int, wanted: dict[str, Any], offer: bool = False) -> dict[str, Any]:
        """The trees of a step, laid out as `wanted` says (ShapeDtypeStructs with shardings), each leaf's digest checked.

        Raises:
            ValueError: it is broken, or other trees were saved; with `offer` the sentence says which step before it is whole.
        """
        try:
            return self._restore(step, wanted)
        except ValueError as error:
            before = sorted(other for other in self._manager.all_steps() if other < step)
            if not offer or isinstance(error.__cause__, OtherLeaves) or not before:
                raise
            whole = next((other for other in reversed(before) if self._is_whole(other, wanted)), None)
            raise ValueError(f'{error}; ' + ('no step before it is whole' if whole is None else
                             f'step {whole} is whole: the same command goes on from there once what lies behind it in '
                             f'{self._folder} is moved away')) from error

    def _is_whole(self, step: int, wanted: dict[str, Any]) -> bool:
        try:
            self._restore(step, wanted)
        except ValueError:
            return False
        return True

    def _restore(self, step: int, wanted: dict[str, Any]) -> dict[str, Any]:
        where, steps = f'checkpoint {self._folder / str(step)}', f'steps here: {self._manager.all_steps()}'
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()})
        try:
            digests = self.meta(step)['digests']
            _refuse_other_leaves(self._folder / str(step), wanted, list(digests))
            trees = dict(self._manager.restore(step, args=args))
        except Exception as error:      # TensorStore's reading errors come as bare Exceptions of many lines
            raise ValueError(f'{where} cannot be restored ({", ".join(wanted)}): {_reason(error)}; {steps}') from error
        for name, tree in trees.items():
            broken = [leaf for leaf, digest in tree_digests(tree).items() if digests[name][leaf] != digest]
            if broken:
                raise ValueError(f'{where}: {name}/{broken[0]} is not what was saved (its digest differs, '
                                 f'{len(broken)} of {len(digests[name])} leaves do); {steps}')
        return trees

    def close(self) -> None:
        """Waits for what is still being written."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> 'Checkpoints':
        return self

    def __exit__(self, *unused) -> None:
        self.close()


class OtherLeaves(ValueError):
    """What is wanted was not saved, or in another shape; the checkpoint may well be whole."""


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
            raise OtherLeaves(f'{name} was not saved; there are: {", ".join(saved)}')
        want, have = _leaf_shapes(tree), _leaf_shapes(ocp.StandardCheckpointHandler().metadata(folder / name).tree)
        for leaf in sorted({*want, *have}):
            if want.get(leaf) != have.get(leaf):
                raise OtherLeaves(f'{name}/{leaf} is wanted as {want.get(leaf, "nothing")} '
                                 f'and was saved as {have.get(leaf, "nothing")}')


def _reason(error: Exception) -> str:
    """One line of what TensorStore writes, without the specification that it repeats."""
    line = (str(error).splitlines() or [type(error).__name__])[0].partition(' [tensorstore_spec=')[0]
    return line if len(line) < 400 else f'{line[:180]} ... {line[-180:]}'


def _score(metrics: dict) -> float:
    return metrics['score']


def _layout(tree) -> dict[str, str]:
    """'float32[8, 16] tensor, fsdp' per leaf, by its path: what it is, and how the mesh cut it."""
    shapes, leaves = _leaf_shapes(tree), jax.tree_util.tree_flatten_with_path(tree)[0]
    cut = lambda x: 'whole' if not isinstance(x, jax.Array) or x.sharding.is_fully_replicated else layout_text(x.sharding)
    return {path_text(path): f'{shapes[path_text(path)]} {cut(leaf)}' for path, leaf in leaves}


def _leaf_shapes(tree) -> dict[str, str]:
    """'float32[8, 16]' per leaf, by its path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_text(path): f'{leaf.dtype}{list(leaf.shape)}' for path, leaf in leaves}


def shapes_like(tree) -> Any:
    """ShapeDtypeStructs, with shardings, of a tree of arrays: what `restore` wants."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
