"""In a packed row no example attends to another: their gradients say so, exactly."""
import jax
import numpy as np
import pytest

from mathrl.data import packed
from mathrl.data.packing import Counts, Example, pack
from mathrl.models.llama import Llama, LlamaConfig
from mathrl.train.losses import lm_loss
from mathrl.train.state import LMBatch

T = 24


@pytest.fixture(scope='module')
def batch():
    """One row of three examples and padding; each token occurs once, so an embedding's gradient is that of its place."""
    ids = np.random.default_rng(0).permutation(np.arange(1, 60)).tolist()
    examples = [Example(ids[:8]), Example(ids[8:15], 3), Example(ids[15:22])]
    row, = pack(examples, T, Counts())
    return packed.as_batch(row[None])


def test_an_example_has_no_gradient_from_another(batch):
    model = Llama(LlamaConfig(vocab=64, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=16,
                              dtype='float32'))
    params = model.init(jax.random.key(0))

    def gradient(segment):
        only = batch | {'weights_BT': batch['weights_BT'] * (batch['segments_BT'] == segment)}
        found = jax.grad(lambda params: lm_loss(model, params, LMBatch(**only), 1.0, 128.0))(params)
        return np.abs(found['embed_VD']).sum(-1)[batch['tokens_BT'][0]]
    for segment in (1, 2, 3):
        mine = batch['segments_BT'][0] == segment
        found = gradient(segment)
        assert found[mine].min() > 0 and not found[~mine].any()
