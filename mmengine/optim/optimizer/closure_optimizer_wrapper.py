"""The wrapper of optimizers that evaluate the loss several times a step, such as LBFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils.errors import ArgumentError


@OPTIM_WRAPPERS.register_module()
class ClosureOptimWrapper(OptimWrapper):
    """Steps an optimizer whose ``step`` takes a closure.

    ``optim_wrapper = dict(type='ClosureOptimWrapper', optimizer=dict(type='LBFGS', lr=1.0))``

    ``BaseModel.train_step`` then runs ``forward(..., mode='loss')`` on the same batch as often as
    the optimizer asks for it, and logs the losses of the first time.

    Args:
        optimizer: The optimizer.
        **kwargs: See :class:`OptimWrapper`; there is no accumulation.

    Raises:
        ArgumentError: If ``accumulative_counts`` is above 1.
    """

    needs_closure = True
    """Tells ``train_step`` to call :meth:`minimise`."""

    def __init__(self, optimizer: Any, **kwargs: Any) -> None:
        if kwargs.get('accumulative_counts', 1) != 1:
            raise ArgumentError(
                'ClosureOptimWrapper steps with every batch: an optimizer with a closure computes '
                'the loss of one batch several times. Leave accumulative_counts=1.'
            )
        super().__init__(optimizer, **kwargs)

    def minimise(self, evaluate: Callable[[], Tensor]) -> None:
        """Take one step.

        Args:
            evaluate: Computes the loss, a 0-d tensor, from the parameters as they are.
        """
        count = self._inner_count

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = evaluate()
            self.backward(loss)
            if self.clip_grad_kwargs:
                self._clip_grad()
            return loss

        self.optimizer.step(closure)
        self.optimizer.zero_grad()
        self.num_steps += 1
        self._inner_count = count + 1  # one batch, however often it was evaluated

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Refused: a loss that is computed already cannot be computed again.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            'ClosureOptimWrapper needs to compute the loss again, so it works with '
            'BaseModel.train_step in one process. A train_step of your own calls '
            'optim_wrapper.minimise(evaluate) instead of update_params(loss).'
        )
