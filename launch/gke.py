"""GKE: a JobSet, one Job a slice and one pod a host, laid out as xpk lays it out, admitted by Kueue."""

import dataclasses
import pathlib
import re
import shlex
import time
from collections.abc import Callable, Mapping

from launch import exit_codes, gcloud, tpu_vm
from launch.run_arguments import Run
from launch.topologies import Slice

POLL_SECONDS = 30
QUEUE = 'multislice-queue'      # the LocalQueue that xpk makes
FINISHED_SECONDS = 12 * 3600    # how long a finished JobSet and its logs are kept
GRACE_SECONDS = 60              # from SIGTERM to SIGKILL when a machine is taken away


@dataclasses.dataclass(frozen=True)
class Job:
    """image: where docker pushes the container of launch/Dockerfile."""
    run: Run
    tpu: Slice
    name: str
    image: str
    slices: int = 1
    cluster: str = ''
    location: str = ''
    project: str = ''
    namespace: str = 'default'
    queue: str = QUEUE
    spot: bool = False
    service_account: str = ''
    max_restarts: int = exit_codes.MAX_RESTARTS
    fetch: str = ''
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check(self) -> None:
        if not self.image:
            raise ValueError('--backend=gke needs --image=REGISTRY/NAME:TAG, where the container is pushed to.')
        if not re.fullmatch(r'[a-z]([a-z0-9-]{0,38}[a-z0-9])?', self.name):
            raise ValueError(f'--name={self.name}: up to 40 small letters, digits and hyphens are wanted, a letter first.')

    # ---- the commands

    def credentials(self) -> list[str]:
        place = [f'--{name}={value}' for name, value in (('location', self.location), ('project', self.project)) if value]
        return ['gcloud', 'container', 'clusters', 'get-credentials', self.cluster, *place]

    def build(self) -> list[str]:
        return ['docker', 'build', '--platform=linux/amd64', '--file=launch/Dockerfile', f'--tag={self.image}', '.']

    def push(self) -> list[str]:
        return ['docker', 'push', self.image]

    def apply(self, manifest: str) -> list[str]:
        return ['kubectl', 'apply', f'--filename={manifest}']

    def state(self) -> list[str]:
        return ['kubectl', 'get', 'jobset', self.name, f'--namespace={self.namespace}',
                '--output=jsonpath={.status.terminalState}/{.status.restarts}']

    def logs(self) -> list[str]:
        return ['kubectl', 'logs', f'--selector=jobset.sigs.k8s.io/jobset-name={self.name}', f'--namespace={self.namespace}',
                '--prefix', '--tail=40']

    def fetch_results(self) -> list[str]:
        return tpu_vm.fetch_results(self.run.workdir, self.fetch)


def manifest(job: Job) -> dict:
    """The JobSet, as kubectl reads it."""
    pod = {
        'restartPolicy': 'Never',
        'hostNetwork': True,
        'dnsPolicy': 'ClusterFirstWithHostNet',
        'terminationGracePeriodSeconds': GRACE_SECONDS,
        'nodeSelector': {'cloud.google.com/gke-tpu-accelerator': job.tpu.label,
                         'cloud.google.com/gke-tpu-topology': job.tpu.topology,
                         **({'cloud.google.com/gke-spot': 'true'} if job.spot else {})},
        'tolerations': [{'key': 'google.com/tpu', 'operator': 'Exists', 'effect': 'NoSchedule'},
                        *([{'key': 'cloud.google.com/gke-spot', 'operator': 'Equal', 'value': 'true', 'effect': 'NoSchedule'}]
                          if job.spot else [])],
        **({'serviceAccountName': job.service_account} if job.service_account else {}),
        'containers': [{
            'name': 'jax-tpu',
            'image': job.image,
            'imagePullPolicy': 'Always',
            'command': ['python', '-m', 'mathrl.main', '--distributed', *job.run.arguments],
            **({'env': [{'name': name, 'value': value} for name, value in job.environment.items()]} if job.environment else {}),
            'ports': [{'containerPort': 8471}, {'containerPort': 8080}],    # libtpu's, and multislice's
            'securityContext': {'privileged': True},
            'resources': {'limits': {'google.com/tpu': job.tpu.chips_per_host}},
            'volumeMounts': [{'name': 'shared-memory', 'mountPath': '/dev/shm'}],
        }],
        'volumes': [{'name': 'shared-memory', 'emptyDir': {'medium': 'Memory'}}],
    }
    labels = {'kueue.x-k8s.io/queue-name': job.queue, 'app.kubernetes.io/name': 'mathrl'}
    slice_job = {
        'parallelism': job.tpu.hosts,
        'completions': job.tpu.hosts,
        'completionMode': 'Indexed',
        'backoffLimit': 0,      # one pod less is the whole slice less
        # Of all codes this one alone is final: where a host is taken away, its peers end with code 1.
        'podFailurePolicy': {'rules': [{'action': 'FailJob', 'onExitCodes': {
            'containerName': 'jax-tpu', 'operator': 'In', 'values': [exit_codes.USER_ERROR]}}]},
        'template': {'metadata': {'labels': {'app.kubernetes.io/name': 'mathrl'}}, 'spec': pod},
    }
    return {
        'apiVersion': 'jobset.x-k8s.io/v1alpha2',
        'kind': 'JobSet',
        'metadata': {
            'name': job.name,
            'namespace': job.namespace,
            'labels': labels,
            'annotations': {'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool'},
        },
        'spec': {
            'ttlSecondsAfterFinished': FINISHED_SECONDS,
            'failurePolicy': {
                'maxRestarts': job.max_restarts,
                'rules': [{'name': 'userError', 'action': 'FailJobSet', 'onJobFailureReasons': ['PodFailurePolicy']}],
            },
            'replicatedJobs': [{'name': 'slice', 'replicas': job.slices, 'template': {'spec': slice_job}}],
        },
    }


def manifest_text(job: Job) -> str:
    import yaml
    return yaml.safe_dump(manifest(job), sort_keys=False, width=120)


def render(job: Job, path: str) -> str:
    """What would be run, for a person; path: where the manifest would be written."""
    steps = [('the container', job.build()), ('', job.push()), *([('the cluster', job.credentials())] if job.cluster else []),
             ('the JobSet', job.apply(path)), ('watch', job.state())]
    steps += [('fetch what was written', job.fetch_results())] if job.fetch else []
    commands = '\n'.join((f'# {title}\n' if title else '') + shlex.join(command) for title, command in steps)
    return f'{commands}\n\n# {path}\n{manifest_text(job)}'


def start(job: Job, path: str, *, say: Callable[[str], None] = print, sleep: Callable[[float], None] = time.sleep) -> int:
    """Builds, applies and watches; JobSet itself restarts. Returns the exit code."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(manifest_text(job), encoding='utf-8')
    steps = [job.build(), job.push(), *([job.credentials()] if job.cluster else []), job.apply(path)]
    for command in steps:
        done = gcloud.stream(command, say)
        if done.code:
            raise ValueError(f'{shlex.join(command[:3])} failed: {gcloud.sentence(done.errors, job.location)}.')
    told = ''
    while True:
        done = gcloud.capture(job.state())
        if done.code:
            raise ValueError(f'JobSet {job.name} cannot be seen: {gcloud.sentence(done.errors)}.')
        ended, _, restarts = done.output.partition('/')
        if restarts.strip() not in ('', '0', told):
            told = restarts.strip()
            say(f'launch: JobSet {job.name} was started again {told} of at most {job.max_restarts} times.')
        if ended:
            break
        sleep(POLL_SECONDS)
    if ended != 'Completed':
        gcloud.stream(job.logs(), say)
        say(f'launch: JobSet {job.name} {ended.lower()}; the last lines of its pods stand above.')
    if job.fetch:
        pathlib.Path(job.fetch).mkdir(parents=True, exist_ok=True)
        gcloud.stream(job.fetch_results(), say)
    return 0 if ended == 'Completed' else 1
