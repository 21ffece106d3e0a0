"""Pre-training: a fresh model, or one that is trained on, on packed text (DeepSeekMath section 2)."""
from typing import Callable

from etils import epath

from mathrl.data.direct import Direct
from mathrl.data.mixing import Mixed
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.programs import language_model, trained_model
from mathrl.text import tokenizer as tokenizers
from mathrl.train.loop import Schedule
from mathrl.train.losses import LOGITS_MIB


def run(*, workdir: epath.Path, model: LlamaConfig, tokenizer: str, data: str | Mixed | Direct, mesh, optimizer,
        learning_rate: Callable, schedule: Schedule, batch: int, micro_batches: int = 1, row_length: int = 0,
        logits_mib: float = LOGITS_MIB, seed: int = 0, init: str = '', heldout: dict[str, str] | None = None,
        heldout_rows: int = 256, config: str = '', dry_run: bool = False, check: Callable | None = None) -> None:
    """Trains `model` on packed rows, from random parameters or those in the folder `init`; workdir becomes its folder.

    data: a packed folder, several that are mixed at reading, or a seqio task that is read directly;
    learning_rate: the schedule that the optimizer follows, for the logs; batch: rows a step; row_length: tokens a row, which
    the data must have (0: as it comes); logits_mib: see train/losses.py; heldout: packed folders by name, whose loss and bits
    per byte are measured on heldout_rows rows each; check: what --compile_for does in place of a run.
    """
    llama = Llama(model)
    if check:
        return language_model.check(check, llama, mesh, optimizer, batch, row_length, micro_batches, logits_mib)
    if init:
        language_model.agreed(model, trained_model.open_config(init, 'INIT')[0], init)
    if dry_run:
        return language_model.describe('pretrain', llama, mesh, data, batch, schedule)
    vocabulary = tokenizers.load(tokenizer)
    if vocabulary.vocab_size > model.vocab:
        raise ValueError(f'the model has vocab={model.vocab}, the tokenizer {tokenizer} has {vocabulary.vocab_size} pieces')
    if init and trained_model.open_config(init, 'INIT')[1].digest != vocabulary.digest:
        raise ValueError(f'the model in {init} was trained with another tokenizer than {tokenizer}')

    def first_params():
        return trained_model.open_params(init, llama, mesh) if init else trained_model.fresh_params(llama, mesh, seed)
    language_model.train('pretrain', workdir, config, model=llama, first_params=first_params,
                         tokenizer=vocabulary, mesh=mesh, data=data, optimizer=optimizer, schedule=schedule,
                         learning_rate=learning_rate, batch=batch, micro_batches=micro_batches, row_length=row_length,
                         logits_mib=logits_mib, seed=seed, heldout=heldout or {}, heldout_rows=heldout_rows)
