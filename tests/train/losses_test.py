"""Log-probabilities, entropies and the language-model loss against NumPy."""
import types

import jax
import jax.extend.core
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
    model = types.SimpleNamespace(hidden=lambda params, tokens_BT, segments_BT, positions_BT: jax.nn.one_hot(tokens_BT, 7),
                                  unembed=lambda params: params)
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


# ---- the vocabulary in chunks

def whole(h, unembed_DV, targets):
    logits = jnp.matmul(h, unembed_DV)
    return losses.token_logps(logits, targets), losses.entropies(logits)


def of_chunks(chunks):
    """hidden_logps with this many chunks, whatever the size."""
    def logps(h, unembed_DV, targets):
        rows_BD, targets_B = h.reshape(-1, h.shape[-1]), targets.reshape(-1)
        return tuple(x.reshape(targets.shape) for x in losses._chunked_logps(chunks, rows_BD, unembed_DV, targets_B))
    return logps


def hidden_case(vocab, scale=1.0):
    rng = np.random.default_rng(3)
    h_BTD = (scale * rng.normal(size=(4, 6, 8))).astype(np.float32)
    return h_BTD, rng.normal(size=(8, vocab)).astype(np.float32), rng.integers(0, vocab, (4, 6))


@pytest.mark.parametrize('vocab, chunks', [(48, 1), (48, 4), (48, 48), (50, 4), (7, 5)])
@pytest.mark.parametrize('scale', [1.0, 10.0])
def test_chunks_give_what_the_whole_gives(vocab, chunks, scale):
    """The values, and the gradient of a loss that is not linear in them; a vocabulary that does not divide too."""
    case = hidden_case(vocab, scale)
    slope_BT = np.random.default_rng(4).normal(size=(4, 6)).astype(np.float32)

    def of(logps):
        loss = lambda h, unembed_DV: jnp.sum(jnp.tanh(0.1 * logps(h, unembed_DV, case[2])[0]) * slope_BT)
        return jax.jit(logps)(*case), jax.jit(jax.grad(loss, (0, 1)))(*case[:2])
    for got, wanted in zip(jax.tree.leaves(of(of_chunks(chunks))), jax.tree.leaves(of(whole))):
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=5e-6 * np.abs(wanted).max())


def test_entropies_carry_no_gradient():
    case = hidden_case(48)
    for logps in (of_chunks(4), losses.hidden_logps):
        slope = jax.grad(lambda h: jnp.sum(logps(h, *case[1:])[1]))(case[0])
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize('rows, vocab, mib, wanted', [(64, 512, 128, 1), (2 ** 20, 102400, 100, 4096), (2048, 102400, 128, 8),
                                                      (2 ** 20, 7, 1, 7), (10, 50257, 1, 2), (10, 50257, 1e-9, 50257)])
def test_as_few_chunks_as_fit(rows, vocab, mib, wanted):
    assert losses.vocab_chunks(rows, vocab, mib) == wanted


def test_no_room_for_logits_is_one_sentence():
    with pytest.raises(ValueError, match='logits_mib=0 must be above 0'):
        losses.vocab_chunks(1, 1, 0)


def largest_by_vocabulary(function, *arguments, vocab):
    """Elements of the largest array of a jaxpr, inner ones included, that has an axis of `vocab` and no axis of D."""
    found = [0]

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                shape = getattr(variable.aval, 'shape', ())
                if any(size >= vocab for size in shape) and WIDTH not in shape:
                    found.append(int(np.prod(shape)))
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                walk(inner)
    walk(jax.make_jaxpr(function)(*arguments).jaxpr)
    return max(found)


WIDTH = 13


@pytest.mark.parametrize('mib, most', [(128, 24 * 640), (0.02, 24 * 160)])
def test_logits_of_all_tokens_never_exist_forward_or_backward(mib, most):
    rng = np.random.default_rng(5)
    h_BTD, unembed_DV = rng.normal(size=(4, 6, WIDTH)).astype(np.float32), rng.normal(size=(WIDTH, 640)).astype(np.float32)
    targets_BT = rng.integers(0, 640, (4, 6))
    loss = lambda h, unembed: losses.hidden_logps(h, unembed, targets_BT, mib)[0].sum()
    assert largest_by_vocabulary(jax.grad(loss, (0, 1)), h_BTD, unembed_DV, vocab=160) == most
