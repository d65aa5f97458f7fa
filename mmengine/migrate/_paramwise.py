"""Optimizer options by regular expressions over parameter names, as ``paramwise_options`` had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.errors import ArgumentError

_MULTIPLIER = '_mult'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LegacyRegexOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer with one group a parameter, whose options regular expressions choose.

    The first expression that ``re.search`` finds in the full name of a parameter gives the options
    of its group. A key ``<option>_mult`` multiplies the option of the optimizer: ``lr_mult=0.1``.
    Any other key is an option of the group: ``weight_decay``, ``momentum``, ``lars_exclude``.
    Parameters without a gradient have a group too, without options.

    Args:
        optim_wrapper_cfg: Configuration of the wrapper, with ``optimizer``.
        paramwise_cfg: Options by regular expression.

    Raises:
        ArgumentError: If an expression or its options are wrong.

    Example:
        >>> from torch import nn
        >>> cfg = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01))
        >>> rules = {'bias$': dict(weight_decay=0.0, lr_mult=2)}
        >>> wrapper = LegacyRegexOptimWrapperConstructor(cfg, rules)(nn.Linear(2, 1))
        >>> [(group['lr'], group['weight_decay']) for group in wrapper.optimizer.param_groups]
        [(0.1, 0.01), (0.2, 0.0)]
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(optim_wrapper_cfg)
        self._rules = [
            (self._compiled(pattern), self._checked(pattern, options))
            for pattern, options in (paramwise_cfg or {}).items()
        ]

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper for the parameters of ``model``, or of its ``module``."""
        inner: Any = model.module if hasattr(model, 'module') else model
        groups = [
            {'params': [param], **(self._options_for(name) if param.requires_grad else {})}
            for name, param in inner.named_parameters()
        ]
        if not groups:
            raise ArgumentError(f'{type(inner).__name__} has no parameter to optimize.')
        optimizer = OPTIMIZERS.build(self.optimizer_cfg, default_args={'params': groups})
        wrapper: OptimWrapper = OPTIM_WRAPPERS.build(
            self.optim_wrapper_cfg, default_args={'optimizer': optimizer}
        )
        return wrapper

    def _options_for(self, name: str) -> dict[str, Any]:
        found = (options for pattern, options in self._rules if pattern.search(name))
        return next(found, {})

    def _checked(self, pattern: str, options: Any) -> dict[str, Any]:
        """The options of a group, multipliers multiplied."""
        if not isinstance(options, Mapping):
            raise ArgumentError(
                f'paramwise_cfg[{pattern!r}] is a dict of options such as dict(lr_mult=0.1), got '
                f'{options!r}.'
            )
        group = {}
        for key, value in options.items():
            if not key.endswith(_MULTIPLIER):
                group[key] = value
                continue
            option = key.removesuffix(_MULTIPLIER)
            if self.optimizer_cfg.get(option) is None:
                raise ArgumentError(
                    f'paramwise_cfg[{pattern!r}] has {key}, but the optimizer is given no '
                    f'{option} to multiply.'
                )
            group[option] = self.optimizer_cfg[option] * value
        return group

    @staticmethod
    def _compiled(pattern: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern)
        except re.error as error:
            raise ArgumentError(
                f'paramwise_cfg has {pattern!r}, which is not a regular expression: {error}.'
            ) from error
