"""Modules whose parameters are spread over ranks: gathered, and in parts."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn

from mmengine.dist._dtensor import is_dtensor


def is_fully_sharded(module: nn.Module) -> bool:
    """Whether ``fully_shard`` has changed ``module``."""
    # Importing FSDP is slow. A process with such a module has already imported it.
    fsdp = sys.modules.get('torch.distributed.fsdp')
    return fsdp is not None and isinstance(module, fsdp.FSDPModule)


def is_spread(model: nn.Module) -> bool:
    """Whether ranks have parts of the parameters of ``model``, so that its passes need them all."""
    fsdp = sys.modules.get('torch.distributed.fsdp')
    kinds = () if fsdp is None else (fsdp.FSDPModule, fsdp.FullyShardedDataParallel)
    return any(isinstance(module, kinds) for module in model.modules()) or any(
        map(is_dtensor, model.parameters())
    )


def params_of(unit: Any) -> list[Any]:
    """What ``fully_shard`` keeps of the parameters of ``unit``."""
    return [param for group in _groups_of(unit) for param in group.fsdp_params]


def reshard(unit: Any) -> None:
    """Let ``unit`` use the parts of its parameters, not gathered ones.

    ``requires_grad`` may have been set on the gathered ones; the parts get it. Nothing happens in a
    forward or backward pass of ``unit``.
    """
    if unit._get_fsdp_state()._training_state.name != 'IDLE':
        return
    groups = [group for group in _groups_of(unit) if not group.is_sharded]
    for group in groups:
        for param in group.fsdp_params:
            is_smaller = group.is_sharded_post_forward  # sharded over fewer ranks than the parts
            used = param._sharded_post_forward_param if is_smaller else param._unsharded_param
            if param.sharded_param.requires_grad != used.requires_grad:
                param.sharded_param.requires_grad_(used.requires_grad)
    if groups:
        unit.reshard()


def _groups_of(unit: Any) -> list[Any]:
    state = unit._get_fsdp_state()
    groups: list[Any] | None = getattr(state, '_fsdp_param_groups', None)
    if groups is None:  # torch before 2.11 has one group per unit
        groups = [state._fsdp_param_group] if state._fsdp_param_group is not None else []
    return groups
