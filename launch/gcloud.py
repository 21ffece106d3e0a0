"""Runs gcloud and kubectl, and says in one sentence what they complain of."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

from launch import secret_values

INSTALL = {'gcloud': 'https://cloud.google.com/sdk/docs/install', 'kubectl': 'gcloud components install kubectl',
           'docker': 'https://docs.docker.com/engine/install'}
_WORKER = re.compile(r'Command execution on worker \S+ failed with exit status (\d+)')
# What gcloud prints -> what to do about it; the first that matches is said.
_KNOWN = (
    (r"Quota limit '?(?P<what>[\w-]+)'?.*?(?:Limit: (?P<limit>\d+))", 'no quota: {what} is {limit}{where}; ask for more at '
     'https://console.cloud.google.com/iam-admin/quotas, or take another zone or --spot, which has a quota of its own'),
    (r'quota', 'the quota does not allow it{where}: https://console.cloud.google.com/iam-admin/quotas shows what is left; '
     '--spot has a quota of its own'),
    (r'no more capacity|Insufficient (?:reserved )?capacity|stockout|RESOURCE_EXHAUSTED',
     'no such TPU is free{where} now: try --queued, which waits for one, or another zone'),
    (r'gcloud auth login|Reauthentication|You do not currently have an active account|invalid_grant', 'gcloud is not logged in: '
     'run gcloud auth login'),
    (r'PERMISSION_DENIED|does not have permission|\b403\b', 'the account may not do that in this project: it needs roles/tpu.admin'),
    (r'required property \[project\]|project.*must be specified', 'no project: give --project=ID'),
    (r'\[zone\].*must be specified|required property \[compute/zone\]|must be specified: zone', 'no zone: give --zone=ZONE'),
    (r'accelerator ?type.*(?:not found|unavailable|not available|is not supported)',
     'the zone does not have that TPU{where}: https://cloud.google.com/tpu/docs/regions-zones says which do'),
    (r'ALREADY_EXISTS|already exists', 'there is one of that name already: give another --name'),
)


class Result(NamedTuple):
    code: int
    output: str         # stdout
    errors: str         # stderr
    worker_codes: tuple[int, ...] = ()


def need(program: str) -> None:
    if shutil.which(program) is None:
        raise ValueError(f'{program} is not on the PATH, and this backend works through it: {INSTALL[program]}')


def capture(command: Sequence[str]) -> Result:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace')
    return Result(done.returncode, done.stdout.strip(), done.stderr)


def stream(command: Sequence[str], say: Callable[[str], None]) -> Result:
    """Passes output on as it comes; worker_codes: the exit code of every worker that failed, as gcloud tells them."""
    codes, last = [], []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace') as process:
        for line in process.stdout:
            codes += map(int, _WORKER.findall(line))
            last = [*last[-50:], line]
            say(secret_values.redact(line.rstrip('\n')))
    return Result(process.returncode, '', ''.join(last), tuple(codes))


def sentence(errors: str, zone: str = '') -> str:
    """gcloud's stderr -> one sentence.

    "... Quota limit 'TPUV5PPerProjectPerZone' has been exceeded. Limit: 0 ..." -> 'no quota: TPUV5PPerProjectPerZone is 0 in
    us-east5-a; ...'
    """
    where = f' in {zone}' if zone else ''
    errors = errors[max(errors.find('ERROR:'), 0):]     # warnings come before it
    for pattern, text in _KNOWN:
        found = re.search(pattern, errors, re.S | re.I)
        if found:
            return text.format(where=where, **found.groupdict())
    lines = [line for line in errors.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith('ERROR:')] or lines[-1:] or ['it failed without a word']
    return secret_values.redact(re.sub(r'^ERROR: (\([\w.-]+\) )?', '', told[-1].strip()))


def lacks_capacity(errors: str) -> bool:
    return bool(re.search(_KNOWN[2][0], errors, re.I)) and 'quota' not in errors.lower()
