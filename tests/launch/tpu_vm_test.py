"""TPU VMs against a stand-in for gcloud that refuses what gcloud refuses and plays preemptions."""

import dataclasses
import json
import pathlib
import sys

import golden
import pytest

from launch import exit_codes, gcloud, run_arguments, topologies, tpu_vm

REPOSITORY = pathlib.Path(__file__).parents[2]
NOT_FOUND = {'verb': 'describe', 'err': 'ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource not found', 'code': 1}
QUOTA = ("ERROR: (gcloud.compute.tpus.tpu-vm.create) RESOURCE_EXHAUSTED: Quota limit 'TPUV5PPerProjectPerZoneForTPUAPI' has been "
         'exceeded. Limit: 0 in zone us-east5-a.')
CAPACITY = ('ERROR: (gcloud.compute.tpus.tpu-vm.create) There is no more capacity in the zone "us-east5-a"; you can try in another '
            'zone where Cloud TPU Nodes are offered')


def state(name: str) -> dict:
    return {'verb': 'describe', 'out': name}


def job(**changes) -> tpu_vm.Job:
    run = run_arguments.parse(['--gin_file=gin/runs/rl.gin', '--workdir=gs://bucket/kl run', "--gin.MODEL='gs://bucket/sft'",
                               '--gin.FSDP=16'])
    plain = tpu_vm.Job(run, topologies.find('v5p-128'), 'mathrl-kl', zone='us-east5-a', project='proj')
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def play(tmp_path, monkeypatch):
    """play(script, job, max_restarts): the exit code, the verbs called, what was said."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    stand_in = pathlib.Path(__file__).parent / 'gcloud_stand_in.py'
    (programs / 'gcloud').write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
    (programs / 'gcloud').chmod(0o755)
    (programs / 'tar').write_text('#!/bin/sh\ntouch "$2"\n')
    (programs / 'tar').chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}:/usr/bin:/bin')
    monkeypatch.setenv('STAND_IN', str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def played(script, what=None, max_restarts=3):
        (tmp_path / 'script.json').write_text(json.dumps(script))
        said = []
        code = tpu_vm.start(what or job(), max_restarts, say=said.append, sleep=lambda seconds: None)
        return code, verbs(tmp_path), said
    return played


def verbs(folder) -> list[str]:
    path = folder / 'calls.jsonl'
    return [json.loads(line)[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize('name, changes', [
    ('on_demand', {}),
    ('spot', {'spot': True, 'keep': True, 'service_account': 'runner@proj.iam.gserviceaccount.com',
              'environment': {'JAX_TRACEBACK_FILTERING': 'off'}}),
    ('queued_slices', {'queued': True, 'slices': 2, 'spot': True, 'tpu': topologies.find('v5e-64'), 'fetch': 'runs/kl'}),
])
def test_commands_are_the_golden_ones(name, changes):
    golden.check(f'tpu_vm_{name}.txt', tpu_vm.render(job(**changes)))


def test_a_run_from_creation_to_results(play):
    code, called, said = play([NOT_FOUND, state('CREATING'), state('CREATING'), state('READY')], job(fetch='results'))
    assert code == 0
    assert called == ['describe', 'create', *['describe'] * 3, 'scp', 'install', 'run', 'rsync', 'delete']
    assert sum('CREATING' in line for line in said) == 1 and 'results are in results' in said[-1]


def test_what_is_there_is_used(play):
    code, called, _ = play([state('READY'), state('READY')], job(keep=True))
    assert code == 0 and called == ['describe', 'describe', 'scp', 'install', 'run']


def test_preempted_slice_is_asked_for_again_and_the_run_goes_on(play):
    code, called, said = play([
        state('READY'), state('READY'),
        {'verb': 'run', 'out': 'step 5', 'code': 255,
         'err': '##### Command execution on worker 3 failed with exit status 255. Continuing.'},
        state('PREEMPTED'), state('PREEMPTED'), state('CREATING'), state('READY')])
    assert code == 0
    assert called == ['describe', 'describe', 'scp', 'install', 'run', 'describe',
                      'describe', 'delete', 'create', 'describe', 'describe', 'scp', 'install', 'run', 'delete']
    assert 'step 5' in said and any('restart 1 of at most 3' in line for line in said)


def test_lost_connection_starts_again_on_the_same_tpu(play):
    code, called, _ = play([state('READY'), state('READY'), {'verb': 'run', 'code': 255}, *[state('READY')] * 3])
    assert code == 0 and called.count('run') == 2 and 'create' not in called and called.count('install') == 1


def test_a_worker_that_asks_to_start_again_wins_over_its_peers(play):
    lines = '\n'.join(f'##### Command execution on worker {worker} failed with exit status {code}. Continuing.'
                      for worker, code in ((0, 1), (1, 75)))
    code, called, _ = play([state('READY'), state('READY'), {'verb': 'run', 'err': lines, 'code': 1}, *[state('READY')] * 3])
    assert code == 0 and called.count('run') == 2


@pytest.mark.parametrize('code', [1, 2])
def test_fault_of_the_run_is_final(play, code):
    found, called, said = play([state('READY'), state('READY'), {'verb': 'run', 'code': code}, state('READY')])
    assert found == code and called.count('run') == 1 and called[-1] == 'delete'


def test_limit_of_restarts(play):
    found, called, said = play([state('READY')] * 2 + [{'verb': 'run', 'code': 75}] * 9 + [state('READY')] * 20, max_restarts=2)
    assert found == exit_codes.RESTART and called.count('run') == 3 and any('given up after 2 restarts' in line for line in said)


def test_no_capacity_after_a_preemption_is_waited_for(play):
    code, called, _ = play([state('READY'), state('READY'), {'verb': 'run', 'code': 255}, state('PREEMPTED'), state('PREEMPTED'),
                            {'verb': 'create', 'err': CAPACITY, 'code': 1}, NOT_FOUND, NOT_FOUND, state('READY')])
    assert code == 0 and called.count('create') == 2


@pytest.mark.parametrize('error, told', [
    (QUOTA, 'no quota: TPUV5PPerProjectPerZoneForTPUAPI is 0 in us-east5-a'),
    (CAPACITY, 'no such TPU is free in us-east5-a now: try --queued'),
    ('ERROR: (gcloud.compute.tpus.tpu-vm.create) You do not currently have an active account selected.', 'gcloud auth login'),
    ('ERROR: (gcloud.x) PERMISSION_DENIED: Permission tpu.nodes.create denied', 'roles/tpu.admin'),
    ('ERROR: (gcloud.x) Accelerator type v5p-128 is not found in us-east5-a', 'the zone does not have that TPU'),
    ('WARNING: the quota project differs\nERROR: (gcloud.x) Something new with ya29.' + 'a' * 30, 'Something new with ***'),
])
def test_what_gcloud_complains_of_is_one_sentence(play, tmp_path, error, told):
    with pytest.raises(ValueError) as raised:
        play([NOT_FOUND, {'verb': 'create', 'err': error, 'code': 1}])
    assert told in str(raised.value) and '\n' not in str(raised.value)
    assert verbs(tmp_path) == ['describe', 'create']


def test_queued_resource_waits_for_its_turn(play):
    states = [state(name) for name in ('WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE')]
    code, called, said = play([NOT_FOUND, *states], job(queued=True, slices=2))
    assert code == 0 and any('WAITING_FOR_RESOURCES' in line for line in said)


def test_stop_says_that_the_tpu_is_still_paid_for(play, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(gcloud, 'stream', interrupted)
    said = []
    with pytest.raises(KeyboardInterrupt):
        (pathlib.Path('script.json')).write_text(json.dumps([state('READY'), state('READY')]))
        tpu_vm.start(job(), 1, say=said.append, sleep=lambda _: None)
    assert 'still runs and is paid for' in said[-1] and 'tpu-vm delete mathrl-kl' in said[-1]


def test_stand_in_refuses_what_gcloud_refuses(play):
    done = gcloud.capture(['gcloud', 'compute', 'tpus', 'tpu-vm', 'create', 'x', '--topology-type=1'])
    assert done.code and 'has no flag' in done.errors
