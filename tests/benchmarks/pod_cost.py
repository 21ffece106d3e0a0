"""What a GRPO step of DeepSeekMath 7B costs a chip of a pod, by the TPU compiler, without a pod; prints one JSON line last.

  python tests/benchmarks/pod_cost.py [--slices v5p:4x4x4 v5e:16x16] [--remat full] [--micro_batches N]
      [--parts update with_reference decode]

The update is the real policy_step with the settings of gin/paper/grpo_7b.gin (16 questions x 64 outputs, 512 + 1024 tokens,
full length, packed; parameters float32 over fsdp of all chips, bfloat16 activations, AdamW), in micro-batches of a prompt and
some of its outputs a chip: on v5p:4x4x4 two of 8, on v5e:16x16 one of 4. The compiler counts what a loop holds once, so each
loop of the real program (micro-batches, layers, chunks of the vocabulary) is compiled with one turn's work in its body and with
that of more (see `more_turns`), and the difference counted as often as the loop runs: extrapolated from 1 and 2 layers (see
`summed`). Memory is that of the real program. The compiler does not look into attention's kernel: `attention` has its products
and the blocks it reads again, by arithmetic, and `whole` adds them. optimal_seconds is not used: it can be negative.

Beside it stands google-tunix 0.1.7's step for 4 sequences a chip, compiled for 64 chips of v5p: 315 TFLOP and 645 GB (713 on
v5e), 5.96 GiB at its peak. It computes a prompt for every output and takes the reference's log-probs as an argument; `update`
therefore is compiled without a reference, and `with_reference` says what computing it inside the step adds, which stands
against no figure of theirs.

Decoding: blocks.advance with all 1024 outputs in flight, 768 tokens of each written and the next 256 being written; fsdp over all
chips of v5p (16 rows a chip), and with tensor=4 on v5e (16 rows on 4 chips). One token's bytes on a chip, its prompt shared by
those rows against a prompt for every row: kv_gb by arithmetic; counted_gb by the compiler, whose loop over tokens counts once and
whose layers are unrolled, from 1 and 2 of them; counted_kv_gb is that of the layers without their weights.
"""
import argparse
import contextlib
import json
import pathlib
import sys
from typing import NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TUNIX = {'tflop': 315.0, 'gb': {'v5p': 645.0, 'v5e': 713.0}, 'peak_gib': 5.96}
GOALS = {'v5p': 0.72, 'v5e': 0.78}      # of its FLOPs and bytes an output
Q, G, S, T, LAYERS = 16, 64, 512, 1024, 30
OUTPUTS = 4      # of a chip, what Tunix' figures are for
MICRO_BATCHES = {'v5p:4x4x4': 2, 'v5e:16x16': 1}
TENSOR = {'v5p:4x4x4': 1, 'v5e:16x16': 4}      # of decoding: on v5e a chip has no room for all weights


class Loops(NamedTuple):
    """How much work the body of each loop of the update holds: micro-batches, layers, chunks of the vocabulary."""
    micro_batches: int = 1
    layers: int = 1
    chunks: int = 1


def more_turns(runs: Loops) -> Loops:
    """How many turns' work each body holds when it is compiled again: two, or as few as divide the chunks.

    What does not divide them would be compiled beside the loop, and counted too.
    """
    return Loops(2, 2, next((turns for turns in range(2, runs.chunks + 1) if runs.chunks % turns == 0), 2))


def summed(once: float, more: Loops, turns: Loops, runs: Loops) -> float:
    """The cost of a program whose loops were counted once, from the costs `more` with `turns` turns in one loop's body each.

    Layers and chunks lie inside a micro-batch: once = rest + (micro_batch + layer + chunk).
    """
    micro_batch, layer, chunk = ((cost - once) / (turn - 1) for cost, turn in zip(more, turns))
    return once + (runs.micro_batches - 1) * micro_batch + runs.micro_batches * (
        (runs.layers - 1) * layer + (runs.chunks - 1) * chunk)


def attention_cost(outputs: int, block: int = 512, heads: int = 32, head_dim: int = 128) -> dict[str, float]:
    """Of a micro-batch's splash kernels of one layer on a chip, a prompt and its outputs: TFLOP, GB that it reads again.

    Every block of keys that a block of queries sees counts whole. Scores and mixing forward, the same in recomputation; backward
    three products for the queries and four for keys and values. What it reads once the compiler has counted.
    """
    rows, prompt = T // block, S // block
    blocks = prompt * (prompt + 1) // 2 + outputs * (rows * prompt + rows * (rows + 1) // 2)
    once = prompt + outputs * rows
    reads = 4 * (blocks - once) * 2 * block * head_dim * 2
    return {'tflop': (2 + 2 + 3 + 4) * blocks * block ** 2 * 2 * head_dim * heads / 1e12, 'gb': reads * heads / 1e9}


@contextlib.contextmanager
def in_bodies(loops: Loops):
    """What is lowered inside has the work of so many turns in the bodies of the loops (layers: LlamaConfig.unroll)."""
    import jax
    scan, fori_loop = jax.lax.scan, jax.lax.fori_loop

    def scan_more(body, init, xs=None, length=None, reverse=False, unroll=1, **options):
        unroll = loops.chunks if body.__module__ == 'mathrl.train.losses' else unroll
        return scan(body, init, xs, length, reverse, unroll, **options)

    def loop_more(first, last, body, init, **options):
        more = loops.micro_batches == 2 and body.__module__ == 'mathrl.train.step'
        return fori_loop(first, last, (lambda m, x: body(m + 1, body(m, x))) if more else body, init, **options)
    with mock.patch.object(jax.lax, 'scan', scan_more), mock.patch.object(jax.lax, 'fori_loop', loop_more):
        yield


def steps_of(mesh, *, layers: int, micro_batches: int = 1, remat: str = '', unroll: int = 1, reference: bool = False,
             questions: int = Q, group_size: int = G) -> list:
    """compile_check's Steps of a run: policy_step, begin, decode."""
    from mathrl.models.llama import Llama, LlamaConfig
    from mathrl.programs import steps
    from mathrl.rl import coefficients
    from mathrl.rl.types import Algorithm
    from mathrl.sampling.filters import Sampling
    from mathrl.sampling.groups import Decoding
    from mathrl.train import optim
    from mathrl.train.losses import LOGITS_MIB
    model = Llama(LlamaConfig(layers=layers, dtype='bfloat16', remat=remat, unroll=unroll))
    grpo = coefficients.grpo(kl_coef=0.04 if reference else 0.0)
    return steps.policy(model, mesh, optim.adamw(optim.constant(1e-6)), Algorithm('policy', None, grpo), sampling=Sampling(),
                        questions=questions, group_size=group_size, prompt_tokens=S, max_tokens=T, micro_batches=micro_batches,
                        logits_mib=LOGITS_MIB, decoding=Decoding(), reference_dtype='bfloat16', reference=reference)


def compiled(step, mesh, loops: Loops = Loops()):
    import jax
    jax.clear_caches()      # what was traced with other loops
    with jax.set_mesh(mesh), in_bodies(loops):
        return step.function.lower(*step.arguments, **step.static).compile()


def update_cost(name: str, remat: str, micro_batches: int, reference: bool) -> dict:
    """Of one update on a chip, for OUTPUTS of its outputs; peak_gib of the whole."""
    import jax
    from mathrl import sharding
    from mathrl.programs import topologies
    from mathrl.train.losses import LOGITS_MIB, vocab_chunks
    mesh = sharding.make_mesh(1, -1, 1, devices=topologies.devices(topologies.parse(name)))
    outputs = Q * G // mesh.size
    if micro_batches < 1 or outputs % micro_batches:
        sys.exit(f'--micro_batches={micro_batches} does not divide the {outputs} outputs of a chip of {name}')
    share = outputs // micro_batches      # outputs of a prompt on a chip at once
    with jax.set_mesh(mesh):
        runs = Loops(micro_batches, LAYERS, vocab_chunks(share * mesh.size * T, 102400, LOGITS_MIB))
    turns, costs = more_turns(runs), {}
    larger = [Loops()._replace(**{field: turn}) for field, turn in turns._asdict().items()]
    for loops in Loops(), *larger:
        if loops.micro_batches > micro_batches:
            continue
        step = steps_of(mesh, layers=LAYERS, micro_batches=micro_batches, remat=remat, unroll=loops.layers, reference=reference)[0]
        program = compiled(step, mesh, loops)
        if loops == Loops():
            peak_gib = program.memory_analysis().peak_memory_in_bytes / 2 ** 30
        costs[loops] = program.cost_analysis()
        print(name, loops, {key: costs[loops][key] for key in ('flops', 'bytes accessed')}, file=sys.stderr, flush=True)
    scale = OUTPUTS / (share * micro_batches)

    def total(key: str) -> float:
        once = costs[Loops()][key]
        more = Loops(*(costs.get(loops, {key: once})[key] for loops in larger))
        return scale * summed(once, more, turns, runs)
    kernel = {key: x * LAYERS * OUTPUTS / share for key, x in attention_cost(share).items()}
    if reference:      # one more forward pass
        kernel = {'tflop': kernel['tflop'] * 13 / 11, 'gb': kernel['gb'] * 5 / 4}
    counted = {'tflop': total('flops') / 1e12, 'gb': total('bytes accessed') / 1e9}
    chip = name.split(':')[0]
    ratios = lambda cost: {'flop_ratio': cost['tflop'] / TUNIX['tflop'], 'byte_ratio': cost['gb'] / TUNIX['gb'][chip]}
    whole = {key: counted[key] + kernel[key] for key in counted}
    return {'outputs_per_prompt_per_chip': share, 'micro_batches': micro_batches, 'chunks': runs.chunks,
            **counted, **ratios(counted), 'attention': kernel, 'whole': {**whole, **ratios(whole)},
            'peak_gib': peak_gib, 'memory_ratio': peak_gib / TUNIX['peak_gib']}


def decode_cost(name: str) -> dict:
    """One token of all rows, a chip: bytes by arithmetic and by the compiler, prompts shared and repeated."""
    from mathrl import sharding
    from mathrl.programs import topologies
    tensor = TENSOR[name]
    mesh = sharding.make_mesh(1, -1, tensor, devices=topologies.devices(topologies.parse(name)))
    groups = mesh.size // tensor
    rows, per_token = Q * G // groups, 2 * LAYERS * 32 * 128 * 2 / tensor
    weights_gb = LAYERS * 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008) / tensor / 1e9
    found = {'chips_that_share_rows': tensor, 'rows': rows}
    for kind, prompts, batch in ('shared', 1, {}), ('repeated', rows, {'questions': Q * G, 'group_size': 1}):
        one, two = (compiled(steps_of(mesh, layers=layers, **batch)[2], mesh).cost_analysis()['bytes accessed']
                    for layers in (1, 2))
        found[kind] = {'kv_gb': (rows * T + prompts * S) * per_token / 1e9, 'prompt_kv_gb': prompts * S * per_token / 1e9,
                       'counted_gb': (one + (LAYERS - 1) * (two - one)) / 1e9,
                       'counted_kv_gb': LAYERS * (two - one) / 1e9 - weights_gb}
        print(name, kind, found[kind], file=sys.stderr, flush=True)
    ratio = lambda key: found['shared'][key] / found['repeated'][key]
    return found | {f'{key}_ratio': ratio(key) for key in found['shared']}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--slices', nargs='+', default=list(MICRO_BATCHES), choices=list(MICRO_BATCHES))
    parser.add_argument('--remat', default='full')
    parser.add_argument('--micro_batches', type=int, help=f'of an update; by default {MICRO_BATCHES}')
    parser.add_argument('--parts', nargs='+', default=['update', 'with_reference', 'decode'],
                        choices=['update', 'with_reference', 'decode'])
    asked = parser.parse_args()
    from mathrl.programs import topologies
    topologies.set_environment()

    def update(name: str, reference: bool) -> dict:
        micro_batches = MICRO_BATCHES[name] if asked.micro_batches is None else asked.micro_batches
        return update_cost(name, asked.remat, micro_batches, reference)
    parts = {'update': lambda name: update(name, False), 'with_reference': lambda name: update(name, True),
             'decode': decode_cost}
    print(json.dumps({'remat': asked.remat, 'tunix': TUNIX, 'goals': GOALS,
                      **{part: {name: parts[part](name) for name in asked.slices} for part in asked.parts}}))


if __name__ == '__main__':
    main()
