"""Finished problems of a running evaluation, on disk: what a stopped run goes on from.

A benchmark's folder holds settings.json and, for every batch, a file of rows named by the first row's place. A file is
there as a whole or not at all, on object stores too, which cannot append.
"""
import json
import os
from typing import Any

from etils import epath

from mathrl import records


class AnswerFiles:
    """The answers to one benchmark under fixed settings (JSON values).

    ValueError where the folder holds answers under other settings; `done` rows of it are read again. fields: what a row has
    at least.
    """

    def __init__(self, folder: epath.PathLike, settings: dict[str, Any], fields: tuple[str, ...] = ('problem', 'greedy', 'outputs')):
        self._folder, self._fields = epath.Path(folder), fields
        path, settings = self._folder / 'settings.json', json.loads(json.dumps(settings))
        found = _read(path)
        if found is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(path, json.dumps(settings, ensure_ascii=False, indent=1) + '\n')
        elif found != settings:
            changed = [f'{name} {found.get(name)!r:.80} then, {settings.get(name)!r:.80} now'
                       for name in {**settings, **found} if found.get(name) != settings.get(name)]
            raise ValueError(f'{self._folder} holds answers under other settings ({"; ".join(changed)}): take another '
                             '--workdir, or remove that folder')
        self.rows = self._finished()

    def _finished(self) -> list[dict]:
        rows = []
        while part := _rows(self._folder / _name(len(rows)), self._fields):
            rows += part
        return rows

    def append(self, rows: list[dict]) -> None:
        """Keeps the next rows; once this returns, no kill loses them."""
        text = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows)
        _write(self._folder / _name(len(self.rows)), text)
        self.rows += rows


def _name(first: int) -> str:
    return f'{first:07}.jsonl'


def _read(path: epath.Path) -> dict | None:
    """None where there is no such file."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError:
        raise ValueError(f'{path} is no JSON any more, so that its answers cannot be told from others: remove '
                         f'{path.parent}') from None


def _rows(path: epath.Path, fields: tuple[str, ...]) -> list[dict]:
    """The rows of a batch; none where the file is missing or torn, so that the batch is done again."""
    if not path.exists():
        return []
    try:
        return records.read_jsonl(path, fields)
    except ValueError:
        return []


def _write(path: epath.Path, text: str) -> None:
    partial = path.parent / f'{path.name}.partial'
    with partial.open('wb') as file:
        file.write(text.encode('utf-8'))
        file.flush()
        if hasattr(file, 'fileno'):
            os.fsync(file.fileno())
    partial.replace(path)
