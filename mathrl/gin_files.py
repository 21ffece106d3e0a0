"""Reads gin files and --gin.NAME=VALUE into plain bindings that know their file and line.

gin-config keeps no places and silently drops what it does not use; this walk goes over the same files with
its parser, for the checks in gin_guards, before gin-config itself is given them.
"""

import dataclasses
import difflib
import importlib
import importlib.util  # Without it, gin-config 0.5.0 crashes on a missing include.
import pprint
import re
import tokenize
from typing import Any, Callable, Iterator

import gin
from etils import epath
from gin import config_parser

# Includes are found from the current directory, or else from here.
REPOSITORY = epath.Path(__file__).parents[1]
DYNAMIC_REGISTRATION = '__gin__.dynamic_registration'
REQUIRED = 'gin.REQUIRED'


@dataclasses.dataclass(frozen=True)
class Macro:
    """%NAME inside a value."""

    name: str

    def __repr__(self):
        return f'%{self.name}'


@dataclasses.dataclass(frozen=True)
class Reference:
    """@scope/selector or @scope/selector() inside a value; target is the function or class it names."""

    scope: str
    selector: str
    evaluated: bool
    target: Callable[..., Any] | None = None

    def __repr__(self):
        return f"@{f'{self.scope}/' if self.scope else ''}{self.selector}{'()' if self.evaluated else ''}"


@dataclasses.dataclass(frozen=True)
class Binding:
    """`scope/selector.parameter = value`; a macro has its name as selector, no target and no parameter."""

    scope: str
    selector: str
    parameter: str
    target: Callable[..., Any] | None
    value: Any
    place: str  # 'gin/rl.gin line 3' or '--gin.STEPS'
    comment: str  # what stands after # on the binding's line

    @property
    def name(self) -> str:
        selector = f'{self.scope}/{self.selector}' if self.scope else self.selector
        return f'{selector}.{self.parameter}' if self.parameter else selector


@dataclasses.dataclass
class Config:
    """Everything that the files and the command line bind; a later binding has replaced an earlier one."""

    macros: dict[str, Binding] = dataclasses.field(default_factory=dict)
    bindings: dict[tuple[str, Any, str], Binding] = dataclasses.field(default_factory=dict)
    symbols: dict[str, Any] = dataclasses.field(default_factory=dict)  # imported name -> module
    imports: set[str] = dataclasses.field(default_factory=set)  # import statements

    def add(self, binding: Binding) -> None:
        if binding.target is None:
            self.macros[binding.selector] = binding
        else:
            self.bindings[binding.scope, binding.target, binding.parameter] = binding


def nearest(name: str, names) -> str:
    """'; did you mean X' for the closest of names, or ''."""
    by_lower = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f'; did you mean {by_lower[close[0]]}' if close else ''


def listed(names) -> str:
    return ', '.join(sorted(names)) or 'none'


def read(files: list[str], overrides: list[str]) -> Config:
    """All bindings of the files, in order, then of the overrides 'NAME=VALUE'.

    Raises:
      ValueError: one sentence with file and line: a missing file, bad syntax, an unknown module or function.
    """
    config = Config()
    for path in files:
        _read_file(path, '--gin_file', config, parents=())
    for override in overrides:
        _read_override(override, config)
    return config


def load(files: list[str], overrides: list[str], config: Config) -> tuple[Callable[..., None], str]:
    """Gives gin what was read; returns the configured PROGRAM and the resolved configuration as gin text."""
    gin.clear_config()
    gin.config.register_file_reader(_open, _is_file)
    # The overrides are a text of their own to gin, with no imports unless they are repeated.
    assignments = [' = '.join(override.split('=', 1)) for override in overrides]
    gin.parse_config_files_and_bindings(files, [*_import_lines(config), *assignments])
    return gin.get_configurable('PROGRAM/gin.macro')(), _text(config)


def _text(config: Config) -> str:
    """The configuration as one gin file. gin.config_str would sort the keys of dicts."""
    blocks = [_import_lines(config)]
    for bindings in (config.macros, config.bindings):
        ordered = sorted(bindings.values(), key=lambda binding: binding.name)
        blocks.append([f'{binding.name} = {pprint.pformat(binding.value, width=100, sort_dicts=False)}'
                       for binding in ordered])
    return '\n\n'.join('\n'.join(block) for block in blocks if block) + '\n'


def _import_lines(config: Config) -> list[str]:
    return ['from __gin__ import dynamic_registration', *sorted(config.imports)]


def _open(path: str):
    return _existing(path).open()


def _is_file(path: str) -> bool:
    return _existing(path) is not None


def _existing(path: str) -> epath.Path | None:
    candidates = [folder / path for folder in (epath.Path(), REPOSITORY)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


class _Delegate(config_parser.ParserDelegate):
    """Keeps references and macros as written; they are looked up where the file's imports are known."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        *scopes, selector = scoped_configurable_name.split('/')
        return Reference('/'.join(scopes), selector, evaluate)

    def macro(self, macro_name):
        return Macro(REQUIRED if macro_name in ('REQUIRED', REQUIRED) else macro_name)


def _statements(text: str, name: str) -> Iterator[Any]:
    try:
        yield from config_parser.ConfigParser(text, _Delegate())
    except tokenize.TokenError as error:
        _, (line, _) = error.args
        raise ValueError(f'{name} line {line}: an opened bracket or quote is not closed.') from None
    except SyntaxError as error:
        raise ValueError(f'{name} line {error.lineno}: {_syntax_message(error)}.') from None


def _syntax_message(error: SyntaxError) -> str:
    unquoted = re.search(r"Failed to parse token '(.*)'", error.msg or '')
    if unquoted:
        return f'{unquoted[1]} is no gin literal: a string needs quotes'
    message = ' '.join((error.msg or 'bad syntax').split()).rstrip('.')
    return f"{message} in '{(error.text or '').strip()}'"


def _find(path: str, place: str) -> epath.Path:
    found = _existing(path)
    if found is not None:
        return found
    folders = {epath.Path(path).parent, (REPOSITORY / path).parent}
    known = [other.name for folder in folders if folder.is_dir() for other in folder.glob('*.gin')]
    raise ValueError(f'{place}: there is no file {path}{nearest(epath.Path(path).name, known)}.')


def _read_file(path: str, place: str, config: Config, parents: tuple[str, ...]) -> None:
    if path in parents:
        raise ValueError(f"{place}: {path} includes itself, by way of {' -> '.join((*parents, path))}.")
    found = _find(path, place)
    lines = found.read_text().splitlines()
    symbols = {}
    dynamic = False
    for statement in _statements('\n'.join(lines) + '\n', path):
        line = statement.location.line_num
        place = f'{path} line {line}'
        match statement:
            case config_parser.IncludeStatement():
                _read_file(statement.filename, place, config, (*parents, path))
            case config_parser.ImportStatement(module=module) if module == DYNAMIC_REGISTRATION:
                dynamic = True
            case config_parser.ImportStatement():
                if not dynamic:
                    raise ValueError(f'{place}: `from __gin__ import dynamic_registration` must stand before '
                                     'the first import.')
                _import(statement, place, symbols, config)
            case config_parser.BindingStatement():
                comment = lines[line - 1].partition(' #')[2].strip()
                config.add(_binding(statement, symbols, place, comment))


def _import(statement, place: str, symbols: dict[str, Any], config: Config) -> None:
    name, module = statement.bound_name(), _module(statement, place)
    # The command line and config.gin see the imports of all files at once.
    if config.symbols.setdefault(name, module) is not module:
        raise ValueError(f'{place}: {name} is {config.symbols[name].__name__} in another gin file: write '
                         f'`{statement.format()} as another_name`.')
    symbols[name] = module
    config.imports.add(statement.format())


def _read_override(override: str, config: Config) -> None:
    name, equals, value = override.partition('=')
    place = f'--gin.{name}'
    if not equals or not value.strip():
        raise ValueError(f'{place}: a value must follow, as in --gin.{name}=5.')
    try:
        statements = list(_statements(f'{name} = {value}', place))
    except ValueError:
        statements = []
    if len(statements) != 1 or not isinstance(statements[0], config_parser.BindingStatement):
        raise ValueError(
            f"{place}: {value} is no gin literal (5, 0.1, True, None, a list, a quoted string); "
            f"a string keeps its quotes inside the shell's: --gin.{name}='\"{value}\"'.")
    config.add(_binding(statements[0], config.symbols, place, comment=''))


def _module(statement: config_parser.ImportStatement, place: str) -> Any:
    """The module that the statement's name stands for, imported."""
    try:
        module = importlib.import_module(statement.module)
    except ModuleNotFoundError as error:
        if not (statement.module + '.').startswith(f'{error.name}.'):
            raise ValueError(f'{place}: {statement.module} needs the module {error.name}, '
                             'which is not installed.') from error
        raise ValueError(f'{place}: there is no module {statement.module}'
                         f'{_near_module(statement.module)}.') from None
    if statement.is_from or statement.alias:
        return module
    return importlib.import_module(statement.module.split('.')[0])


def _near_module(module: str) -> str:
    parent, _, leaf = module.rpartition('.')
    try:
        found = importlib.util.find_spec(parent) if parent else None
    except ModuleNotFoundError:
        found = None
    folders = found.submodule_search_locations if found else None
    return nearest(leaf, {path.stem for folder in folders or () for path in epath.Path(folder).glob('*.py')})


def _binding(statement, symbols: dict[str, Any], place: str, comment: str) -> Binding:
    value = _with_targets(statement.value, symbols, place)
    if not statement.arg_name:
        name = f'{statement.scope}/{statement.selector}' if statement.scope else statement.selector
        return Binding('', name, '', None, value, place, comment)
    target = _target(statement.selector, symbols, place)
    return Binding(statement.scope, statement.selector, statement.arg_name, target, value, place, comment)


def _with_targets(value: Any, symbols: dict[str, Any], place: str) -> Any:
    match value:
        case Reference():
            return dataclasses.replace(value, target=_target(value.selector, symbols, place))
        case dict():
            return {_with_targets(key, symbols, place): _with_targets(item, symbols, place)
                    for key, item in value.items()}
        case list() | tuple():
            return type(value)(_with_targets(item, symbols, place) for item in value)
    return value


def _target(selector: str, symbols: dict[str, Any], place: str) -> Callable[..., Any]:
    root, *path = selector.split('.')
    if root not in symbols:
        raise ValueError(f"{place}: '{root}' is not imported{nearest(root, symbols)}; this file imports: "
                         f'{listed(symbols)} (what an included file imports does not count).')
    found, name = symbols[root], root
    for part in path:
        if not hasattr(found, part):
            raise ValueError(f"{place}: {name} has no '{part}'{nearest(part, dir(found))}.")
        found, name = getattr(found, part), f'{name}.{part}'
    if not callable(found):
        raise ValueError(f'{place}: {name} is {type(found).__name__}, where a function or a class is needed.')
    return found
