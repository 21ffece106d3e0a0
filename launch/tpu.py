"""Starts one run: on this machine as a pod in miniature, on TPU VMs, or on GKE."""

import argparse
import pathlib
import re
import sys
from collections.abc import Sequence

from launch import command_line, exit_codes, gcloud, gke, local, run_arguments, secret_values, topologies, tpu_vm

DESCRIPTION = """\
python -m launch.tpu --backend=BACKEND --tpu=TYPE [flags] -- --gin_file=F --workdir=DIR [what mathrl.main takes]

Prints exactly what would be run; --go runs it. The same command again goes on where a stopped run left off."""
EPILOG = """\
TYPE is Google's name: v5p-128 and v5e-64 are 64 chips each; v5p-4x4x4 names the shape.
  python -m launch.tpu --backend=local --processes=2 --devices=2 --go -- --gin_file=gin/runs/rl.gin --workdir=runs/rl ...
  python -m launch.tpu --backend=tpu_vm --tpu=v5p-128 --zone=us-east5-a --spot -- --gin_file=gin/runs/rl.gin \\
      --workdir=gs://bucket/rl --gin.FSDP=16 ..."""


class Flags(argparse.ArgumentParser):
    """Ends a wrong command line with one sentence."""

    def error(self, message):
        raise ValueError(f'{message} (see --help).')


def flags_parser() -> Flags:
    parser = Flags(prog='launch.tpu', usage=argparse.SUPPRESS, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                   formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument('--go', action='store_true', help='do it; without, print what would be done')
    return parser


def add_flags(parser: argparse.ArgumentParser) -> None:
    """All but --go: a sweep passes them on to its trials."""
    parser.add_argument('--backend', choices=('local', 'tpu_vm', 'gke'), help='where it runs')
    parser.add_argument('--tpu', metavar='TYPE', help='the slice, such as v5p-128, v5e-64, v6e-256, tpu7x-128')
    parser.add_argument('--slices', type=int, default=1, metavar='N', help='so many slices (default 1)')
    parser.add_argument('--name', help="the TPU's or JobSet's name (default: from --workdir)")
    parser.add_argument('--max_restarts', type=int, default=exit_codes.MAX_RESTARTS, metavar='N',
                        help=f'how often a run that was stopped from outside is started again (default {exit_codes.MAX_RESTARTS})')
    parser.add_argument('--env', action='append', default=[], metavar='NAME=VALUE', help='a variable of the run; no secrets')
    on_this = parser.add_argument_group('local')
    on_this.add_argument('--processes', type=int, metavar='N', help='default: the hosts of --tpu, else 2')
    on_this.add_argument('--devices', type=int, metavar='M', help='fake CPU devices a process; default: as --tpu, else 1')
    cloud = parser.add_argument_group('tpu_vm and gke')
    cloud.add_argument('--project', default='', help="default: gcloud's")
    cloud.add_argument('--zone', default='', help="the zone, or GKE's location; default: gcloud's")
    cloud.add_argument('--spot', action='store_true', help='machines that may be taken away, at a lower price')
    cloud.add_argument('--service_account', default='', metavar='NAME')
    cloud.add_argument('--fetch', metavar='DIR',
                       help="copy results here at the end, without checkpoints (default runs/NAME; '': not)")
    vms = parser.add_argument_group('tpu_vm')
    vms.add_argument('--queued', action='store_true', help="wait in Google's queue until the TPU is free")
    vms.add_argument('--keep', action='store_true', help='do not delete the TPU at the end')
    cluster = parser.add_argument_group('gke')
    cluster.add_argument('--image', default='', metavar='REGISTRY/NAME:TAG', help='where the container is pushed to')
    cluster.add_argument('--cluster', default='', metavar='NAME', help="default: kubectl's")
    cluster.add_argument('--namespace', default='default')
    cluster.add_argument('--queue', default=gke.QUEUE, help=f"Kueue's LocalQueue (default {gke.QUEUE})")


def main(argv: Sequence[str]) -> int:
    """Returns the exit code.

    Raises:
        ValueError: one sentence for the user.
    """
    ours, behind = (list(argv[:argv.index('--')]), list(argv[argv.index('--') + 1:])) if '--' in argv else (list(argv), [])
    flags = flags_parser().parse_args(ours)
    if not flags.backend:
        raise ValueError('--backend is missing: local, tpu_vm or gke (see --help).')
    run = run_arguments.parse(behind)
    if flags.slices < 1 or flags.max_restarts < 0:
        raise ValueError('--slices is at least 1, and --max_restarts at least 0.')
    tpu = topologies.find(flags.tpu) if flags.tpu else None
    environment = _environment(flags.env)
    if flags.backend == 'local':
        return _local(flags, run, tpu)
    if tpu is None:
        raise ValueError(f'--backend={flags.backend} needs --tpu=TYPE, such as --tpu=v5p-128.')
    run_arguments.check_mesh(run, tpu.devices, flags.slices, tpu.name)
    run_arguments.check_shipped(run)
    name = flags.name or _name(run.workdir)
    shared = dict(run=run, tpu=tpu, name=name, slices=flags.slices, project=flags.project, spot=flags.spot,
                  service_account=flags.service_account, environment=environment,
                  fetch=f'runs/{name}' if flags.fetch is None else flags.fetch)
    return (_tpu_vm if flags.backend == 'tpu_vm' else _gke)(flags, shared)


def _local(flags, run, tpu) -> int:
    count = flags.processes or (tpu.hosts * flags.slices if tpu else 2)
    devices = flags.devices or (tpu.devices // tpu.hosts if tpu else 1)
    if flags.env:
        raise ValueError('--env is for other machines: --backend=local passes on the whole environment.')
    run_arguments.check_mesh(run, count * devices, 1, f'{count} processes x {devices} devices')
    if not flags.go:
        print(local.render(run, count, devices))
        return _dry()
    return local.start(run, count, devices, flags.max_restarts, say=command_line.say)


def _tpu_vm(flags, shared: dict) -> int:
    job = tpu_vm.Job(**shared, zone=flags.zone, queued=flags.queued, keep=flags.keep)
    job.check()
    if not flags.go:
        print(tpu_vm.render(job))
        return _dry()
    gcloud.need('gcloud')
    return tpu_vm.start(job, flags.max_restarts, say=command_line.say)


def _gke(flags, shared: dict) -> int:
    job = gke.Job(**shared, location=flags.zone, image=flags.image, cluster=flags.cluster, namespace=flags.namespace,
                  queue=flags.queue, max_restarts=flags.max_restarts)
    job.check()
    path = f'runs/{job.name}.jobset.yaml'
    if not flags.go:
        print(gke.render(job, path))
        return _dry()
    for program in ('docker', 'kubectl', *(['gcloud'] if job.cluster or job.fetch else [])):
        gcloud.need(program)
    return gke.start(job, path, say=command_line.say)


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if not re.match(r'[A-Za-z_]\w*=', pair):
            raise ValueError('--env takes NAME=VALUE, as in --env=JAX_TRACEBACK_FILTERING=off.')
    found = dict(pair.split('=', 1) for pair in pairs)
    secret_values.refuse(found, 'the variable')
    return found


def _name(workdir: str) -> str:
    """'gs://bucket/My run' -> 'mathrl-my-run'"""
    last = pathlib.PurePosixPath(workdir).name
    return f'mathrl-{re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")}'[:40].rstrip('-')


def _dry() -> int:
    print('\n# Nothing was run or created: add --go to do it.', file=sys.stderr)
    return 0


if __name__ == '__main__':
    command_line.run(main)
