"""The one entry: what it runs, and the one sentence with which it refuses what gin would let pass."""

import os
import pathlib
import subprocess
import sys

import pytest

from mathrl import cpu, gin_files, gin_guards, main

REPOSITORY = pathlib.Path(__file__).parents[1]
MODULE = '''
import dataclasses
from typing import Callable, Optional, Sequence

@dataclasses.dataclass(frozen=True)
class Model:
    layers: int
    width: int = 8

def adamw(learning_rate: float, clip: Optional[float] = None):
    return learning_rate, clip

def unused(x=1):
    return x

def run(*, workdir, steps: int, optimizer: Callable, model: Model, names: Sequence[str] = (),
        problems: str = '', anything=None, config='', dry_run=False):
    if steps < 0:
        raise ValueError(f'steps={steps} is negative; a number from 0 is wanted')
    if steps == 1000:
        int('not a number')
    if dry_run:
        print('would run')
        return
    (workdir / 'result.txt').write_text(repr((steps, optimizer(), model, names, problems)))

def environment(*, workdir, config='', dry_run=False):
    import os, sys
    (workdir / 'result.txt').write_text(repr((os.environ['JAX_COMPILATION_CACHE_DIR'], 'jax' in sys.modules)))
'''
MODEL = '''
from __gin__ import dynamic_registration
import toy
LAYERS = 2
toy.Model.layers = %LAYERS
'''
RUN = '''
# Must be set: PROBLEMS
from __gin__ import dynamic_registration
import toy as t
include 'model.gin'

PROBLEMS = %gin.REQUIRED  # JSONL of problems
STEPS = 5
RATE = 1e-3
NAMES = ['a name', "it's"]

t.run:
    steps = %STEPS
    optimizer = @t.adamw
    model = @t.Model()
    names = %NAMES
    problems = %PROBLEMS
t.adamw.learning_rate = %RATE
PROGRAM = @t.run
'''
PROBLEMS = '--gin.PROBLEMS="x.jsonl"'


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """A folder on sys.path with toy.py; gin knows a function for as long as the process lives."""
    folder = tmp_path_factory.mktemp('library')
    (folder / 'toy.py').write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def folder(library, tmp_path, monkeypatch):
    """The current directory, with model.gin and run.gin in it."""
    (tmp_path / 'model.gin').write_text(MODEL)
    (tmp_path / 'run.gin').write_text(RUN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', 'elsewhere')
    return tmp_path


def call(*argv: str, gin_file='run.gin', workdir='w'):
    """(exit code, what stands on stderr) of main in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['main', f'--gin_file={gin_file}', f'--workdir={workdir}', *argv])
        try:
            main.main()
        except SystemExit as end:
            return end.code
    return 0


def refusal(capsys, *argv: str, **options) -> str:
    """The one sentence with which the call is refused."""
    assert call(*argv, **options) == 2
    text = capsys.readouterr().err
    assert text.startswith('error: ') and text.count('\n') == 1, text
    return text


def test_runs_the_program_with_macros_and_overrides(folder):
    assert call(PROBLEMS, '--gin.STEPS=7', '--gin.t.adamw.clip=1.5', '--gin.LAYERS=3') == 0
    assert (folder / 'w/result.txt').read_text() == (
        """(7, (0.001, 1.5), Model(layers=3, width=8), ['a name', "it's"], 'x.jsonl')""")


def test_an_override_may_be_a_reference_to_an_imported_function(folder):
    assert call(PROBLEMS, '--gin.t.run.optimizer=@other/t.adamw', '--gin.other/t.adamw.clip=2') == 0
    assert '(0.001, 2)' in (folder / 'w/result.txt').read_text()


def test_a_later_file_wins(folder):
    (folder / 'more.gin').write_text('STEPS = 11\n')
    assert call(PROBLEMS, '--gin_file=more.gin') == 0
    assert (folder / 'w/result.txt').read_text().startswith('(11,')


def test_resolved_config_runs_the_same_again(folder):
    call(PROBLEMS, '--gin.STEPS=7', '--gin.t.adamw.clip=0.5')
    assert call(gin_file='w/config.gin', workdir='again') == 0
    assert (folder / 'again/config.gin').read_text() == (folder / 'w/config.gin').read_text()
    assert (folder / 'again/result.txt').read_text() == (folder / 'w/result.txt').read_text()


def test_resolved_config_keeps_long_texts_and_the_order_of_dicts(folder):
    names = [{'z': 'a long text, ' * 20, 'a': "it's"}, (1,), [None, True, -1.5e-7], {}, '题 \\boxed{\n']
    _, config = main.configure(['run.gin'], ['PROBLEMS="x"', f'NAMES={names!r}', 't.run.anything=%NAMES',
                                                    't.run.names=[]'])
    (folder / 'config.gin').write_text(config)
    read = gin_files.read(['config.gin'], []).macros['NAMES'].value
    assert read == names and list(read[0]) == ['z', 'a']


def test_refuses_one_name_for_two_modules(folder, capsys):
    (folder / 'model.gin').write_text(MODEL.replace('import toy', 'import json as t\nimport toy'))
    assert 'model.gin line 3: t is toy in another gin file' in refusal(capsys, PROBLEMS)


def test_dry_run_prints_the_configuration_and_writes_nothing(folder, capsys):
    assert call(PROBLEMS, '--dry_run') == 0
    out = capsys.readouterr().out
    assert 't.adamw.learning_rate = %RATE' in out and out.endswith('would run\n')
    assert not (folder / 'w').exists()


@pytest.mark.parametrize('arguments, parts', [
    ([PROBLEMS, '--gin.STPES=5'], ['STPES', 'did you mean STEPS', 'RATE']),
    ([PROBLEMS, '--gin.steps=5'], ['nothing reads', 'did you mean STEPS']),
    ([], ['PROBLEMS must be set', '--gin.PROBLEMS=', 'JSONL of problems']),
    ([PROBLEMS, "--gin.RATE='0.1'"], ["RATE = '0.1'", 'str', 't.adamw.learning_rate wants float']),
    ([PROBLEMS, '--gin.STEPS=2.5'], ['STEPS = 2.5', 'int']),
    ([PROBLEMS, '--gin.STEPS=True'], ['STEPS = True', 'int']),
    ([PROBLEMS, "--gin.t.run.names=['a', 5]"], ['is a list of int and str', 'Sequence[str]']),
    ([PROBLEMS, "--gin.t.run.names='a'"], ["'a'", 'Sequence[str]']),
    ([PROBLEMS, "--gin.t.run.optimizer='adamw'"], ["'adamw'", 'Callable']),
    ([PROBLEMS, '--gin.t.run.model=@t.Model'], ['@t.Model', 'Model', '()']),
    ([PROBLEMS, '--gin.t.unused.x=5'], ['t.unused.x has no effect', '@t.run']),
    ([PROBLEMS, '--gin.t.run.stpes=5'], ["no parameter 'stpes'", 'did you mean steps']),
    ([PROBLEMS, '--gin.t.rnu.steps=5'], ["no 'rnu'", 'did you mean run']),
    ([PROBLEMS, '--gin.toyy.run.steps=5'], ["'toyy' is not imported", 'did you mean toy']),
    ([PROBLEMS, '--gin.t.run.workdir="x"'], ['t.run.workdir', 'main']),
    (['--gin.PROBLEMS=x.jsonl'], ['x.jsonl is no gin literal', """--gin.PROBLEMS='"x.jsonl"'"""]),
    ([PROBLEMS, '--gin.STEPS=[1'], ['[1 is no gin literal']),
    ([PROBLEMS, '--gin.STEPS=5 6'], ['no gin literal']),
    ([PROBLEMS, '--gin.STEPS'], ['a value must follow']),
    ([PROBLEMS, '--gin.STEPS='], ['a value must follow']),
    ([PROBLEMS, '--gin.RATE=%STEP'], ['reads macro STEP, which is not set', 'did you mean STEPS']),
    ([PROBLEMS, '--gin.STEPS=%RATE'], ['STEPS = 0.001 is of type float', 't.run.steps wants int']),
    ([PROBLEMS, '--gin.RATE=%RATE'], ['RATE reads itself']),
    ([PROBLEMS, '--gin.PROGRAM=@t.run()'], ['PROGRAM is @t.run()', 'without ()']),
    ([PROBLEMS, '--gin.PROGRAM="t.run"'], ["PROGRAM is 't.run'"]),
    ([PROBLEMS, '--gin_file=rum.gin'], ['there is no file rum.gin', 'did you mean run.gin']),
    ([PROBLEMS, '--wrokdir=x'], ["no flag '--wrokdir=x'", 'did you mean --workdir']),
    ([PROBLEMS, '--gin.STEPS', '5'], ['--gin.STEPS=5']),
    ([PROBLEMS, '--num_processes=2'], ['go together']),
    ([PROBLEMS, '--num_processes=two'], ['invalid int value']),
    ([PROBLEMS, '--gin.STEPS=-1'], ['steps=-1 is negative']),
])
def test_refuses_the_command_line_in_one_sentence(folder, capsys, arguments, parts):
    sentence = refusal(capsys, *arguments)
    assert all(part in sentence for part in parts), sentence
    assert not (folder / 'w/result.txt').exists()


@pytest.mark.parametrize('text, parts', [
    ('t.run.steps = = 5', ['line 2']),
    ('t.run.steps = [1,\n', ['line', 'not closed']),
    ('STEPS = five', ['line 2', 'five is no gin literal']),
    ('STEPS 5', ['line 2', "'STEPS 5'"]),
    ("include 'modle.gin'", ['line 2', 'there is no file modle.gin', 'did you mean model.gin']),
    ("include 'bad.gin'", ['line 2', 'includes itself']),
    ('import tooy', ['line 2', 'there is no module tooy']),
    ('from mathrl.programs import stagse', ['no module mathrl.programs.stagse', 'did you mean stages']),
    ('import needy', ['needy needs the module missing_library']),
    ('import toy\ntoy.adamv.clip = 1.0', ['line 3', "toy has no 'adamv'", 'did you mean adamw']),
    ('toy.adamw.clip = 1.0', ['line 2', "'toy' is not imported"]),
    ('import toy\ntoy.Model.layers = @toy.rum()', ['line 3', "toy has no 'rum'"]),
    ('import toy\ntoy.__name__.x = 1', ['str', 'a function or a class is needed']),
])
def test_refuses_a_gin_file_with_its_place(folder, capsys, monkeypatch, text, parts):
    (folder / 'needy.py').write_text('import missing_library\n')
    monkeypatch.syspath_prepend(str(folder))
    (folder / 'bad.gin').write_text('from __gin__ import dynamic_registration\n' + text)
    sentence = refusal(capsys, PROBLEMS, '--gin_file=bad.gin')
    assert 'bad.gin' in sentence and all(part in sentence for part in parts), sentence


def test_refuses_imports_without_dynamic_registration(folder, capsys):
    (folder / 'bad.gin').write_text('import toy\n')
    assert 'dynamic_registration' in refusal(capsys, PROBLEMS, '--gin_file=bad.gin')


def test_refuses_a_run_without_program(folder, capsys):
    assert 'PROGRAM is not set' in refusal(capsys, gin_file='model.gin')


def test_refuses_a_call_that_lacks_a_parameter(folder, capsys):
    (folder / 'model.gin').write_text('')
    assert 't.Model needs layers' in refusal(capsys, PROBLEMS)


@pytest.mark.parametrize('argv, part', [
    (['--workdir=w'], '--gin_file is missing'), (['--gin_file=run.gin'], '--workdir is missing')])
def test_refuses_missing_flags(folder, capsys, monkeypatch, argv, part):
    monkeypatch.setattr(sys, 'argv', ['main', *argv])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2 and part in capsys.readouterr().err


def test_a_fault_of_the_code_keeps_its_traceback(folder):
    with pytest.raises(ValueError, match='invalid literal'):
        call(PROBLEMS, '--gin.STEPS=1000')


def test_traceback_flag_shows_where_a_refusal_was_raised(folder):
    with pytest.raises(ValueError, match='negative'):
        call(PROBLEMS, '--gin.STEPS=-1', '--traceback')


def test_refuses_our_gin_folder_in_place_of_gin_config(folder):
    code = ("import sys; sys.path = ['.'] + [p for p in sys.path if 'site-packages' not in p]; "
            "sys.argv = ['main']; from mathrl import main; main.check_gin()")
    (folder / 'gin').mkdir()
    result = subprocess.run([sys.executable, '-S', '-c', code], cwd=folder, capture_output=True, text=True,
                            env={**os.environ, 'PYTHONPATH': str(REPOSITORY)})
    assert 'gin-config' in result.stderr and str(folder / 'gin') in result.stderr


def test_cache_folder_is_set_and_jax_not_imported(folder, library):
    (folder / 'env.gin').write_text('from __gin__ import dynamic_registration\nimport toy\n'
                                    'PROGRAM = @toy.environment\n')
    environment = {name: value for name, value in os.environ.items() if name != 'JAX_COMPILATION_CACHE_DIR'}
    command = [sys.executable, '-m', 'mathrl.main', '--gin_file=env.gin', '--workdir=w']
    result = subprocess.run(command, cwd=folder, capture_output=True,
                            env={**environment, 'PYTHONPATH': f'{REPOSITORY}:{library}'})
    assert result.returncode == 0, result.stderr
    assert (folder / 'w/result.txt').read_text() == repr(('w/compilation_cache', False))


@pytest.mark.skipif(sys.platform != 'linux', reason='memory is kept on Linux alone')
def test_a_process_on_cpus_is_made_ready_before_its_program_runs(folder):
    (folder / 'ready.py').write_text(
        'import os\n'
        'import jax\n'
        'from jax._src import monitoring\n'
        'def run(*, workdir, config, dry_run):\n'
        '    trims = [f for f in monitoring.get_event_duration_listeners() if f.__module__ == "mathrl.cpu"]\n'
        '    found = os.environ["GLIBC_TUNABLES"], os.environ["XLA_FLAGS"], len(trims)\n'
        '    (workdir / "result.txt").write_text(repr(found))\n')
    (folder / 'ready.gin').write_text('from __gin__ import dynamic_registration\nimport ready\nPROGRAM = @ready.run\n')
    environment = {name: value for name, value in os.environ.items() if name not in ('GLIBC_TUNABLES', 'XLA_FLAGS')}
    command = [sys.executable, '-m', 'mathrl.main', '--gin_file=ready.gin', '--workdir=w']
    subprocess.run(command, cwd=folder, check=True, env=environment | {'JAX_PLATFORMS': 'cpu',
                                                                       'PYTHONPATH': f'{REPOSITORY}:{folder}'})
    flags = ' '.join(f'--{name}={value}' for name, value in cpu.FLAGS.items())
    assert (folder / 'w/result.txt').read_text() == repr((cpu.kept_memory(), flags, 1))


def test_processes_join_by_address(folder):
    (folder / 'many.py').write_text(
        'def run(*, workdir, config, dry_run):\n'
        '    import jax\n'
        '    (workdir / str(jax.process_index())).write_text(str(jax.device_count()))\n')
    (folder / 'many.gin').write_text('from __gin__ import dynamic_registration\nimport many\n'
                                     'PROGRAM = @many.run\n')
    port = 20000 + os.getpid() % 20000
    command = [sys.executable, '-m', 'mathrl.main', '--gin_file=many.gin', '--workdir=w', '--num_processes=2',
               f'--coordinator_address=localhost:{port}']
    environment = {**os.environ, 'PYTHONPATH': f'{REPOSITORY}:{folder}', 'XLA_FLAGS': ''}
    processes = [subprocess.Popen([*command, f'--process_id={i}'], cwd=folder, env=environment)
                 for i in (0, 1)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert [(folder / f'w/{i}').read_text() for i in (0, 1)] == ['2', '2']


class Layer:
    pass


@pytest.mark.parametrize('value, annotation, expected', [
    (1, float, True), (True, float, False), (1.0, int, False), (True, bool, True), (1, bool, False),
    ('a', str, True), ('a', pathlib.Path, True), ('a', os.PathLike, True), (None, str, False),
    (None, int | None, True), (2, int | None, True), ('2', int | None, False),
    ([1, 2], list[int], True), ([1, '2'], list[int], False), ((1, 2), tuple[int, ...], True),
    ((1, 'a'), tuple[int, str], True), ((1,), tuple[int, str], False), ([1], tuple[int, ...], False),
    ({'a': 1}, dict[str, int], True), ({'a': 'b'}, dict[str, int], False), ('ab', list[str], False),
    (5, Layer, False), ('x', 'unresolved', True), ({'a': 1}, dict, True),
])
def test_fits_as_a_type_checker_would(value, annotation, expected):
    assert gin_guards.fits(value, annotation) is expected


@pytest.mark.parametrize('overrides, folder', [
    (['OUTPUT="a/b.jsonl"'], 'a/b.jsonl.run'), (["OUTPUT = 'x'", 'OUTPUT="y"'], 'y.run'), (['OUTPUT=""'], ''), (['OUTPUT=3'], ''),
    (['TARGET="a/model"'], 'a/model.run'), (['TARGET="a/model/"'], 'a/model.run'), (['TARGET="model"', 'OUTPUT="y"'], 'y.run'),
    (['TARGET=3'], ''), (['OUTPUT=a b'], ''), (['OUTPUTS="x"'], ''), ([], '')])
def test_a_run_with_one_output_file_has_its_folder_beside_it(overrides, folder):
    assert main.beside_output(overrides) == folder
