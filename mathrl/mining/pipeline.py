"""The engine under mining: Apache Beam, in two primitives that every stage is written in.

`each` calls a function for each shard, on all workers; the function writes that shard's file. `regroup` is a map, one
or more reductions with a shuffle by key before each, and a last shuffle that brings what was found to its file. Functions are
module-level ones (or functools.partial of them), so a worker imports them and is sent their arguments alone; what
they need beyond that, such as a model, they read from its path once a process. Keys, hashes and scores are shuffled,
never text; nothing is collected in the driver.

What a full Common Crawl snapshot (3 B pages) would cost, from pages per second of one core's CPU time, measured by
tests/benchmarks/mining.py on 3,488 real pages of 53 kB of HTML and 7.1 kB of text (one of 2 cores of an Intel Xeon, the
machine quiet). Each stage but the first also reads the texts again (31,200 pages/core-s), which is in its core-hours.

    stage                                  pages/core-s   core-hours   shuffled, or written
    read, extract, write the texts             753          1,107       20 TB of text, 6.9 TB as compressed
        reading alone                       11,900
        extraction alone                     1,156
        language alone                      31,000
    duplicates by URL                      136,000             33       129 B a page: 0.4 TB
    duplicates by content                    3,640            255       17 buckets x 152 B a page: 7.8 TB
    each round: features and score           5,420            180       33 B a page: 0.1 TB; counts of domains
        features alone                       7,240
        score alone                         21,500
    decontaminate, if 2 % are collected      1,470             11
    write the corpus, as many                5,510              3       0.1 TB as compressed

Four rounds, reading for the corpus (27) and all the rest make about 2,160 core-hours: 7 hours on 300 cores. Not in the
figures: examples and domains of each round, clusters of duplicates, Beam's own work of shuffling. fastText trains on one
machine in each round: 1 M examples of at most 600 tokens, on one thread where runs must be identical. No snapshot was run.
"""
import dataclasses
import functools
import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

logging.disable(logging.WARNING)   # Beam warns of Google Cloud's clients, which not everybody has
import apache_beam as beam
logging.disable(logging.NOTSET)
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

from mathrl.mining.workers import Workers

# Named explicitly: Beam's DirectRunner would first try to download the Prism runner.
EMBEDDED = 'FnApiRunner'
# Dask is not among the names that Beam knows.
NAMES = {'daskrunner': 'apache_beam.runners.dask.dask_runner.DaskRunner'}
SECONDS_BETWEEN_LINES = 10


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where pipelines run. options: Beam's own, as on a command line, '' for this machine.

    workers: processes on this machine (0: one a core); other runners have options of their own for it.
    log: the file that these processes write what they have to say into.
    """
    options: str = ''
    workers: int = 0
    log: str = os.devnull

    def each(self, function: Callable[[int], None], shards: Iterable[int], name: str = '',
             finished: Callable[[], int] | None = None) -> None:
        """function(shard) for each shard, once or, where a worker dies, again: it must write its file as a whole.

        finished: how many of all shards are there, for the progress line.
        """
        shards = list(shards)
        if not shards:
            return
        with _Progress(name, len(shards), finished):
            self._run(lambda start: start | beam.Create(shards) | beam.Reshuffle() | beam.Map(function))

    def regroup(self, shards: Iterable[int], mapped: Callable[[int], Iterable[tuple[Any, Any]]],
                reductions: Sequence[Callable[[Any, Iterable], Iterable[tuple[Any, Any]]]],
                written: Callable[[Any, Iterable], None], name: str = '') -> None:
        """mapped(shard) -> (key, value)...; each of reductions (key, values) -> (key, value)...; written(key, values).

        Values of a key come in no fixed order and can be read twice; keys are str, bytes, int or tuples of them. What
        `written` is given must fit into memory, the values of other keys need not.
        """
        shards = list(shards)
        if not shards:
            return

        def graph(start):
            found = start | beam.Create(shards) | beam.Reshuffle() | beam.FlatMap(mapped)
            for number, reduction in enumerate([*reductions, written]):
                found = (found | f'group {number}' >> beam.GroupByKey()
                         | f'reduce {number}' >> beam.FlatMap(functools.partial(_apply, reduction)))
            return found

        with _Progress(name, len(shards), None):
            self._run(graph)

    def _run(self, graph: Callable[[beam.Pipeline], Any]) -> None:
        options = PipelineOptions(self._flags())
        runner = options.view_as(StandardOptions).runner
        if runner in (None, EMBEDDED):
            with Workers(self.log) as workers:
                # One worker is this process.
                self._run_on(FnApiRunner(workers.environment() if self._workers() > 1 else None), options, graph)
        else:
            os.environ.setdefault('DASK_LOGGING__DISTRIBUTED', 'error')   # read by Dask's processes when they start
            try:
                made = create_runner(NAMES.get(runner.lower(), runner))
            except (ValueError, ImportError, AttributeError) as error:
                raise ValueError(f'beam_options name the runner {runner!r}, which Beam does not find ({error}); '
                                 f'there are: {", ".join(StandardOptions.KNOWN_RUNNER_NAMES)}, DaskRunner.') from None
            options.view_as(StandardOptions).runner = None   # Beam would look the name up by itself
            self._run_on(made, options, graph)

    def _run_on(self, runner: PipelineRunner, options: PipelineOptions, graph: Callable[[beam.Pipeline], Any]) -> None:
        quiet = logging.getLogger('apache_beam')
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        pipeline = beam.Pipeline(runner=runner, options=options)
        try:
            with pipeline:
                graph(pipeline)
        finally:
            client = getattr(pipeline.result, 'client', None)
            if client:   # Dask's, which would keep its cluster of this machine, a new one for each pipeline
                client.close()
            quiet.setLevel(level)

    def _flags(self) -> list[str]:
        """Beam's options, with what this machine's cores ask for where they name no other runner."""
        flags = shlex.split(self.options)
        own = {'--direct_num_workers': str(self._workers())}
        given = {flag.partition('=')[0] for flag in flags}
        # Beam reads annotations as its own type hints, and refuses a plain `tuple`.
        return ['--no_pipeline_type_check', *flags, *(f'{name}={value}' for name, value in own.items() if name not in given)]

    def _workers(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))


def _apply(function: Callable[[Any, Iterable], Any], pair: tuple[Any, Iterable]) -> Iterator:
    return function(*pair) or ()


class _Progress:
    """A line every few seconds while a pipeline runs: how far, how fast, how long it still takes."""

    def __init__(self, name: str, total: int, finished: Callable[[], int] | None):
        self.name, self.total, self.finished = name, total, finished
        self.ended, self.start = threading.Event(), time.monotonic()

    def __enter__(self):
        self.before = self.finished() if self.finished else 0
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.ended.wait(SECONDS_BETWEEN_LINES):
            seconds = time.monotonic() - self.start
            if not self.finished:
                print(f'{self.name}: {seconds:.0f} s', file=sys.stderr, flush=True)
                continue
            done = self.finished() - self.before
            left = f', {seconds / done * (self.total - done):.0f} s left' if done else ''
            print(f'{self.name}: {done} of {self.total} files, {seconds:.0f} s{left}', file=sys.stderr, flush=True)
