"""The command line: what it refuses before anything is created, what it prints without --go, and what it never prints."""

import os
import pathlib
import subprocess
import sys

import pytest

from launch import exit_codes, run_arguments, secret_values, tpu

REPOSITORY = pathlib.Path(__file__).parents[2]
RUN = ['--', '--gin_file=gin/runs/rl.gin', '--workdir=gs://bucket/run']
VM = ['--backend=tpu_vm', '--tpu=v5p-128', '--zone=us-east5-a']
GKE = ['--backend=gke', '--tpu=v5p-128', '--image=registry/mathrl:1']
TOKEN = 'hf_' + 'a1B2' * 8


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize('arguments, told', [
    (RUN, '--backend is missing'),
    (['--backend=slurm', *RUN], 'invalid choice'),
    (['--backend=tpu_vm', *RUN], 'needs --tpu=TYPE'),
    (['--backend=tpu_vm', '--tpu=v5p-129', *RUN], 'nearest: v5p-128 and v5p-256'),
    (['--backend=tpu_vm', '--tpu=tpu7x-128', *RUN], 'use --backend=gke'),
    ([*VM, '--slices=2', *RUN], 'add --queued'),
    ([*VM, *RUN, '--gin.FSDP=48'], 'a mesh of FSDP=48 x TENSOR=1 does not fit v5p-128: it has 64 devices'),
    ([*GKE, '--slices=2', *RUN, '--gin.FSDP=64', '--gin.TENSOR=2'], 'each of the 2 slices of v5p-128'),
    ([*VM, *RUN, '--gin.FSDP=many'], 'FSDP = many is no whole number'),
    (['--backend=gke', '--tpu=v5p-8', *RUN], '--image='),
    ([*GKE, '--name=My_Run', *RUN], '--name=My_Run'),
    ([*VM, '--', '--gin_file=gin/runs/rl.gin', '--workdir=runs/a'], 'name a bucket'),
    ([*VM, '--', '--gin_file=gin/runs/no.gin', '--workdir=gs://b/a'], 'there is no such file'),
    ([*VM, '--', '--gin_file=/etc/hostname', '--workdir=gs://b/a'], 'would not be on the machine'),
    ([*VM, '--', '--workdir=gs://b/a'], 'no --gin_file'),
    ([*VM, '--', '--gin_file=gin/runs/rl.gin'], 'no --workdir'),
    ([*VM, *RUN, '--distributed'], '--distributed is set by the launcher'),
    ([*VM, f'--env=HF_TOKEN={TOKEN}', *RUN], 'HF_TOKEN looks like a secret'),
    ([*GKE, f'--env=HARMLESS={TOKEN}', *RUN], 'HARMLESS looks like a secret'),
    ([*GKE, *RUN, f'--gin.NAME="{TOKEN}"'], 'NAME looks like a secret'),
    ([*GKE, *RUN, '--gin.WANDB_API_KEY="x"'], 'WANDB_API_KEY looks like a secret'),
    ([*VM, '--env=novalue', *RUN], '--env takes NAME=VALUE'),
    (['--backend=local', '--processes=2', '--devices=3', *RUN, '--gin.FSDP=4'], '2 processes x 3 devices'),
    ([*VM, '--slices=0', *RUN], '--slices is at least 1'),
])
def test_one_sentence_before_anything_is_created(arguments, told, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, 'Popen', lambda *_, **__: pytest.fail('a process was started'))
    with pytest.raises(ValueError) as error:
        tpu.main(['--go', *arguments])
    assert told in str(error.value) and '\n' not in str(error.value) and TOKEN not in str(error.value) + capsys.readouterr().out


@pytest.mark.parametrize('arguments, program', [(VM, 'gcloud'), (GKE, 'docker')])
def test_absent_program_is_one_sentence(arguments, program, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(ValueError, match=f'{program} is not on the PATH'):
        tpu.main(['--go', *arguments, *RUN])


def test_macro_of_the_gin_file_counts_and_an_override_wins(tmp_path):
    base, file = tmp_path / 'base.gin', tmp_path / 'run.gin'
    base.write_text('FSDP = 3  # devices\n')
    file.write_text(f"include '{base}'\n")
    run = run_arguments.parse([f'--gin_file={file}', '--workdir=w'])
    with pytest.raises(ValueError, match='FSDP=3'):
        run_arguments.check_mesh(run, 64, 1, 'here')
    run_arguments.check_mesh(run_arguments.parse([f'--gin_file={file}', '--workdir=w', '--gin.FSDP=4']), 64, 1, 'here')


def test_without_go_nothing_is_run(monkeypatch, capsys):
    monkeypatch.setattr(subprocess, 'Popen', lambda *_, **__: pytest.fail('a process was started'))
    for arguments in (VM, GKE, ['--backend=local']):
        assert tpu.main([*arguments, *RUN]) == 0
    printed = capsys.readouterr()
    assert 'tpu-vm create mathrl-run' in printed.out and 'kind: JobSet' in printed.out
    assert 'add --go' in printed.err


@pytest.mark.parametrize('name, secret', [
    ('HF_TOKEN', True), ('WANDB_API_KEY', True), ('PASSWORD', True), ('aws_secret_access_key', True), ('GOOGLE_CREDENTIALS', True),
    ('MAX_TOKENS', False), ('TOKENIZER', False), ('KEYS', False), ('AUTHORS', False), ('JAX_PLATFORMS', False)])
def test_names_of_secrets(name, secret):
    assert secret_values.looks_secret(name) == secret


@pytest.mark.parametrize('value', [TOKEN, 'ghp_' + 'x' * 36, 'AIza' + 'y' * 35, 'ya29.' + 'z' * 40, 'sk-' + 'k' * 40,
                                   'https://user:pass123@host/x'])
def test_values_of_secrets_are_redacted(value):
    printed = secret_values.redact(f'error at {value} in line 3')
    assert '***' in printed and 'in line 3' in printed and value not in printed
    assert secret_values.redact('gs://bucket/run --gin.LEARNING_RATE=1e-4') == 'gs://bucket/run --gin.LEARNING_RATE=1e-4'


@pytest.mark.parametrize('code, again', [(75, True), (-9, True), (137, True), (143, True), (0, False), (1, False), (2, False),
                                         (-6, False), (134, False), (255, False)])
def test_codes_that_start_again(code, again):
    assert exit_codes.starts_again(code) == again


def test_codes_are_told_in_words():
    assert 'SIGKILL' in exit_codes.meaning(137) and 'SIGKILL' in exit_codes.meaning(-9)
    assert '(start again)' in exit_codes.meaning(75) and 'last line' in exit_codes.meaning(2)
    assert exit_codes.meaning(200) == 'ended with exit code 200'


def test_waits_grow_up_to_five_minutes():
    waits = [exit_codes.wait_seconds(restart) for restart in range(1, 20)]
    assert 1.5 < waits[0] < 2.5 and 6 < waits[2] < 10 and max(waits) <= 360


def test_module_runs_and_its_help_is_light():
    done = subprocess.run([sys.executable, '-X', 'importtime', '-m', 'launch.tpu', '--help'], cwd=REPOSITORY, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and '--backend' in done.stdout
    loaded = {line.rsplit('|', 1)[1].strip().split('.')[0] for line in done.stderr.splitlines() if line.count('|') == 2}
    assert 'launch' in loaded and not loaded & {'jax', 'numpy', 'mathrl', 'gin', 'yaml', 'optuna'}


def test_error_is_one_line_and_exit_code_2():
    done = subprocess.run([sys.executable, '-m', 'launch.tpu', '--backend=tpu_vm', '--tpu=v9-8', *RUN], cwd=REPOSITORY,
                          capture_output=True, text=True, timeout=60, env={**os.environ})
    assert done.returncode == 2 and done.stderr.startswith('error: --tpu=v9-8') and done.stderr.count('\n') == 1
