"""Read a vocabulary that a user wrote, and tell what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from mmengine.migrate._config.rules import Rules

NOT_IN_FILES = ('names', 'own_hooks')
_OF_A_RULE = ('type', 'keys', 'drop', 'add', 'gone', 'moved', 'note', 'function')
_OF_A_METRIC = (
    'type',
    'keys',
    'dataset_keys',
    'add',
    'prefix',
    'names',
    'build',
    'takes',
    'test_cfg',
)


def read_rules(name: str, empty: Rules) -> dict[str, Any]:
    """What a file of rules says.

    Args:
        name: The file: Python, JSON or YAML.
        empty: Rules that say nothing; the names that a file may have are its fields.

    Raises:
        ArgumentError: If there is no such file, it does not load, or a name or value in it is not
            of a vocabulary.
    """
    path = Path(name)
    if not path.is_file():
        raise ArgumentError(f'there is no rule file {name!r}.')
    content = _run(name, path) if path.suffix == '.py' else _load(name)
    known = {each.name: getattr(empty, each.name) for each in fields(empty)}
    for each in NOT_IN_FILES:
        del known[each]
    for key, value in content.items():
        machinery = callable(value) or type(value).__name__ == 'module'
        if key not in known and not key.startswith('_') and not machinery:
            raise ArgumentError(
                f'{name}: rules have no {key!r}.{did_you_mean(key, known)} A name of your own '
                'begins with an underscore.'
            )
        if key in known and isinstance(known[key], dict):
            if not isinstance(value, Mapping):
                raise ArgumentError(f'{name}: {key} is a dict by name, got {value!r}.')
            _check_each(name, key, value)
    return content


def _run(name: str, path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    try:
        exec(compile(path.read_bytes(), str(path), 'exec'), content)
    except Exception as error:
        line = getattr(error, 'lineno', None) or _line_in(error, str(path))
        where = f'{name}:{line}' if line else name
        raise ArgumentError(f'{where}: {type(error).__name__}: {error}') from error
    return content


def _line_in(error: BaseException, path: str) -> int | None:
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _load(name: str) -> dict[str, Any]:
    from mmengine.config import Config
    from mmengine.config.errors import ConfigError

    try:
        content: dict[str, Any] = Config.fromfile(name).to_dict()
    except ConfigError as error:
        raise ArgumentError(str(error)) from error
    return content


def _check_each(name: str, table: str, content: Mapping[str, Any]) -> None:
    for one, rule in content.items():
        where = f'{name}: {table}[{one!r}]'
        if table in ('transforms', 'datasets', 'hooks', 'models', 'samplers'):
            _check_rule(where, rule)
        elif table == 'metrics' and rule is not None:
            _check_metric(where, rule)
        elif table in ('constructors', 'better') and not isinstance(rule, str):
            raise ArgumentError(f'{where} is a string, got {rule!r}.')
        elif table == 'preprocessing' and not callable(rule):
            raise ArgumentError(f'{where} is a function of a transform, got {rule!r}.')


def _check_rule(where: str, rule: Any) -> None:
    if rule is None or isinstance(rule, str) or callable(rule):
        return
    if not isinstance(rule, Mapping):
        raise ArgumentError(
            f'{where} is a new name, a dict with {", ".join(_OF_A_RULE)}, a function, or None for '
            f'what is left out; got {rule!r}.'
        )
    _check_keys(where, rule, _OF_A_RULE)
    if 'function' in rule and not callable(rule['function']):
        raise ArgumentError(f'{where}: function is a function, got {rule["function"]!r}.')


def _check_metric(where: str, rule: Any) -> None:
    if not isinstance(rule, Mapping) or not ({'type', 'build'} & set(rule)):
        raise ArgumentError(
            f'{where} is a dict with the type of the metric, or a function build(evaluation, '
            f'dataset); got {rule!r}.'
        )
    _check_keys(where, rule, _OF_A_METRIC)
    if 'build' in rule and not callable(rule['build']):
        raise ArgumentError(f'{where}: build is a function, got {rule["build"]!r}.')


def _check_keys(where: str, rule: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key, value in rule.items():
        if key not in known:
            raise ArgumentError(
                f'{where} has {key!r}; a rule has {", ".join(known)}.{did_you_mean(key, known)}'
            )
        if key == 'names' and callable(value):
            continue
        if key in ('keys', 'dataset_keys', 'names') and not (
            isinstance(value, Mapping) and all(isinstance(new, str) for new in value.values())
        ):
            raise ArgumentError(f'{where}: {key} maps old names to new ones, got {value!r}.')
        if key in ('drop', 'moved', 'gone', 'takes') and not isinstance(value, (list, tuple)):
            raise ArgumentError(f'{where}: {key} is a list of names, got {value!r}.')
        if key == 'add' and not isinstance(value, Mapping):
            raise ArgumentError(f'{where}: add is a dict of arguments, got {value!r}.')
