"""Averaged models: their weights are an average of another model's weights during training."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmengine.logging import print_log
from mmengine.model._copying import copy_model, reshard
from mmengine.model._tensor_pairs import ModelPairing, same_device_and_dtype
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError


class BaseAveragedModel(nn.Module):
    """Base class of averaged models: keeps a copy of a model and updates it from the original.

    Call :meth:`update_parameters` after each optimizer step. The first call copies the weights;
    afterwards every ``interval``-th call averages them. Integer tensors (counters) are copied,
    never averaged.

    A subclass implements :meth:`avg_func` to average two tensors. If all tensors use the same
    mixing ratio, it implements :meth:`_mixing_ratio` instead; then a few kernel calls update all
    tensors.

    Args:
        model: The model to average. It is copied; the copy requires no gradient.
        interval: Number of calls between two averages.
        device: Device of the average; None means the device of ``model``.
        update_buffers: Also average floating-point buffers (running statistics). Otherwise they
            are copied at every call.

    Raises:
        ArgumentError: If ``interval`` is not positive.
    """

    steps: Tensor

    def __init__(
        self,
        model: nn.Module,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__()
        if interval < 1:
            raise ArgumentError(
                f'interval is a number of updates and must be at least 1, got {interval}.'
            )
        self.module = copy_model(model).requires_grad_(False)
        self.interval = interval
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer('steps', torch.tensor(0, dtype=torch.long))
        self.update_buffers = update_buffers
        self._pairing: ModelPairing | None = None
        self._avg_parameters: dict[str, Tensor] | None = None

    @property
    def avg_parameters(self) -> dict[str, Tensor]:
        """The averaged tensors by name: the parameters, or the whole state with ``update_buffers``.

        For subclasses that override :meth:`update_parameters`. Not to be changed.
        """
        if self._avg_parameters is None:
            module = self.module
            named = module.state_dict() if self.update_buffers else dict(module.named_parameters())
            self._avg_parameters = dict(named)
        return self._avg_parameters

    @abstractmethod
    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: Tensor) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place.

        Args:
            averaged_param: A tensor of the average.
            source_param: The same tensor of the model, on the device of ``averaged_param``.
            steps: Number of previous updates, a 0-d tensor in host memory.
        """

    def _mixing_ratio(self, steps: int) -> float:
        """The share of the new value in ``average = (1 - share) * average + share * new``."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` of the averaged model."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average with the present weights of ``model``.

        Args:
            model: The trained model, with the same structure as the copied model.

        Raises:
            ValueError: If the structures differ.
        """
        pairing = self._pairing
        if pairing is None or not pairing.holds(model):
            reshard(model)  # a forward pass without a backward pass may have left gathered tensors
            if pairing is None or not pairing.holds(model):
                pairing = self._pairing = ModelPairing(
                    self.module, model, with_buffers=self.update_buffers
                )
        steps = int(self.steps)
        if steps == 0:
            _copy(pairing.averaged)
            _copy(pairing.copied)
        elif self._averages_at(steps):
            self._average(pairing, steps)
            _copy(pairing.copied)
        elif not self.update_buffers:
            _copy(pairing.copied)
        self.steps.add_(1)

    def _averages_at(self, steps: int) -> bool:
        """Whether to average, given ``steps`` previous updates."""
        return steps % self.interval == 0

    def _average(self, pairing: ModelPairing, steps: int) -> None:
        if type(self).avg_func is not _mix or 'avg_func' in self.__dict__:
            for targets, sources in pairing.averaged:
                for target, source in zip(targets, sources, strict=True):
                    self.avg_func(target, source.to(target.device), self.steps)
            return
        ratio = self._mixing_ratio(steps)
        for targets, sources in pairing.averaged:
            if not same_device_and_dtype((targets, sources)):
                sources = [
                    source.to(target) for target, source in zip(targets, sources, strict=True)
                ]
            torch._foreach_lerp_(targets, sources, ratio)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        # The host reads the counter at each update, so the counter must stay in host memory.
        steps = self.steps
        super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in torch
        self.steps = steps
        self._pairing = self._avg_parameters = None
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in torch
        self._avg_parameters = None  # load_state_dict(assign=True) puts other tensors there

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_pairing': None, '_avg_parameters': None}


def _mix(
    self: BaseAveragedModel, averaged_param: Tensor, source_param: Tensor, steps: Tensor
) -> None:
    """Mix ``source_param`` into ``averaged_param``, in place."""
    averaged_param.lerp_(source_param.to(averaged_param.dtype), self._mixing_ratio(int(steps)))


def _copy(groups: list[tuple[list[Tensor], list[Tensor]]]) -> None:
    for targets, sources in groups:
        torch._foreach_copy_(targets, sources)


@MODELS.register_module()
class StochasticWeightAverage(BaseAveragedModel):
    """The arithmetic mean of the weights (Izmailov et al. 2018, arXiv:1803.05407).

    It has the same arguments as :class:`BaseAveragedModel`.
    """

    avg_func = _mix

    def _mixing_ratio(self, steps: int) -> float:
        return 1 / (steps // self.interval + 1)


@MODELS.register_module()
class ExponentialMovingAverage(BaseAveragedModel):
    """``average = (1 - momentum) * average + momentum * new``.

    Args:
        model: The model to average.
        momentum: Share of the new weights, usually small. The decay used by other libraries is
            ``1 - momentum``.
        interval: Number of calls between two averages.
        device: Device of the average.
        update_buffers: Also average floating-point buffers.

    Raises:
        ArgumentError: If ``momentum`` is not between 0 and 1.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, interval, device, update_buffers)
        if not 0.0 < momentum < 1.0:
            raise ArgumentError(
                f'momentum must be between 0 and 1 (both excluded), got {momentum}.'
            )
        if momentum > 0.5:
            print_log(
                f'momentum={momentum} is the share of the new weights, which is usually far below '
                f'0.5. For a decay of {momentum} set momentum={1 - momentum:g}.',
                logger='current',
                level='WARNING',
            )
        self.momentum = momentum

    avg_func = _mix

    def _mixing_ratio(self, steps: int) -> float:
        return self.momentum


@MODELS.register_module()
class MomentumAnnealingEMA(ExponentialMovingAverage):
    """An :class:`ExponentialMovingAverage` with a larger momentum at the beginning.

    The momentum after ``n`` updates is ``max(momentum, gamma / (gamma + n))``.

    Args:
        model: The model to average.
        momentum: Final share of the new weights.
        gamma: Positive number; the larger it is, the more slowly the share falls to ``momentum``.
        interval: Number of calls between two averages.
        device: Device of the average.
        update_buffers: Also average floating-point buffers.

    Raises:
        ArgumentError: If ``gamma`` is not positive, or ``momentum`` is not between 0 and 1.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        gamma: int = 100,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, momentum, interval, device, update_buffers)
        if gamma <= 0:
            raise ArgumentError(f'gamma must be positive, got {gamma}.')
        self.gamma = gamma

    def _mixing_ratio(self, steps: int) -> float:
        return max(self.momentum, self.gamma / (self.gamma + steps))
