"""AmpOptimWrapper: mixed precision with autocast and, for float16, a scaled loss."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from mmengine.device import autocast
from mmengine.optim.optimizer._direct_step import take_step
from mmengine.optim.optimizer._run import NO_CONTEXT
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils._torch_own import is_torchs
from mmengine.utils.errors import ArgumentError, did_you_mean

# None if a tool has replaced it before the import of this module.
_SCALER_STEP = GradScaler.step if is_torchs(GradScaler.step) else None


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """An :class:`OptimWrapper` that trains in mixed precision with ``torch.amp``, on any device.

    The forward pass runs under autocast (:meth:`optim_context`). In float16 small gradients vanish.
    So the loss is scaled up before the backward pass, and the gradients are scaled down before
    clipping and step. A step whose gradients overflow is skipped. bfloat16 has the range of float32
    and needs no scaling: its ``loss_scaler`` is disabled.

    Scaling reads one value back from the device in each step. An optimizer built with
    ``fused=True`` checks for overflow on the device instead.

    Args:
        loss_scale: ``'dynamic'`` for torch's growing scale, a float for a fixed one, or a dict of
            arguments of ``torch.amp.GradScaler``.
        dtype: ``'float16'``, ``'bfloat16'`` or the ``torch.dtype``; ``None`` for autocast's default
            on the device of the parameters: float16 on CUDA, bfloat16 on the CPU.
            ``'float32'`` and ``'float64'`` disable autocast.
        use_fsdp: Whether the parameters are sharded over ranks. All ranks then skip the step if
            one of them has an overflow.
        kwargs: Arguments of :class:`OptimWrapper`.

    Raises:
        ArgumentError: If ``dtype`` is not one of ``valid_dtypes``.
        TypeError: If ``loss_scale`` has another type.
    """

    own_state_names: ClassVar[tuple[str, ...]] = (*OptimWrapper.own_state_names, 'loss_scaler')

    valid_dtypes = ('float16', 'bfloat16', 'float32', 'float64')

    def __init__(
        self,
        loss_scale: str | float | dict[str, Any] = 'dynamic',
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cast_dtype = _parse_dtype(dtype, self.valid_dtypes)
        self._device_type = _device_of(self.optimizer).type
        self._is_reduced = self.cast_dtype not in (torch.float32, torch.float64)

        scaler_kwargs, self._scale_update_param = _parse_loss_scale(loss_scale)
        effective_dtype = self.cast_dtype or torch.get_autocast_dtype(self._device_type)
        scaler_class = _sharded_scaler_class() if use_fsdp else GradScaler
        self.loss_scaler: GradScaler = scaler_class(
            self._device_type, enabled=effective_dtype is torch.float16, **scaler_kwargs
        )

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Autocast, and ``no_sync`` of a distributed model before the last batch of a window."""
        sync = super().optim_context(model)
        if not self._is_reduced:
            return sync
        cast = autocast(device_type=self._device_type, dtype=self.cast_dtype)
        return cast if sync is NO_CONTEXT else _Nested(sync, cast)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """:meth:`OptimWrapper.backward` of the loss times the loss scale."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Unscale and clip the gradients, update the parameters and the scale.

        Args:
            kwargs: Passed to ``step`` of the optimizer.
        """
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        scaler = self.loss_scaler
        # Without scaling, the scaler's step calls the optimizer's and does nothing else.
        is_plain = getattr(scaler.step, '__func__', scaler) is _SCALER_STEP
        if kwargs or not self.direct_step or not is_plain or scaler.is_enabled():
            scaler.step(self.optimizer, **kwargs)
        else:
            take_step(self.optimizer)
        self.loss_scaler.update(self._scale_update_param)
        self.num_steps += 1

    def own_state_dict(self) -> dict[str, Any]:
        """:meth:`OptimWrapper.own_state_dict` with the scaler's state under ``loss_scaler``."""
        return {**super().own_state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`; without a saved scale the scale is kept.

        Args:
            state: The state; left unchanged.
        """
        super().load_own_state_dict(state)
        scaler_state = state.get('loss_scaler')
        if scaler_state:
            self.loss_scaler.load_state_dict(scaler_state)
            # A scaler has its scale from the first loss on. A resumed run may end before that, and
            # steps with the gradients of its open window.
            self.loss_scaler.scale(torch.zeros((), device=_device_of(self.optimizer)))


class _Nested(AbstractContextManager[None]):
    """Combines two contexts; faster than a generator or an exit stack."""

    def __init__(
        self, outer: AbstractContextManager[Any], inner: AbstractContextManager[Any]
    ) -> None:
        self._outer = outer
        self._inner = inner

    def __enter__(self) -> None:
        self._outer.__enter__()
        self._inner.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._inner.__exit__(exc_type, exc_value, traceback)
        finally:
            self._outer.__exit__(exc_type, exc_value, traceback)


def _parse_dtype(dtype: object, valid_names: tuple[str, ...]) -> torch.dtype | None:
    if dtype is None:
        return None
    name = str(dtype).removeprefix('torch.') if isinstance(dtype, str | torch.dtype) else None
    if name not in valid_names:
        raise ArgumentError(
            f'dtype should be one of {", ".join(valid_names)}, the torch.dtype of such a name, or '
            f'None; got {dtype!r}.' + did_you_mean(str(dtype), valid_names)
        )
    parsed: torch.dtype = getattr(torch, name)
    return parsed


def _parse_loss_scale(loss_scale: object) -> tuple[dict[str, Any], float | None]:
    """The arguments of the scaler, and the scale if it is fixed."""
    if loss_scale == 'dynamic':
        return {}, None
    if isinstance(loss_scale, float):
        return {'init_scale': loss_scale}, loss_scale
    if isinstance(loss_scale, dict):
        return dict(loss_scale), None
    raise TypeError(
        "loss_scale should be 'dynamic', a float such as 512.0, or a dict of GradScaler arguments; "
        f'got {loss_scale!r}.'
    )


def _device_of(optimizer: Any) -> torch.device:
    for group in optimizer.param_groups:
        for param in group['params']:
            return torch.device(param.device)
    return torch.device('cpu')


def _sharded_scaler_class() -> type[GradScaler]:
    from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

    return ShardedGradScaler
