"""Snapshot: weights, optimizer and loss scale of a run in memory, to which it can return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmengine._checkpoint.unwrap import unwrap_model


class Snapshot:
    """Copies of all tensors that an optimizer step changes, on their devices.

    Learning rates and schedules are not part of it: the iterations after the snapshot are counted,
    so schedules stay where they are.

    Args:
        modules: The model, and averages of it.
        wrappers: The optimizer wrappers.
        iteration: Finished iterations.
    """

    def __init__(
        self, modules: Iterable[nn.Module], wrappers: Iterable[Any], iteration: int
    ) -> None:
        self.iteration = iteration
        self._tensors = [
            (tensor, tensor.detach().clone()) for module in modules for tensor in _tensors(module)
        ]
        self._wrappers = [
            (wrapper, _copied(dict(wrapper.optimizer.state)), _scaler_state(wrapper))
            for wrapper in wrappers
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Return to the saved values, in place; open gradients are dropped."""
        for tensor, saved in self._tensors:
            tensor.copy_(saved)
        for wrapper, optimizer_state, scaler_state in self._wrappers:
            state = wrapper.optimizer.state
            state.clear()
            state.update(_copied(optimizer_state))
            if scaler_state is not None:
                wrapper.loss_scaler.load_state_dict(scaler_state)
            wrapper.zero_grad()


def _tensors(module: nn.Module) -> list[Tensor]:
    module = unwrap_model(module)
    return [*module.parameters(), *module.buffers()]


def _copied(value: Any) -> Any:
    """A copy of nested dicts, lists and tuples whose tensors are cloned; keys are kept."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    return value


def _scaler_state(wrapper: Any) -> dict[str, Any] | None:
    scaler = getattr(wrapper, 'loss_scaler', None)
    return None if scaler is None or not scaler.is_enabled() else dict(scaler.state_dict())
