"""Shards a model by torch's ``fully_shard``: first each block, then the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmengine.model._copying import reshard
from mmengine.strategy._blocks import BlockChoice, find_blocks
from mmengine.strategy._mixed_precision import policy_of
from mmengine.utils.errors import ArgumentError


@dataclass(frozen=True)
class Sharding:
    """How a model is sharded.

    Attributes:
        blocks: See :func:`find_blocks`.
        reshard_after_forward: Free the gathered parameters of a block after its forward pass (True)
            and gather them again for the backward pass, or keep them (False). An integer keeps them
            sharded over groups of so many ranks. None is torch's default: True for blocks, False
            for the root.
        cpu_offload: Keep parameters, gradients and optimizer state in host memory.
        mixed_precision: ``'auto'``, None, or arguments of ``MixedPrecisionPolicy``, which count for
            the blocks and the root.
    """

    blocks: BlockChoice = None
    reshard_after_forward: bool | int | None = None
    cpu_offload: bool = False
    mixed_precision: str | Mapping[str, Any] | None = 'auto'


def shard_model(
    model: nn.Module, sharding: Sharding, mesh: Any, dtype: torch.dtype | None
) -> list[nn.Module]:
    """Shard the parameters of ``model`` over ``mesh``, in place; returns the blocks.

    All ranks of ``mesh`` must call this, with equal models.

    Args:
        model: The model, on any device.
        sharding: How to shard.
        mesh: A device mesh; with two dimensions the first one replicates.
        dtype: Dtype of the computation, for ``mixed_precision='auto'``; None if it is the dtype
            of the parameters.

    Raises:
        ArgumentError: If a parameter is in several units, or ``sharding`` is wrong.
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    blocks = find_blocks(model, sharding.blocks)
    _check_sharing(model, blocks)
    common: dict[str, Any] = {
        'mesh': mesh,
        'offload_policy': CPUOffloadPolicy(pin_memory=torch.accelerator.is_available())
        if sharding.cpu_offload
        else OffloadPolicy(),
    }
    if sharding.reshard_after_forward is not None:
        common['reshard_after_forward'] = sharding.reshard_after_forward
    for block in blocks:
        fully_shard(block, mp_policy=policy_of(sharding.mixed_precision, dtype, block), **common)
    fully_shard(model, mp_policy=policy_of(sharding.mixed_precision, dtype, None), **common)
    outermost = _outermost(model, blocks)
    for unit in outermost:
        unit.register_forward_hook(_free_after_evaluation)
    _make_root(model, outermost)
    return blocks


def _outermost(model: nn.Module, blocks: list[nn.Module]) -> list[nn.Module]:
    """The units whose forward pass may be the first of a training step.

    Blocks that hold all parameters may be called without ``model``, as the step of a GAN does.
    """
    modules = _own_modules(model, set(blocks))
    if not blocks or any(True for module in modules for _ in module.parameters(recurse=False)):
        return [model]
    inner = {module for block in blocks for module in block.modules() if module is not block}
    return [model, *(block for block in blocks if block not in inner)]


def _make_root(model: nn.Module, units: list[nn.Module]) -> None:
    """Let ``model`` be the root for all of its blocks, also if one of them is called first.

    Otherwise torch would make each block that is called without ``model`` a root, and the roots
    would gather and reduce one after the other, with nothing computed meanwhile.
    """
    handles: list[Any] = []

    def begin(*_: Any) -> None:
        for handle in handles:
            handle.remove()
        sharded: Any = model
        sharded._get_fsdp_state()._lazy_init()  # no public call does it before a forward pass

    # Before the hook of `fully_shard`.
    handles += [unit.register_forward_pre_hook(begin, prepend=True) for unit in units]


def _free_after_evaluation(model: Any, args: Any, output: Any) -> None:
    # No backward pass will do it, and optimizers and averages hold the sharded parameters.
    if not torch.is_grad_enabled():
        reshard(model)


def _check_sharing(model: nn.Module, blocks: list[nn.Module]) -> None:
    """Raise if two units share a parameter: each parameter is gathered by one unit."""
    names = {module: name or 'the root' for name, module in model.named_modules()}
    owners: dict[int, tuple[nn.Module, str]] = {}
    units = [*blocks, model]
    for unit in units:
        for module in _own_modules(unit, set(units)):
            for name, param in module.named_parameters(recurse=False):
                owner, known = owners.setdefault(id(param), (unit, f'{names[module]}.{name}'))
                if owner is not unit:
                    raise ArgumentError(
                        f'{names[owner]} and {names[unit]} share a parameter ({known} is '
                        f'{names[module]}.{name}), so they cannot be separate blocks. Choose '
                        'blocks without it, or one block that contains both.'
                    )


def _own_modules(unit: nn.Module, units: set[nn.Module]) -> list[nn.Module]:
    """``unit`` and the modules in it, without the modules of the units inside it."""
    own = [unit]
    for child in unit.children():
        if child not in units:
            own += _own_modules(child, units)
    return own
