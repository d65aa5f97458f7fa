"""The sub-models of a model and the strategy of each, as a config gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mmengine.strategy._fsdp_arguments import settings_of_wrapper
from mmengine.strategy._sharding import Sharding
from mmengine.utils.errors import ArgumentError, did_you_mean

_KINDS = {'ddp': 'ddp', 'DDPStrategy': 'ddp', 'fsdp': 'fsdp', 'FSDPStrategy': 'fsdp'}
_FSDP_ARGUMENTS = (
    'blocks', 'reshard_after_forward', 'cpu_offload', 'mixed_precision', 'mesh',
    'activation_checkpointing', 'model_wrapper',
)  # fmt: skip
# These concern the whole run, or ranks that read the same data.
_OF_WHOLE_MODEL = ('meta_init', 'skip_init_weights', 'state_dict_cfg', 'tp_plan')


@dataclass(frozen=True)
class PartPlan:
    """How one sub-model is placed.

    Attributes:
        kind: ``'ddp'`` or ``'fsdp'``.
        options: For ``'ddp'``, arguments of :class:`MMDistributedDataParallel`.
        sharding: For ``'fsdp'``.
        mesh: For ``'fsdp'``; see :func:`build_mesh`.
        activation_checkpointing: For ``'fsdp'``.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sharding: Sharding = field(default_factory=Sharding)
    mesh: Any = None
    activation_checkpointing: Any = None


def read_parts(parts: Any) -> dict[str, PartPlan]:
    """The plan of each sub-model by name.

    Args:
        parts: A dict from names of sub-models to ``'ddp'``, ``'fsdp'`` or
            ``dict(type=..., **arguments)``.

    Raises:
        ArgumentError: If an entry is wrong.
    """
    if not isinstance(parts, Mapping) or not parts:
        raise ArgumentError(
            "A strategy without type gives each sub-model its own, as in dict(generator='fsdp', "
            f"discriminator='ddp'); got {parts!r}."
        )
    return {name: _read_part(name, part) for name, part in parts.items()}


def find_parts(model: nn.Module, plans: Mapping[str, PartPlan]) -> dict[str, nn.Module]:
    """The sub-models of ``model`` that have parameters, those without a plan included.

    Raises:
        ArgumentError: If a name is not a sub-model, or two sub-models share a parameter.
    """
    children = {name: child for name, child in model.named_children() if _has_parameters(child)}
    for name in plans:
        if name not in children:
            known = ', '.join(children) or 'none'
            raise ArgumentError(
                f'strategy names the sub-model {name!r}, but the sub-models of '
                f'{type(model).__name__} with parameters are: {known}.'
                + did_you_mean(name, children)
            )
    owners: dict[int, str] = {}
    for name, child in model._modules.items():
        for key, param in () if child is None else child.named_parameters():
            known = owners.setdefault(id(param), f'{name}.{key}')
            if known.partition('.')[0] != name:
                raise ArgumentError(
                    f'The sub-models {known.partition(".")[0]} and {name} share a parameter '
                    f'({known} is {name}.{key}), so they cannot have a strategy each. Use one '
                    "strategy for the model, such as strategy='ddp'."
                )
    return children


def _read_part(name: str, part: Any) -> PartPlan:
    where = f'strategy[{name!r}]'
    arguments = dict(part) if isinstance(part, Mapping) else {'type': part}
    given = arguments.pop('type', None)
    given = getattr(given, '__name__', given)
    kind = _KINDS.get(given) if isinstance(given, str) else None
    if kind is None:
        hint = did_you_mean(given, _KINDS) if isinstance(given, str) else ''
        raise ArgumentError(
            f"{where} is the strategy of a sub-model: 'ddp', 'fsdp' or a dict with one of them as "
            f'type; got {part!r}. A strategy for the whole model is a dict with type.{hint}'
        )
    if kind == 'ddp':
        return PartPlan(kind, options=arguments)
    for key in arguments:
        if key in _OF_WHOLE_MODEL:
            raise ArgumentError(
                f'{where} has {key}, which only FSDPStrategy for the whole model supports.'
            )
        if key not in _FSDP_ARGUMENTS:
            raise ArgumentError(
                f'{where} has the unknown argument {key!r}; it may have '
                f'{", ".join(_FSDP_ARGUMENTS)}.' + did_you_mean(key, _FSDP_ARGUMENTS)
            )
    checkpointing = arguments.pop('activation_checkpointing', None)
    settings, _ = settings_of_wrapper(arguments.pop('model_wrapper', None))
    settings |= arguments
    mesh = settings.pop('mesh', None)
    if isinstance(mesh, Mapping) and 'tensor' in mesh:
        raise ArgumentError(
            f'{where} has a mesh with tensor ranks, which only FSDPStrategy for the whole model '
            'supports: all sub-models get the same data.'
        )
    return PartPlan(
        kind,
        sharding=Sharding(**settings),
        mesh=mesh,
        activation_checkpointing=checkpointing,
    )


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
