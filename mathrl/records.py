"""JSONL in and out. What is wrong with a file is one sentence: the file, the line and the expected field."""
import json
from collections.abc import Iterable, Iterator

from etils import epath


def read_jsonl(path, required: tuple[str, ...] = ('problem', 'answer')) -> list[dict]:
    """All objects of a JSONL file, each with the required fields. ValueError on all else."""
    return [row for _, row in numbered_rows(path, required)]


def numbered_rows(path, required: tuple[str, ...] = ()) -> Iterator[tuple[int, dict]]:
    """(line number from 1, object), read as needed, blank lines skipped. ValueError as in `read_jsonl`."""
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f'{path}: there is no such file; a JSONL file {_with(required)} was wanted')
    if path.is_dir():
        raise ValueError(f'{path} is a folder; a JSONL file {_with(required)} was wanted')
    empty = True
    # Bytes: as text, a badly encoded line could not be told from the ones read ahead.
    with path.open('rb') as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                empty = False
                yield number, parse_line(line, f'{path} line {number}', required)
    if empty:
        raise ValueError(f'{path}: the file is empty; one JSON object a line {_with(required)} was wanted')


def parse_line(line: bytes, where: str, required: tuple[str, ...] = ()) -> dict:
    """One line of JSONL as an object; `where` (file and line) opens the message of the ValueError."""
    try:
        text = line.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{where}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8, '
                         'which JSONL files are written in') from None
    try:
        row = json.loads(text)
        if '\\ud' in text.lower():   # half a surrogate pair parses, and breaks what encodes it later
            json.dumps(row, ensure_ascii=False).encode('utf-8')
    except UnicodeEncodeError:
        raise ValueError(f'{where}: a \\ud... escape is half a character; valid Unicode was wanted') from None
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else 'nested too deep or a long number'
        raise ValueError(f'{where} is not JSON ({reason}); an object {_with(required)} was wanted') from None
    if not isinstance(row, dict):
        raise ValueError(f'{where} is {_kind(row)}; an object {_with(required)} was wanted')
    for field in required:
        if field not in row:
            raise ValueError(f'{where}: field {field!r} is missing; it has: {", ".join(row) or "no fields"}')
    return row


def write_jsonl(path, rows: Iterable[dict]) -> int:
    """Writes rows and returns their number; the file appears whole or not at all."""
    path = epath.Path(path)
    partial = path.parent / f'{path.name}.partial'
    count = 0
    try:
        with partial.open('wb') as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False).encode('utf-8') + b'\n')
                count += 1
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return count


def _with(required: tuple[str, ...]) -> str:
    return f'with {", ".join(repr(field) for field in required)}' if required else 'with named fields'


def _kind(value) -> str:
    names = {list: 'a list', str: 'a string', int: 'a number', float: 'a number', bool: 'a truth value'}
    return 'null' if value is None else names[type(value)]
