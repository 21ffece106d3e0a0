"""Runs the Python that a model writes (program of thought, tool-integrated reasoning), in sandboxes and nowhere else.

What holds a snippet, from outside to inside: namespaces and read-only mounts (sandbox.py), a monitor that it cannot
signal, trace or speak for (sandbox_zygote.py), limits of its own process, and a filter of system calls
(sandbox_filter.py). The sandbox is probed when it starts (sandbox_probes.py). Where bubblewrap is missing, or a probe
escapes, nothing is run.
"""
import concurrent.futures
import dataclasses
import queue
from typing import Iterable

from mathrl.problems import sandbox_probes
from mathrl.problems.sandbox import Sandbox, SandboxUnavailable

__all__ = ['PythonTool', 'STATUSES', 'SandboxUnavailable', 'ToolResult']

# killed: ended by a signal, such as a segmentation fault, or with the sandbox itself
STATUSES = ('ok', 'error', 'timeout', 'output limit', 'out of memory', 'killed')
LEAST_MEMORY = 1 << 28      # Python with SymPy and NumPy takes more than half of it


@dataclasses.dataclass(frozen=True)
class ToolResult:
    """What a snippet printed (both streams, traceback included), how it ended (of STATUSES), and its wall time."""
    output: str
    status: str
    seconds: float


class PythonTool:
    """Sandboxes for snippets: `with PythonTool() as tool: tool.run('print(1+1)')` -> ToolResult('2\\n', 'ok', 0.004).

    A snippet starts in a fresh process with an empty /tmp and seeded `random` and `numpy.random`, and leaves nothing.
    It may take `seconds` of wall time, `memory_bytes` of address space (the interpreter's 150 MB and threads
    included; it has no other processes), 16 MB of files and `output_bytes` of output, which is cut there.
    SandboxUnavailable, on entering: one sentence on what is missing, or what does not hold.
    """

    def __init__(self, workers: int = 2, seconds: float = 5.0, memory_bytes: int = 1 << 30,
                 output_bytes: int = 1 << 16):
        if workers < 1 or seconds <= 0 or memory_bytes < LEAST_MEMORY or output_bytes < 1:
            raise ValueError(
                f'PythonTool was given workers={workers}, seconds={seconds}, memory_bytes={memory_bytes}, '
                f'output_bytes={output_bytes}; wanted are positive numbers and memory_bytes >= {LEAST_MEMORY}')
        self.workers, self.seconds, self.memory_bytes, self.output_bytes = workers, seconds, memory_bytes, output_bytes
        self._sandboxes, self._idle, self._threads = [], queue.SimpleQueue(), None

    def __enter__(self) -> 'PythonTool':
        # A sandbox dies with the thread that started it, so these threads live as long as the tool.
        self._threads = concurrent.futures.ThreadPoolExecutor(self.workers, 'python-tool')
        try:
            starts = [self._threads.submit(Sandbox) for _ in range(self.workers)]
            concurrent.futures.wait(starts)
            self._sandboxes = [start.result() for start in starts if start.exception() is None]
            for start in starts:
                start.result()
            self._threads.submit(sandbox_probes.check, self._sandboxes[0], self.memory_bytes).result()
        except BaseException:
            self._close()
            raise
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        return self

    def __exit__(self, *_):
        self._close()

    def run(self, code: str) -> ToolResult:
        """The result of one snippet, whatever it does; safe to call from several threads."""
        return self.run_all([code])[0]

    def run_all(self, codes: Iterable[str]) -> list[ToolResult]:
        """Results in the order of the snippets, which run on all workers at once."""
        if self._threads is None:
            raise RuntimeError('PythonTool runs programs inside its with statement: with PythonTool() as tool: ...')
        return list(self._threads.map(self._run, codes))

    def _run(self, code: str) -> ToolResult:
        sandbox = self._idle.get()
        try:
            return ToolResult(**sandbox.run(code, self.seconds, self.memory_bytes, self.output_bytes))
        finally:
            self._idle.put(sandbox)

    def _close(self):
        self._threads.shutdown(cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()
        self._sandboxes, self._idle, self._threads = [], queue.SimpleQueue(), None
