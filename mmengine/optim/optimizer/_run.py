"""OptimizerRun: the interface of an optimizer wrapper to its run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmengine.dist import all_reduce, get_world_size
from mmengine.dist._dtensor import full_tensor
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim.optimizer import _accumulation
from mmengine.optim.optimizer._clipping import ClipType, clip_by_joint_norm, clip_values

# A nullcontext has no state, so all wrappers share one object.
NO_CONTEXT: AbstractContextManager[None] = nullcontext()


class OptimizerRun(Protocol):
    """The run of an optimizer wrapper: message hub, position, and placement of parameters."""

    @property
    def message_hub(self) -> MessageHub:
        """The hub that gets the norm of the gradients."""

    @property
    def finished_iters(self) -> int | None:
        """Number of finished iterations, without the present one; None if unknown."""

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context in which the backward pass of ``model`` does not exchange gradients.

        A ``nullcontext`` means that gradients are exchanged in every backward pass.
        """

    def clip_grad(self, params: list[Tensor], clip_type: ClipType, **kwargs: Any) -> Tensor | None:
        """Clip the gradients of ``params`` in place. All ranks must call it.

        Args:
            params: Parameters that have a gradient.
            clip_type: Whether to clip the norm or each value.
            kwargs: Arguments of torch's function, such as ``max_norm``.

        Returns:
            The norm before clipping, a plain 0-d tensor on its device; None for values.
        """

    def all_ranks_agree(self, flag: Tensor) -> bool:
        """Whether ``flag``, a 0-d bool tensor, is true on every data-parallel rank.

        All data-parallel ranks must call it.
        """

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Average gradients over the ranks that backward passes under ``no_sync`` did not exchange.

        All ranks must call it.

        Returns:
            Whether the gradients were averaged.
        """


class Standalone:
    """Used by a wrapper without a run: the newest message hub and all ranks."""

    @property
    def message_hub(self) -> MessageHub:
        """The message hub that was created last."""
        return MessageHub.get_current_instance()

    @property
    def finished_iters(self) -> int | None:
        """Unknown."""
        return None

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """``no_sync`` of the model; a ``nullcontext`` if the model has no ``no_sync``."""
        no_sync: Callable[[], AbstractContextManager[Any]] | None
        no_sync = getattr(model, 'no_sync', None)
        return NO_CONTEXT if no_sync is None else no_sync()

    def clip_grad(self, params: list[Tensor], clip_type: ClipType, **kwargs: Any) -> Tensor | None:
        """Clip with torch's function; see :meth:`OptimizerRun.clip_grad`."""
        if clip_type == 'norm':
            return clip_by_joint_norm(params, **kwargs)
        clip_values(params, **kwargs)
        return None

    def all_ranks_agree(self, flag: Tensor) -> bool:
        """Whether ``flag`` is true on every rank of the process group."""
        flag = full_tensor(flag)
        if get_world_size() > 1:
            flag = flag.to(torch.uint8)
            all_reduce(flag, op='min')
        return bool(flag.item())

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Average over the ranks of a ``DistributedDataParallel`` model."""
        return _accumulation.average_gradients(model, param_groups)


STANDALONE = Standalone()


def logger_of(run: OptimizerRun) -> str:
    """The logger for ``print_log``: the logger named like the message hub, if it exists."""
    if run is not STANDALONE:
        name: str = run.message_hub.instance_name
        if MMLogger.check_instance_created(name):
            return name
    return 'current'
