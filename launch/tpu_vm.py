"""TPU VMs by gcloud: create, ship the code, install from the lock, run on all workers, watch, fetch, delete.

What is there already is used: the same command goes on after the launcher was stopped. A slice that was taken away is
deleted and asked for again, and the run goes on from its last checkpoint in the bucket.
"""

import dataclasses
import pathlib
import shlex
import time
from collections.abc import Callable, Mapping

from launch import exit_codes, gcloud
from launch.run_arguments import Run
from launch.topologies import Slice

POLL_SECONDS = 20
READY = ('READY', 'ACTIVE')
GONE = ('PREEMPTED', 'TERMINATED', 'STOPPED', 'SUSPENDED', 'FAILED')
# The image's Python is older than ours.
INSTALL = ('rm -rf mathrl && mkdir mathrl && tar -xzf mathrl.tar.gz -C mathrl && cd mathrl && '
           'python3 -m pip install --quiet --user uv && export PATH=$HOME/.local/bin:$PATH && uv python install 3.12 && '
           'PYTHON=$(uv python find 3.12) bash launch/environment.sh tpu')
# The connection may break while the program lives on and holds the TPU: what an earlier start left is ended first.
RUN = '''#!/usr/bin/env bash
old=$(cat ~/mathrl.pid 2>/dev/null)
if [ -n "$old" ] && grep -q mathrl.main "/proc/$old/cmdline" 2>/dev/null; then kill -KILL -- "-$old"; sleep 1; fi
echo $$ >~/mathrl.pid
cd ~/mathrl
exec {program}
'''


@dataclasses.dataclass(frozen=True)
class Job:
    """queued: wait for capacity in Google's queue, which several slices need. environment: of the run."""
    run: Run
    tpu: Slice
    name: str
    slices: int = 1
    zone: str = ''
    project: str = ''
    spot: bool = False
    queued: bool = False
    service_account: str = ''
    fetch: str = ''
    keep: bool = False
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check(self) -> None:
        if not self.tpu.runtime:
            raise ValueError(f'{self.tpu.family} is not offered as TPU VMs: use --backend=gke.')
        if self.slices > 1 and not self.queued:
            raise ValueError(f'--slices={self.slices}: TPU VMs of several slices come as a queued resource; add --queued.')

    # ---- the commands

    @property
    def folder(self) -> str:
        """What is shipped lies there first."""
        return f'runs/launch/{self.name}'

    def _gcloud(self, verb: str, *arguments: str) -> list[str]:
        kind = 'queued-resources' if self.queued else 'tpu-vm'
        place = [f'--{name}={value}' for name, value in (('zone', self.zone), ('project', self.project)) if value]
        return ['gcloud', 'compute', 'tpus', kind, verb, *arguments, *place]

    def create(self) -> list[str]:
        account = [f'--service-account={self.service_account}'] if self.service_account else []
        spot = ['--spot'] if self.spot else []
        size = f'--accelerator-type={self.tpu.name}'
        if not self.queued:
            return self._gcloud('create', self.name, size, f'--version={self.tpu.runtime}', *spot, *account)
        nodes = ([f'--node-count={self.slices}', f'--node-prefix={self.name}'] if self.slices > 1
                 else [f'--node-id={self.name}'])
        return self._gcloud('create', self.name, *nodes, size, f'--runtime-version={self.tpu.runtime}', *spot, *account)

    def describe(self) -> list[str]:
        return self._gcloud('describe', self.name, f'--format=value({"state.state" if self.queued else "state"})')

    def delete(self) -> list[str]:
        return self._gcloud('delete', self.name, *(['--force'] if self.queued else []), '--quiet')

    def pack(self) -> list[str]:
        return ['tar', '-czf', f'{self.folder}/mathrl.tar.gz', '--exclude=__pycache__', 'setup.py', 'README.md', 'mathrl', 'gin',
                'launch']

    def script(self) -> str:
        """run.sh, which every worker runs."""
        settings = [f'{name}={value}' for name, value in self.environment.items()]
        return RUN.format(program=shlex.join([*(['env', *settings] if settings else []), '.venv/bin/python', '-m', 'mathrl.main',
                                              '--distributed', *self.run.arguments]))

    def ship(self) -> list[str]:
        return self._gcloud('scp', f'{self.folder}/mathrl.tar.gz', f'{self.folder}/run.sh', f'{self.name}:', *self._everywhere())

    def install(self) -> list[str]:
        return self._on_workers(INSTALL)

    def start(self) -> list[str]:
        return self._on_workers('exec setsid --wait bash run.sh')

    def fetch_results(self) -> list[str]:
        """All but the checkpoints."""
        return fetch_results(self.run.workdir, self.fetch)

    def _everywhere(self) -> list[str]:
        return [*(['--node=all'] if self.queued else []), '--worker=all']

    def _on_workers(self, script: str) -> list[str]:
        return self._gcloud('ssh', self.name, *self._everywhere(), f'--command={script}')


def fetch_results(workdir: str, folder: str) -> list[str]:
    return ['gcloud', 'storage', 'rsync', '--recursive', '--exclude=(^|.*/)(checkpoints|compilation_cache)/.*', workdir, folder]


def render(job: Job) -> str:
    """What would be run, for a person."""
    steps = [('ask for the TPU', job.create()), ('wait until it is there', job.describe()), ('pack and ship the code', job.pack()),
             ('', job.ship()), ('install from the lock', job.install()), ('run run.sh on all workers', job.start())]
    steps += [('fetch what was written', job.fetch_results())] if job.fetch else []
    steps += [] if job.keep else [('give the TPU back', job.delete())]
    commands = '\n'.join((f'# {title}\n' if title else '') + shlex.join(command) for title, command in steps)
    return f'{commands}\n\n# {job.folder}/run.sh\n{job.script()}'


def start(job: Job, max_restarts: int, *, say: Callable[[str], None] = print,
          sleep: Callable[[float], None] = time.sleep) -> int:
    """Runs to the end; returns the exit code."""
    try:
        code = _until_done(job, max_restarts, say, sleep)
    except (KeyboardInterrupt, SystemExit):
        say(f'launch: stopped; {job.name} still runs and is paid for. The same command goes on with it; to give it back: '
            f'{shlex.join(job.delete())}')
        raise
    if job.fetch:
        pathlib.Path(job.fetch).mkdir(parents=True, exist_ok=True)
        fetched = gcloud.stream(job.fetch_results(), say)
        say(f'launch: results are in {job.fetch}.' if not fetched.code else
            f'launch: the results stayed in {job.run.workdir}: {gcloud.sentence(fetched.errors)}')
    if job.keep:
        say(f'launch: {job.name} is kept, and paid for; to give it back: {shlex.join(job.delete())}')
    else:
        _must(job.delete(), job.zone)
    return code


def _until_done(job: Job, max_restarts: int, say, sleep) -> int:
    installed = False
    for restart in range(max_restarts + 1):
        if restart:
            wait = exit_codes.wait_seconds(restart)
            say(f'launch: restart {restart} of at most {max_restarts} in {wait:.0f} s.')
            sleep(wait)
        state = _state(job)
        if state in GONE:
            say(f'launch: {job.name} is {state}: it is deleted and asked for again.')
            _must(job.delete(), job.zone)
            state, installed = '', False
        if not state:
            done = gcloud.capture(job.create())
            if done.code and not (restart and gcloud.lacks_capacity(done.errors)):
                raise ValueError(f'{job.name} was not created: {gcloud.sentence(done.errors, job.zone)}.')
        if not _wait_ready(job, say, sleep):
            continue
        if not installed:
            _pack(job)
            if gcloud.stream(job.ship(), say).code or gcloud.stream(job.install(), say).code:
                if _state(job) in GONE:
                    continue
                raise ValueError(f'{job.name}: the code could not be installed; the lines above say why. The TPU is kept: the same '
                                 f'command tries again, and {shlex.join(job.delete())} gives it back.')
            installed = True
        say(f'launch: {job.run.workdir} runs on {job.name}.')
        done = gcloud.stream(job.start(), say)
        if done.code == 0:
            return 0
        codes = set(done.worker_codes) or {done.code}
        state = _state(job)
        if exit_codes.USER_ERROR in codes:
            return exit_codes.USER_ERROR
        if state in READY and not any(exit_codes.starts_again(code) or code == exit_codes.SSH_LOST for code in codes):
            say(f'launch: the run {exit_codes.meaning(min(codes))}.')
            return min(codes)
        say(f'launch: the run was stopped; {job.name} is {state or "gone"}.')
    say(f'launch: given up after {max_restarts} restarts; the same command goes on from the last checkpoint.')
    return exit_codes.RESTART


def _pack(job: Job) -> None:
    folder = pathlib.Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'run.sh').write_text(job.script(), encoding='utf-8')
    _must(job.pack())


def _wait_ready(job: Job, say, sleep) -> bool:
    """False where it went away before it was there."""
    told = None
    while (state := _state(job)) not in READY:
        if state in GONE or not state:
            say(f'launch: {job.name} is {state or "gone"} before it was ready.')
            return False
        if state != told:
            say(f'launch: {job.name} is {state}.')
            told = state
        sleep(POLL_SECONDS)
    return True


def _state(job: Job) -> str:
    """Of the TPU or its queued resource; '' where there is none."""
    done = gcloud.capture(job.describe())
    if done.code and ('NOT_FOUND' in done.errors or 'not found' in done.errors):
        return ''
    if done.code:
        raise ValueError(f'{job.name}: {gcloud.sentence(done.errors, job.zone)}.')
    return done.output


def _must(command: list[str], zone: str = '') -> None:
    done = gcloud.capture(command)
    if done.code:
        raise ValueError(f'{shlex.join(command[:5])} failed: {gcloud.sentence(done.errors, zone)}.')
