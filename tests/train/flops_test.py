"""FLOPs against XLA's own count of a small model without a scan, and against the usual estimate of a large one."""
import types

import jax
import jax.numpy as jnp
import pytest

from mathrl.models.llama import Llama, LlamaConfig
from mathrl.train import flops

TINY = LlamaConfig(vocab=512, width=128, layers=2, heads=4, kv_heads=2, head_dim=32, mlp_width=256, unroll=2)


def counted_by_xla(function, *arguments) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()['flops']


def test_forward_is_what_xla_counts():
    """XLA computes the masked half of the scores too, and counts what is not a product: norms, softmax, rotary angles."""
    model, rows, length = Llama(TINY), 2, 64
    params = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    tokens_BT = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    forward = lambda params, tokens_BT: model.logits(params, model.hidden(params, tokens_BT, tokens_BT, tokens_BT))
    wanted = flops.rows_forward(TINY, rows, length) + rows * flops.attention(TINY, length ** 2 - flops.causal(length))
    assert wanted < counted_by_xla(forward, params, tokens_BT) < 1.1 * wanted


def test_seven_billion_parameters_cost_six_times_their_number_a_token():
    sizes = LlamaConfig()
    products = flops.layer_products(sizes) + flops.unembedding(sizes)
    assert products == 2 * (30 * (4 * 4096 ** 2 + 3 * 4096 * 11008) + 4096 * 102400)
    assert flops.train_step(sizes, 1, 4096) / 4096 == pytest.approx(3 * products + 6 * 30 * 4096 * 4097)


def test_a_prompt_counts_once_a_question():
    one, four = (flops.outputs_forward(TINY, 1, outputs, 512, 64) for outputs in (1, 4))
    alone = flops.outputs_forward(TINY, 1, 1, 512, 0)
    assert four - alone == pytest.approx(4 * (one - alone))
    assert flops.policy_step(TINY, 2, 4, 512, 64) == 8 * four


@pytest.mark.parametrize('kind, wanted', [('TPU v5 lite', 197e12), ('TPU v5', 459e12), ('TPU v4', 275e12), ('TPU v6 lite', 918e12),
                                          ('TPU7x', 1153.5e12), ('NVIDIA H100 80GB HBM3', 989e12), ('NVIDIA H100 PCIe', 756e12),
                                          ('NVIDIA H200', 989e12), ('NVIDIA A100-SXM4-40GB', 312e12), ('cpu', None)])
def test_peaks_by_the_names_that_jax_gives(kind, wanted):
    assert flops.peak(kind) == wanted


def test_mfu_is_a_share_of_all_devices():
    device = lambda kind: types.SimpleNamespace(device_kind=kind)
    assert flops.mfu(197e12, 2.0, [device('TPU v5 lite')] * 2) == {'mfu': 0.25}
    assert flops.mfu(197e12, 2.0, [device('cpu')]) == {}
    assert flops.mfu(0, 2.0, [device('TPU v4')]) == {}
