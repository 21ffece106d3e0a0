"""Supervised fine-tuning: a trained model on packed problems with solutions; only the solutions are trained on."""
from typing import Callable

from etils import epath

from mathrl.models.llama import Llama
from mathrl.programs import language_model, trained_model
from mathrl.train.loop import Schedule


def run(*, workdir: epath.Path, model: str, data: str, mesh, optimizer, learning_rate: Callable, schedule: Schedule, batch: int,
        micro_batches: int = 1, seed: int = 0, config: str = '', dry_run: bool = False) -> None:
    """Fine-tunes the model in the folder `model` on the packed folder `data`, with a fresh optimizer."""
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(model_config)
    if dry_run:
        return language_model.describe('sft', llama, mesh, data, batch, schedule)
    language_model.train('sft', workdir, config, model=llama,
                         first_params=lambda: trained_model.open_params(model, llama, mesh),
                         tokenizer=tokenizer, mesh=mesh, data=data, optimizer=optimizer, schedule=schedule,
                         learning_rate=learning_rate, batch=batch, micro_batches=micro_batches, seed=seed)
