"""The vocabularies of projects: what their names and keys became.

A vocabulary is a module or a config file with some of these names::

    scope = 'mmdet'                                  # the registry scope: default_scope
    transforms = dict(
        LoadImageFromFile={},                        # known, and the same as before
        RandomFlip=dict(keys=dict(flip_ratio='prob')),   # renamed keys; 'a.b' nests
        Collect=dict(type='PackDetInputs', drop=['keys']),   # a new type, dropped keys
        DefaultFormatBundle=None,                    # gone: leave it out
        Resize=function)                             # config -> config, list of configs, or None
    datasets, hooks = dict(...), dict(...)           # likewise
    metrics = dict(CocoDataset=dict(...))            # by dataset type; '*' for any other
    constructors = dict(LayerDecayOptimizerConstructor='LayerDecayOptimizerConstructor')
    data_preprocessor = dict(type='DetDataPreprocessor')   # gets mean, std ... of Normalize and Pad
    visualizer = 'DetLocalVisualizer'
    train_dataloader, val_dataloader = dict(...), dict(...)   # what the project's builders set
    test_dataset = dict(test_mode=True)              # what they set for validation and test sets
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean

BUILT_IN = ('mmcls', 'mmdet', 'mmpose', 'mmseg')
Rule = None | str | Mapping[str, Any] | Callable[[dict[str, Any]], Any]


@dataclass
class Rules:
    """One vocabulary, or several laid over each other."""

    names: tuple[str, ...] = ()
    scope: str | None = None
    transforms: dict[str, Rule] = field(default_factory=dict)
    datasets: dict[str, Rule] = field(default_factory=dict)
    hooks: dict[str, Rule] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    constructors: dict[str, str] = field(default_factory=dict)
    data_preprocessor: dict[str, Any] | None = None
    visualizer: str | None = None
    train_dataloader: dict[str, Any] = field(default_factory=dict)
    val_dataloader: dict[str, Any] = field(default_factory=dict)
    test_dataset: dict[str, Any] = field(default_factory=dict)

    def over(self, other: Rules) -> Rules:
        """These rules, and where they say nothing those of ``other``."""
        merged = Rules()
        for each in fields(Rules):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.name == 'names':
                value: Any = theirs + mine
            elif each.name in ('scope', 'data_preprocessor', 'visualizer'):
                value = theirs if mine is None else mine
            else:
                value = {**theirs, **mine}
            setattr(merged, each.name, value)
        return merged


def load_rules(names: Iterable[str]) -> Rules:
    """The vocabularies that ``names`` tell, later ones over earlier ones.

    Args:
        names: Built-in ones ('mmdet') and files of one's own ('rules/mine.py').

    Raises:
        ArgumentError: If there is no such vocabulary, or a file has unknown names or values of the
        wrong kind.
    """
    rules = Rules()
    for name in names:
        rules = _load(name.strip()).over(rules)
    return rules


def _load(name: str) -> Rules:
    if name in BUILT_IN:
        module = importlib.import_module(f'mmengine.migrate.config.rules.{name}')
        return _rules(name, vars(module))
    path = Path(name)
    if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise ArgumentError(
            f'there are rules for {", ".join(BUILT_IN)}, or in a file of your own (.py, .json, '
            f'.yaml); got {name!r}.{did_you_mean(name, BUILT_IN)}'
        )
    if not path.is_file():
        raise ArgumentError(f'there is no rule file {name!r}.')
    if path.suffix == '.py':
        content: dict[str, Any] = {}
        code = compile(path.read_text(encoding='utf-8'), str(path), 'exec')
        exec(code, content)
        return _checked(name, content)
    from mmengine.config import Config

    return _checked(name, Config.fromfile(name).to_dict())


def _checked(name: str, content: Mapping[str, Any]) -> Rules:
    known = {each.name for each in fields(Rules)} - {'names'}
    for key, value in content.items():
        machinery = callable(value) or type(value).__name__ == 'module'
        if key not in known and not key.startswith('_') and not machinery:
            raise ArgumentError(f'{name}: rules have no {key!r}.{did_you_mean(key, known)}')
    rules = _rules(name, content)
    for each in ('transforms', 'datasets', 'hooks', 'metrics', 'constructors'):
        if not isinstance(getattr(rules, each), dict):
            raise ArgumentError(f'{name}: {each} is a dict by name.')
    return rules


def _rules(name: str, content: Mapping[str, Any]) -> Rules:
    known = [each.name for each in fields(Rules) if each.name != 'names']
    return Rules(names=(name,), **{key: content[key] for key in known if key in content})


def apply_rule(rule: Rule, config: Mapping[str, Any]) -> Any:
    """What ``config`` becomes by ``rule``: a config, a list of configs, or None for nothing."""
    if rule is None:
        return None
    if callable(rule):
        return rule(dict(config))
    if isinstance(rule, str):
        rule = {'type': rule}
    renamed, dropped = rule.get('keys', {}), rule.get('drop', ())
    result: dict[str, Any] = {}
    for key, value in config.items():
        if key == 'type':
            result['type'] = rule.get('type', value)
        elif key in renamed:
            _put(result, renamed[key], value)
        elif key not in dropped:
            _put(result, key, value)
    for key, value in rule.get('add', {}).items():
        result.setdefault(key, value)
    return result


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split('.')
    for parent in parents:
        inner = dict(target.get(parent) or {})
        target[parent] = inner
        target = inner
    if isinstance(value, Mapping) and isinstance(target.get(last), Mapping):
        value = {**target[last], **value}
    target[last] = value


def suggestion(kind: str, name: str) -> str:
    """Which built-in vocabulary knows ``name``, as a sentence; empty when none does.

    Args:
        kind: 'transforms', 'datasets' or 'hooks'.
    """
    knowing = [one for one in BUILT_IN if name in getattr(_load(one), kind)]
    return f' --rules {" or ".join(knowing)} knows it.' if knowing else ''
