"""Registers optimizers by name, and builds optimizer wrappers from their configuration."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.config import placed
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.errors import ArgumentError, did_you_mean

_BITSANDBYTES = [
    f'{prefix}{name}{bits}'
    for name in ('Adagrad', 'Adam', 'AdamW', 'LAMB', 'LARS', 'Lion', 'RMSprop', 'SGD', 'AdEMAMix')
    for prefix in ('', 'Paged')
    for bits in ('', '8bit', '32bit')
    if not prefix or name in ('Adam', 'AdamW', 'Lion', 'AdEMAMix')
]


def register_torch_optimizers() -> list[str]:
    """Register every optimizer of ``torch.optim``; ``Adafactor`` also as ``TorchAdafactor``.

    The name ``Adafactor`` refers to the class in the transformers package if it is installed, and
    to the class in torch otherwise.

    Returns:
        The registered names.
    """
    names = []
    for name, member in vars(torch.optim).items():
        if not (inspect.isclass(member) and issubclass(member, torch.optim.Optimizer)):
            continue
        if name == 'Adafactor':
            names += _register('TorchAdafactor', member)
            if _is_installed('transformers'):
                continue
        names += _register(name, member)
    return names


def register_torch_npu_optimizers() -> list[str]:
    """Register the fused optimizers of ``torch_npu``, if that is installed; returns their names."""
    kinds = 'Adadelta Adam AdamP AdamW BertAdam Lamb RMSprop RMSpropTF SGD'
    names = [f'NpuFused{kind}' for kind in kinds.split()]
    return _register_optional('torch_npu', 'torch_npu.optim', names)


def register_dadaptation_optimizers() -> list[str]:
    """Register the optimizers of ``dadaptation``, if that is installed; returns their names."""
    names = ('DAdaptAdaGrad', 'DAdaptAdam', 'DAdaptAdan', 'DAdaptLion', 'DAdaptSGD')
    return _register_optional('dadaptation', 'dadaptation', names)


def register_lion_optimizers() -> list[str]:
    """Register ``Lion`` of ``lion-pytorch``, if that is installed; returns its name."""
    return _register_optional('lion_pytorch', 'lion_pytorch', ('Lion',))


def register_sophia_optimizers() -> list[str]:
    """Register ``SophiaG`` of ``Sophia-Optimizer``, if that is installed; returns its name."""
    return _register_optional('Sophia', 'Sophia', ('SophiaG', 'Sophia'))


def register_bitsandbytes_optimizers() -> list[str]:
    """Register the optimizers of ``bitsandbytes``, if that is installed; returns their names.

    A name that is already registered gets a prefix: ``Adam`` becomes ``bnb_Adam``.
    """
    return _register_optional('bitsandbytes', 'bitsandbytes.optim', _BITSANDBYTES, prefix='bnb_')


def register_transformers_optimizers() -> list[str]:
    """Register ``Adafactor`` of ``transformers``, if that is installed; returns its name."""
    return _register_optional('transformers', 'transformers.optimization', ('Adafactor',))


def build_optim_wrapper(model: nn.Module, cfg: Any) -> OptimWrapper:
    """Build the optimizer wrapper that ``cfg`` describes, for the parameters of ``model``.

    Args:
        model: The model, wrapped for distributed training or not.
        cfg: One of

            - ``dict(optimizer=dict(type='SGD', lr=0.1))``, with ``type``, ``accumulative_counts``,
              ``clip_grad`` ... of the wrapper, ``paramwise_cfg`` and ``constructor``
              (``DefaultOptimWrapperConstructor``), and ``skip_non_finite``;
            - the same with an optimizer object;
            - a dict that maps names of sub-modules to such dicts or to wrappers: the result is an
              ``OptimWrapperDict`` with one wrapper for each name;
            - a wrapper object, which is returned unchanged.

    Raises:
        TypeError: If ``cfg`` has another type.
        ArgumentError: If ``cfg`` has no ``optimizer``, or has a name that is not a sub-module of
            the model.

    Example:
        >>> model = nn.ModuleDict(dict(generator=nn.Linear(1, 2), discriminator=nn.Linear(2, 1)))
        >>> wrapper = build_optim_wrapper(model, dict(
        ...     generator=dict(optimizer=dict(type='Adam', lr=1e-4)),
        ...     discriminator=dict(optimizer=dict(type='Adam', lr=4e-4), accumulative_counts=2)))
        >>> wrapper.get_lr()
        {'generator.lr': [0.0001], 'discriminator.lr': [0.0004]}
    """
    if isinstance(cfg, OptimWrapper):
        return cfg
    if not isinstance(cfg, Mapping):
        raise TypeError(
            'optim_wrapper should be a dict such as dict(optimizer=dict(type="SGD", lr=0.1)), or '
            'an OptimWrapper; '
            f'got {type(cfg).__name__}.'
        )
    if _is_by_submodule(cfg):
        return _build_by_submodule(model, cfg)
    wrapper_cfg = placed(cfg)
    constructor = wrapper_cfg.pop('constructor', 'DefaultOptimWrapperConstructor')
    paramwise_cfg = wrapper_cfg.pop('paramwise_cfg', None)
    skip_non_finite = wrapper_cfg.pop('skip_non_finite', False)

    wrapper: OptimWrapper
    if isinstance(wrapper_cfg.get('optimizer'), torch.optim.Optimizer):
        if paramwise_cfg is not None:
            raise ArgumentError(
                'paramwise_cfg groups the parameters before the optimizer is built, but '
                'optimizer is already '
                f'built ({type(cfg["optimizer"]).__name__}). Pass optimizer as a dict, or remove '
                'paramwise_cfg.'
            )
        optimizer = wrapper_cfg.pop('optimizer')
        wrapper_cfg.setdefault('type', 'OptimWrapper')
        wrapper = OPTIM_WRAPPERS.build(wrapper_cfg, default_args={'optimizer': optimizer})
    else:
        construct = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(type=constructor, optim_wrapper_cfg=wrapper_cfg, paramwise_cfg=paramwise_cfg)
        )
        wrapper = construct(model)
    if skip_non_finite:
        wrapper.skip_non_finite = True
    return wrapper


def _is_by_submodule(cfg: Mapping[str, Any]) -> bool:
    """Whether ``cfg`` is a dict of wrappers, not a config with a misspelt ``optimizer``."""
    return (
        bool(cfg)
        and not cfg.keys() & {'optimizer', 'constructor', 'type'}
        and all(
            isinstance(part, OptimWrapper) or (isinstance(part, Mapping) and 'optimizer' in part)
            for part in cfg.values()
        )
    )


def _build_by_submodule(model: nn.Module, cfg: Mapping[str, Any]) -> OptimWrapperDict:
    wrappers = {}
    for name, part in cfg.items():
        if isinstance(part, OptimWrapper):
            wrappers[name] = part
            continue
        wrappers[name] = build_optim_wrapper(_submodule(model, name), part)
    return OptimWrapperDict(**wrappers)


def _submodule(model: nn.Module, name: str) -> nn.Module:
    inner = unwrap_model(model)
    for candidate in (model, inner):
        try:
            found = attrgetter(name)(candidate)
        except AttributeError:
            continue
        if isinstance(found, nn.Module):
            return found
    children = [child for child, _ in inner.named_children()]
    raise ArgumentError(
        f'optim_wrapper has an optimizer for {name!r}, but {type(inner).__name__} has no such '
        f'sub-module; it has {", ".join(children) or "none"}.' + did_you_mean(name, children)
    )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # sys.modules has an object without a spec under this name
        return False


def _register_optional(
    package: str, module: str, names: Iterable[str], prefix: str = ''
) -> list[str]:
    if not _is_installed(package):
        return []
    registered = []
    for name in names:
        registered += _register(name, _imported_on_use(module, name), prefix)
    return registered


def _register(name: str, optimizer: Callable[..., Any], prefix: str = '') -> list[str]:
    """Register under ``name``, or with the prefix if ``name`` is already registered."""
    taken = OPTIMIZERS.module_dict
    if name in taken and taken[name] is not optimizer and prefix:
        name = prefix + name
    if name not in taken:
        OPTIMIZERS.register_module(name, module=optimizer)
    return [name]


def _imported_on_use(module: str, name: str) -> Callable[..., Any]:
    """A function that imports ``module`` when it is first called, and builds the class ``name``."""

    def build(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f'``{module}.{name}``, imported when called.'
    return build


TORCH_OPTIMIZERS = register_torch_optimizers()
NPU_OPTIMIZERS = register_torch_npu_optimizers()
DADAPTATION_OPTIMIZERS = register_dadaptation_optimizers()
LION_OPTIMIZERS = register_lion_optimizers()
SOPHIA_OPTIMIZERS = register_sophia_optimizers()
BITSANDBYTES_OPTIMIZERS = register_bitsandbytes_optimizers()
TRANSFORMERS_OPTIMIZERS = register_transformers_optimizers()
_register(
    'ZeroRedundancyOptimizer',
    _imported_on_use('mmengine.optim.optimizer.zero_optimizer', 'ZeroRedundancyOptimizer'),
)
