"""What stands behind `--`: the arguments of mathrl.main, checked before anything is created."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from launch import secret_values

REPOSITORY = pathlib.Path(__file__).parents[1]
OURS = ('--distributed', '--coordinator_address', '--num_processes', '--process_id', '--dry_run')
_INCLUDE = re.compile(r'''^include\s+['"](.+)['"]''', re.M)


@dataclasses.dataclass(frozen=True)
class Run:
    """arguments: all of them, --workdir too."""
    arguments: tuple[str, ...]
    gin_files: tuple[str, ...]
    workdir: str
    overrides: dict[str, str]

    def macro(self, name: str, default: int) -> int:
        """An integer macro: of the overrides, else of the gin files and what they include."""
        text = self.overrides.get(name)
        if text is None:
            found = [value for file in self.gin_files for value in _macros(file, name)]
            text = found[-1] if found else str(default)
        try:
            return int(text)
        except ValueError:
            raise ValueError(f'{name} = {text} is no whole number.') from None


def parse(arguments: Sequence[str]) -> Run:
    """['--gin_file=gin/runs/rl.gin', '--gin.STEPS=5', '--workdir=gs://b/run'] -> Run(...)

    Raises:
        ValueError: no gin file, one that does not exist, no workdir, a flag that the launcher sets, a secret.
    """
    files = [value for name, value in map(_split, arguments) if name == '--gin_file']
    workdirs = [value for name, value in map(_split, arguments) if name == '--workdir']
    overrides = {name.removeprefix('--gin.'): value for name, value in map(_split, arguments) if name.startswith('--gin.')}
    set_by_us = [name for name, _ in map(_split, arguments) if name in OURS]
    if set_by_us:
        raise ValueError(f'{set_by_us[0]} is set by the launcher: leave it out (a dry run is what happens without --go).')
    if not files:
        raise ValueError('no --gin_file behind --: launch.tpu --backend=... -- --gin_file=gin/runs/rl.gin --workdir=...')
    for file in files:
        if not find(file):
            raise ValueError(f'--gin_file={file}: there is no such file, here or in {REPOSITORY}.')
    if not workdirs:
        raise ValueError('no --workdir behind --: name the folder that results go to.')
    secret_values.refuse(overrides, 'the setting')
    if any(secret_values.redact(argument) != argument for argument in arguments):
        raise ValueError('an argument behind -- holds what looks like a secret, which commands and manifests would show.')
    return Run(tuple(arguments), tuple(files), workdirs[-1], overrides)


def find(file: str) -> pathlib.Path | None:
    """A gin file, from here or from the repository root."""
    return next((path for path in (pathlib.Path(file), REPOSITORY / file) if path.is_file()), None)


def check_mesh(run: Run, devices: int, slices: int, where: str) -> None:
    """Parameters lie within a slice (data alone crosses slices), so FSDP x TENSOR divides a slice's devices."""
    fsdp, tensor = run.macro('FSDP', 1), run.macro('TENSOR', 1)
    if fsdp < 1 or tensor < 1 or devices % (fsdp * tensor):
        each = f'each of the {slices} slices of {where}' if slices > 1 else where
        raise ValueError(f'a mesh of FSDP={fsdp} x TENSOR={tensor} does not fit {each}: it has {devices} devices, and '
                         f'FSDP x TENSOR must divide that.')


def check_shipped(run: Run) -> None:
    """For a backend that takes the repository elsewhere, and packs it from here."""
    if pathlib.Path.cwd() != REPOSITORY:
        raise ValueError(f'start it in the repository: cd {REPOSITORY}')
    for file in run.gin_files:
        path = (REPOSITORY / file).resolve()
        if pathlib.Path(file).is_absolute() or not path.is_file() or not path.is_relative_to(REPOSITORY / 'gin'):
            raise ValueError(f'--gin_file={file} would not be on the machine: it must lie in {REPOSITORY / "gin"} and be '
                             'named from the repository root.')
    if not run.workdir.startswith('gs://'):
        raise ValueError(f'--workdir={run.workdir} would lie on a machine that goes away: name a bucket, '
                         '--workdir=gs://BUCKET/RUN.')


def _split(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition('=')
    return name.strip(), value


def _macros(file: str, name: str) -> list[str]:
    path = find(file)
    if path is None:
        return []
    text = path.read_text(encoding='utf-8')
    found = [value for include in _INCLUDE.findall(text) for value in _macros(include, name)]
    return found + re.findall(rf'^{name}\s*=\s*(-?\d+)', text, re.M)
