"""Supervised fine-tuning: a trained model on packed problems with solutions; only the solutions are trained on."""
from typing import Callable

from etils import epath

from mathrl.data.direct import Direct
from mathrl.data.mixing import Mixed
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.programs import language_model, trained_model
from mathrl.train.loop import Schedule
from mathrl.train.losses import LOGITS_MIB


def run(*, workdir: epath.Path, model: str, data: str | Mixed | Direct, mesh, optimizer, learning_rate: Callable,
        schedule: Schedule, batch: int, micro_batches: int = 1, row_length: int = 0, logits_mib: float = LOGITS_MIB,
        architecture: LlamaConfig | None = None, seed: int = 0, heldout: dict[str, str] | None = None, heldout_rows: int = 256,
        config: str = '', dry_run: bool = False, check: Callable | None = None) -> None:
    """Fine-tunes the model in the folder `model` on packed rows, with a fresh optimizer.

    data, row_length, logits_mib, heldout, check: as in pretrain; architecture: the model's sizes once more, with other
    dtypes or remat.
    """
    if check:
        llama = Llama(language_model.known_architecture(architecture, model))
        return language_model.check(check, llama, mesh, optimizer, batch, row_length, micro_batches, logits_mib)
    model_config, tokenizer = trained_model.open_config(model)
    llama = Llama(language_model.agreed(architecture, model_config, model))
    if dry_run:
        return language_model.describe('sft', llama, mesh, data, batch, schedule)
    language_model.train('sft', workdir, config, model=llama,
                         first_params=lambda: trained_model.open_params(model, llama, mesh),
                         tokenizer=tokenizer, mesh=mesh, data=data, optimizer=optimizer, schedule=schedule,
                         learning_rate=learning_rate, batch=batch, micro_batches=micro_batches, row_length=row_length,
                         logits_mib=logits_mib, seed=seed, heldout=heldout or {}, heldout_rows=heldout_rows)
