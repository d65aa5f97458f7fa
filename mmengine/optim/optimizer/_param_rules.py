"""The rules of ``paramwise_cfg``: the learning rate and the weight decay of each parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmengine.utils.errors import ArgumentError

KNOWN_KEYS = (
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
)

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
# Listed by name, because these classes are in packages that may not be installed.
_DEFORMABLE_NAMES = {'DeformConv2d', 'ModulatedDeformConv2d'}


@dataclass(frozen=True)
class Site:
    """A parameter and its place in the model, as needed by the rules.

    Args:
        name: Name of the parameter in its module.
        prefix: Name of the module in the model; empty for the model itself.
        module: The module that owns the parameter.
        param: The parameter.
        in_deformable_conv: Whether the module is a part of a deformable convolution.
    """

    name: str
    prefix: str
    module: nn.Module
    param: Tensor
    in_deformable_conv: bool

    @property
    def full_name(self) -> str:
        """Name of the parameter in the model."""
        return f'{self.prefix}.{self.name}' if self.prefix else self.name

    def is_named_by(self, key: str) -> bool:
        """Whether ``key`` of ``custom_keys`` is a part of the name.

        The name is matched with a leading dot, so that ``.scale`` also matches ``scale`` of the
        model itself.
        """
        return key in f'{self.prefix}.{self.name}'


@dataclass(frozen=True)
class BaseRates:
    """The values that multipliers multiply.

    Args:
        lr: The learning rate of the optimizer; None if the optimizer has no learning rate.
        weight_decay: The weight decay of the optimizer; None if it has no weight decay.
    """

    lr: float | None
    weight_decay: float | None

    def times(self, option: str, multiplier: float, asked_by: str) -> float:
        """The base value of ``lr`` or ``weight_decay`` times ``multiplier``.

        Raises:
            ArgumentError: If the optimizer does not have the value.
        """
        base: float | None = getattr(self, option)
        if base is None:
            raise ArgumentError(
                f'{asked_by} multiplies the {option}, but the optimizer has no {option}; '
                f'set it, as in optimizer=dict(type=..., {option}=...).'
            )
        return base * multiplier


def by_length(custom_keys: Iterable[str]) -> list[str]:
    """Sort keys into the order of matching: longest first, equal lengths alphabetically.

    Example:
        >>> by_length(['neck', 'backbone', 'head', 'backbone.norm'])
        ['backbone.norm', 'backbone', 'head', 'neck']
    """
    return sorted(custom_keys, key=lambda key: (-len(key), key))


def custom_options(key: str, custom: Mapping[str, Any], base: BaseRates) -> dict[str, Any]:
    """The group options of a parameter whose name contains ``key`` of ``custom_keys``.

    Every entry of ``custom`` becomes an option of the group, including multipliers, because
    schedulers and hooks read them from the group.
    """
    options: dict[str, Any] = {}
    if base.lr is not None or 'lr_mult' in custom:
        options['lr'] = base.times('lr', custom.get('lr_mult', 1.0), f'custom_keys[{key!r}]')
    if base.weight_decay is not None or 'decay_mult' in custom:
        options['weight_decay'] = base.times(
            'weight_decay', custom.get('decay_mult', 1.0), f'custom_keys[{key!r}]'
        )
    options.update(custom)
    return options


def rule_options(site: Site, paramwise_cfg: Mapping[str, Any], base: BaseRates) -> dict[str, float]:
    """The group options of a parameter that matches no custom key; often empty.

    At most one rule sets each option: the first rule of :func:`_lr_rules` or :func:`_decay_rules`
    that applies to the parameter and is in ``paramwise_cfg``.
    """
    options = {}
    for option, rules in (('lr', _lr_rules(site)), ('weight_decay', _decay_rules(site))):
        for rule in rules:
            multiplier = paramwise_cfg.get(rule)
            if multiplier is not None:
                options[option] = base.times(option, multiplier, rule)
                break
    return options


def is_norm(module: nn.Module) -> bool:
    """Whether ``module`` normalizes: batch, instance, group, layer or RMS norm."""
    return isinstance(module, _NORMS)


def is_deformable_conv(module: nn.Module) -> bool:
    """Whether ``module`` is a deformable convolution of any package, modulated or not."""
    return any(base.__name__ in _DEFORMABLE_NAMES for base in type(module).__mro__)


def _lr_rules(site: Site) -> list[str]:
    if site.in_deformable_conv:
        is_offset = 'conv_offset' in site.prefix and isinstance(site.module, nn.Conv2d)
        return ['dcn_offset_lr_mult'] if is_offset else []
    return ['bias_lr_mult'] if site.name == 'bias' and not is_norm(site.module) else []


def _decay_rules(site: Site) -> list[str]:
    rules = []
    if is_norm(site.module):
        rules.append('norm_decay_mult')
    if site.name == 'bias' and not site.in_deformable_conv:
        rules.append('bias_decay_mult')
    if _is_depthwise(site.module):
        rules.append('dwconv_decay_mult')
    if site.param.ndim == 1 and not site.in_deformable_conv:
        rules.append('flat_decay_mult')
    return rules


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == module.groups
