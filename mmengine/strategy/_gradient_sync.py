"""When the ranks of a sharded model exchange gradients: once per accumulation window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.dist import all_reduce
from mmengine.dist._dtensor import full_tensor
from mmengine.dist._fully_sharded import params_of, reshard


class GradientSync:
    """Lets backward passes keep their gradients, as ``no_sync`` of DDP does.

    It also lets every forward pass begin with the present values of the parameters.

    As with DDP, the forward pass decides: the backward pass of a forward pass in :meth:`paused`
    keeps the gradients of the whole unit on each rank. The next backward pass with an exchange adds
    them to its own.

    Args:
        model: A model that was sharded by ``fully_shard``.
    """

    def __init__(self, model: nn.Module) -> None:
        from torch.distributed.fsdp import FSDPModule

        self._is_paused = False
        self._units: list[Any] = [
            module for module in model.modules() if isinstance(module, FSDPModule)
        ]
        for unit in self._units:
            unit.register_forward_pre_hook(self._before_forward, prepend=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Context in which forward passes decide that gradients are not exchanged."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def _before_forward(self, unit: Any, args: Any) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # a backward pass that computes activations again is not a new forward pass
        # A forward pass without a backward pass leaves gathered parameters. An optimizer may have
        # changed the parts since.
        reshard(unit)
        if torch.is_grad_enabled():
            unit.set_requires_gradient_sync(not self._is_paused, recurse=False)

    def exchange(self) -> None:
        """Exchange the gradients that were kept, now. All ranks must call it.

        The result is in ``grad`` of the sharded parameters, where the next backward pass adds its
        gradients. If no rank has kept a gradient, nothing changes.
        """
        params = [param for unit in self._units for param in params_of(unit)]
        if not params:
            return
        kept = [_kept_gradient(param) for param in params]
        for unit in self._units:
            # A forward pass without a backward pass leaves gathered parameters, which a step of the
            # optimizer would not change.
            reshard(unit)
        device = params[0].sharded_param.device
        # A parameter may have a gradient on some of the ranks only.
        is_kept = torch.tensor([grad is not None for grad in kept], dtype=torch.uint8)
        is_kept = is_kept.to(device)
        all_reduce(is_kept, op='max')
        for index in is_kept.nonzero().flatten().tolist():
            grad = kept[index]
            kept[index] = None
            _add(params[index].sharded_param, grad)


def _kept_gradient(param: Any) -> Tensor | None:
    """Take the gradient that backward passes without an exchange have left; None if there is none.

    torch has no function for it: it is kept by the unsharded parameter, or in the dtype of the
    exchange beside it.
    """
    grad: Tensor | None = param.unsharded_accumulated_grad
    param.unsharded_accumulated_grad = None
    if grad is None and hasattr(param, '_unsharded_param'):
        grad = param._unsharded_param.grad
        param._unsharded_param.grad = None
    return grad


def _add(param: Any, grad: Tensor | None) -> None:
    """Add the mean of ``grad`` over all ranks to the gradient of the sharded ``param``.

    Ranks that compute one batch together have the same whole gradient, so it is also the mean over
    the ranks with different data.
    """
    from torch.distributed.tensor import distribute_tensor

    mean = (
        torch.zeros(param.shape, dtype=param.dtype, device=param.device)
        if grad is None
        else full_tensor(grad).to(device=param.device, dtype=param.dtype, copy=True)
    )
    all_reduce(mean, op='mean')
    part = distribute_tensor(mean, param.device_mesh, param.placements)
    param.grad = part if param.grad is None else param.grad + part
