"""One GRPO step on random weights, timed by its parts; prints one JSON line last.

  python tests/benchmarks/grpo_step.py [--steps 8] [--count] [--lengths equal|heavy] [--block 16] [--devices 1]
  python tests/benchmarks/grpo_step.py --peers --tunix_python=PYTHON --trl_python=PYTHON [--rounds 3] [--quiet 20]

Shapes are those of the peers' programs (bench_tunix_grpo.py, bench_trl_grpo.py in --peers_dir): every output runs to its
full length, the reward is the share of odd tokens. --lengths=heavy ends ours at lengths from a log-normal distribution
(median 16, sigma 1, cut at the full length); the peers decode and pad to the longest output, so their figures at equal
lengths stand for that case too. --peers runs the three in turn, --rounds times, each time in a process of its own;
ratio_to_fastest is the median of our steps over the faster peer's. --quiet, for machines that others use too, waits so many
minutes at most for rounds in which the machine was at its own speed before and behind every program, as a product of numpy's
tells; other rounds are left out, and counted in rounds_left_out. floor_s is the time of the products that a step needs (each
prompt once, real tokens alone: decoding, policy forward and backward, reference) at the machine's measured rate in that dtype,
floor_share how much of that speed is reached. reference_s times the reference's forward pass on its own: within a step it is
part of policy_step, and so of update_s. --devices: into how many a CPU is divided; with one a core, small operations of
decoding run side by side. No TensorFlow, seqio, gin, grain or orbax is needed.
"""
import argparse
import collections
import functools
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUIET = .93      # of the best rate seen: below it, others are using the machine
sys.path.insert(0, str(ROOT))


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(steps=8, vocab=512, d=256, layers=4, heads=4, ffn=1024, prompt=32, completion=64, prompts=8,
                              group=8, rounds=3, unroll=0, micro_batches=1, packed=1, block=0, rows=0, smallest=8,
                              devices=1).items():
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--beta', type=float, default=0.04)
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--remat', default='', help="what the backward pass computes again, as LlamaConfig's: '', full, dots")
    parser.add_argument('--count', action='store_true', help='count the executables that a step launches (slower)')
    parser.add_argument('--lengths', choices=('equal', 'heavy'), default='equal')
    parser.add_argument('--peers', action='store_true')
    parser.add_argument('--quiet', type=float, default=0, help='minutes in which as many quiet rounds as asked for are to be found')
    parser.add_argument('--peers_dir', default='../shared/peers')
    parser.add_argument('--tunix_python', default='')
    parser.add_argument('--trl_python', default='')
    asked = parser.parse_args()
    if not asked.peers and (asked.quiet or asked.tunix_python or asked.trl_python):
        parser.error('--quiet, --tunix_python and --trl_python are of --peers, which is not there')
    return asked


def count_launches() -> collections.Counter:
    """Counts every executable launched from now on, by name: Python dispatch instead of the C++ fast path."""
    from jax._src import pjit
    from jax._src.interpreters import pxla
    launched, execute = collections.Counter(), pxla.ExecuteReplicated.__call__

    def counting(self, *arguments):
        launched[self.name] += 1
        return execute(self, *arguments)
    pjit._get_fastpath_data = lambda *arguments, **named: None
    pxla.ExecuteReplicated.__call__ = counting
    return launched


def measure(asked: argparse.Namespace) -> dict:
    """Times asked.steps steps of ours; medians leave out the first two."""
    from mathrl import cpu
    cpu.set_flags()
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={asked.devices}'.strip()
    import jax
    import jax.numpy as jnp
    import numpy as np
    cpu.return_memory_after_compiling()
    from mathrl import sharding
    from mathrl.models.llama import Llama, LlamaConfig
    from mathrl.rl import coefficients, normalisation, packing
    from mathrl.rl.log_probs import output_logps
    from mathrl.rl.step import policy_step
    from mathrl.rl.types import Experience
    from mathrl.sampling.filters import Sampling
    from mathrl.sampling.groups import Decoding, sample_groups
    from mathrl.train import flops, optim
    from mathrl.train.state import create

    compiling = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiling.append(seconds) if event.endswith('backend_compile_duration') else None)
    launched = count_launches() if asked.count else collections.Counter()
    config = LlamaConfig(vocab=asked.vocab, width=asked.d, layers=asked.layers, heads=asked.heads, kv_heads=asked.heads,
                         head_dim=asked.d // asked.heads, mlp_width=asked.ffn, dtype=asked.dtype, remat=asked.remat,
                         unroll=asked.unroll or asked.layers)
    model, mesh, optimizer = Llama(config), sharding.make_mesh(), optim.adamw(optim.constant(1e-6))
    coefficient, eos_id = coefficients.grpo(kl_coef=asked.beta), asked.vocab + 7      # never sampled: all run full length
    reference_logps = jax.jit(lambda params, rollouts: output_logps(model, params, rollouts)[0])
    rng = np.random.default_rng(0)
    Q, G, S, T = asked.prompts, asked.group, asked.prompt, asked.completion
    times, launches = collections.defaultdict(list), []

    def odd_share(_, tokens_QGT):
        written_QGT = tokens_QGT != eos_id
        ends_QGT = (np.arange(T) == written_QGT.sum(-1, keepdims=True) - 1).astype(np.int32)
        odd_QG1 = (tokens_QGT % 2 * written_QGT).sum(-1, keepdims=True) / written_QGT.sum(-1, keepdims=True)
        return (odd_QG1 * ends_QGT).astype(np.float32), ends_QGT

    with jax.set_mesh(mesh):
        reference = jax.jit(model.init)(jax.random.key(0))
        state = jax.jit(lambda params: create(params, optimizer), donate_argnums=0)(jax.tree.map(jnp.copy, reference))
        count = sum(leaf.size for leaf in jax.tree.leaves(reference))
        key, decoding = jax.random.key(0), Decoding(rows=asked.rows, block=asked.block, smallest=asked.smallest)
        for step in range(asked.steps):
            prompt_QS = rng.integers(1, asked.vocab, (Q, S)).astype(np.int32)
            before, begun = sum(launched.values()), time.perf_counter()
            limit_QG = lengths(asked, rng)
            rollouts = sample_groups(state.params, prompt_QS, np.full(Q, S, np.int32), key,
                                     np.arange(Q, dtype=np.int32), model=model, mesh=mesh, outputs=G, max_tokens=T,
                                     sampling=Sampling(), eos_id=eos_id, decoding=decoding, step=step, limit_QG=limit_QG)
            jax.block_until_ready(rollouts)
            sampled = time.perf_counter()
            rewards_QGT, ends_QGT = sharding.map_rows(odd_share, rollouts.tokens_QGT)
            experience = Experience(rollouts, None, rewards_QGT, ends_QGT)
            rewarded = time.perf_counter()
            packed = None
            if asked.packed:
                packed, fill = packing.planned(mesh, np.asarray(rollouts.length_QG), S, T, asked.micro_batches)
                times['update_fill'].append(fill)
            state, _ = policy_step(state, reference, experience, packed, model=model, optimizer=optimizer,
                                   coefficient=coefficient, normalisation=normalisation.sequence_mean,
                                   micro_batches=asked.micro_batches)
            jax.block_until_ready(state)
            ended = time.perf_counter()
            launches.append(sum(launched.values()) - before)
            times['tokens'].append(limit_QG.sum())
            for name, seconds in dict(rollout_s=sampled - begun, update_s=ended - rewarded, step_s=ended - begun).items():
                times[name].append(seconds)
        compiled = sum(compiling)
        for _ in range(asked.steps):
            begun = time.perf_counter()
            jax.block_until_ready(reference_logps(reference, rollouts))
            times['reference_s'].append(time.perf_counter() - begun)
    result = {name: float(np.median(values[2:])) for name, values in times.items()}
    forward = flops.outputs_forward(config, Q, G, S, float(np.mean(times['tokens'][2:])) / (Q * G))
    result['floor_s'] = 5 * forward / product_rate(asked.dtype)
    result['floor_share'] = result['floor_s'] / result['step_s']
    return {'system': 'mathrl', 'jax': jax.__version__, 'device': jax.devices()[0].device_kind, 'n_params': count,
            'shapes': {name: getattr(asked, name) for name in ('vocab', 'd', 'layers', 'heads', 'ffn', 'prompt', 'completion',
                                                              'prompts', 'group', 'dtype')},
            **result, 'lengths': asked.lengths,
            'rollout_tokens_per_s': float(np.sum(times['tokens'][2:]) / np.sum(times['rollout_s'][2:])),
            'executables_per_step': launches[-1] if asked.count else None, 'compile_s': compiled,
            'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, 'all_step_s': times['step_s']}


def product_rate(dtype: str) -> float:
    """FLOP/s of a product of two square matrices, the best of several."""
    import jax
    import jax.numpy as jnp
    size = 2048 if jax.default_backend() == 'cpu' else 8192
    product, x = jax.jit(jnp.matmul), jnp.ones((size, size), dtype)
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        jax.block_until_ready(product(x, x))
        seconds.append(time.perf_counter() - begun)
    return 2 * size ** 3 / min(seconds[1:])


def lengths(asked: argparse.Namespace, rng):
    """The length [Q, G] that each output is made to have."""
    import numpy as np
    shape, full = (asked.prompts, asked.group), asked.completion
    if asked.lengths == 'equal':
        return np.full(shape, full, np.int32)
    return np.clip(np.rint(rng.lognormal(np.log(16), 1, shape)), 1, full).astype(np.int32)


def last_json(command: list[str]) -> dict:
    """Runs a program and reads its last line; its own words go to stderr if it fails."""
    environment = {'JAX_PLATFORMS': 'cpu', **os.environ}      # as the peers' programs choose where nothing is said
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f'{" ".join(command)} failed:\n{done.stderr[-3000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


class Machine:
    """How fast the machine is, by products of numpy's, and was at best: others may be using it."""

    def __init__(self):
        self.best = 0.0
        for _ in range(5):
            self.rate()

    def rate(self) -> float:
        """FLOP/s in three of four moments of a second or two."""
        rate = self._measured()
        self.best = max(self.best, rate)
        return rate

    def _measured(self) -> float:
        import numpy as np
        x, seconds = np.ones((1024, 1024), np.float32), []
        for _ in range(40):
            begun = time.perf_counter()
            for _ in range(10):
                x @ x
            seconds.append(time.perf_counter() - begun)
        return 10 * 2 * 1024 ** 3 / float(np.quantile(seconds, .75))


def in_turn(programs: dict[str, list[str]], count: int, minutes: float) -> tuple[dict[str, list[dict]], int]:
    """(what each program printed last in `count` rounds of all, how many rounds were left out as not quiet).

    minutes: for how long at most quiet rounds are waited for; 0 takes every round. A round may be left out later on, when the
    machine turns out to be faster than it was then. With no round at all there is nothing to tell.
    """
    machine, end = Machine() if minutes else None, time.monotonic() + 60 * minutes
    rounds, begun = [], 0      # (the slowest rate beside it, what was printed)
    look = machine.rate if machine else lambda: 0.0
    undisturbed = lambda rate: machine is None or rate >= QUIET * machine.best
    quiet = lambda: [found for slowest, found in rounds if undisturbed(slowest)]
    while len(quiet()) < count and (machine is None or time.monotonic() < end):
        slowest, found = look(), {}
        if not undisturbed(slowest):
            time.sleep(5)
            continue
        begun += 1
        for name, command in programs.items():
            found[name] = last_json(command)
            slowest = min(slowest, look())
            if not undisturbed(slowest):
                break
        else:
            rounds.append((slowest, found))
            print(f'{len(quiet())} rounds of {count}, {begun - len(quiet())} left out', file=sys.stderr)
    if not quiet():
        sys.exit(f'the machine was not quiet for one round in {minutes:g} minutes: {begun} were left out')
    return {name: [found[name] for found in quiet()] for name in programs}, begun - len(quiet())


def against_peers(asked: argparse.Namespace) -> dict:
    """Ours and both peers in turn, asked.rounds times."""
    import numpy as np
    folder = (ROOT / asked.peers_dir).resolve()
    pythons = {'tunix': asked.tunix_python, 'trl': asked.trl_python}
    for name, python in pythons.items():
        if not python or not os.path.exists(python):
            sys.exit(f'--peers wants --{name}_python: a Python that has {name} installed; got {python!r}')
    shape = [f'--{name}={getattr(asked, name)}' for name in ('steps', 'vocab', 'd', 'layers', 'heads', 'ffn', 'prompt',
                                                             'completion', 'prompts', 'group', 'beta')]
    ours_alone = [f'--{name}={getattr(asked, name)}' for name in ('unroll', 'remat', 'dtype', 'micro_batches', 'packed', 'lengths',
                                                                  'block', 'rows', 'smallest', 'devices')]
    programs = {'mathrl': [sys.executable, __file__, *shape, *ours_alone]}
    programs |= {name: [python, str(folder / f'bench_{name}_grpo.py'), *shape] for name, python in pythons.items()}
    rounds, left_out = in_turn(programs, max(3, asked.rounds), asked.quiet)
    counted = last_json([sys.executable, __file__, *shape, *ours_alone, '--count', '--steps=4'])
    ours = [seconds for each in rounds['mathrl'] for seconds in each['all_step_s'][2:]]

    def median(name, *keys):
        """Of the rounds' values; None where a program does not give it."""
        found = [functools.reduce(dict.get, keys, each) for each in rounds[name]]
        return None if None in found else float(np.median(found))
    peers = {name: {'step_s': median(name, 'step', 'median_all_s'),
                    'step_s_rounds': [each['step']['median_all_s'] for each in rounds[name]],
                    'rollout_s': median(name, 'rollout', 'median_all_s'), 'update_s': median(name, 'update', 'median_all_s'),
                    'peak_rss_mb': median(name, 'peak_rss_mb'), 'compile_s': median(name, 'compile_backend_s_total')}
             for name in pythons}
    parts = ('rollout_s', 'reference_s', 'update_s', 'compile_s', 'peak_rss_mb', 'rollout_tokens_per_s', 'floor_s')
    medians = {name: median('mathrl', name) for name in parts}
    step = float(np.median(ours))
    return {**rounds['mathrl'][-1], **medians, 'step_s': step, 'floor_share': medians['floor_s'] / step, 'all_step_s': ours,
            'executables_per_step': counted['executables_per_step'], 'peers': peers,
            'rounds': len(rounds['mathrl']), 'rounds_left_out': left_out,
            'ratio_to_fastest': step / min(peer['step_s'] for peer in peers.values())}


if __name__ == '__main__':
    arguments = flags()
    if not arguments.peers:
        from mathrl.cpu import with_kept_memory
        with_kept_memory()
    print(json.dumps(against_peers(arguments) if arguments.peers else measure(arguments)))
