"""Runs of mathrl.main in processes of four CPU devices each: a pod in miniature, for tests."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

DEVICES = 4


class Pod:
    """Processes of one run, each with its output in workdir.log/<number>."""

    def __init__(self, repository: pathlib.Path, cache: pathlib.Path, arguments: list[str], workdir: pathlib.Path, count: int,
                 devices: int = DEVICES, more_paths: tuple = (), only: tuple = (), **environment):
        self.workdir, logs = workdir, workdir.with_name(f'{workdir.name}.log')
        logs.mkdir(exist_ok=True)
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            port = listener.getsockname()[1]
        self._logs = [logs / str(index) for index in range(count)]
        self.processes = []
        for index in only or range(count):
            joined = [f'--coordinator_address=127.0.0.1:{port}', f'--num_processes={count}', f'--process_id={index}']
            self.processes.append(subprocess.Popen(
                [sys.executable, '-m', 'mathrl.main', *(joined if count > 1 else []), *arguments, f'--workdir={workdir}'],
                cwd=repository, stdout=open(self._logs[index], 'w'), stderr=subprocess.STDOUT, env={
                    **os.environ, 'PYTHONPATH': os.pathsep.join(map(str, (repository, *more_paths))), 'JAX_PLATFORMS': 'cpu',
                    'XLA_FLAGS': f'--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={devices}',
                    'JAX_COMPILATION_CACHE_DIR': str(cache), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0', **environment}))

    def logs(self) -> list[str]:
        """Without the lines of gloo, which says that it is there."""
        texts = [log.read_text() if log.exists() else '' for log in self._logs]
        return ['\n'.join(line for line in text.splitlines() if 'peer ranks' not in line) for text in texts]

    def wait(self, seconds: float = 240) -> list[int]:
        """Exit codes."""
        until = time.monotonic() + seconds
        try:
            return [process.wait(max(0.1, until - time.monotonic())) for process in self.processes]
        except subprocess.TimeoutExpired:
            for process in self.processes:
                process.kill()
            raise AssertionError('\n----\n'.join(self.logs())) from None

    def finish(self) -> 'Pod':
        codes = self.wait()
        assert not any(codes), (codes, self.logs())
        return self

    def signal_after(self, step: int, number: int, process: int) -> float:
        """Sends the signal to one process as soon as the step (from 0) is in metrics.jsonl; the time."""
        until = time.monotonic() + 240
        while not any(line['step'] >= step for line in lines(self.workdir)):
            assert all(one.poll() is None for one in self.processes), self.logs()
            assert time.monotonic() < until, f'step {step} never came: {self.logs()}'
            time.sleep(0.002)
        self.processes[process].send_signal(number)
        return time.monotonic()


def lines(workdir: pathlib.Path) -> list[dict]:
    """Of metrics.jsonl, but for a half-written last one."""
    path = workdir / 'metrics.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith('}')] if path.exists() else []


def hexadecimal(workdir: pathlib.Path, names: tuple[str, ...]) -> list[list[str]]:
    """The numbers as they are, bit for bit."""
    return [[float(line[name]).hex() for name in names if name in line] for line in lines(workdir)]
