"""What pre-training and supervised fine-tuning share: packed rows in, one compiled update a step."""
import jax

from mathrl import sharding
from mathrl.data.packed import check_tokenizer, open_packed
from mathrl.models.llama import Llama
from mathrl.programs import trained_model
from mathrl.train.loop import Schedule, fit, resume
from mathrl.train.state import LMBatch
from mathrl.train.step import train_step


def describe(name: str, model: Llama, mesh, data: str, batch: int, schedule: Schedule) -> None:
    """Prints what a run would do (--dry_run)."""
    print(trained_model.parameter_table(model, mesh))
    print(f'{name}: {schedule.steps} steps of {batch} rows from {data}')


def train(name: str, workdir, config: str, *, model: Llama, first_params, tokenizer, mesh, data: str, optimizer, schedule: Schedule,
          learning_rate, batch: int, micro_batches: int, seed: int) -> None:
    """Trains on the packed rows of `data` from what first_params() gives, or from workdir's last checkpoint."""
    reader = open_packed(data)
    check_tokenizer(reader, tokenizer)
    if batch % (micro_batches * sharding.batch_devices(mesh)):
        raise ValueError(f'a batch of {batch} rows does not divide into {micro_batches} micro-batches over '
                         f'{sharding.batch_devices(mesh)} devices')
    trained_model.begin(workdir, model.config, tokenizer)

    def advance(state, step):
        rows = LMBatch(**sharding.place_named(mesh, reader.batch(seed, step, batch)))
        state, metrics = train_step(state, rows, model=model, optimizer=optimizer, micro_batches=micro_batches)
        return state, {**metrics, 'learning_rate': learning_rate(step)}, batch * reader.row_length
    with jax.set_mesh(mesh):
        state, _ = resume(workdir, trained_model.fresh_state(first_params(), optimizer, mesh))
        fit(name, workdir, state, advance, schedule, meta={'config': config, 'model': 'model.json'})
