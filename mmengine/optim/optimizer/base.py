"""What every optimizer wrapper offers to a training loop, whatever it wraps."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from torch import Tensor


class BaseOptimWrapper(metaclass=ABCMeta):
    """One face for an optimizer: loops call :meth:`update_params`, schedulers use the groups.

    An optimizer with several parameter groups also carries ``base_param_settings``: a group without
    parameters of its own that holds the optimizer's defaults. Schedulers change it like any other
    group, so it tells at any time what the default rate has become, which no multiplied group can
    (``base_lr`` in :meth:`get_lr`).

    Args:
        optimizer: A ``torch.optim.Optimizer``, or something with the same ``param_groups``,
            ``step``, ``zero_grad`` and ``state_dict``.

    Raises:
        TypeError: If ``optimizer`` has no ``param_groups``.
    """

    def __init__(self, optimizer: Any) -> None:
        if not hasattr(optimizer, 'param_groups'):
            raise TypeError(
                f'{type(self).__name__} wraps an optimizer, an object with `param_groups`; '
                f'got {type(optimizer).__name__}.'
            )
        self.optimizer = optimizer
        self.base_param_settings: dict[str, Any] | None = None
        if len(optimizer.param_groups) > 1:
            self.base_param_settings = {'params': torch.tensor([0.0]), **optimizer.defaults}

    @abstractmethod
    def update_params(self, *args: Any, **kwargs: Any) -> None:
        """Take the loss of one batch and move the parameters; a model's ``train_step`` calls it."""

    @abstractmethod
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to those of the parameters."""

    @abstractmethod
    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients of the wrapped parameters."""

    @abstractmethod
    def step(self, **kwargs: Any) -> None:
        """Move the parameters along their gradients."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What schedulers work on: the optimizer's groups, then ``base_param_settings`` if any."""
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups if self.base_param_settings is None else [*groups, self.base_param_settings]

    @property
    def defaults(self) -> dict[str, Any]:
        """What a parameter group gets for the options that it leaves out."""
        defaults: dict[str, Any] = self.optimizer.defaults
        return defaults

    def get_lr(self) -> dict[str, list[float]]:
        """Learning rates: ``lr`` has one a group; with several groups there is ``base_lr``."""
        rates = {}
        if self.base_param_settings is not None and 'lr' in self.base_param_settings:
            rates['base_lr'] = [self.base_param_settings['lr']]
        rates['lr'] = [group['lr'] for group in self.optimizer.param_groups]
        return rates

    def leading_lr(self) -> dict[str, float]:
        """The first rate of each entry of :meth:`get_lr`, without a look at all groups."""
        if type(self).get_lr is not BaseOptimWrapper.get_lr:
            return {name: rates[0] for name, rates in self.get_lr().items()}
        rates = {'lr': self.optimizer.param_groups[0]['lr']}
        if self.base_param_settings is not None and 'lr' in self.base_param_settings:
            rates = {'base_lr': self.base_param_settings['lr'], **rates}
        return rates

    def get_momentum(self) -> dict[str, list[float]]:
        """Momenta, one a group: ``momentum``, or the first of ``betas``, or 0."""
        return {'momentum': [_momentum_of(group) for group in self.optimizer.param_groups]}

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, and ``base_param_settings`` where the wrapper has them."""
        state: dict[str, Any] = self.optimizer.state_dict()
        if self.base_param_settings is not None:
            # A scheduler goes on changing the live group; the state must not change with it.
            state['base_param_settings'] = dict(self.base_param_settings)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave. A plain ``torch.optim`` state dict loads too.

        Args:
            state_dict: The state; left unchanged.
        """
        state = dict(state_dict)
        base = state.pop('base_param_settings', None)
        if base is not None and self.base_param_settings is not None:
            self.base_param_settings.update(base)
        self.optimizer.load_state_dict(state)


def _momentum_of(group: dict[str, Any]) -> float:
    if 'momentum' in group:
        return float(group['momentum'])
    if 'betas' in group:
        return float(group['betas'][0])
    return 0
