"""Who may import whom, read from the syntax tree: imports inside functions count too."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / 'mathrl'
MAIN = {'main', 'gin_files', 'gin_guards'}
ROWS = {
    'records': 0, 'sharding': 0, 'metrics': 0, 'text': 0, 'processes': 0, 'cpu': 0,
    'problems': 1, 'checkpoint': 1, 'models': 1,
    'train': 2, 'sampling': 2, 'mining': 2, 'data': 2,
    'rl': 3, 'evaluation': 3,
    'report': 4,
    'programs': 5,
    'main': 6,
}
SEQIO = ('data/tasks.py', 'data/sources.py', 'data/preprocessors.py', 'data/vocabularies.py', 'data/tfds_corpus.py')
ARRAY_RECORD = ('data/packed.py', 'data/files.py')
# library -> the files and folders that may import it anywhere, and those that may inside functions alone
LIBRARIES = {
    'gin': (('main.py', 'gin_files.py'), ()),
    'tensorflow': (SEQIO, ('problems/benchmarks.py', 'data/files.py')),
    'tensorflow_text': (SEQIO, ()),
    'tensorflow_datasets': (SEQIO, ('problems/benchmarks.py', 'data/files.py')),
    'seqio': (SEQIO, ()),
    'apache_beam': (('mining/pipeline.py', 'mining/workers.py'), ()),
    'grain': ((), ARRAY_RECORD),
    'array_record': ((), ARRAY_RECORD),
    'tensorboardX': ((), ('metrics.py',)),
    'latex2mathml': (('report/latex.py',), ()),
    'flax.linen': (('models/',), ()),
}


class Import:
    """One imported module: `name` is absolute, `module` the file that imports it, relative to mathrl/."""

    def __init__(self, module: str, line: int, name: str, inside: bool):
        self.module, self.line, self.name, self.inside = module, line, name, inside

    def __repr__(self):
        return f'mathrl/{self.module}:{self.line} imports {self.name}'


def modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('*.py'))


def imports(module: str, source: str) -> list[Import]:
    """All imports of a file: statements, also inside functions, and importlib.import_module('...')."""
    found = []

    def visit(node, inside):
        for name in names(node, module):
            found.append(Import(module, node.lineno, name, inside))
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def names(node, module: str) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            parents = ['mathrl', *module.split('/')[:-1]]
            base = parents[:len(parents) + 1 - node.level] if node.level else []
            prefix = '.'.join(base + ([node.module] if node.module else []))
            return [f'{prefix}.{alias.name}' for alias in node.names]
        case ast.Call(func=ast.Name(id='__import__') | ast.Attribute(attr='import_module'),
                      args=[ast.Constant(value=str(name)), *_]):
            return [name]
    return []


def room(module: str) -> str:
    name = module.split('/')[0].removesuffix('.py')
    return 'main' if name in MAIN else name


def all_imports():
    return [found for module in modules() for found in imports(module, (PACKAGE / module).read_text())]


def upward(found: list[Import]) -> list[Import]:
    """Imports of a room in the same row or above."""
    wrong = []
    for one in found:
        own = room(one.module)
        if own == '__init__' or not one.name.startswith('mathrl.'):
            continue
        other = room(one.name.split('.')[1])
        if other != own and ROWS[other] >= ROWS[own]:
            wrong.append(one)
    return wrong


def of_models(found: list[Import]) -> list[Import]:
    values = 'mathrl.models.cache.', 'mathrl.models.units.'      # plain values that models take and return
    return [one for one in found if room(one.module) in ('train', 'sampling', 'rl')
            and one.name.startswith('mathrl.models') and not one.name.startswith(values)]


def misplaced(found: list[Import], library: str) -> list[Import]:
    anywhere, inside = LIBRARIES[library]
    return [one for one in found if (one.name + '.').startswith(library + '.')
            and not one.module.startswith(anywhere or ('-',))
            and not (one.inside and one.module.startswith(inside or ('-',)))]


def test_every_room_has_a_row():
    unknown = {room(module) for module in modules()} - set(ROWS) - {'__init__'}
    assert not unknown, f'give {unknown} a row in ROWS, and in the design'


def test_rooms_import_only_from_rows_below():
    assert not upward(all_imports())


def test_train_sampling_and_rl_are_handed_the_model():
    assert not of_models(all_imports())


@pytest.mark.parametrize('library', LIBRARIES)
def test_library_is_imported_only_in_its_place(library):
    assert not misplaced(all_imports(), library)


def test_problems_and_text_need_no_jax():
    assert not [one for one in all_imports() if room(one.module) in ('problems', 'text', 'records')
                and one.name.split('.')[0] in ('jax', 'flax', 'optax', 'orbax')]


def test_only_sharding_writes_a_partition_spec():
    wrong = []
    for module in modules():
        if module == 'sharding.py':
            continue
        for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
            written = {getattr(node, field, None) for field in ('id', 'attr', 'name')}
            if written & {'PartitionSpec', 'NamedSharding'}:
                wrong.append(f'mathrl/{module}:{node.lineno}')
    assert not wrong


def test_launch_imports_nothing_of_mathrl_but_the_report():
    launch = PACKAGE.parent / 'launch'
    found = [one for path in launch.rglob('*.py') for one in imports(f'launch/{path.name}', path.read_text())]
    assert not [one for one in found if one.name.split('.')[0] == 'mathrl' and not one.name.startswith('mathrl.report.')]


def test_gin_files_are_no_package():
    assert not list((PACKAGE.parent / 'gin').rglob('*.py'))


@pytest.mark.parametrize('source', [
    'from mathrl.rl import step',
    'from mathrl import rl',
    'import mathrl.evaluation.scores',
    'def f():\n    from mathrl.sampling import decode',
    'from ..rl import step',
    'from .. import rl',
    'import importlib\nimportlib.import_module("mathrl.rl.step")',
])
def test_upward_import_is_seen_in_every_form(source):
    assert upward(imports('train/loop.py', source))


def test_downward_import_and_the_own_room_are_allowed():
    source = 'from mathrl import sharding\nfrom . import state\nimport jax'
    assert not upward(imports('train/loop.py', source))


def test_library_is_seen_at_the_top_and_allowed_inside():
    assert misplaced(imports('metrics.py', 'import tensorboardX'), 'tensorboardX')
    assert not misplaced(imports('metrics.py', 'def f():\n    import tensorboardX'), 'tensorboardX')
    assert misplaced(imports('train/step.py', 'from flax import linen as nn'), 'flax.linen')
    assert not misplaced(imports('train/state.py', 'from flax import struct'), 'flax.linen')
