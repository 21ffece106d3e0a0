"""Packs a seqio task or mixture once, in this process, into <workdir>: ArrayRecord rows and manifest.json."""
import itertools
import time

from mathrl.data import packed, tasks
from mathrl.data.packing import Counts, pack


def run(*, workdir, task, row_length: int, epochs: int = 1, examples: int = 0, seed: int = 0,
        open_rows: int = 64, rows_per_file: int = 100_000, config: str = '', dry_run: bool = False) -> None:
    """task: a seqio.Task, read `epochs` times, or a seqio.Mixture, of which `examples` are taken (0: all).

    row_length: T, targets a row. open_rows: how many unfinished rows a new example is tried on. An example
    longer than a row is cut if it is text, and left out if it is a solved problem; the manifest counts both.
    """
    del config
    if dry_run:
        print(f'pack: {task.name} in rows of {row_length}, {examples or "all"} examples, to {workdir}')
        return
    if not examples and isinstance(task, tasks.Mixture):
        raise ValueError(f'mixture {task.name} has no end: examples=0, a number above 0 was wanted')

    # ---- tokenize, pack and write in one pass
    tokenizer, counts, start = tasks.tokenizer_of(task), Counts(), time.monotonic()
    found = itertools.islice(tasks.examples(task, seed, epochs), examples or None)
    (workdir / packed.MANIFEST).unlink(missing_ok=True)   # while it is written it is no packed folder
    rows = pack(found, row_length, counts, pad_id=tokenizer.pad_id, open_rows=open_rows)
    files = packed.write_packed(workdir, rows, row_length, rows_per_file)
    if not counts.rows:
        raise ValueError(f'task {task.name}: none of its {counts.examples} examples fits into rows '
                         f'of {row_length}')

    # ---- the manifest, last
    padding_share = 1 - counts.tokens / (counts.rows * row_length)
    packed.write_manifest(workdir, {
        'task': task.name, 'row_length': row_length, 'rows': counts.rows, 'tokens': counts.tokens,
        'trained_tokens': counts.trained, 'padding_share': round(padding_share, 6),
        'examples': counts.examples, 'cut': counts.cut, 'dropped': counts.dropped, 'seed': seed,
        'tokenizer_digest': tokenizer.digest,
        'seqio_version': tasks.SEQIO_VERSION, 'files': files})
    print(f'pack: {counts.examples} examples of {task.name} in {counts.rows} rows of {row_length} '
          f'({padding_share:.1%} padding, {counts.cut} cut, {counts.dropped} left out), '
          f'{time.monotonic() - start:.1f} s')
