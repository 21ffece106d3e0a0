"""What pre-training and supervised fine-tuning share: packed rows in, one compiled update a step."""
import dataclasses
import functools
from typing import Callable

import jax
from etils import epath

from mathrl import sharding
from mathrl.data.packed import check_tokenizer, open_packed
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.programs import steps, trained_model
from mathrl.programs.heldout_text import HeldoutText
from mathrl.train import flops, goodput
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.state import LMBatch
from mathrl.train.step import train_step


# Of a model's configuration, what does not change its parameters' shapes or what it computes.
FREE = ('param_dtype', 'dtype', 'remat', 'unroll')


def agreed(architecture: LlamaConfig | None, found: LlamaConfig, folder: str) -> LlamaConfig:
    """The configuration of the model in `folder`, with architecture's dtypes and remat if one is given."""
    if architecture is None:
        return found
    freed = lambda config: {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE}
    wrong = [f'{name}={value} and not {freed(architecture)[name]}' for name, value in freed(found).items()
             if value != freed(architecture)[name]]
    if wrong:
        raise ValueError(f'architecture is not that of the model in {folder}, which has {", ".join(wrong)}')
    return architecture


def known_architecture(architecture: LlamaConfig | None, folder: str) -> LlamaConfig:
    """The configuration to compile for where the model's folder need not be there."""
    if architecture is None and not (epath.Path(folder) / 'model.json').exists():
        raise ValueError(f'to compile without the model {folder!r} its sizes must be given: '
                         'bind architecture = @llama.LlamaConfig()')
    return architecture or trained_model.open_config(folder)[0]


def check(check: Callable, model: Llama, mesh, optimizer, batch: int, row_length: int, micro_batches: int,
          logits_mib: float) -> None:
    """Hands the update to `check` (--compile_for); without a row_length rows are as long as the model's context."""
    row_length = row_length or model.config.context

    def build(model, mesh, times):
        check_batch(batch, micro_batches * times, mesh)
        return steps.language_model(model, mesh, optimizer, batch=batch, row_length=row_length,
                                    micro_batches=micro_batches * times, logits_mib=logits_mib)
    check(build, model, mesh)


def check_batch(batch: int, micro_batches: int, mesh) -> None:
    if batch % (micro_batches * sharding.batch_devices(mesh)):
        raise ValueError(f'a batch of {batch} rows does not divide into {micro_batches} micro-batches over '
                         f'{sharding.batch_devices(mesh)} devices')


def describe(name: str, model: Llama, mesh, data: str, batch: int, schedule: Schedule) -> None:
    """Prints what a run would do (--dry_run)."""
    print(trained_model.parameter_table(model, mesh))
    print(f'{name}: {schedule.steps} steps of {batch} rows from {data}')


def train(name: str, workdir, config: str, *, model: Llama, first_params, tokenizer, mesh, data, optimizer,
          schedule: Schedule, learning_rate, batch: int, micro_batches: int, row_length: int, logits_mib: float, seed: int,
          heldout: dict[str, str], heldout_rows: int) -> None:
    """Trains on packed rows (open_packed(data)) from what first_params() gives, or from workdir's last checkpoint.

    heldout: packed folders by name, of which heldout_rows rows each are measured every schedule.measure_every steps.
    """
    reader = open_packed(data)
    check_tokenizer(reader, tokenizer)
    check_batch(batch, micro_batches, mesh)
    if row_length not in (0, reader.row_length):
        raise ValueError(f'row_length={row_length}, and the rows of {data} have {reader.row_length} tokens')
    if schedule.best and not heldout:
        raise ValueError(f'best={schedule.best!r} is measured on held-out rows, and heldout names none')
    measure = None
    if heldout:
        measure = HeldoutText(heldout, tokenizer, model, mesh, batch // micro_batches, heldout_rows, logits_mib)
    trained_model.begin(workdir, model.config, tokenizer)

    def advance(state, step):
        with goodput.spent('input'):
            rows = LMBatch(**placed_rows(mesh, reader, seed, step, batch))
        state, metrics = train_step(state, rows, model=model, optimizer=optimizer, micro_batches=micro_batches,
                                    logits_mib=logits_mib)
        return state, {**metrics, 'learning_rate': learning_rate(step)}, batch * reader.row_length
    with jax.set_mesh(mesh):
        state, _ = resume(workdir, trained_model.fresh_state(first_params(), optimizer, mesh))
        fit(name, workdir, state, advance, schedule, meta={'config': config, 'model': dataclasses.asdict(model.config)},
            flops=flops.train_step(model.config, batch, reader.row_length), measure=measure)


def placed_rows(mesh, reader, seed: int, step: int, batch: int) -> dict[str, jax.Array]:
    """The batch of a step on the mesh; a process reads from its first row to its last."""
    where = sharding.placed_sharding(mesh, (batch, reader.row_length), 'BT')
    cuts = [index[0].indices(batch) for index in where.addressable_devices_indices_map((batch, reader.row_length)).values()]
    first, end = min(cut[0] for cut in cuts), max(cut[1] for cut in cuts)
    rows = reader.batch(seed, step, batch, slice(first, end))

    def mine(x, index):
        start, stop, _ = index[0].indices(batch)
        return x[start - first:stop - first, index[1]]
    placed = lambda x: jax.make_array_from_callback((batch, reader.row_length), where, functools.partial(mine, x))
    return {name: placed(x) for name, x in rows.items()}
