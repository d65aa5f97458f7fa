"""Which arguments a class or function of a config takes."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, NamedTuple

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Parameters = dict[str, inspect.Parameter]


class Taken(NamedTuple):
    """What can be given by name.

    Attributes:
        parameters: Parameters by name.
        takes_any: Whether others may be taken too.
    """

    parameters: Parameters
    takes_any: bool


class _Passed(NamedTuple):
    """What a constructor passes to the next one besides its ``**kwargs``: how many by position, and
    the names of the others."""

    num_by_position: int = 0
    names: frozenset[str] = frozenset()


def taken_by(component: Any) -> Taken:
    """The arguments that ``component`` takes by name.

    A constructor that passes ``**kwargs`` on to the next class, and does nothing else with it, also
    takes what that class takes, without the arguments that it sets itself. With any other use of
    ``**kwargs``, other names may be taken too.
    """
    if not inspect.isclass(component):
        return _of_function(component)
    found: Parameters = {}
    takes_any = _has_own_call(component)
    passed = _Passed()
    for cls in inspect.getmro(component)[:-1]:
        if '__init__' not in vars(cls):
            continue
        init = vars(cls)['__init__']
        own, goes_on = _of_function(init, skip=1)
        for name in [*own][passed.num_by_position :]:
            if name not in passed.names:
                found.setdefault(name, own[name])
        if not goes_on or _takes_nothing(cls):
            break
        call = _call_of_next_class(init)
        takes_any = takes_any or call is None
        passed = _Passed() if call is None else call._replace(names=passed.names | call.names)
    return Taken(found, takes_any)


def _takes_nothing(cls: type) -> bool:
    """Whether ``cls`` is ``nn.Module``, whose ``**kwargs`` only serve its error message."""
    return (cls.__module__, cls.__name__) == ('torch.nn.modules.module', 'Module')


def _has_own_call(cls: type) -> bool:
    """Whether calling ``cls`` does more than its constructor shows."""
    if any('__call__' in vars(meta) for meta in inspect.getmro(type(cls))[:-2]):
        return True
    new = getattr(cls, '__new__', object.__new__)
    return new is not object.__new__ and not _of_function(new, skip=1).takes_any


def _of_function(function: Any, skip: int = 0) -> Taken:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # written in C, without a signature
        return Taken({}, True)
    named = {
        p.name: p
        for p in parameters
        if p.kind not in _VARIADIC and p.kind is not inspect.Parameter.POSITIONAL_ONLY
    }
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return Taken(named, takes_any or _is_wrapped(function))


def _is_wrapped(function: Any) -> bool:
    """Whether a decorator is around ``function`` that may take other names."""
    return hasattr(function, '__wrapped__') and not getattr(function, 'takes_the_same', False)


def _call_of_next_class(init: Any) -> _Passed | None:
    """How ``init`` calls the next constructor with its ``**kwargs``.

    Returns:
        What else it passes. None if it is not a single ``super().__init__(..., **kwargs)``, or if
        its source cannot be read.
    """
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init)))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(definition, ast.FunctionDef) or definition.args.kwarg is None:
        return None
    kwargs = definition.args.kwarg.arg
    calls = [
        node
        for node in ast.walk(definition)
        if isinstance(node, ast.Call) and _is_next_constructor(node.func)
    ]
    uses = [
        node for node in ast.walk(definition) if isinstance(node, ast.Name) and node.id == kwargs
    ]
    if len(calls) != 1 or len(uses) != 1:
        return None
    call = calls[0]
    spread = [word.value for word in call.keywords if word.arg is None]
    if spread != uses:
        return None
    by_position = [arg for arg in call.args if not isinstance(arg, ast.Starred)]
    names = frozenset(word.arg for word in call.keywords if word.arg is not None)
    return _Passed(len(by_position), names)


def _is_next_constructor(function: ast.expr) -> bool:
    """Whether ``function`` is ``super().__init__``."""
    return (
        isinstance(function, ast.Attribute)
        and function.attr == '__init__'
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == 'super'
    )
