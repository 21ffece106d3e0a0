"""The JobSet: golden, and every field known to the CRD; the container's recipe."""

import copy
import dataclasses
import json
import pathlib
import sys

import golden
import jobset_schema
import pytest
import yaml

from launch import gke, run_arguments, topologies

REPOSITORY = pathlib.Path(__file__).parents[2]


def job(**changes) -> gke.Job:
    run = run_arguments.parse(['--gin_file=gin/runs/rl.gin', '--workdir=gs://bucket/kl', "--gin.MODEL='gs://bucket/sft'",
                               '--gin.FSDP=16'])
    return dataclasses.replace(gke.Job(run, topologies.find('v5p-128'), 'mathrl-kl', 'registry/mathrl:1'), **changes)


VARIANTS = {
    'one_slice': {},
    'spot_slices': {
        'slices': 2, 'spot': True, 'queue': 'research', 'namespace': 'team', 'service_account': 'runner', 'fetch': 'runs/kl',
        'cluster': 'pods', 'location': 'us-east5', 'environment': {'JAX_TRACEBACK_FILTERING': 'off'}, 'max_restarts': 3},
    'one_host': {'tpu': topologies.find('v6e-8')},
}


@pytest.mark.parametrize('name', VARIANTS)
def test_manifest_is_the_golden_one_and_the_crd_knows_every_field(name):
    golden.check(f'gke_{name}.txt', gke.render(job(**VARIANTS[name]), 'runs/mathrl-kl.jobset.yaml'))
    text = gke.manifest_text(job(**VARIANTS[name]))
    assert yaml.safe_load(text) == gke.manifest(job(**VARIANTS[name]))
    assert jobset_schema.faults(yaml.safe_load(text)) == []


@pytest.mark.parametrize('name', [one for family in topologies.FAMILIES for one in (
    topologies._slices(family)[0].name, topologies._slices(family)[-1].name)])
def test_every_tpu_fills_its_hosts(name):
    tpu = topologies.find(name)
    made = gke.manifest(job(tpu=tpu))
    assert jobset_schema.faults(made) == []
    spec = made['spec']['replicatedJobs'][0]['template']['spec']
    pod = spec['template']['spec']
    assert spec['parallelism'] * pod['containers'][0]['resources']['limits']['google.com/tpu'] == tpu.chips
    assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == tpu.topology


def test_user_error_alone_is_final():
    made = gke.manifest(job())
    rules = made['spec']['replicatedJobs'][0]['template']['spec']['podFailurePolicy']['rules']
    assert [rule['onExitCodes']['values'] for rule in rules] == [[2]]
    assert made['spec']['failurePolicy']['rules'][0]['action'] == 'FailJobSet'


@pytest.mark.parametrize('path, key, value, told', [
    ((), 'apiVersion', 'jobset.x-k8s.io/v1', 'is not allowed'),
    (('spec',), 'maxRestarts', 3, 'there is no field maxRestarts'),
    (('spec', 'failurePolicy'), 'maxRestarts', '3', 'is no int'),
    (('spec', 'failurePolicy', 'rules', 0), 'action', 'Restart', 'is not allowed'),
    (('spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec'), 'nodeselector', {}, 'there is no field nodeselector'),
    (('spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec'), 'restartPolicy', 'Always', 'is not allowed'),
    (('spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec', 'nodeSelector'), 'spot', True, 'is no map of texts'),
])
def test_schema_refuses(path, key, value, told):
    made = copy.deepcopy(gke.manifest(job()))
    place = made
    for part in path:
        place = place[part]
    place[key] = value
    assert any(told in fault for fault in jobset_schema.faults(made))


def test_schema_misses_nothing_that_must_be_there():
    made = gke.manifest(job())
    del made['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']['containers']
    assert jobset_schema.faults(made) == ['.spec.replicatedJobs[0].template.spec.template.spec: containers is missing']


def test_container_copies_what_exists_and_what_its_ignore_file_lets_in():
    recipe = (REPOSITORY / 'launch/Dockerfile').read_text()
    allowed = {line[1:] for line in (REPOSITORY / 'launch/Dockerfile.dockerignore').read_text().splitlines() if line[0] == '!'}
    copied = {source for line in recipe.splitlines() if line.startswith('COPY') for source in line.split()[1:-1]}
    assert copied == allowed and all((REPOSITORY / source).exists() for source in copied)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """cluster(states): docker and kubectl stand-ins; kubectl get tells one state after the other."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    (programs / 'kubectl').write_text(f'''#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path({str(tmp_path)!r})
open(folder / 'calls.jsonl', 'a').write(json.dumps(sys.argv[1:]) + chr(10))
if sys.argv[1] == 'get':
    first, *rest = json.loads((folder / 'states.json').read_text())
    (folder / 'states.json').write_text(json.dumps(rest))
    print(first)
''')
    (programs / 'docker').write_text('#!/bin/sh\nexit 0\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}:/usr/bin:/bin')

    def played(states):
        (tmp_path / 'states.json').write_text(json.dumps(states))
        said = []
        code = gke.start(job(), str(tmp_path / 'set.yaml'), say=said.append, sleep=lambda _: None)
        return code, [json.loads(line)[0] for line in (tmp_path / 'calls.jsonl').read_text().splitlines()], said
    return played


def test_jobset_is_watched_to_its_end(cluster, tmp_path):
    code, called, said = cluster(['/', '/0', '/1', '/1', 'Completed/2'])
    assert code == 0 and called == ['apply', *['get'] * 5]
    assert [line for line in said if 'started again' in line] == [
        f'launch: JobSet mathrl-kl was started again {count} of at most 10 times.' for count in (1, 2)]
    assert jobset_schema.faults(yaml.safe_load((tmp_path / 'set.yaml').read_text())) == []


def test_failed_jobset_shows_its_logs(cluster):
    code, called, said = cluster(['/0', 'Failed/3'])
    assert code == 1 and called[-1] == 'logs' and 'JobSet mathrl-kl failed' in said[-1]
