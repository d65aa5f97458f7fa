"""Schedulers of ``torch.optim.lr_scheduler`` as schedules of a run."""

import inspect
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch.optim import lr_scheduler

from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils._plain import plain
from mmengine.utils.errors import ArgumentError, unknown_metric

from ._base import INF, _ParamScheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


class TorchSchedule(_ParamScheduler):
    """Steps a scheduler of torch once an epoch or once an iteration.

    A ``param_scheduler`` names the class of torch:
    ``dict(type='torch.optim.lr_scheduler.CosineAnnealingWarmRestarts', T_0=10, by_epoch=True)``.
    ``ReduceLROnPlateau`` steps after each validation of the training, with the metric ``monitor``.

    Args:
        optimizer: See :class:`_ParamScheduler`.
        scheduler: The class.
        monitor: Name of the metric, for ``ReduceLROnPlateau``.
        begin: The step from which it steps.
        end: The step from which it no longer steps.
        by_epoch: Whether it steps once an epoch; else once an iteration.
        verbose: Log each value.
        **arguments: Arguments of the class, in its own units: nothing is converted.
    """

    _not_state = _ParamScheduler._not_state | {'scheduler', '_make'}
    _added_settings = frozenset({'arguments'})

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        scheduler: type[lr_scheduler.LRScheduler],
        monitor: str = 'loss',
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
        **arguments: Any,
    ) -> None:
        opened: Any = getattr(optimizer, 'optimizer', optimizer)
        self._make = partial(scheduler, opened, **arguments)
        self.scheduler: Any = self._make()
        self.arguments = {
            'type': scheduler.__name__,
            **plain(arguments, lambda _: NotImplemented, _name_of),
        }
        self.monitor = monitor
        self.need_val_args = isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
        if self.need_val_args and not by_epoch:
            raise ArgumentError(f'{scheduler.__name__} acts on validations: leave by_epoch=True.')
        super().__init__(optimizer, 'lr', begin, end, -1, by_epoch, verbose)

    def step(self, metrics: dict[str, Any] | None = None) -> None:
        """Count an epoch or iteration, or judge a validation by its ``metrics``.

        Raises:
            KeyError: If the validation did not report the metric ``monitor``.
        """
        if metrics is None:
            super().step()
        elif self.begin <= self._global_step < self.end:
            if self.monitor not in metrics:
                name = type(self.scheduler).__name__
                raise KeyError(unknown_metric(name, self.monitor, metrics))
            self._step_scheduler(float(metrics[self.monitor]))

    def _get_value(self) -> None:
        # The class of torch has taken its first step itself, and writes into the groups.
        if self.last_step > 0 and not self.need_val_args:
            self._step_scheduler()

    def _step_scheduler(self, *metric: float) -> None:
        with warnings.catch_warnings():
            # torch looks for a call of optimizer.step, and a wrapper may step in another way.
            warnings.filterwarnings('ignore', r'.*before `optimizer\.step\(\)`', UserWarning)
            self.scheduler.step(*metric)

    def _restart_from(self, base_values: Sequence[float]) -> None:
        self.scheduler = self._make()
        super()._restart_from(base_values)

    def state_dict(self) -> dict[str, Any]:
        """The state of the window, and the scheduler's own."""
        return {**super().state_dict(), 'scheduler': self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state that :meth:`state_dict` gave."""
        super().load_state_dict(state_dict)
        if 'scheduler' in state_dict:
            self.scheduler.load_state_dict(state_dict['scheduler'])


def _name_of(value: Any) -> str:
    """The name of a function or a class; the class of an object, which has no stable name."""
    return str(getattr(value, '__qualname__', type(value).__qualname__))


def torch_scheduler_class(kind: Any) -> type[lr_scheduler.LRScheduler] | None:
    """The scheduler of torch that ``kind`` is or names; None for anything else.

    A name alone means a class of torch where no schedule of that name is registered.
    """
    if isinstance(kind, str):
        registered = PARAM_SCHEDULERS.get(kind)
        kind = registered or getattr(lr_scheduler, kind, None)
    is_class = inspect.isclass(kind) and issubclass(kind, lr_scheduler.LRScheduler)
    return kind if is_class else None
