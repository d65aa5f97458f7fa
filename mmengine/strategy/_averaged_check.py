"""Finds parameters whose gradients DDP has not averaged, at the first step of an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmengine.dist import all_reduce, get_backend
from mmengine.dist._dtensor import is_dtensor
from mmengine.strategy._first_step import before_first_step, optimized_parameters
from mmengine.utils.errors import ArgumentError

# Averaged gradients have the same bits on all ranks; their sums may be added in another order.
_TOLERANCE = 1e-5
_NUM_NAMES = 4


def check_averaged(optimizer: Any, wrapped: DistributedDataParallel) -> None:
    """Compare the gradients of all ranks before the first step of ``optimizer``.

    DDP averages the gradients of a forward pass through the wrapper. A training step that calls
    sub-modules by themselves goes around it, and each rank would train a separate model without a
    word.

    Args:
        optimizer: An optimizer of torch. All ranks step together.
        wrapped: The model in DDP. Parameters that DDP ignores are not compared, and none are if it
            has a communication hook, which may leave gradients different on purpose.
    """

    def check() -> None:
        if getattr(wrapped, '_comm_hooks', ()) or get_backend() == 'fake':
            return  # the ranks of a plan compute nothing
        ignored = getattr(wrapped, 'parameters_to_ignore', ())
        params = {
            name: param
            for name, param in optimized_parameters(optimizer, wrapped.module).items()
            if name not in ignored and not is_dtensor(param)  # FSDP averages those
        }
        # A wrapper that wraps each sub-model separately has no group itself.
        differing = _differing(params, vars(wrapped).get('process_group'))
        if differing:
            shown = ', '.join(differing[:_NUM_NAMES])
            more = f' and {len(differing) - _NUM_NAMES} more' if len(differing) > _NUM_NAMES else ''
            model = type(wrapped.module).__name__
            raise ArgumentError(
                f'The ranks have other gradients of {shown}{more}, so each of them would train a '
                f'separate model. DDP averages what is computed by a call of the model; '
                f'train_step of {model} calls sub-modules by themselves. Call self(...) in it, or '
                'let each sub-module have its own DDP: model_wrapper_cfg=dict(type='
                "'MMSeparateDistributedDataParallel')."
            )

    before_first_step(optimizer, check)


def _differing(params: Mapping[str, Tensor], group: Any) -> list[str]:
    """Names of parameters whose gradients differ. All ranks must call it and get the same."""
    if not params:
        return []
    own = torch.stack([_sums(param) for param in params.values()])
    most = torch.cat([own, -own])
    all_reduce(most, op='max', group=group)
    largest, smallest = most[: len(own)], -most[len(own) :]
    is_other = (largest - smallest).amax(dim=1) > _TOLERANCE * largest[:, 1]
    return [name for name, other in zip(params, is_other.tolist(), strict=True) if other]


def _sums(param: Tensor) -> Tensor:
    """The sum of a gradient and of its absolute values; a part that is not finite counts as 0."""
    grad = param.grad
    if grad is None:
        return torch.zeros(2, dtype=torch.float64, device=param.device)
    values = grad.coalesce().values() if grad.is_sparse else grad.detach()
    sums = torch.stack([values.sum(dtype=torch.float64), values.abs().sum(dtype=torch.float64)])
    return sums.nan_to_num(0.0, 0.0, 0.0)
