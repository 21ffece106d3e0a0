"""What is imported where: accelerator images lack TensorFlow and its kin; --help does not wait for jax."""

import json
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[1]
ROOMS = ('sharding', 'checkpoint', 'metrics', 'records', 'text', 'problems', 'models', 'train', 'sampling',
         'rl', 'evaluation')
ABSENT = ('tensorflow', 'tensorflow_text', 'tensorflow_datasets', 'seqio', 'apache_beam', 'grain', 'gin',
          'tensorboardX', 'mpmath', 'sympy')

IMPORT_ALL = """
import importlib, json, sys

absent, modules = json.loads(sys.argv[1])

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in absent:
            raise ModuleNotFoundError(f'{name} is absent', name=name)

sys.meta_path.insert(0, Refuse())
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True,
                          timeout=300, stdin=subprocess.DEVNULL,
                          env={**os.environ, 'PYTHONPATH': str(REPOSITORY)})


def modules_of(room: str) -> list[str]:
    paths = [*REPOSITORY.glob(f'mathrl/{room}.py'), *REPOSITORY.glob(f'mathrl/{room}/**/*.py')]
    names = ['.'.join(path.relative_to(REPOSITORY).with_suffix('').parts) for path in paths]
    return sorted(name.removesuffix('.__init__') for name in names)


def test_numerics_import_without_tensorflow_and_its_kin():
    modules = [name for room in ROOMS for name in modules_of(room)]
    assert len(modules) > len(ROOMS)
    result = run('-c', IMPORT_ALL, json.dumps([ABSENT, modules]))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == str(len(modules))


def test_rl_program_imports_without_tensorflow_and_its_kin():
    absent = [name for name in ABSENT if name not in ('tensorboardX', 'gin')]
    result = run('-c', IMPORT_ALL, json.dumps([absent, ['mathrl.programs.rl', 'mathrl.main']]))
    assert result.returncode == 0, result.stderr


def test_absent_modules_are_really_refused():
    result = run('-c', IMPORT_ALL, json.dumps([['colorsys'], ['colorsys']]))
    assert result.returncode == 1 and 'colorsys is absent' in result.stderr


def test_help_loads_no_heavy_module():
    result = run('-X', 'importtime', '-m', 'mathrl.main', '--help')
    assert result.returncode == 0 and '--gin_file' in result.stdout
    loaded = {line.rsplit('|', 1)[1].strip() for line in result.stderr.splitlines() if line.count('|') == 2}
    assert 'argparse' in loaded
    heavy = {'jax', 'jaxlib', 'numpy', 'flax', 'optax', 'orbax', 'gin', 'etils', *ABSENT}
    assert not {name.split('.')[0] for name in loaded} & heavy
