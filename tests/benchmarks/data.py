"""Texts -> packed rows -> batches, beside seqio's own packing of the same texts; prints one JSON line last.

  python tests/benchmarks/data.py --texts runs/mine/corpus --tokenizer tokenizer.model [--row_length 4096] [--rounds 3]

`pack` is the program's work on one part: read, tokenize, pack, write; `seqio` is the same task through
DecoderFeatureConverter(pack=True), which writes nothing. Both run in turn, --rounds times; figures are medians of tokens per
second of CPU time (all threads) and of wall time. `read` is random access to batches of --batch rows, and how long the batch of
step 10,000,000 takes; `mixed` the same from two folders at rates 4 to 1.
"""
import argparse
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')
import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from mathrl.data import mixing, packed, tasks
from mathrl.programs import pack


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--texts', nargs='+', required=True)
    parser.add_argument('--tokenizer', required=True)
    parser.add_argument('--row_length', type=int, default=4096)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=3)
    return parser.parse_args()


def timed(task) -> dict:
    """task() -> (tokens, padding share)."""
    cpu, wall = time.process_time(), time.perf_counter()
    tokens, padding = task()
    return {'tokens': tokens, 'padding': padding, 'cpu': tokens / (time.process_time() - cpu),
            'wall': tokens / (time.perf_counter() - wall)}


def by_us(given: argparse.Namespace, folder: epath.Path) -> tuple[int, float]:
    for path in folder.glob('*'):
        path.rmtree() if path.is_dir() else path.unlink()
    pack.run(workdir=folder, task=tasks.text_task(given.texts, given.tokenizer), row_length=given.row_length, parts=1)
    manifest = packed.open_packed(folder).manifest
    return manifest['tokens'], manifest['padding_share']


def by_seqio(given: argparse.Namespace) -> tuple[int, float]:
    """Texts longer than a row are cut into pieces first, which the converter would not do; it pads at the end."""
    task = tasks.text_task(given.texts, given.tokenizer)
    def pieces(row):
        starts = tf.data.Dataset.range(0, tf.size(row['targets'], tf.int64), given.row_length)
        return starts.map(lambda start: {'targets': row['targets'][start:start + given.row_length]})
    task = seqio.Task('pieces', source=task.source, output_features=task.output_features,
                      preprocessors=[*task.preprocessors, lambda dataset: dataset.flat_map(pieces)])
    lengths = {'targets': given.row_length}
    dataset = task.get_dataset(lengths, 'train', shuffle=True, seed=0)
    rows = list(seqio.DecoderFeatureConverter(pack=True)(dataset, lengths).as_numpy_iterator())
    tokens = sum(int((row['decoder_segment_ids'] > 0).sum()) for row in rows)
    return tokens, 1 - tokens / (len(rows) * given.row_length)


def reading(data, batch: int) -> dict:
    reader, steps = packed.open_packed(data), np.random.default_rng(0).integers(0, 10 ** 7, 30)
    reader.batch(0, 0, batch)
    began = time.perf_counter()
    for step in steps:
        reader.batch(0, int(step), batch)
    seconds = time.perf_counter() - began
    far = packed.open_packed(data)      # opened for it: the time holds that of opening its files, too
    began = time.perf_counter()
    far.batch(0, 10_000_000, batch)
    return {'tokens_s': len(steps) * batch * reader.row_length / seconds, 'step_10M_ms': 1000 * (time.perf_counter() - began)}


def main() -> None:
    given, folder = flags(), epath.Path(tempfile.mkdtemp())
    for name in ('a', 'b'):
        (folder / name).mkdir()
        by_us(given, folder / name)     # once before: imports, and the files in memory
    rounds = {'pack': [], 'seqio': []}
    for _ in range(given.rounds):
        rounds['pack'].append(timed(lambda: by_us(given, folder / 'a')))
        rounds['seqio'].append(timed(lambda: by_seqio(given)))
    found = {name: {'tokens': of[0]['tokens'], 'padding': round(of[0]['padding'], 5),
                    'tokens_per_cpu_s': round(statistics.median(one['cpu'] for one in of)),
                    'tokens_per_wall_s': round(statistics.median(one['wall'] for one in of))} for name, of in rounds.items()}
    read = {'read': reading(str(folder / 'a'), given.batch),
            'mixed': reading(mixing.Mixed(str(folder), {'a': 4, 'b': 1}), given.batch)}
    folder.rmtree()
    ratio = found['pack']['tokens_per_cpu_s'] / found['seqio']['tokens_per_cpu_s']
    print(json.dumps(found | read | {'pack_over_seqio': round(ratio, 2), 'row_length': given.row_length, 'batch': given.batch,
                                     'seqio_version': tasks.SEQIO_VERSION}))


if __name__ == '__main__':
    main()
