"""Error messages for what cannot be found or built.

This code runs after a failure only, so it may read signatures and files.
"""

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any

from mmengine.config import source_location
from mmengine.registry._errors import ComponentArgumentError, RegistryKeyError, name_of
from mmengine.registry._signature import taken_by
from mmengine.registry.registry import ALL_REGISTRIES, Registry, title_of
from mmengine.utils.errors import did_you_mean


def written_at(cfg: Any, key: str | None = None) -> str:
    """`` (configs/a.py:12)``, where ``cfg`` or its key was written; empty if unknown."""
    place = source_location(cfg, key)
    return f' ({place})' if place else ''


# Looking up


def no_type(cfg: Any, registry: Registry) -> KeyError:
    """The error for a config without ``type``."""
    keys = [str(key) for key in cfg]
    return RegistryKeyError(
        f'A config for the {registry.name!r} registry says what to build by the key "type", but '
        f'this one{written_at(cfg)} has the keys {keys}.{did_you_mean("type", keys)}'
    )


def unknown_type(kind: str, registry: Registry, cfg: Any, key: str) -> KeyError:
    """The error for a name that is in no registry.

    Args:
        kind: The name.
        registry: Where the search began.
        cfg: The config with the name, under ``key``.
        key: 'type', or the key used instead.
    """
    lines = [f'{key} {kind!r}{written_at(cfg, key)} is not known to the {title_of(registry)}']
    parents = [repr(node.scope) for node in _with_parents(registry)[1:]]
    if parents:
        lines[0] += f', nor to its parents ({", ".join(parents)})'
    same_tree, other_trees = _found_elsewhere(kind, registry)
    near = '' if same_tree else did_you_mean(kind, _valid_types(registry))
    lines[0] += f'.{near}'
    lines += same_tree + other_trees
    lines += _about_path(kind, registry) if '.' in kind else []
    if not near and len(lines) == 1:
        names = {name for node in _with_parents(registry) for name in node.module_dict}
        searched = [place for node in _with_parents(registry) for place in node._locations]
        after = f' (after importing {", ".join(searched)})' if searched else ''
        lines.append(f'It holds {_first_names(names)}{after}.')
    lines.append(
        'A custom class is registered when its module is imported: write its import path as type, '
        "'package.module.Class', or custom_imports=dict(imports=['package.module']) in the config."
    )
    return RegistryKeyError('\n  '.join(lines))


def _with_parents(registry: Registry) -> list[Registry]:
    """The registry and its parents."""
    chain = [registry]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain


def _valid_types(registry: Registry) -> list[str]:
    """Valid values of ``type``: bare names, and all names of the tree with their scope."""
    chain = _with_parents(registry)
    names = [name for node in chain for name in (*node.module_dict, *node._deferred)]
    level = [chain[-1]]
    while level:
        names += [f'{node.scope}.{name}' for node in level for name in node.module_dict]
        level = [child for node in level for child in node.children.values()]
    return names


def _found_elsewhere(kind: str, registry: Registry) -> tuple[list[str], list[str]]:
    """Hints at registries that have this name: in other scopes of the tree, and of other kinds."""
    name = kind.rpartition('.')[2]
    chain = _with_parents(registry)
    owners = [node for node in ALL_REGISTRIES if node not in chain and name in node.module_dict]
    scoped = sorted(f'{node.scope}.{name}' for node in owners if node.root is chain[-1])
    titles = sorted(title_of(node) for node in owners if node.root is not chain[-1])
    return (
        [f'Scope {path.partition(".")[0]!r} has it: write {path!r}.' for path in scoped],
        [f'It is in the {title}; is it built by the right one?' for title in titles],
    )


def _about_path(kind: str, registry: Registry) -> list[str]:
    """How much of a name with dots exists, as a scope and as an import path."""
    scope, name = kind.split('.', 1)
    owner = registry._registry_of(scope)
    if owner is not None and '.' not in name:
        return [f'The {title_of(owner)} holds {_first_names(owner.module_dict)}.']
    module_name, _, attribute = kind.rpartition('.')
    module = sys.modules.get(module_name)
    if module is not None:
        found = getattr(module, attribute, None)
        if found is not None:
            return [f'{kind} is a {type(found).__name__}, not a class or function.']
        return [f'Module {module_name} has no {attribute!r}.{did_you_mean(attribute, dir(module))}']
    if importlib.util.find_spec(scope) is None:
        return [
            f'There is no scope {scope!r}, and no package of this name can be imported: '
            'install it, or put its folder on PYTHONPATH.'
        ]
    if owner is None and '.' not in name:
        return [f'Package {scope} has no registry of this kind in {scope}.registry.']
    return [f'There is no module {module_name}.']


def _first_names(names: Iterable[str], limit: int = 10) -> str:
    """The first names, and the number of the others."""
    ordered = sorted(names)
    if not ordered:
        return 'nothing'
    rest = len(ordered) - limit
    return ', '.join(ordered[:limit]) + (f' and {rest} more' if rest > 0 else '')


# Constructing

_UNEXPECTED = re.compile(
    r"^(?P<callee>[\w.<>]+)\(\) got an unexpected keyword argument '(?P<key>\w+)'"
)
_NONE_TAKEN = re.compile(
    r'^(?P<callee>[\w.<>]+)\(\) (?:takes no (?:keyword )?arguments|takes exactly one argument)'
)
_MISSING = re.compile(r'^(?P<callee>[\w.<>]+)\(\) missing \d+ required (?P<names>.+)$')


def explain(
    error: Exception, component: Any, args: dict[str, Any], cfg: Any, registry: Registry
) -> Exception:
    """Add the part of the config that was being built to an error of a constructor.

    Args:
        error: What calling ``component`` raised.
        component: The class or function.
        args: The arguments, which ``component`` may have changed.
        cfg: The config that the arguments are from.
        registry: The registry that built it.

    Returns:
        A new error, to be raised from ``error``, if the arguments do not fit the signature; else
        ``error`` itself, with a note added.
    """
    if isinstance(error, TypeError) and not isinstance(error, ComponentArgumentError):
        argument_errors = _argument_errors(str(error), component, args, cfg)
        if argument_errors:
            return ComponentArgumentError('\n  '.join(argument_errors))
    add_note(
        error,
        f'Raised while building {name_of(component)} for the {registry.name!r} registry'
        f'{written_at(cfg)}.',
    )
    return error


def add_note(error: Exception, note: str) -> None:
    """Add a line to what is printed for ``error``."""
    if hasattr(error, 'add_note'):
        error.add_note(note)
    elif (  # Python 3.10: only if the message is the only argument
        type(error).__str__ is BaseException.__str__
        and len(error.args) == 1
        and isinstance(error.args[0], str)
    ):
        error.args = (f'{error.args[0]}\n{note}',)


def _argument_errors(message: str, component: Any, args: dict[str, Any], cfg: Any) -> list[str]:
    """Lines on each argument that does not fit; empty if ``message`` is not about this call."""
    unexpected = _UNEXPECTED.match(message)
    missing = _MISSING.match(message)
    match = unexpected or missing or _NONE_TAKEN.match(message)
    if match is None or not _is_call_of(match['callee'], component):
        return []
    parameters, takes_any = taken_by(component)
    wrong = [] if takes_any else [key for key in args if key not in parameters]
    absent = re.findall(r"'(\w+)'", missing['names']) if missing else []
    if unexpected:
        key = unexpected['key']
        if key not in args:
            return []
        if key not in wrong:
            wrong.append(key)
            parameters.pop(key, None)
        absent = [
            name
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty and name not in args
        ]
    free = [name for name in parameters if name not in args]
    title = name_of(component)
    lines = [_wrong_key(title, key, cfg, free) for key in wrong]
    lines += [_absent_key(title, key, args, wrong, cfg) for key in absent]
    if lines:
        lines.append(f'{title} takes {_signature(parameters, takes_any)}')
    return lines


def _wrong_key(title: str, key: str, cfg: Any, free: list[str]) -> str:
    place = written_at(cfg, key) if key in cfg else ' (from default_args, not from the config)'
    return f'{title} got an unexpected keyword argument {key!r}{place}.{did_you_mean(key, free)}'


def _absent_key(title: str, key: str, args: dict[str, Any], wrong: list[str], cfg: Any) -> str:
    near = '' if wrong else did_you_mean(key, args).replace('Did you mean', 'Is it misspelt as')
    return f'{title} needs the argument {key!r}, but its config{written_at(cfg)} has none.{near}'


def _is_call_of(callee: str, component: Any) -> bool:
    """Whether a callee named in an error message is ``component``, or a constructor it inherits."""
    classes = inspect.getmro(component) if inspect.isclass(component) else (component,)
    names = {getattr(c, name, '') for c in classes for name in ('__qualname__', '__name__')}
    return callee in names or callee.rpartition('.')[0] in names


def _signature(parameters: dict[str, inspect.Parameter], takes_any: bool) -> str:
    written = [
        name if p.default is p.empty else f'{name}={_short(p.default)}'
        for name, p in parameters.items()
    ]
    if takes_any:
        written.append('**kwargs')
    return f'({", ".join(written)}).'


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else '...'
