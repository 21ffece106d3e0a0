"""The arithmetic of pod_cost.py: loops that a compiler counts once, and attention's blocks."""
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl.train import losses

spec = importlib.util.spec_from_file_location('pod_cost', pathlib.Path(__file__).with_name('pod_cost.py'))
pod_cost = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pod_cost)
Loops = pod_cost.Loops


@pytest.mark.parametrize('runs', [Loops(2, 30, 25), Loops(1, 30, 13), Loops(3, 1, 1)], ids=str)
def test_what_loops_hold_counts_as_often_as_they_run(runs):
    rest, micro_batch, layer, chunk = 7.0, 11.0, 13.0, 17.0
    inside = micro_batch + layer + chunk
    turns = pod_cost.more_turns(runs)
    more = Loops(rest + 2 * inside, rest + inside + layer, rest + inside + (turns.chunks - 1) * chunk)
    wanted = rest + runs.micro_batches * (micro_batch + runs.layers * layer + runs.chunks * chunk)
    assert pod_cost.summed(rest + inside, more, turns, runs) == wanted


def test_attentions_blocks_are_those_with_something_to_see():
    outputs, block = 2, 128
    places = np.arange(pod_cost.S + outputs * pod_cost.T)
    row = np.where(places < pod_cost.S, -1, (places - pod_cost.S) // pod_cost.T)
    seen = (places[:, None] >= places) & ((row == -1) | (row == row[:, None]))
    blocks = seen.reshape(len(places) // block, block, -1, block).any((1, 3)).sum()
    found = pod_cost.attention_cost(outputs, block, heads=1, head_dim=1)
    assert found['tflop'] * 1e12 == pytest.approx(blocks * 11 * 2 * block ** 2)
    assert found['gb'] * 1e9 == pytest.approx((blocks - len(places) // block) * 4 * 2 * block * 2)


@pytest.mark.parametrize('chunks', [4, 9, 25])
def test_chunks_of_the_vocabulary_counted_once_and_more_often_make_the_whole(chunks):
    """The compiler counts one chunk of each pass; four products a chunk are what its logits cost."""
    rows, width, vocab = 64, 32, 128 * chunks
    h_BD, unembed_DV, target_B = jnp.zeros((rows, width)), jnp.zeros((width, vocab)), jnp.zeros(rows, jnp.int32)
    mib = 4 * rows * vocab / chunks / 2 ** 20

    def flops(loops):
        loss = lambda h, unembed: losses.hidden_logps(h, unembed, target_B, mib)[0].sum()
        with pod_cost.in_bodies(loops):
            return jax.jit(jax.grad(loss, (0, 1))).lower(h_BD, unembed_DV).compile().cost_analysis()['flops']
    turns = pod_cost.more_turns(Loops(chunks=chunks)).chunks
    each = (flops(Loops(chunks=turns)) - flops(Loops())) / (turns - 1)
    products = 4 * 2 * rows * width * vocab / chunks
    assert products < each < 1.3 * products
