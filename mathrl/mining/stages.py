"""What a run has finished: a folder a stage, a file a shard, each there as a whole or not at all.

A stage is known by its settings and by the stage it reads: with other settings its folder is emptied and made anew,
with the same ones every file that is there is kept. So a run that was killed goes on, and one whose threshold
was changed extracts nothing again.
"""
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import zstandard
from etils import epath

FORMAT = 2   # raised when what a stage writes changes its meaning


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage's folder. Files are `<shard>.<suffix>`, shard being the number of a WARC in the sorted list."""
    name: str
    folder: str
    fingerprint: str

    def path(self, shard: int | str, suffix: str = 'jsonl.zst') -> epath.Path:
        name = f'{shard:05d}' if isinstance(shard, int) else shard
        return epath.Path(self.folder) / f'{name}.{suffix}'

    def unfinished(self, shards: Iterable[int], suffix: str = 'jsonl.zst') -> list[int]:
        return [shard for shard in shards if not self.path(shard, suffix).exists()]

    @property
    def result(self) -> dict | None:
        """What `finish` was given; None while the stage is not finished."""
        path = self.path('done', 'json')
        return json.loads(path.read_text()) if path.exists() else None

    def finish(self, result: dict) -> dict:
        write_text(self.path('done', 'json'), json.dumps(result, ensure_ascii=False) + '\n')
        return result


def open_stage(folder, name: str, settings: dict[str, Any], after: Stage | None = None) -> Stage:
    """The stage's folder under `folder`, emptied if it holds the work of other settings or of other inputs."""
    known = json.dumps([FORMAT, name, settings, after and after.fingerprint], sort_keys=True, default=str)
    stage = Stage(name, str(epath.Path(folder) / name), hashlib.sha256(known.encode()).hexdigest()[:16])
    mark = stage.path('stage', 'json')
    if not mark.exists() or json.loads(mark.read_text())['fingerprint'] != stage.fingerprint:
        if epath.Path(stage.folder).exists():
            epath.Path(stage.folder).rmtree()
        epath.Path(stage.folder).mkdir(parents=True, exist_ok=True)
        write_text(mark, json.dumps({'fingerprint': stage.fingerprint, 'settings': settings}, default=str) + '\n')
    elif stage.result is None:
        sweep(stage.folder)
    return stage


def sweep(folder) -> None:
    """Removes what a killed run left half-written in a folder."""
    for path in epath.Path(folder).glob('*.partial'):
        path.rmtree() if path.is_dir() else path.unlink(missing_ok=True)


def write_bytes(path, content: bytes) -> None:
    """The file appears whole: what was killed half-way leaves a `.partial` of its own name, never a torn file."""
    path = epath.Path(path)
    partial = path.parent / f'{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial'
    partial.write_bytes(content)
    partial.replace(path)


def write_text(path, text: str) -> None:
    write_bytes(path, text.encode('utf-8'))


def dump(row) -> bytes:
    """A row as a line of JSONL."""
    return json.dumps(row, ensure_ascii=False, separators=(',', ':')).encode('utf-8') + b'\n'


def write_rows(path, rows: Iterable, level: int = 3) -> int:
    """Rows as JSONL, compressed by zstd where the name says so; returns their number. As whole as `write_bytes`."""
    path = epath.Path(path)
    partial = path.parent / f'{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial'
    count = 0
    with partial.open('wb') as raw:
        file = zstandard.ZstdCompressor(level).stream_writer(raw) if path.name.endswith('.zst') else raw
        for row in rows:
            file.write(dump(row))
            count += 1
        if file is not raw:
            file.flush(zstandard.FLUSH_FRAME)
    partial.replace(path)
    return count


def read_rows(path) -> Iterator[Any]:
    """The rows of a file of `write_rows`, one at a time."""
    for line in read_lines(path):
        yield json.loads(line)


def read_lines(path) -> Iterator[bytes]:
    path = epath.Path(path)
    with path.open('rb') as raw:
        if not path.name.endswith('.zst'):
            yield from raw
            return
        rest = b''
        with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as file:
            while piece := file.read(1 << 20):
                lines = (rest + piece).split(b'\n')
                rest = lines.pop()
                yield from lines
        if rest:
            yield rest


def stable_hash(*parts) -> int:
    """64 bits that are the same in every process and on every machine."""
    text = '\x1f'.join(map(str, parts)).encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'big')


def file_hash(path) -> str:
    """Of a file's bytes; ValueError where there is no such file."""
    path = epath.Path(path)
    if not path.exists() or path.is_dir():
        raise ValueError(f'{path}: there is no such file; a JSONL file was wanted')
    digest = hashlib.blake2b(digest_size=8)
    with path.open('rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
