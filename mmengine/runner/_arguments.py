"""Arguments of a Runner: which belong together, and what becomes of the config."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner._config_facts import OTHERS
from mmengine.runner._config_keys import PLACES, READ_FROM_CONFIG, written
from mmengine.runner._values import check_values
from mmengine.utils.errors import ArgumentError

ConfigLike = dict[str, Any] | Config | ConfigDict
TRIOS = {
    'train': ('training', ('train_dataloader', 'train_cfg', 'optim_wrapper')),
    'val': ('validation', ('val_dataloader', 'val_cfg', 'val_evaluator')),
    'test': ('testing', ('test_dataloader', 'test_cfg', 'test_evaluator')),
}
"""The parts of each stage that are given together."""
# Keys of the config that FlexibleRunner has as arguments.
_OF_FLEXIBLE = ('compile', 'strategy')


def check_arguments(constructor: Callable[..., Any], given: Mapping[str, Any], cfg: Config) -> None:
    """Check the arguments of a run, before anything is built.

    Args:
        constructor: The function that took the arguments.
        given: The arguments by name.
        cfg: The config of the run, from which other keys are read.

    Raises:
        ArgumentTypeError: If a value is of a wrong kind.
        ArgumentError: If a stage is half given, or there is a schedule without an optimizer.
    """
    check_values({**{key: cfg[key] for key in OTHERS if key in cfg}, **given}, constructor)
    for title, names in TRIOS.values():
        check_given_together(title, **{name: given[name] for name in names})
    check_scheduler(given['param_scheduler'], given['optim_wrapper'])


def check_given_together(stage: str, **parts: Any) -> None:
    """All of ``parts`` are given, or none.

    Args:
        stage: 'training', 'validation' or 'testing', for the message.
        parts: By argument name.

    Raises:
        ArgumentError: Naming what is given and what is missing.
    """
    given = [name for name, part in parts.items() if part is not None]
    missing = [name for name, part in parts.items() if part is None]
    if given and missing:
        raise ArgumentError(
            f'For {stage}, Runner takes {", ".join(parts)} together or not at all: '
            f'{", ".join(given)} given, {", ".join(missing)} missing.'
        )


def check_scheduler(param_scheduler: Any, optim_wrapper: Any) -> None:
    """A scheduler needs an optimizer, and is a dict, a list, or a dict of these by optimizer.

    Raises:
        ArgumentError: If there is no optimizer.
        TypeError: If it is something else.
    """
    if param_scheduler is None:
        return
    if optim_wrapper is None:
        raise ArgumentError('param_scheduler changes an optimizer, but optim_wrapper is not given.')
    is_scheduler = hasattr(param_scheduler, 'step') and hasattr(param_scheduler, 'state_dict')
    if not is_scheduler and not isinstance(param_scheduler, (Mapping, list, tuple)):
        raise TypeError(
            'param_scheduler is a scheduler, a dict, a list of these, or a dict of lists by '
            f'optimizer; got {type(param_scheduler).__name__}.'
        )


def own_config(cfg: ConfigLike | None) -> Config:
    """A config of this run alone: what the caller does with theirs later changes nothing here."""
    if cfg is None:
        return Config({})
    if isinstance(cfg, Config):
        return copy.deepcopy(cfg)
    if isinstance(cfg, dict):
        return Config(copy.deepcopy(cfg))
    raise TypeError(f'cfg is a Config, a dict or None, got {type(cfg).__name__}.')


def argument_names(cls: type, root: type) -> set[str]:
    """Argument names of the constructors of ``cls`` and its bases up to ``root``."""
    return {
        name
        for base in cls.__mro__
        if issubclass(base, root)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if name != 'self'
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def refuse_keys_of_config(cls: type, given: Iterable[str]) -> None:
    """Refuse keyword arguments of ``cls`` that are keys of a config, and say where they belong.

    Raises:
        TypeError: If there is one.
    """
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]  # of this class
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    name = cls.__name__
    for key in given:
        if key in parameters:
            continue
        if key in READ_FROM_CONFIG:
            flexible = ' FlexibleRunner has it as an argument.' if key in _OF_FLEXIBLE else ''
            raise TypeError(
                f'{key} is a key of the config, not an argument of {name}. Use '
                f'{name}.from_cfg(dict({key}=..., ...)), or {name}(..., cfg=dict({key}=...)).'
                f'{flexible}'
            )
        if key in PLACES:
            raise TypeError(
                f'{name} has no argument {key}. It belongs in {PLACES[key]}: '
                f'{name}(..., {written(PLACES[key], key)}).'
            )


def nothing_to(stage: str, needed: str) -> str:
    """The message for a stage whose parts the runner was not given."""
    return f'{stage}() needs {needed}; this Runner was made without.'
