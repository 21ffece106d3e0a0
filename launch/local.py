"""A pod in miniature: processes with fake CPU devices on this machine, joined by jax.distributed."""

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable

from launch import exit_codes, processes
from launch.run_arguments import REPOSITORY, Run


def commands(run: Run, count: int, port: int | str) -> list[list[str]]:
    """One for each process."""
    joined = lambda index: [] if count == 1 else [f'--coordinator_address=127.0.0.1:{port}', f'--num_processes={count}',
                                                  f'--process_id={index}']
    return [[sys.executable, '-m', 'mathrl.main', *joined(index), *run.arguments] for index in range(count)]


def variables(devices: int) -> dict[str, str]:
    """What each process gets beside our environment."""
    return {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}


def render(run: Run, count: int, devices: int) -> str:
    """What would be run, for a person."""
    settings = ' '.join(f'{name}={value}' for name, value in variables(devices).items())
    lines = [f'# {count} processes with {devices} CPU devices each, at the same time'] if count > 1 else []
    return '\n'.join(lines + [f'{settings} {shlex.join(["python", *command[1:]])}' for command in commands(run, count, 'PORT')])


def start(run: Run, count: int, devices: int, max_restarts: int, *, say: Callable[[str], None] = print,
          sleep: Callable[[float], None] = time.sleep) -> int:
    """Runs to the end, started again where a process was stopped from outside; returns the exit code."""
    ours = variables(devices)
    flags = f'{os.environ.get("XLA_FLAGS", "")} {ours["XLA_FLAGS"]}'.strip()
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    environment = {**os.environ, **ours, 'XLA_FLAGS': flags, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1'}
    for restart in range(max_restarts + 1):
        ended = processes.run_together(commands(run, count, _free_port()), [environment] * count, say)
        if ended is None:
            return 0
        which = f'process {ended.process} of {count}' if count > 1 else 'the process'
        others = '; the others were ended' if count > 1 else ''
        say(f'launch: {which} {exit_codes.meaning(ended.code)} after {ended.seconds:.0f} s{others}.')
        if not exit_codes.starts_again(ended.code):
            return _shell_code(ended.code)
        if restart < max_restarts:
            wait = exit_codes.wait_seconds(restart + 1)
            say(f'launch: restart {restart + 1} of at most {max_restarts} in {wait:.0f} s.')
            sleep(wait)
    say(f'launch: given up after {max_restarts} restarts; the same command goes on from the last checkpoint.')
    return exit_codes.RESTART


def _shell_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
