"""Log-probabilities, entropies and the language-model loss against NumPy."""
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.train import losses
from mathrl.train.state import LMBatch


def normal_logits(*shape, scale=3.0):
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)


def numpy_logps(logits):
    logits = np.float64(logits)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize('shape', [(), (3,), (2, 3), (2, 3, 4)], ids=str)
def test_token_logps_agree_with_numpy(shape):
    logits, targets = normal_logits(*shape, 7), np.random.default_rng(1).integers(0, 7, shape)
    wanted = np.take_along_axis(numpy_logps(logits), targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(losses.token_logps(jnp.asarray(logits), jnp.asarray(targets)), wanted, atol=1e-5)


def test_huge_logits_give_numbers():
    logits_V = jnp.array([1e4, 0.0, -1e4], jnp.float32)
    assert losses.token_logps(logits_V, jnp.int32(0)) == 0
    assert losses.token_logps(logits_V, jnp.int32(1)) == -1e4
    assert losses.entropies(logits_V) == 0


def test_entropies_agree_with_numpy():
    logps_BTV = numpy_logps(normal_logits(2, 3, 7))
    np.testing.assert_allclose(losses.entropies(jnp.asarray(normal_logits(2, 3, 7))),
                               -(np.exp(logps_BTV) * logps_BTV).sum(-1), atol=1e-5)
    assert losses.entropies(jnp.zeros(7)) == pytest.approx(np.log(7))


def test_lm_loss_is_this_parts_share_of_the_mean():
    """A model whose logits are a table's rows: by hand, then cut in two."""
    table_VV = normal_logits(7, 7)
    model = types.SimpleNamespace(hidden=lambda params, tokens_BT, segments_BT, positions_BT: tokens_BT,
                                  logits=lambda params, h_BT: params[h_BT])
    rng = np.random.default_rng(2)
    tokens_BT, targets_BT = rng.integers(0, 7, (2, 4, 5))
    weights_BT = (rng.random((4, 5)) < 0.5).astype(np.float32)
    weights_BT[3] = 0
    batch = LMBatch(*map(jnp.asarray, (tokens_BT, targets_BT, weights_BT, np.ones((4, 5), int), tokens_BT)))
    chosen = [numpy_logps(table_VV)[tokens_BT[i], targets_BT[i]] for i in np.ndindex(4, 5) if weights_BT[i]]
    total = float(weights_BT.sum())
    share = lambda part: float(losses.lm_loss(model, jnp.asarray(table_VV), part, total))
    assert share(batch) == pytest.approx(-np.mean(chosen), abs=1e-5)
    halves = [jax.tree.map(lambda x: x[rows], batch) for rows in (slice(0, 2), slice(2, 4))]
    assert sum(map(share, halves)) == pytest.approx(share(batch), abs=1e-6)
