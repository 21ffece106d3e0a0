#!/usr/bin/env python3
"""Stands in for gcloud: refuses arguments that gcloud does not take, writes down each call, plays a script.

The folder STAND_IN holds script.json, [{'verb': 'create', 'out': ..., 'err': ..., 'code': ...}, ...]: each
call takes the first entry of its verb that is left; calls.jsonl receives the calls.
"""

import json
import os
import pathlib
import re
import sys

COMMON = {'--zone', '--project', '--quiet'}
# What gcloud 528 takes, of what we use.
FLAGS = {
    ('compute', 'tpus', 'tpu-vm', 'create'): {'--accelerator-type', '--version', '--spot', '--service-account'},
    ('compute', 'tpus', 'tpu-vm', 'describe'): {'--format'},
    ('compute', 'tpus', 'tpu-vm', 'delete'): set(),
    ('compute', 'tpus', 'tpu-vm', 'ssh'): {'--worker', '--command'},
    ('compute', 'tpus', 'tpu-vm', 'scp'): {'--worker'},
    ('compute', 'tpus', 'queued-resources', 'create'): {
        '--accelerator-type', '--runtime-version', '--spot', '--service-account', '--node-id', '--node-count', '--node-prefix'},
    ('compute', 'tpus', 'queued-resources', 'describe'): {'--format'},
    ('compute', 'tpus', 'queued-resources', 'delete'): {'--force'},
    ('compute', 'tpus', 'queued-resources', 'ssh'): {'--worker', '--command', '--node'},
    ('compute', 'tpus', 'queued-resources', 'scp'): {'--worker', '--node'},
    ('storage', 'rsync'): {'--recursive', '--exclude'},
    ('container', 'clusters', 'get-credentials'): {'--location'},
}


def verb(arguments: list[str]) -> str:
    """'create', 'describe', ..., of ssh what it runs: 'install' or 'run'."""
    command = next((one for one in FLAGS if tuple(arguments[:len(one)]) == one), None)
    if command is None:
        sys.exit(f'stand-in: gcloud has no command {arguments}')
    for argument in arguments[len(command):]:
        if argument.startswith('-') and argument.split('=')[0] not in FLAGS[command] | COMMON:
            sys.exit(f'stand-in: gcloud {" ".join(command)} has no flag {argument}')
    if command[-1] != 'ssh':
        return command[-1]
    return 'run' if 'run.sh' in ' '.join(arguments) else 'install'


def main() -> None:
    folder, arguments = pathlib.Path(os.environ['STAND_IN']), sys.argv[1:]
    name = verb(arguments)
    with open(folder / 'calls.jsonl', 'a') as calls:
        calls.write(json.dumps([name, arguments]) + '\n')
    if name == 'create':
        for argument in arguments:
            if re.match(r'--(zone|accelerator-type|version|runtime-version)=$', argument):
                sys.exit(f'stand-in: {argument} is empty')
    script = json.loads((folder / 'script.json').read_text())
    step = next((one for one in script if one['verb'] == name), None)
    if step is None:
        return
    script.remove(step)
    (folder / 'script.json').write_text(json.dumps(script))
    print(step.get('out', ''), flush=True)
    print(step.get('err', ''), file=sys.stderr)
    sys.exit(step.get('code', 0))


if __name__ == '__main__':
    main()
