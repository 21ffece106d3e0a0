"""Snippets per second of the Python tool, and what is left after them; prints one JSON line last.

  python tests/benchmarks/python_tool.py [--workers 2] [--runs 1000]

The start is one sandbox with its imports, then the tool with its probes. A print and a SymPy solve are timed one after
the other (median, wall time, as the caller sees it); `runs_per_s` is for trivial snippets on all workers. What is left
is the change over as many mixed runs: resident memory of all sandboxes together, their processes, open files here.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mathrl.problems.python_tool import PythonTool                    # noqa: E402
from mathrl.problems.sandbox import Sandbox                           # noqa: E402

GOAL = 100          # trivial runs per second on two cores
PRINT = 'print(1 + 1)'
SOLVE = 'from sympy import symbols, solve\nx, y = symbols("x y")\nprint(solve([x**2 + y - 7, x - y + 1], [x, y]))'
MIXED = [PRINT, SOLVE, 'raise ValueError', 'open("f", "w").write("x" * 10000)',
         'import numpy\nprint(numpy.arange(9).sum())']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--runs', type=int, default=1000)
    flags = parser.parse_args()

    start = time.perf_counter()
    Sandbox().close()
    figures = {'sandbox_start_s': time.perf_counter() - start}
    start = time.perf_counter()
    with PythonTool(workers=flags.workers) as tool:
        figures['tool_start_s'] = time.perf_counter() - start
        tool.run_all([PRINT] * 100)
        figures['print_ms'] = milliseconds(tool, PRINT, 'ok', 100)
        figures['sympy_solve_ms'] = milliseconds(tool, SOLVE, 'ok', 30)
        start = time.perf_counter()
        results = tool.run_all([PRINT] * flags.runs)
        figures['runs_per_s'] = flags.runs / (time.perf_counter() - start)
        assert {(result.output, result.status) for result in results} == {('2\n', 'ok')}
        before = left()
        tool.run_all([MIXED[number % len(MIXED)] for number in range(flags.runs)])
        figures.update({f'left_{name}': now - before[name] for name, now in left().items()})
    figures.update(workers=flags.workers, runs=flags.runs, load=os.getloadavg()[0], goal_runs_per_s=GOAL)
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def milliseconds(tool: PythonTool, code: str, status: str, rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        assert tool.run(code).status == status
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def left() -> dict:
    children = {}
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        children.setdefault(int(stat.read_text().rpartition(')')[2].split()[1]), []).append(int(stat.parent.name))
    pids = list(children.get(os.getpid(), []))
    for pid in pids:
        pids += children.get(pid, [])
    pages = sum(int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in pids)
    return {'memory_bytes': pages * os.sysconf('SC_PAGESIZE'), 'processes': len(pids),
            'files': len(os.listdir('/proc/self/fd'))}


if __name__ == '__main__':
    main()
