"""DefaultOptimWrapperConstructor: builds an optimizer wrapper for a model from its config."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.config import placed
from mmengine.logging import print_log
from mmengine.optim.optimizer._fused import with_chosen_fused
from mmengine.optim.optimizer._param_rules import (
    KNOWN_KEYS,
    BaseRates,
    Site,
    by_length,
    custom_options,
    is_deformable_conv,
    rule_options,
)
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.errors import ArgumentError, did_you_mean

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor:
    """Builds an optimizer for the parameters of a model, and its wrapper.

    Without ``paramwise_cfg`` there is one parameter group. With ``paramwise_cfg``, each parameter
    that needs a gradient has a separate group, in the order of the modules, with the options:

    - ``custom_keys``: a dict whose keys are searched in the full name of the parameter, the longest
      key first. Its values are dicts with ``lr_mult``, ``decay_mult`` and other group options. The
      options below do not apply to a parameter that matches one of these keys.
    - ``bias_lr_mult``: multiplies the learning rate of biases, except in normalization layers and
      in parts of deformable convolutions.
    - ``dcn_offset_lr_mult``: multiplies the learning rate of the offset layers of deformable
      convolutions.
    - ``norm_decay_mult``, ``bias_decay_mult``, ``dwconv_decay_mult``, ``flat_decay_mult``: multiply
      the weight decay of normalization layers, of biases, of depthwise convolutions, and of all
      one-dimensional parameters. If several apply, the first of this order that is set is used.
    - ``bypass_duplicate``: if a parameter has several names, use the options of its first name.
      Without ``bypass_duplicate`` all names of a parameter must have the same options. In both
      cases the parameter is optimized once.

    For custom rules, register a subclass that overrides :meth:`add_params` in
    ``OPTIM_WRAPPER_CONSTRUCTORS``, and set it as ``constructor`` in the config of the wrapper.

    Args:
        optim_wrapper_cfg: Configuration of the wrapper, with ``optimizer``, the configuration of
            the optimizer. The default of ``type`` is ``OptimWrapper``.
        paramwise_cfg: Options by parameter, as above.

    Attributes:
        base_lr: The learning rate of the optimizer: from the configuration, or the default of the
            optimizer, or None.
        base_wd: The weight decay of the optimizer, from the same sources.

    Raises:
        TypeError: If a configuration is not a dict.
        ArgumentError: If ``optimizer`` is missing.

    Example:
        >>> cfg = dict(optimizer=dict(type='SGD', lr=0.1))
        >>> DefaultOptimWrapperConstructor(cfg)(nn.Linear(2, 1)).get_lr()
        {'lr': [0.1]}
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        if not isinstance(optim_wrapper_cfg, Mapping):
            raise TypeError(
                f'optim_wrapper_cfg should be a dict, got {type(optim_wrapper_cfg).__name__}.'
            )
        # Plain dicts, because a ConfigDict would convert the parameter groups to ConfigDicts.
        self.optim_wrapper_cfg = placed(optim_wrapper_cfg)
        self.optim_wrapper_cfg.setdefault('type', 'OptimWrapper')
        if 'optimizer' not in self.optim_wrapper_cfg:
            raise ArgumentError(
                'The configuration of an optimizer wrapper needs an "optimizer", as in '
                "dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)); "
                f'got only {sorted(map(str, optim_wrapper_cfg))}.'
                + did_you_mean('optimizer', map(str, optim_wrapper_cfg))
            )
        optimizer_cfg = self.optim_wrapper_cfg.pop('optimizer')
        if not isinstance(optimizer_cfg, Mapping):
            raise TypeError(
                "optimizer should be a dict such as dict(type='SGD', lr=0.1), "
                f'got {type(optimizer_cfg).__name__}.'
            )
        self.optimizer_cfg = placed(optimizer_cfg)
        self.paramwise_cfg = {} if paramwise_cfg is None else paramwise_cfg
        self.base_lr = self._optimizer_option('lr')
        self.base_wd = self._optimizer_option('weight_decay')
        self._positions: tuple[list[dict[str, Any]], dict[Tensor, int]] = ([], {})
        self._keys_used: set[str] = set()
        self._validate_cfg()

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper for the parameters of ``model``, without its distributed wrapper.

        Raises:
            ArgumentError: If a parameter has two names with different options, or the optimizer
                does not have the value that a multiplier multiplies.
        """
        inner = unwrap_model(model)
        params: Any
        if self.paramwise_cfg:
            params = []
            self._keys_used = set()
            self.add_params(params, inner)
            self._warn_of_unused_keys()
        else:
            params = list(inner.parameters())
        if not params:
            raise ArgumentError(
                f'{type(inner).__name__} has no parameter to optimize'
                + (' that needs a gradient.' if self.paramwise_cfg else '.')
            )
        name = _first_argument(self.optimizer_cfg.get('type'))
        cfg = with_chosen_fused(self.optimizer_cfg, params, name, inner)
        optimizer = OPTIMIZERS.build(cfg, default_args={name: params})
        wrapper: OptimWrapper = OPTIM_WRAPPERS.build(
            self.optim_wrapper_cfg, default_args={'optimizer': optimizer}
        )
        return wrapper

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Append a group to ``params`` for each parameter of ``module`` and its children.

        Args:
            params: The present groups; extended in place.
            module: The module whose parameters are added.
            prefix: Name of ``module`` in the model.
            is_dcn_module: Whether ``module`` is a part of a deformable convolution.
        """
        for name, param in module.named_parameters(recurse=False):
            site = Site(name, prefix, module, param, bool(is_dcn_module))
            if param.requires_grad:
                self._add_param(params, site)
            else:
                print_log(
                    f'{site.full_name} needs no gradient (requires_grad=False) and is not '
                    'optimized.',
                    logger='current',
                    level=logging.WARNING,
                )
        is_deformable = is_deformable_conv(module)
        for child_name, child in module.named_children():
            self.add_params(
                params,
                child,
                prefix=f'{prefix}.{child_name}' if prefix else child_name,
                is_dcn_module=is_deformable,
            )

    def _add_param(self, params: list[dict[str, Any]], site: Site) -> None:
        options = self._options_of(site)
        position = self._position_of(params, site.param)
        if position is None:
            for option, value in options.items():
                print_log(
                    f'paramwise_options -- {site.full_name}:{option}={value}', logger='current'
                )
            self._positions[1][site.param] = len(params)
            params.append({'params': [site.param], **options})
            return
        first_options = {key: value for key, value in params[position].items() if key != 'params'}
        if self.paramwise_cfg.get('bypass_duplicate', False):
            print_log(
                f'The parameter {site.full_name} was already added under another name, and '
                f'keeps the options of that name: {first_options or "the defaults"}.',
                logger='current',
                level=logging.WARNING,
            )
        elif first_options != options:
            raise ArgumentError(
                f'The parameter {site.full_name} has another name too, and paramwise_cfg sets '
                f'{first_options or "the defaults"} for that name but '
                f'{options or "the defaults"} for this one. Set the same options for both names, '
                'or use paramwise_cfg=dict(bypass_duplicate=True, ...) to keep the options of the '
                'first name.'
            )

    def _options_of(self, site: Site) -> dict[str, Any]:
        base = BaseRates(self.base_lr, self.base_wd)
        custom_keys = self.paramwise_cfg.get('custom_keys') or {}
        for key in by_length(custom_keys):
            if site.is_named_by(key):
                self._keys_used.add(key)
                return custom_options(key, custom_keys[key], base)
        return rule_options(site, self.paramwise_cfg, base)

    def _position_of(self, params: list[dict[str, Any]], param: Tensor) -> int | None:
        """Index of the group in ``params`` that contains ``param``.

        The cached index is valid for one ``params`` list only. That list may already contain groups
        added by a subclass.
        """
        if self._positions[0] is not params:
            positions = {
                held: number for number, group in enumerate(params) for held in group['params']
            }
            self._positions = (params, positions)
        return self._positions[1].get(param)

    def _is_in(self, param_group: dict[str, Any], param_group_list: list[dict[str, Any]]) -> bool:
        """Whether the list has a group with a parameter of ``param_group``; used by subclasses."""
        held = {param for group in param_group_list for param in group['params']}
        return not held.isdisjoint(param_group['params'])

    def _validate_cfg(self) -> None:
        """Check ``paramwise_cfg``; a subclass with additional keys extends this method."""
        if not isinstance(self.paramwise_cfg, Mapping):
            raise TypeError(
                f'paramwise_cfg should be None or a dict, got {type(self.paramwise_cfg).__name__}.'
            )
        custom_keys = self.paramwise_cfg.get('custom_keys')
        if custom_keys is not None and not isinstance(custom_keys, Mapping):
            raise TypeError(
                'custom_keys of paramwise_cfg should be a dict from parts of parameter names to '
                'dicts of options, '
                f'got {type(custom_keys).__name__}.'
            )
        for key, options in (custom_keys or {}).items():
            if not isinstance(options, Mapping):
                raise TypeError(
                    f'custom_keys[{key!r}] should be a dict such as dict(lr_mult=0.1), '
                    f'got {options!r} of type {type(options).__name__}.'
                )
        if type(self) is DefaultOptimWrapperConstructor:
            for key in self.paramwise_cfg:
                if key not in KNOWN_KEYS:
                    self._warn_of_key(f'paramwise_cfg[{key!r}]', did_you_mean(str(key), KNOWN_KEYS))

    def _warn_of_unused_keys(self) -> None:
        if type(self) is DefaultOptimWrapperConstructor:
            for key in self.paramwise_cfg.get('custom_keys') or {}:
                if key not in self._keys_used:
                    self._warn_of_key(
                        f'custom_keys[{key!r}]', ' No remaining parameter matches it.'
                    )

    @staticmethod
    def _warn_of_key(setting: str, hint: str) -> None:
        print_log(f'{setting} has no effect.{hint}', logger='current', level=logging.WARNING)

    def _optimizer_option(self, option: str) -> float | None:
        """``option`` from the configuration, else the default of the optimizer class, or None."""
        if option in self.optimizer_cfg:
            value: float | None = self.optimizer_cfg[option]
            return value
        optimizer_type = self.optimizer_cfg.get('type')
        optimizer_class = (
            OPTIMIZERS.get(optimizer_type) if isinstance(optimizer_type, str) else optimizer_type
        )
        if not inspect.isclass(optimizer_class):
            return None
        parameter = inspect.signature(optimizer_class).parameters.get(option)
        default = None if parameter is None else parameter.default
        if isinstance(default, torch.Tensor):
            return float(default)
        return default if isinstance(default, int | float) else None


def _first_argument(kind: Any) -> str:
    """What an optimizer calls its parameters: the first argument, whatever its name."""
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    try:
        arguments = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # no such optimizer, which building it says better
        return 'params'
    first = next(iter(arguments.values()), None)
    if first is None or 'params' in arguments or first.kind in _VARIADIC:
        return 'params'
    return first.name
