"""Lets a strategy build and place a model whose parameters have no numbers."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine.dist._fully_sharded import is_fully_sharded, params_of
from mmengine.strategy import BaseStrategy
from mmengine.strategy._meta_init import needs_numbers, parameters_on_meta
from mmengine.strategy.deepspeed import DeepSpeedStrategy
from mmengine.strategy.fsdp import FSDPStrategy
from mmengine.strategy.separate import SeparateStrategy
from mmengine.strategy.single_device import SingleDeviceStrategy
from mmengine.utils.errors import ArgumentError

_LIBRARIES = ('torch/', 'mmengine/', 'unittest/')


def without_numbers(strategy: BaseStrategy, mode: Any) -> None:
    """Let ``strategy`` build its model on the meta device and place it as fake tensors.

    Args:
        strategy: Changed in place.
        mode: A ``FakeTensorMode``; None keeps numbers, and only explains failures.

    Raises:
        ArgumentError: If the strategy is not one of torch.
    """
    if isinstance(strategy, DeepSpeedStrategy) or not isinstance(strategy, SingleDeviceStrategy):
        raise ArgumentError(
            f'A plan follows strategies of torch: single, ddp and fsdp. {type(strategy).__name__} '
            'places the model in a separate engine; strategy="fsdp" has the memory of ZeRO 3.'
        )
    build, wrap = strategy.build_model, strategy.wrap_model

    def build_model(model: Any) -> nn.Module:
        try:
            with nullcontext() if mode is None else parameters_on_meta():
                return _with_shapes(build(model))
        except Exception as error:
            if mode is None or isinstance(error, ArgumentError) or not needs_numbers(error):
                raise
            raise ArgumentError(
                'The model cannot be built without numbers in its parameters: '
                f'{explained(error)} Plan with real numbers: --real, or real=True.'
            ) from error

    def wrap_model(model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        if mode is None:
            return wrap(model, *args, **kwargs)
        # FSDPStrategy does this when the model is sharded.
        if isinstance(strategy, SeparateStrategy) or not isinstance(strategy, FSDPStrategy):
            give_fake_memory(model, mode)
        # Moving fake tensors to another device fails, and would not change their sizes.
        with patch.object(nn.Module, '_apply', lambda module, *args, **kwargs: module):
            return wrap(model, *args, **kwargs)

    strategy.build_model = build_model  # type: ignore[method-assign]  # of this instance alone
    strategy.wrap_model = wrap_model  # type: ignore[method-assign]  # the same


def _with_shapes(model: nn.Module) -> nn.Module:
    for name, param in model.named_parameters():
        if is_lazy(param):
            raise ArgumentError(
                f'A plan counts the parameters before the first batch, but {name} of '
                f'{type(model).__name__} gets its shape from that batch. Pass the shape to its '
                'module, such as nn.Linear(4, 8) in place of nn.LazyLinear(8).'
            )
    return model


@contextmanager
def fake_memory_for_shards(mode: Any) -> Iterator[None]:
    """Context in which ``FSDPStrategy`` allocates the parts of meta parameters as fake tensors."""

    def allocate(model: nn.Module, device: str, params_device: str | None = None) -> list[str]:
        give_fake_memory(model, mode, device, params_device)
        return []

    with patch('mmengine.strategy.fsdp.allocate', allocate):
        yield


def give_fake_memory(
    model: nn.Module, mode: Any, device: str = 'cpu', params_device: str | None = None
) -> None:
    """Replace the parameters and buffers of ``model`` by fake tensors; shared ones stay shared."""
    made: dict[int, tuple[Tensor, Tensor]] = {}  # the old tensor too, so that its id stays taken

    def fake(tensor: Tensor, place: str) -> Tensor:
        if id(tensor) not in made:
            with mode, torch.no_grad():
                value = torch.empty_like(tensor.detach(), device=place)
            if isinstance(tensor, nn.Parameter):
                value = nn.Parameter(value, tensor.requires_grad)
            made[id(tensor)] = (tensor, value)
        return made[id(tensor)][1]

    for module in list(model.modules()):
        for name, param in list(module._parameters.items()):
            if param is not None:
                setattr(module, name, fake(param, params_device or device))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = fake(buffer, device)
    # `fully_shard` keeps its parameters beside the modules.
    for unit in model.modules():
        if is_fully_sharded(unit):
            for sharded in params_of(unit):
                sharded.reset_sharded_param()


def explained(error: BaseException) -> str:
    """The error in one line, with the line of the user's code that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in _LIBRARIES)]
    place = f' ({own[-1].filename}:{own[-1].lineno})' if own else ''
    first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip('.')
    return f'{type(error).__name__}: {first}{place}.'
