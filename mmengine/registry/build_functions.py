"""Build objects from ``dict(type=..., ...)``."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import _diagnosis
from mmengine.registry._deferred import MODEL_LIST
from mmengine.registry._errors import name_of
from mmengine.registry.default_scope import DefaultScope, current_scope_name
from mmengine.registry.registry import Registry, T
from mmengine.utils import ManagerMixin, get_object_from_string
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from torch import nn

Cfg: TypeAlias = dict[str, Any] | ConfigDict | Config

_LAZY = (LazyObject, LazyAttr)


def build_from_cfg(cfg: Cfg, registry: Registry[T], default_args: Cfg | None = None) -> T:
    """Build the object that a config describes.

    Args:
        cfg: ``type`` names the class or function (a registered name, an import path) or is it;
            ``_scope_``, if given, is the default scope while building; all other keys are
            arguments. Not changed.
        registry: Where names are looked up, starting in its tree at the current default scope.
        default_args: Arguments used where ``cfg`` has no such key; may hold ``type`` too.

    Returns:
        The result of calling the class or function. For subclasses of
        :class:`~mmengine.utils.ManagerMixin` ``get_instance`` is called.

    Raises:
        TypeError: If an argument has a wrong type, or the class does not take these arguments.
        KeyError: If there is no ``type``, or it is in no registry.

    An error raised by the class itself is not replaced; it gets a note with the part of the config
    that was being built.
    """
    built: T = _build(cfg, _arguments(cfg, default_args), registry, _constructor)
    return built


def build_runner_from_cfg(cfg: Cfg, registry: Registry[T]) -> T:
    """Build a runner, by the ``from_cfg`` of the class that ``cfg['runner_type']`` names.

    Args:
        cfg: The config of the run; the runner gets a shallow copy. ``runner_type`` is 'Runner'
            if there is none.
        registry: Where the name is looked up.

    Raises:
        ArgumentError: If ``cfg`` is not a config.
        TypeError: If ``registry`` is not a registry, or the type has no ``from_cfg``.
        KeyError: If the type is in no registry.
    """
    if not isinstance(cfg, (dict, Config)):
        raise ArgumentError(f'cfg must be a dict, ConfigDict or Config, got {type(cfg).__name__}.')
    if not isinstance(registry, Registry):
        raise TypeError(f'registry must be a Registry, got {type(registry).__name__}.')
    cfg = copy.copy(cfg)
    with DefaultScope.overwrite_default_scope(cfg.pop('_scope_', None)):
        runner_class = _resolve(cfg.get('runner_type', 'Runner'), registry, cfg, 'runner_type')
        if not hasattr(runner_class, 'from_cfg'):
            raise TypeError(f'{name_of(runner_class)} is not a runner: it has no from_cfg(cfg).')
        built: T = runner_class.from_cfg(cfg)
        return built


def build_model_from_cfg(
    cfg: Cfg | list[Cfg], registry: 'Registry[nn.Module]', default_args: Cfg | None = None
) -> 'nn.Module':
    """Build a module, or for a list of configs a ``Sequential`` of them.

    Args:
        cfg: The config, or a list of configs.
        registry: Where names are looked up.
        default_args: See :func:`build_from_cfg`; used for each config of a list.
    """
    if not isinstance(cfg, list):
        return build_from_cfg(cfg, registry, default_args)
    sequential: type[nn.Sequential] = get_object_from_string(MODEL_LIST)
    return sequential(*(build_from_cfg(part, registry, default_args) for part in cfg))


def build_optimizer_from_cfg(cfg: Cfg, registry: Registry[T], default_args: Cfg | None = None) -> T:
    """Build an optimizer, as :func:`build_from_cfg` does."""
    return build_from_cfg(cfg, registry, default_args)


def build_scheduler_from_cfg(cfg: Cfg, registry: Registry[T], default_args: Cfg | None = None) -> T:
    """Build a parameter scheduler, with ``convert_to_iter_based=True`` from epochs to iterations.

    Args:
        cfg: As in :func:`build_from_cfg`. ``convert_to_iter_based`` needs ``by_epoch`` (the
            default) and an ``epoch_length``, here or in ``default_args``, and builds by the class's
            ``build_iter_from_epoch``.
        registry: Where names are looked up.
        default_args: See :func:`build_from_cfg`.

    Raises:
        ArgumentError: If ``cfg`` is not a config, or a scheduler to convert does not count epochs.
        TypeError: If the type cannot be converted.
    """
    if not isinstance(cfg, (dict, Config)):
        raise ArgumentError(f'cfg must be a dict, ConfigDict or Config, got {type(cfg).__name__}.')
    args = _arguments(cfg, default_args)
    built: T
    if not args.pop('convert_to_iter_based', False):
        args.pop('epoch_length', None)
        built = _build(cfg, args, registry, _constructor)
        return built
    by_epoch, epoch_length = args.get('by_epoch', True), args.get('epoch_length')
    if not by_epoch or not epoch_length:
        raise ArgumentError(
            'convert_to_iter_based=True turns epochs into iterations, so it needs by_epoch=True '
            f'and epoch_length (batches in an epoch), got by_epoch={by_epoch!r} and '
            f'epoch_length={epoch_length!r} for type '
            f'{args.get("type")!r}{_diagnosis.written_at(cfg, "convert_to_iter_based")}.'
        )
    built = _build(cfg, args, registry, _converter_to_iterations)
    return built


def _arguments(cfg: Any, default_args: Any) -> dict[str, Any]:
    """A plain, shallow copy of ``cfg`` with the defaults filled in and lazy values imported."""
    source = cfg._cfg_dict if isinstance(cfg, Config) else cfg
    if not isinstance(source, dict):
        raise TypeError(f'cfg must be a dict, ConfigDict or Config, got {type(cfg).__name__}.')
    # Not dict(source): that would read a ConfigDict key by key.
    args = dict(dict.items(source))
    if default_args is not None:
        defaults = default_args._cfg_dict if isinstance(default_args, Config) else default_args
        if not isinstance(defaults, dict):
            raise TypeError(
                'default_args must be a dict, ConfigDict, Config or None, '
                f'got {type(default_args).__name__}.'
            )
        for key, value in dict.items(defaults):
            args.setdefault(key, value)
    for key, value in args.items():
        if value.__class__ in _LAZY:
            args[key] = value.build()
    return args


def _build(
    cfg: Any, args: dict[str, Any], registry: Registry, maker: Callable[[Any], Callable[..., Any]]
) -> Any:
    """Build the ``type`` in ``args`` with the other ``args``; ``cfg`` is for messages only."""
    if not isinstance(registry, Registry):
        raise TypeError(f'registry must be a Registry, got {type(registry).__name__}.')
    if 'type' not in args:
        raise _diagnosis.no_type(cfg, registry)
    kind = args.pop('type')
    scope = args.pop('_scope_', None)
    if scope is not None:
        with DefaultScope.overwrite_default_scope(scope):
            return _build(cfg, {'type': kind, **args}, registry, maker)
    component = _resolve(kind, registry, cfg)
    make = maker(component)
    try:
        return make(**args)
    except Exception as error:
        explained = _diagnosis.explain(error, component, args, cfg, registry)
        if explained is error:
            raise
        raise explained from error


def _resolve(kind: Any, registry: Registry, cfg: Any, key: str = 'type') -> Any:
    """The class or function for the value of ``type``."""
    if isinstance(kind, str):
        lookup_start = registry._lookup_start(current_scope_name())
        component = lookup_start.get(kind)
        if component is None and lookup_start is not registry:
            component = registry.get(kind)
        if not callable(component):
            raise _diagnosis.unknown_type(kind, lookup_start, cfg, key)
        return component
    if not callable(kind):
        raise TypeError(
            f'{key} must be a name, a class or a function, '
            f'got {kind!r} of type {type(kind).__name__}{_diagnosis.written_at(cfg, key)}.'
        )
    return kind.build() if isinstance(kind, _LAZY) else kind


def _constructor(component: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(component, type) and issubclass(component, ManagerMixin):
        return component.get_instance
    return component


def _converter_to_iterations(scheduler: Any) -> Callable[..., Any]:
    if not hasattr(scheduler, 'build_iter_from_epoch'):
        raise TypeError(
            f'{name_of(scheduler)} has no build_iter_from_epoch, '
            'so convert_to_iter_based=True cannot be used with it.'
        )
    build: Callable[..., Any] = scheduler.build_iter_from_epoch
    return build


Registry.default_build_func = build_from_cfg
