"""What a GRPO step of DeepSeekMath 7B costs a chip of a pod, by the TPU compiler, without a pod; prints one JSON line last.

  python tests/benchmarks/pod_cost.py [--slices v5p:4x4x4 v5e:16x16] [--remat full]

The real policy_step (reference, advantages, gradient, AdamW; 16 questions x 64 outputs, 512 + 1024 tokens, fsdp over all
chips, bfloat16 with float32 parameters) is compiled with 1 and with 2 layers, all loops gone: one micro-batch, layers
unrolled, the vocabulary whole. The compiler counts what a loop holds once, so the cost of 30 layers is that of one and 29 times
the difference; AdamW's share of a layer is in it. Prompts' attention in the TPU's fused kernel is not counted (under .1 %).
Memory is that of all 30 layers, as a run compiles them, with 4 outputs a chip in a micro-batch.

Beside it stands google-tunix 0.1.7's step for 4 sequences a chip, compiled for 64 chips of v5p: 315 TFLOP and 645 GB (713 on
v5e), 5.96 GiB at its peak. It computes a prompt for every output, and is the update alone: the reference's log-probs are an
argument, where ours computes them. So the ratios are of unlike work, ours with a forward pass more. Bytes are what XLA's
operations read and write after fusion.

Then, by arithmetic, decoding: bytes of keys and values that one token of all 1024 outputs reads at full length, the prompt
stored once a question against once an output.
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TUNIX = {'tflop': 315.0, 'gb': {'v5p': 645.0, 'v5e': 713.0}, 'peak_gib': 5.96}
Q, G, S, T = 16, 64, 512, 1024
OUTPUTS = 4      # of a chip, what Tunix' figures are for


def step_of(mesh, *, layers: int, micro_batches: int, remat: str, unroll: int, logits_mib: float):
    """(the compile_check Step of the update, its model)."""
    from mathrl.models.llama import Llama, LlamaConfig
    from mathrl.programs import steps
    from mathrl.rl import coefficients
    from mathrl.rl.types import Algorithm
    from mathrl.sampling.filters import Sampling
    from mathrl.sampling.groups import Decoding
    from mathrl.train import optim
    model = Llama(LlamaConfig(layers=layers, dtype='bfloat16', remat=remat, unroll=unroll))
    return steps.policy(model, mesh, optim.adamw(optim.constant(1e-6)), Algorithm('policy', None, coefficients.grpo()),
                        sampling=Sampling(), questions=Q, group_size=G, prompt_tokens=S, max_tokens=T,
                        micro_batches=micro_batches, logits_mib=logits_mib, decoding=Decoding(),
                        reference_dtype='bfloat16')[0]


def compiled(step, mesh):
    import jax
    with jax.set_mesh(mesh):
        return step.function.lower(*step.arguments, **step.static).compile()


def extrapolated(one: float, two: float, layers: int) -> float:
    """What grows by the same for every layer, from its values at one layer and at two."""
    return one + (layers - 1) * (two - one)


def update_cost(name: str, remat: str, layers: int = 30) -> dict:
    from mathrl import sharding
    from mathrl.programs import topologies
    mesh = sharding.make_mesh(1, -1, 1, devices=topologies.devices(topologies.parse(name)))
    share = Q * G // mesh.size
    counted = []
    for depth in (1, 2):
        step = step_of(mesh, layers=depth, micro_batches=1, remat=remat, unroll=depth, logits_mib=1e9)
        counted.append(compiled(step, mesh).cost_analysis())
    scale = OUTPUTS / share
    tflop, gb = (extrapolated(*(one[key] for one in counted), layers) * scale / unit
                 for key, unit in (('flops', 1e12), ('bytes accessed', 1e9)))
    whole = step_of(mesh, layers=layers, micro_batches=max(1, share // OUTPUTS), remat=remat, unroll=1, logits_mib=128.0)
    peak_gib = compiled(whole, mesh).memory_analysis().peak_memory_in_bytes / 2 ** 30
    theirs = TUNIX['gb'][name.split(':')[0]]
    return {'outputs_per_prompt_per_chip': share, 'tflop_per_4_outputs': tflop, 'gb_per_4_outputs': gb,
            'flop_ratio': tflop / TUNIX['tflop'], 'byte_ratio': gb / theirs, 'peak_gib': peak_gib,
            'memory_ratio': peak_gib / TUNIX['peak_gib']}


def cache_bytes() -> dict:
    """Of one token of every output, at its last token, on all chips; keys and values in bfloat16."""
    per_token = 2 * 30 * 32 * 128 * 2
    own, repeated, shared = Q * G * T, Q * G * S, Q * S
    return {'kv_gb_per_token_shared': (own + shared) * per_token / 1e9,
            'kv_gb_per_token_repeated': (own + repeated) * per_token / 1e9,
            'kv_ratio': (own + shared) / (own + repeated), 'prompt_part_ratio': shared / repeated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--slices', nargs='+', default=['v5p:4x4x4', 'v5e:16x16'])
    parser.add_argument('--remat', default='full')
    asked = parser.parse_args()
    from mathrl.programs import topologies
    topologies.set_environment()
    found = {}
    for name in asked.slices:
        found[name] = update_cost(name, asked.remat)
        print(name, found[name], file=sys.stderr, flush=True)
    print(json.dumps({'remat': asked.remat, 'update': found, 'decoding': cache_bytes()}))


if __name__ == '__main__':
    main()
