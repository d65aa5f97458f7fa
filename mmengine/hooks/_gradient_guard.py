"""GradientGuard: checks the gradients of an optimizer right before each of its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmengine.hooks._finite import FiniteCheck, gradients_by_name


@dataclass
class CheckedStep:
    """A step whose flag has not been read yet.

    Attributes:
        iteration: The iteration of the step, from 0.
        batch: Its batch in the epoch, from 0.
        check: The gradients, if they were looked at one by one.
    """

    iteration: int
    batch: int
    check: FiniteCheck | None
    flag: Tensor
    event: Any

    def is_finite(self) -> bool:
        """Whether the gradients were finite. Waits for the device until the step was launched."""
        if self.event is not None:
            self.event.synchronize()
        return bool(self.flag)

    def names(self) -> list[str]:
        """Parameters with a gradient that was not finite."""
        return [] if self.check is None else self.check.non_finite()


class GradientGuard:
    """A hook of a torch optimizer: ``found`` is called with the check of each step.

    A step that a gradient scaler skips because of an overflow never gets here, and is not a
    failure.

    Args:
        wrapper: The optimizer wrapper.
        names: Names of the parameters by ``id``.
        found: Receives the guard and the flag: a 0-d bool tensor, True if the gradients are finite.
    """

    def __init__(
        self,
        wrapper: Any,
        names: Mapping[int, str],
        found: Callable[[GradientGuard, Tensor], None],
    ) -> None:
        self.wrapper = wrapper
        self.check: FiniteCheck | None = None
        self._names = names
        self._found = found
        self._handle = wrapper.optimizer.register_step_pre_hook(self._look)

    def remove(self) -> None:
        """Stop checking."""
        self._handle.remove()

    def drop_gradients(self) -> None:
        """Remove all gradients: a step without gradients changes nothing."""
        for group in self.wrapper.optimizer.param_groups:
            for param in group['params']:
                param.grad = None

    def _look(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if len(args) > 1 or kwargs.get('closure') is not None:
            return  # the closure computes the gradients later
        norm = self._clipping_norm()
        if norm is None:
            gradients = gradients_by_name(optimizer.param_groups, self._names)
            if not gradients:
                return
            self.check = FiniteCheck(gradients)
            flag = self.check.flag(next(iter(gradients.values())).device)
        else:
            self.check = None
            flag = norm.isfinite()
        found_inf = getattr(optimizer, 'found_inf', None)
        if isinstance(found_inf, Tensor):
            # A fused optimizer skips the step of an overflow by itself, on the device.
            flag = flag | (found_inf.to(flag.device) != 0).all()
        self._found(self, flag)

    def names_now(self) -> list[str]:
        """Parameters whose present gradient is not finite. Waits for the device."""
        gradients = gradients_by_name(self.wrapper.optimizer.param_groups, self._names)
        return FiniteCheck(gradients).non_finite()

    def _clipping_norm(self) -> Tensor | None:
        """The norm that clipping has computed for this step; None without such clipping."""
        if not getattr(self.wrapper, 'clip_grad_kwargs', None):
            return None
        norm = getattr(self.wrapper, 'last_grad_norm', None)
        return norm if isinstance(norm, Tensor) else None


def checked_step(guard: GradientGuard, flag: Tensor, iteration: int, batch: int) -> CheckedStep:
    """The step of ``flag``, whose value starts to travel to the host."""
    if flag.device.type != 'cuda':
        return CheckedStep(iteration, batch, guard.check, flag, None)
    flag = flag.to('cpu', non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    event.record()
    return CheckedStep(iteration, batch, guard.check, flag, event)
