"""Held-out loss of packed texts, and bits per byte, by which models of different tokenizers can be compared."""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from mathrl import sharding
from mathrl.data import packed
from mathrl.models.llama import Llama
from mathrl.train.losses import lm_loss
from mathrl.train.state import LMBatch


class HeldoutText:
    """measure(state) -> {'loss/NAME', 'bits_per_byte/NAME'} on up to `rows` rows of each packed folder, drawn once.

    Bits per byte are the loss in bits times the tokens per byte of the whole folder, as its manifest counts both; of a
    folder whose manifest counts no bytes there is the loss alone. folders: {name: packed folder}; batch: rows at a time.
    """

    def __init__(self, folders: dict[str, str], tokenizer, model: Llama, mesh, batch: int, rows: int, logits_mib: float):
        self._readers = {name: packed.open_packed(folder) for name, folder in folders.items()}
        for reader in self._readers.values():
            packed.check_tokenizer(reader, tokenizer)
        self._model, self._mesh, self._batch, self._rows, self._logits_mib = model, mesh, batch, rows, logits_mib

    def __call__(self, state) -> dict[str, float]:
        found = {}
        for name, reader in self._readers.items():
            loss = self._loss(state.params, reader)
            found[f'loss/{name}'] = loss
            if reader.manifest.get('text_bytes'):
                per_byte = reader.manifest['trained_tokens'] / reader.manifest['text_bytes']
                found[f'bits_per_byte/{name}'] = loss / math.log(2) * per_byte
        return found

    def _loss(self, params, reader: packed.PackedReader) -> float:
        """Mean over the weighted tokens, in nats."""
        wanted, sums = min(self._rows, reader.rows), []
        for start in range(0, wanted, self._batch):
            places = np.arange(start, start + self._batch)
            rows = packed.as_batch(reader.in_order(0, np.minimum(places, wanted - 1)))
            rows['weights_BT'][places >= wanted] = 0
            sums.append(_summed(params, LMBatch(**sharding.place_named(self._mesh, rows)), self._model, self._logits_mib))
        loss, weight = np.sum(np.float64(jax.device_get(sums)), axis=0)
        return float(loss / max(weight, 1.0))


@functools.partial(jax.jit, static_argnames=('model', 'logits_mib'))
def _summed(params, batch: LMBatch, model, logits_mib: float) -> tuple[jax.Array, jax.Array]:
    """(negative log-likelihood, weight), summed over the batch."""
    return lm_loss(model, params, batch, 1.0, logits_mib), jnp.sum(batch.weights_BT)
