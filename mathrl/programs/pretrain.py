"""Pre-training: a fresh model on packed text (DeepSeekMath section 2)."""
from typing import Callable

from etils import epath

from mathrl.models.llama import Llama, LlamaConfig
from mathrl.programs import language_model, trained_model
from mathrl.text import tokenizer as tokenizers
from mathrl.train.loop import Schedule
from mathrl.train.losses import LOGITS_MIB


def run(*, workdir: epath.Path, model: LlamaConfig, tokenizer: str, data: str, mesh, optimizer, learning_rate: Callable,
        schedule: Schedule, batch: int, micro_batches: int = 1, row_length: int = 0, logits_mib: float = LOGITS_MIB,
        seed: int = 0, config: str = '', dry_run: bool = False, check: Callable | None = None) -> None:
    """Trains `model` from random parameters on the packed folder `data`; workdir becomes the model's folder.

    learning_rate: the schedule that the optimizer follows, for the logs; batch: rows a step; row_length: tokens a row, which
    the data must have (0: as it comes); logits_mib: see train/losses.py; check: what --compile_for does in place of a run.
    """
    llama = Llama(model)
    if check:
        return language_model.check(check, llama, mesh, optimizer, batch, row_length, micro_batches, logits_mib)
    if dry_run:
        return language_model.describe('pretrain', llama, mesh, data, batch, schedule)
    vocabulary = tokenizers.load(tokenizer)
    if vocabulary.vocab_size > model.vocab:
        raise ValueError(f'the model has vocab={model.vocab}, the tokenizer {tokenizer} has {vocabulary.vocab_size} pieces')
    language_model.train('pretrain', workdir, config, model=llama,
                         first_params=lambda: trained_model.fresh_params(llama, mesh, seed),
                         tokenizer=vocabulary, mesh=mesh, data=data, optimizer=optimizer, schedule=schedule,
                         learning_rate=learning_rate, batch=batch, micro_batches=micro_batches, row_length=row_length,
                         logits_mib=logits_mib, seed=seed)
