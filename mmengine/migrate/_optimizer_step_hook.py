"""The hook that steps the optimizer when MMCV 1.x stepped it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from mmengine.hooks.run import Run


@HOOKS.register_module()
class LegacyOptimizerStepHook(Hook):
    """Steps the optimizer between the hooks of an iteration, and keeps the gradients after that.

    ``train_step`` of a model steps the optimizer, so that all hooks see the new weights in
    ``after_train_iter``, and no gradients. Under MMCV 1.x a hook of the priority ABOVE_NORMAL did
    it: hooks before it saw and changed the weights of before the step, and hooks after it saw the
    gradients, which were dropped before the next backward pass. Put ``dict(
    type='LegacyOptimizerStepHook')`` at the head of ``custom_hooks`` where hooks need that.

    During a training this hook takes over ``update_params`` of ``runner.optim_wrapper``, one that
    wraps a single optimizer. With accumulation, gradients are dropped after the step, as MMCV did.

    Raises:
        ArgumentError: If the run has several optimizers, which models step themselves.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        self._wrapper: Any = None
        self._waiting: tuple[Tensor, Any, Any] | None = None
        self._has_stale_gradients = False

    def before_train(self, runner: Run) -> None:
        """Take over ``update_params``."""
        wrapper: Any = runner.optim_wrapper
        if not hasattr(wrapper, '_close_window'):
            raise ArgumentError(
                f'LegacyOptimizerStepHook steps one OptimWrapper, got {type(wrapper).__name__}. '
                'Remove the hook from custom_hooks.'
            )
        self._give_back()
        self._wrapper = wrapper
        self._waiting, self._has_stale_gradients = None, False
        wrapper.update_params = self._wait
        if wrapper._accumulative_counts == 1:
            wrapper._close_window = self._step_alone

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Take the step of the iteration."""
        self._update()

    def after_train(self, runner: Run) -> None:
        """Give ``update_params`` back."""
        self._give_back()

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Give ``update_params`` back."""
        self._waiting = None
        self._give_back()

    def _wait(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the loss until the hooks of the iteration run."""
        self._update()  # of a model that updates several times in a step
        self._waiting = (loss, step_kwargs, zero_kwargs)

    def _update(self) -> None:
        if self._waiting is None:
            return
        arguments, self._waiting = self._waiting, None
        wrapper = self._wrapper
        if self._has_stale_gradients:
            wrapper.zero_grad()
            self._has_stale_gradients = False
        type(wrapper).update_params(wrapper, *arguments)

    def _step_alone(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        """Close the window of one batch, its gradients kept."""
        wrapper = self._wrapper
        zero_grad = vars(wrapper).get('zero_grad')
        wrapper.zero_grad = _keep
        try:
            type(wrapper)._close_window(wrapper, step_kwargs, zero_kwargs)
        finally:
            del wrapper.zero_grad
            if zero_grad is not None:
                wrapper.zero_grad = zero_grad
        self._has_stale_gradients = True

    def _give_back(self) -> None:
        wrapper, self._wrapper = self._wrapper, None
        for name in ('update_params', '_close_window'):
            if wrapper is not None:
                vars(wrapper).pop(name, None)


def _keep(**kwargs: Any) -> None:
    """In the place of ``zero_grad``."""
