"""What share of the device's matrix product rate an update reaches; prints one JSON line last.

  python tests/benchmarks/train_mfu.py [--rows 8 --micro_batches 4 --remat dots] [--fsdp -1]
  python tests/benchmarks/train_mfu.py --tiny          # the same on a CPU, in seconds

Random weights of DeepSeek 1.3B in bfloat16 over float32 masters, 4096 tokens a row; and a GRPO update of it, prompts of 512
and outputs of 1024 tokens. mfu is over the measured rate of a bfloat16 product of two 8192 x 8192 matrices on every device,
mfu_of_peak over the data sheet's. cudnn: whether packed rows take cuDNN's attention, as on NVIDIA GPUs from Ampere on.
Needs jax, flax, optax, orbax and sentencepiece; neither TensorFlow, seqio, gin nor grain.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(steps=8, vocab=102400, width=2048, layers=24, heads=16, head_dim=128, mlp_width=5504, rows=8,
                              length=4096, micro_batches=4, questions=4, group=16, prompt=512, completion=1024,
                              policy_micro_batches=8, fsdp=1, tensor=1, product=8192, unroll=1).items():
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--remat', default='full')
    parser.add_argument('--dtype', default='bfloat16')
    parser.add_argument('--moment_dtype', default='')
    parser.add_argument('--logits_mib', type=float, default=512)
    parser.add_argument('--tiny', action='store_true')
    asked = parser.parse_args()
    if asked.tiny:
        vars(asked).update(steps=4, vocab=512, width=128, layers=2, heads=4, head_dim=32, mlp_width=256, rows=8, length=128,
                           micro_batches=1, questions=2, group=8, prompt=32, completion=64, policy_micro_batches=1, product=1024,
                           dtype='float32')      # products of bfloat16 are slow on CPUs
    return asked


def product_rate(size: int) -> float:
    """FLOP/s of one device: the best of five runs of 16 products one after another."""
    import jax
    import jax.numpy as jnp
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16)
    chain = jax.jit(lambda a: jax.lax.fori_loop(0, 16, lambda _, b: (a @ b) * jnp.bfloat16(size ** -0.5), a))
    jax.block_until_ready(chain(a))
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        jax.block_until_ready(chain(a))
        seconds.append(time.perf_counter() - begun)
    return 16 * 2 * size ** 3 / min(seconds)


def median_seconds(step, state, count: int) -> float:
    """Of state -> state, compiled and warmed up before."""
    import jax
    import numpy as np
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        state = jax.block_until_ready(step(state))
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds[2:]))


def measure(asked: argparse.Namespace) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from mathrl import sharding
    from mathrl.models import fused_attention
    from mathrl.models.llama import Llama, LlamaConfig
    from mathrl.programs.trained_model import fresh_params, fresh_state
    from mathrl.rl import coefficients, normalisation
    from mathrl.rl.step import policy_step
    from mathrl.rl.types import Experience
    from mathrl.sampling.rollout import Rollouts
    from mathrl.train import flops, optim
    from mathrl.train.state import LMBatch
    from mathrl.train.step import train_step

    rate = product_rate(asked.product)
    model = Llama(LlamaConfig(vocab=asked.vocab, width=asked.width, layers=asked.layers, heads=asked.heads, kv_heads=asked.heads,
                              head_dim=asked.head_dim, mlp_width=asked.mlp_width, dtype=asked.dtype, remat=asked.remat,
                              unroll=asked.unroll))
    mesh = sharding.make_mesh(fsdp=asked.fsdp, tensor=asked.tensor, data=-1 if asked.fsdp != -1 else 1)
    optimizer = optim.adamw(optim.constant(1e-6), moment_dtype=asked.moment_dtype)
    rng, devices = np.random.default_rng(0), mesh.size
    kind = jax.devices()[0].device_kind
    tokens = lambda *shape: rng.integers(1, asked.vocab, shape).astype(np.int32)
    result = {'device': kind, 'devices': devices, 'jax': jax.__version__, 'cudnn': fused_attention.has_cudnn(),
              'product_tflops': rate / 1e12, 'peak_tflops': (flops.peak(kind) or 0) / 1e12, 'settings': vars(asked)}

    def report(name, count, seconds):
        result[name] = {'seconds': seconds, 'flops': count, 'mfu': count / (seconds * rate * devices),
                        **{f'{key}_of_peak': share for key, share in flops.mfu(count, seconds).items()}}

    with jax.set_mesh(mesh):
        B, T = asked.rows, asked.length
        ones_BT = np.ones((B, T), np.int32)
        batch = LMBatch(**sharding.place_named(mesh, dict(
            tokens_BT=tokens(B, T), targets_BT=tokens(B, T), weights_BT=ones_BT.astype(np.float32), segments_BT=ones_BT,
            positions_BT=ones_BT * np.arange(T, dtype=np.int32))))
        update = lambda state: train_step(state, batch, model=model, optimizer=optimizer, micro_batches=asked.micro_batches,
                                          logits_mib=asked.logits_mib)[0]
        state = fresh_state(fresh_params(model, mesh, 0), optimizer, mesh)
        report('train_step', flops.train_step(model.config, B, T), median_seconds(update, state, asked.steps))
        result['train_step']['tokens_per_s'] = B * T / result['train_step']['seconds']
        del batch, state

        Q, G, S, T = asked.questions, asked.group, asked.prompt, asked.completion
        zeros_QGT, ends_QGT = np.zeros((Q, G, T), np.float32), np.zeros((Q, G, T), np.int32)
        ends_QGT[:, :, -1] = 1
        placed = sharding.place_named(mesh, dict(
            prompt_QS=tokens(Q, S), prompt_length_Q=np.full(Q, S, np.int32), tokens_QGT=tokens(Q, G, T),
            length_QG=np.full((Q, G), T, np.int32), trained_QGT=np.ones((Q, G, T), np.int32), sampler_logps_QGT=zeros_QGT,
            policy_logps_QGT=zeros_QGT - np.float32(np.log(asked.vocab)),
            rewards_QGT=(rng.integers(0, 2, (Q, G, 1)) * ends_QGT).astype(np.float32), step_ends_QGT=ends_QGT))
        rewards_QGT, step_ends_QGT = placed.pop('rewards_QGT'), placed.pop('step_ends_QGT')
        experience = Experience(Rollouts(**placed), None, rewards_QGT, step_ends_QGT)
        reference = jax.tree.map(lambda x: x.astype(jnp.bfloat16), fresh_params(model, mesh, 0))
        coefficient = coefficients.grpo()      # a new one in each call would be compiled anew
        update = lambda state: policy_step(state, reference, experience, model=model, optimizer=optimizer,
                                           coefficient=coefficient, normalisation=normalisation.sequence_mean,
                                           micro_batches=asked.policy_micro_batches, logits_mib=asked.logits_mib)[0]
        state = fresh_state(fresh_params(model, mesh, 0), optimizer, mesh)
        report('policy_step', flops.policy_step(model.config, Q, G, S, T), median_seconds(update, state, asked.steps))
        result['policy_step']['output_tokens_per_s'] = Q * G * T / result['policy_step']['seconds']
    stats = jax.local_devices()[0].memory_stats() or {}
    return {**result, 'peak_gib': stats.get('peak_bytes_in_use', 0) / 2 ** 30}


if __name__ == '__main__':
    print(json.dumps(measure(flags())))
