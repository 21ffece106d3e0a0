"""Golden files: a rendering that changed is told with the command that accepts the change."""

import os
import pathlib

FOLDER = pathlib.Path(__file__).parent / 'golden'


def check(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get('UPDATE_GOLDEN'):
        path.write_text(text, encoding='utf-8')
    assert path.is_file() and path.read_text(encoding='utf-8') == text, (
        f'{path} differs from what is rendered now:\n{text}\nIf that is meant: UPDATE_GOLDEN=1 launch/test.sh tests/launch')
