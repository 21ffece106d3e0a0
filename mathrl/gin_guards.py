"""Refuses, in one sentence, what gin-config would ignore or only notice hours later.

What counts is what can be reached: from PROGRAM, through the references and macros in the values bound to
what is reached already. gin-config applies a binding only where its function is called by such a reference.
"""

import collections.abc
import dataclasses
import inspect
import os
import types
import typing
from typing import Any, Callable, Iterator

from mathrl.gin_files import REQUIRED, Binding, Config, Macro, Reference, listed, nearest

PROGRAM = 'PROGRAM'
FROM_MAIN = ('workdir', 'config', 'dry_run', 'check')  # main passes these to the program itself


@dataclasses.dataclass
class Reached:
    """What the program can be given, in the order in which it was found."""

    bindings: dict[tuple, Binding] = dataclasses.field(default_factory=dict)
    macros: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> who reads it first
    # Each with the scope of the call.
    references: list[tuple[str, Reference]] = dataclasses.field(default_factory=list)


def check(config: Config) -> None:
    """Raises a ValueError of one sentence for the first fault found."""
    root = _root(config)
    for binding in config.bindings.values():
        _check_parameter(binding, root)
    reached = _reach(config, root)
    for binding in reached.bindings.values():
        _check_type(config, binding)
    _check_read(config, reached)
    _check_required(config, reached)
    for _, reference in reached.references:
        if reference.evaluated or reference is root:
            _check_complete(reference, reached, given=FROM_MAIN if reference is root else ())


def _root(config: Config) -> Reference:
    if PROGRAM not in config.macros:
        raise ValueError('PROGRAM is not set: a run file names the program to run, as in PROGRAM = @rl.run.')
    binding = config.macros[PROGRAM]
    if not isinstance(binding.value, Reference) or binding.value.evaluated:
        raise ValueError(f'{binding.place}: PROGRAM is {binding.value!r}, and a reference without () is '
                         'needed, as in PROGRAM = @rl.run.')
    return binding.value


def _check_parameter(binding: Binding, root: Reference) -> None:
    parameters = _parameters(binding.target)
    if parameters is None:
        return
    if binding.target is root.target and binding.parameter in FROM_MAIN:
        raise ValueError(f'{binding.place}: {binding.name} is given by main, not by gin (see --help).')
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if binding.parameter not in parameters and not takes_any:
        raise ValueError(f"{binding.place}: {binding.selector} has no parameter '{binding.parameter}'"
                         f'{nearest(binding.parameter, parameters)}; it has: {listed(parameters)}.')


def _reach(config: Config, root: Reference) -> Reached:
    reached = Reached()
    reached.macros[PROGRAM] = 'main'
    waiting = [(root.scope, root)]
    while waiting:
        scope, reference = waiting.pop()
        if (scope, reference) in reached.references:
            continue
        reached.references.append((scope, reference))
        for key, binding in config.bindings.items():
            # gin gives a function its bindings of every outer scope too.
            in_scope = not binding.scope or f'{scope}/'.startswith(f'{binding.scope}/')
            if in_scope and binding.target is reference.target:
                reached.bindings[key] = binding
                waiting.extend(_references(config, reached, binding, scope, within=()))
    return reached


def _references(config: Config, reached: Reached, binding: Binding, scope: str,
                within: tuple[str, ...]) -> Iterator[tuple[str, Reference]]:
    """(scope, reference) for all in a bound value, macros followed."""
    for item in _flat(binding.value):
        if isinstance(item, Reference):
            yield item.scope or scope, item
        elif isinstance(item, Macro) and item.name != REQUIRED:
            reached.macros.setdefault(item.name, binding.name)
            if item.name in within:
                path = ' -> '.join((*within, item.name))
                raise ValueError(f'{binding.place}: macro {item.name} reads itself: {path}.')
            if item.name not in config.macros:
                raise ValueError(f'{binding.place}: {binding.name} reads macro {item.name}, which is not set'
                                 f'{nearest(item.name, config.macros)}; set are: {listed(config.macros)}.')
            # A macro's value is made in a scope of the macro's name.
            yield from _references(config, reached, config.macros[item.name], item.name, (*within, item.name))


def _flat(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for key, item in value.items():
                yield from _flat(key)
                yield from _flat(item)
        case list() | tuple():
            for item in value:
                yield from _flat(item)
        case _:
            yield value


def _check_read(config: Config, reached: Reached) -> None:
    """Refuses bindings and macros that nothing reads."""
    for key, binding in config.bindings.items():
        if key not in reached.bindings:
            raise ValueError(f'{binding.place}: {binding.name} has no effect: nothing that PROGRAM = '
                             f'{config.macros[PROGRAM].value!r} reads refers to @{binding.selector}.')
    for name, binding in config.macros.items():
        if name not in reached.macros:
            others = reached.macros.keys() - {name}
            raise ValueError(f'{binding.place}: nothing reads the macro {name}{nearest(name, others)}; '
                             f'there are: {listed(others)}.')


def _check_required(config: Config, reached: Reached) -> None:
    everything = [*config.macros.values(), *reached.bindings.values()]
    unset = [binding for binding in everything if Macro(REQUIRED) in list(_flat(binding.value))]
    if not unset:
        return
    names = ' and '.join(binding.name for binding in unset)
    hints = ' '.join(f'--gin.{binding.name}=VALUE' for binding in unset)
    meaning = '; '.join(f'{binding.name}: {binding.comment}' for binding in unset if binding.comment)
    raise ValueError(f"{names} must be set: {hints}{f' ({meaning})' if meaning else ''}.")


def _check_complete(reference: Reference, reached: Reached, given: tuple[str, ...]) -> None:
    """Refuses a function that will be called with a parameter missing."""
    bound = {binding.parameter for binding in reached.bindings.values() if binding.target is reference.target}
    for name, parameter in (_parameters(reference.target) or {}).items():
        has_value = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not has_value and name not in bound and name not in given:
            raise ValueError(f'{reference.selector} needs {name}: bind {reference.selector}.{name} in a gin '
                             f'file or by --gin.{reference.selector}.{name}=VALUE.')


def _check_type(config: Config, binding: Binding) -> None:
    parameter = (_parameters(binding.target) or {}).get(binding.parameter)
    if parameter is None or parameter.kind is parameter.VAR_KEYWORD:
        return
    source, value = binding, _expanded(config, binding.value)
    if isinstance(binding.value, Macro):
        source = config.macros[binding.value.name]
    annotation = _annotation(binding.target, parameter)
    is_default = value is None and parameter.default is None
    if not is_default and not fits(value, annotation):
        wanted = inspect.formatannotation(annotation)
        wanted = f'{wanted} is wanted' if source is binding else f'{binding.name} wants {wanted}'
        raise ValueError(f'{source.place}: {source.name} = {_short(value)} is {_kind(value)}, and {wanted}.')


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)):
        items = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {' and '.join(items) or 'nothing'}"
    if not isinstance(value, Reference):
        return f'of type {type(value).__name__}'
    return 'what the call makes' if value.evaluated else 'not called (a call is written with ())'


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:60]}...{text[-15:]}'


def _expanded(config: Config, value: Any) -> Any:
    """The value with its macros replaced by what they are set to."""
    match value:
        case Macro() if value.name != REQUIRED:
            return _expanded(config, config.macros[value.name].value)
        case dict():
            return {_expanded(config, key): _expanded(config, item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_expanded(config, item) for item in value)
    return value


def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """None where Python cannot tell, as for some functions written in C."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return None


def _annotation(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    if not isinstance(parameter.annotation, str):
        return Any if parameter.annotation is parameter.empty else parameter.annotation
    # Annotations are strings under `from __future__ import annotations`.
    module = inspect.getmodule(inspect.unwrap(target))
    try:
        return eval(parameter.annotation, dict(vars(module)))
    except (NameError, AttributeError, TypeError, SyntaxError):
        return Any


def fits(value: Any, annotation: Any) -> bool:
    """Whether a gin value may be passed where the annotation stands; True wherever that cannot be told.

    As type checkers see it: an int is a float, a bool is no number, a str is no sequence, a str is a path.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin is typing.Literal:
        return value in arguments
    if annotation is None or annotation is types.NoneType:
        return value is None
    kind = origin or annotation
    if not isinstance(kind, type) or kind in (Any, object) or typing.Protocol in kind.__mro__:
        return True
    if isinstance(value, Macro):  # a required one that is not set yet
        return True
    if isinstance(value, Reference):
        return _reference_fits(value, kind)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if issubclass(kind, os.PathLike):
        return isinstance(value, str)
    if isinstance(value, str) and kind is not str:
        return False
    return isinstance(value, kind) and _items_fit(value, kind, arguments)


def _reference_fits(value: Reference, kind: type) -> bool:
    if not value.evaluated:
        return kind in (collections.abc.Callable, type)
    # What a function returns is not known, what a class makes is.
    return not isinstance(value.target, type) or issubclass(value.target, kind)


def _items_fit(value: Any, kind: type, arguments: tuple) -> bool:
    if not arguments:
        return True
    if isinstance(value, dict):
        return all(fits(key, arguments[0]) and fits(item, arguments[-1]) for key, item in value.items())
    if isinstance(value, tuple) and kind is tuple and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if isinstance(value, (list, tuple)):
        return all(fits(item, arguments[0]) for item in value)
    return True
