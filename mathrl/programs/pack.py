"""Packs a seqio task or mixture once into <workdir>: ArrayRecord rows and manifest.json."""
import functools
import os
import time
from collections.abc import Callable, Iterable

from mathrl.data import pack_pipeline, packed, tasks
from mathrl.data.pack_pipeline import Plan


def run(*, workdir, task, row_length: int, epochs: int = 1, examples: int = 0, seed: int = 0, open_rows: int = 64,
        split: str = 'train', parts: int = 0, workers: int = 1, beam_options: str = '', config: str = '',
        dry_run: bool = False) -> None:
    """task: a seqio.Task, read `epochs` times, or a seqio.Mixture, of which `examples` are taken (0: all).

    row_length: T, targets a row. open_rows: how many unfinished rows a new example is tried on. An example longer than a row
    is cut if it is text, and left out if it is a solved problem; the manifest counts both. parts: files written (0: one for
    about 256 MiB of the task's files); the rows depend on it, and not on workers: processes on this machine (0: one a core),
    by Apache Beam where there are several, as with beam_options, which are Beam's own.
    """
    del config
    if dry_run:
        print(f'pack: {task.name} in rows of {row_length}, {examples or "all"} examples, to {workdir}')
        return
    if not examples and isinstance(task, tasks.Mixture):
        raise ValueError(f'mixture {task.name} has no end: examples=0, a number above 0 was wanted')

    # ---- what is given, looked at first: its faults show in seconds
    tokenizer, start = tasks.tokenizer_of(task), time.monotonic()
    tasks.check(task, split)
    parts = parts or tasks.natural_parts(task, split)
    plan = Plan(task, str(workdir), row_length, parts, epochs, examples, seed, open_rows, split)

    # ---- tokenize, pack and write in one pass
    alone = not beam_options and (workers == 1 or parts == 1)
    counts, files = pack_pipeline.run(plan, _in_turn if alone else _by_beam(workdir, workers, beam_options))
    if not counts.rows:
        raise ValueError(f'task {task.name}: none of its {counts.examples} examples fits into rows of {row_length}')

    # ---- the manifest, last
    padding_share = 1 - counts.tokens / (counts.rows * row_length)
    packed.write_manifest(workdir, {
        'task': task.name, 'split': split, 'row_length': row_length, 'rows': counts.rows, 'tokens': counts.tokens,
        'trained_tokens': counts.trained, 'text_bytes': counts.text_bytes, 'padding_share': round(padding_share, 6),
        'examples': counts.examples, 'cut': counts.cut, 'dropped': counts.dropped, 'epochs': epochs, 'seed': seed,
        'tokenizer_digest': tokenizer.digest, 'seqio_version': tasks.SEQIO_VERSION, 'files': files})
    print(f'pack: {counts.examples} examples of {task.name} in {counts.rows} rows of {row_length} '
          f'({padding_share:.1%} padding, {counts.cut} cut, {counts.dropped} left out), '
          f'{time.monotonic() - start:.1f} s')


def _in_turn(function: Callable[[int], None], parts: Iterable[int]) -> None:
    for part in parts:
        function(part)


def _by_beam(workdir, workers: int, beam_options: str) -> Callable:
    from mathrl.mining.pipeline import Engine   # Beam is not needed to pack in this process
    log = os.devnull if '://' in str(workdir) else str(workdir / 'workers.log')
    return functools.partial(Engine(beam_options, workers, log).each, name='pack')
