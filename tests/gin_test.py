"""Every run file of gin/ passes main's checks once what must be set is set, and says what that is."""

import pathlib
import re

import pytest

from mathrl import gin_files, gin_guards, main

REPOSITORY = pathlib.Path(__file__).parents[1]
PROGRAM = re.compile(r'^PROGRAM *=', re.MULTILINE)
INCLUDE = re.compile(r'''^include +['"](.*)['"]''', re.MULTILINE)
# What stands in for a required macro: a value of the right type.
VALUES = {
    'PROBLEMS': '"problems.jsonl"',
    'MODEL': '"model"',
    'BASE': '"model"',
    'HELDOUT': '"heldout.jsonl"',
    'REWARD_MODEL': '"reward"',
    'LABELS': '"labels.jsonl"',
    'DATA': '"data"',
    'TOKENIZER': '"tokenizer.model"',
    'FILES': '["texts.jsonl"]',
    'RUNS': '{"rl": "runs/rl"}',
    'STAGES': '[("rl", "gin/runs/rl.gin")]',
    'WARCS': '["crawl.warc.gz"]',
    'SEEDS': '"seeds.jsonl"',
    'INPUT': '"outputs.jsonl"',
    'BENCHMARKS': '["gsm8k.jsonl"]',
    'SAMPLES': '"samples.jsonl"',
    'SOURCE': '"model"',
    'TARGET': '"out"',
    'PROMPTS': '"prompts.jsonl"',
    'PACKED': '"packed"',
    'INIT': '"model"',
    **dict.fromkeys(['CORPUS', 'ALGEBRAIC_STACK', 'ARXIV', 'CODE', 'ENGLISH', 'CHINESE', 'FIRST', 'SECOND'], '["texts.jsonl"]'),
}
RL_MACROS = {'PROBLEMS', 'MODEL', 'STEPS', 'SEED', 'LEARNING_RATE', 'GROUP_SIZE', 'QUESTIONS', 'MAX_TOKENS', 'TEMPERATURE'}


def all_files() -> list[str]:
    return sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / 'gin').rglob('*.gin'))


def header(file: str) -> str:
    """The comment that the file opens with."""
    lines = (REPOSITORY / file).read_text().splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith('#')), len(lines))
    return '\n'.join(lines[:end])


def command(file: str) -> list[str]:
    """The gin files to give together: those of a command in the header, or the file alone."""
    named = re.findall(r'--gin_file=(\S+)', header(file))
    return named if file in named else [file]


def names_program(file: str) -> bool:
    """By itself or by what it includes."""
    text = (REPOSITORY / file).read_text()
    return bool(PROGRAM.search(text)) or any(map(names_program, INCLUDE.findall(text)))


def is_run(file: str) -> bool:
    return any(map(names_program, command(file)))


def required(files: list[str]) -> list[str]:
    macros = gin_files.read(files, []).macros.values()
    return [macro.name for macro in macros if macro.value == gin_files.Macro(gin_files.REQUIRED)]


def overrides(files: list[str]) -> list[str]:
    unknown = set(required(files)) - set(VALUES)
    assert not unknown, f'give VALUES a value of the right type for {unknown}'
    return [f'{name}={VALUES[name]}' for name in required(files)]


RUNS = [file for file in all_files() if is_run(file)]


def test_there_are_run_files():
    assert 'gin/runs/rl.gin' in RUNS


@pytest.mark.parametrize('file', RUNS)
def test_run_file_passes_the_guards_and_so_does_what_it_resolves_to(file, monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    files = command(file)
    program, config = main.configure(files, overrides(files))
    assert callable(program)
    (tmp_path / 'config.gin').write_text(config)
    again, same = main.configure([str(tmp_path / 'config.gin')], [])
    assert callable(again) and same == config


@pytest.mark.parametrize('file', [file for file in RUNS if names_program(file)])
def test_header_names_what_must_be_set(file, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    unnamed = [name for name in required(command(file)) if not re.search(rf'\b{name}\b', header(file))]
    assert not unnamed, f'the first comment of {file} must name {unnamed}'


@pytest.mark.parametrize('file', RUNS)
def test_rl_run_has_the_macros_of_every_rl_run(file, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config = gin_files.read(command(file), [])
    if config.macros['PROGRAM'].value.selector == 'rl.run':
        assert RL_MACROS <= set(config.macros)


def test_a_misspelt_macro_of_a_run_file_is_refused(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config = gin_files.read(['gin/runs/rl.gin'], [*overrides(['gin/runs/rl.gin']), 'KL_COFE=0.1'])
    with pytest.raises(ValueError, match='did you mean KL_COEF'):
        gin_guards.check(config)
