"""BaseOptimWrapper: the interface between optimizer wrappers and a training loop."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmengine.optim.optimizer._run import STANDALONE, OptimizerRun

# Attributes that lead to the run. Their defaults are on the classes.
_OF_RUN = ('_run', '_unsynced_model')


class BaseOptimWrapper(metaclass=ABCMeta):
    """Base class of optimizer wrappers, with the methods that loops and schedulers use.

    If the optimizer has several parameter groups, there is also ``base_param_settings``: a group
    with the defaults of the optimizer and without parameters of the model. Schedulers change it
    like the other groups, so it holds the present default learning rate without the multiplier of a
    group (``base_lr`` in :meth:`get_lr`).

    Args:
        optimizer: A ``torch.optim.Optimizer``, or an object with the same ``param_groups``,
            ``step``, ``zero_grad`` and ``state_dict``.

    Raises:
        TypeError: If ``optimizer`` has no ``param_groups``.

    Attributes:
        own_state_names: Names in the state dict that :meth:`own_state_dict` may write. All other
            names belong to the optimizer. A subclass that adds a name must add it here too.
        num_steps: Number of optimizer steps that the run has taken, including steps before a
            resume; None if the class does not count. A step that a loss scaler skips counts,
            because only the device can tell.
    """

    own_state_names: ClassVar[tuple[str, ...]] = ('base_param_settings',)

    # On the class, because a subclass need not call this class's `__init__`.
    num_steps: int | None = None
    _run: OptimizerRun = STANDALONE

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
        """Update the parameters from the loss of a batch; a model's ``train_step`` calls it."""

    @abstractmethod
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to the gradients of the parameters."""

    @abstractmethod
    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients of the wrapped parameters."""

    @abstractmethod
    def step(self, **kwargs: Any) -> None:
        """Update the parameters with their gradients."""

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:  # noqa: B027  # used by wrappers that accumulate
        """Set the position and the end of the run; used by wrappers that accumulate gradients.

        Args:
            model: The model to train.
            init_counts: Finished iterations.
            max_counts: Iterations of the whole run.
        """

    def flush(self) -> bool:
        """Step with gradients of an open accumulation window; returns whether there were any."""
        return False

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups for schedulers: groups of the optimizer, then ``base_param_settings``."""
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups if self.base_param_settings is None else [*groups, self.base_param_settings]

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of the options that a parameter group does not set."""
        defaults: dict[str, Any] = self.optimizer.defaults
        return defaults

    def get_lr(self) -> dict[str, list[float]]:
        """Learning rates: one per group in ``lr``; with several groups also ``base_lr``.

        Some optimizers find their steps without a learning rate. Their groups have no ``lr``, or
        None, and are left out; without any learning rate there is no entry.
        """
        rates = {}
        if self.base_param_settings is not None and 'lr' in self.base_param_settings:
            rates['base_lr'] = [self.base_param_settings['lr']]
        rates['lr'] = [group.get('lr') for group in self.optimizer.param_groups]
        return {
            name: present
            for name, values in rates.items()
            if (present := [value for value in values if value is not None])
        }

    def leading_lr(self) -> dict[str, float]:
        """The first learning rate of each entry of :meth:`get_lr`, without reading all groups."""
        rate = self.optimizer.param_groups[0].get('lr')
        if rate is None or getattr(self.get_lr, '__func__', None) is not BaseOptimWrapper.get_lr:
            return {name: rates[0] for name, rates in self.get_lr().items()}
        rates = {'lr': rate}
        if self.base_param_settings is not None and self.base_param_settings.get('lr') is not None:
            rates = {'base_lr': self.base_param_settings['lr'], **rates}
        return rates

    def get_momentum(self) -> dict[str, list[float]]:
        """Momenta, one per group: ``momentum``, or the first of ``betas``, or 0."""
        return {'momentum': [_momentum_of(group) for group in self.optimizer.param_groups]}

    def attach_run(self, run: OptimizerRun) -> None:
        """Attach the wrapper to ``run``, from which it reads message hub, position and ranks."""
        self._run = run

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle has: all but the run, which has the model and the data."""
        return {name: value for name, value in vars(self).items() if name not in _OF_RUN}

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer together with :meth:`own_state_dict`."""
        return {**self.optimizer.state_dict(), **self.own_state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`state_dict`, or a state dict of ``torch.optim``.

        Args:
            state_dict: The state. Not changed.
        """
        own = {name: state_dict[name] for name in self.own_state_names if name in state_dict}
        self.optimizer.load_state_dict(
            {name: value for name, value in state_dict.items() if name not in own}
        )
        self.load_own_state_dict(own)

    def own_state_dict(self) -> dict[str, Any]:
        """The state of the wrapper, without the state of the optimizer."""
        if self.base_param_settings is None:
            return {}
        # Copied, because schedulers change the original group.
        return {'base_param_settings': dict(self.base_param_settings)}

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`; values that ``state`` does not have are kept.

        Args:
            state: The state; left unchanged.
        """
        base = state.get('base_param_settings')
        if base is not None and self.base_param_settings is not None:
            self.base_param_settings.update(base)


def _momentum_of(group: dict[str, Any]) -> float:
    if group.get('momentum') is not None:
        return float(group['momentum'])
    if 'betas' in group:
        return float(group['betas'][0])
    return 0
