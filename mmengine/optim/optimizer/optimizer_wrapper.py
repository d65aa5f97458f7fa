"""The optimizer as a training step sees it: accumulate, clip, step and zero in one call."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import MessageHub, print_log
from mmengine.optim.optimizer._accumulation import (
    average_gradients,
    gather_gradients,
    gradients_of,
    restore_gradients,
    window_of,
)
from mmengine.optim.optimizer._clipping import CLIPPERS, parse_clip_grad
from mmengine.optim.optimizer.base import BaseOptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils.errors import ArgumentError

# Entering a nullcontext changes nothing in it, so that one serves every step of every wrapper.
_NO_CONTEXT: AbstractContextManager[None] = nullcontext()


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(BaseOptimWrapper):
    """An optimizer with gradient accumulation and clipping, driven by one call a batch.

    :meth:`update_params` is this, and each line can be called alone in a ``train_step`` of one's
    own::

        loss = self.scale_loss(loss)    # over the number of batches in this window
        self.backward(loss)             # counts the batch
        if self.should_update():        # the window is full, or the run ends here
            self.step()                 # clips first
            self.zero_grad()

    Windows of ``accumulative_counts`` batches are counted from the first batch of the run. The last
    one may be
    shorter: :meth:`initialize_count_status` says where the run ends, and its loss is divided by its
        true size.

    Args:
        optimizer: The optimizer to drive.
        accumulative_counts: Batches whose averaged gradient makes one step.
        clip_grad: ``dict(max_norm=...)`` for ``clip_grad_norm_``, or ``dict(type='value',
            clip_value=...)`` for ``clip_grad_value_``, with any further argument of theirs. The
            norm before clipping goes to the message hub as ``train/grad_norm``, and stays on its
            device until somebody reads it.

    Attributes:
        skip_non_finite: When set, a loss that is NaN or infinite on any rank moves nothing: its
            backward pass is left out on all ranks. Reads the loss back once a batch. In an
            accumulation window it counts as a batch with a gradient of zero. In a configuration:
            ``optim_wrapper=dict(skip_non_finite=True, ...)``.

    Raises:
        TypeError: If ``optimizer`` is none.
        ArgumentError: If ``accumulative_counts`` is no integer above 0, or ``clip_grad`` cannot be
            understood.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> wrapper = OptimWrapper(optimizer, accumulative_counts=4)
        >>> for batch in torch.ones(8, 3, 2):
        ...     wrapper.update_params(model(batch).mean())
        >>> wrapper.inner_count
        8
    """

    def __init__(
        self,
        optimizer: Any,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer)
        if not isinstance(accumulative_counts, int) or accumulative_counts < 1:
            raise ArgumentError(
                'accumulative_counts is the number of batches to a step, an integer of 1 or more; '
                f'got {accumulative_counts!r}.'
            )
        self._accumulative_counts = accumulative_counts
        self.clip_grad_kwargs: dict[str, Any] | None = None
        if clip_grad is not None:
            clip_type, self.clip_grad_kwargs = parse_clip_grad(clip_grad)
            self.clip_func = CLIPPERS[clip_type]
            self.grad_name = f'grad_{clip_type}'
        self.message_hub = MessageHub.get_current_instance()
        self.skip_non_finite = False

        self._inner_count = 0
        self._max_counts = -1
        self._window_floor = 0
        self._count_is_loaded = False
        # What restored gradients were divided by, until it is known what their window divides by.
        self._restored_size = 0
        self._hub_iter_at_start: int | None = None
        self._batches_skipped = 0
        # The model whose ranks hold gradients of their own since a batch under its `no_sync`.
        self._unsynced_model: nn.Module | None = None

    # The step

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Take the loss of one batch: backward, and with a full window step and zero the gradients.

        Args:
            loss: The loss of the batch, a 0-d tensor, not divided for accumulation.
            step_kwargs: Passed on to :meth:`step`.
            zero_kwargs: Passed on to :meth:`zero_grad`.
        """
        if self.skip_non_finite and not _is_finite_on_all_ranks(loss):
            self._skip_batch(step_kwargs, zero_kwargs)
            return
        self.backward(self.scale_loss(loss))
        if self.should_update():
            self._close_window(step_kwargs, zero_kwargs)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss over the number of batches in its window; itself without accumulation.

        Must come before the :meth:`backward` of the same batch, which moves the count on.
        """
        if self._accumulative_counts == 1:
            return loss
        start, end = self._window_of(self._inner_count)
        return loss if end - start == 1 else loss / (end - start)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to the parameters' and count the batch.

        Args:
            loss: What :meth:`scale_loss` gave.
            kwargs: Passed on to ``Tensor.backward``.
        """
        loss.backward(**kwargs)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._inner_count += 1

    def should_update(self) -> bool:
        """Whether the batch counted last fills its window, so that a step is due."""
        if self._accumulative_counts == 1:
            return True
        return self._window_of(self._inner_count - 1)[1] == self._inner_count

    def should_sync(self) -> bool:
        """Whether the batch to come fills its window, so that ranks must share gradients."""
        if self._accumulative_counts == 1:
            return True
        return self._window_of(self._inner_count)[1] == self._inner_count + 1

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients if asked to, and move the parameters.

        Args:
            kwargs: Passed on to the optimizer's ``step``.
        """
        if self.clip_grad_kwargs:
            self._clip_grad()
        self.optimizer.step(**kwargs)

    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients.

        Args:
            kwargs: Passed on to the optimizer's ``zero_grad``.
        """
        self.optimizer.zero_grad(**kwargs)

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context in which to run the forward and backward pass of the next batch.

        While a window fills it is the ``no_sync`` of a distributed ``model``: ranks exchange
        gradients once a step.

        Args:
            model: The model as trained, wrapped or not.
        """
        if self._accumulative_counts == 1 or not hasattr(model, 'no_sync') or self.should_sync():
            return _NO_CONTEXT
        self._unsynced_model = model
        no_sync: AbstractContextManager[Any] = cast(Any, model).no_sync()
        return no_sync

    def _close_window(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        # Two calls each, because a call with an empty dict costs a new dict in every step.
        if step_kwargs:
            self.step(**step_kwargs)
        else:
            self.step()
        if zero_kwargs:
            self.zero_grad(**zero_kwargs)
        else:
            self.zero_grad()
        self._batches_skipped = 0
        self._unsynced_model = None

    def _clip_grad(self) -> None:
        params = [
            param
            for group in self.optimizer.param_groups
            for param in group['params']
            if param.requires_grad and param.grad is not None
        ]
        if not params:
            return
        norm = self.clip_func(params, **(self.clip_grad_kwargs or {}))
        if norm is not None:
            self.message_hub.update_scalar(f'train/{self.grad_name}', norm)

    # Where the run stands

    @property
    def inner_count(self) -> int:
        """Batches that went through :meth:`backward` since the run began."""
        return self._inner_count

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Say where the run begins and ends, so that its last window is divided by its true size.

        A count that came with a state dict is kept, as it is right too for a wrapper that is not
        called once an iteration. Without one, a run that goes on in the middle of a window has lost
        that window's first gradients: the rest is averaged over itself, with a warning.

        Args:
            model: The model to be trained.
            init_counts: Iterations already done.
            max_counts: Iterations the whole run will have done.
        """
        self._max_counts = max_counts
        self._hub_iter_at_start = self._hub_iter()
        if self._count_is_loaded and init_counts > 0:
            self._fit_restored_window()
        else:
            self._begin_at(init_counts)
        self._count_is_loaded = False
        if self._accumulative_counts > 1 and _has_batch_norm(model):
            _warn(
                f'Gradients are accumulated over {self._accumulative_counts} batches, but BatchNorm'
                ' normalizes each batch alone: its statistics are those of the small batch.'
            )

    def flush(self) -> None:
        """Step for a window that is still open, averaged over the batches it got.

        A training loop calls it after the last batch of the run. It does nothing where the windows
        came out even or :meth:`initialize_count_status` had announced the end; it serves wrappers
        that are not called once an iteration, and runs that are stopped early. With a distributed
        model all ranks must call it.
        """
        start, end = self._window_of(self._inner_count - 1)
        if end <= self._inner_count:
            return
        done = self._inner_count - start
        # What follows opens a new window, as if the run began here.
        self._window_floor = self._inner_count
        self._step_without_last_batch(done, (end - start) / done, None, None)

    def _begin_at(self, count: int) -> None:
        if self._count_is_loaded:
            self.zero_grad()  # of a window that the run before had left open
        self._inner_count = count
        self._window_floor = count
        self._batches_skipped = 0
        self._restored_size = 0
        if count % self._accumulative_counts:
            _warn(
                f'Training goes on at iteration {count}, inside a window of '
                f'{self._accumulative_counts} batches, and no gradients of that window were'
                'restored. Its remaining batches are averaged over themselves.'
            )

    def _window_of(self, batch: int) -> tuple[int, int]:
        size = self._accumulative_counts
        start, end = window_of(batch, size, self._max_counts, self._window_floor)
        if end == self._max_counts and end % size and not self._counts_iterations():
            self._max_counts = -1
            return window_of(batch, size, -1, self._window_floor)
        return start, end

    def _counts_iterations(self) -> bool:
        """Whether this wrapper still gets one batch an iteration, as the announced end supposes.

        A generator that is updated twice an iteration would reach the count where the run ends at
        half time. The message hub knows the iteration, if somebody tells it.
        """
        hub_iter = self._hub_iter()
        if hub_iter is None or hub_iter == self._hub_iter_at_start:
            return True
        return abs(hub_iter - self._inner_count) <= 1

    def _hub_iter(self) -> int | None:
        hub_iter: int | None = self.message_hub.runtime_info.get('iter')
        return hub_iter

    # Batches that are left out

    def _skip_batch(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        hub_iter = self._hub_iter()
        _warn(
            f'The loss of iteration {self._inner_count if hub_iter is None else hub_iter} is not '
            'finite on every rank; the batch is left out (skip_non_finite).'
        )
        start, end = self._window_of(self._inner_count)
        self._inner_count += 1
        self._batches_skipped += 1
        if end == self._inner_count:
            self._step_without_last_batch(end - start, 1.0, step_kwargs, zero_kwargs)

    def _step_without_last_batch(
        self,
        batches: int,
        factor: float,
        step_kwargs: dict[str, Any] | None,
        zero_kwargs: dict[str, Any] | None,
    ) -> None:
        """Close the window of the last ``batches`` batches, whose final backward pass is missing.

        Args:
            batches: How many of them there were, those that were left out included.
            factor: What its gradients lack to be an average.
            step_kwargs: Passed on to :meth:`step`.
            zero_kwargs: Passed on to :meth:`zero_grad`.
        """
        groups = self.optimizer.param_groups
        if self._batches_skipped >= batches:
            self._batches_skipped = 0
        elif self._unsynced_model is None or average_gradients(self._unsynced_model, groups):
            if factor != 1.0:
                torch._foreach_mul_(list(gradients_of(groups).values()), factor)
            self._close_window(step_kwargs, zero_kwargs)
        else:
            _warn(
                f'{type(self._unsynced_model).__name__} exchanges gradients in a backward pass '
                'only, and the last one of this accumulation window did not come; the window is '
                'dropped.'
            )
            self._batches_skipped = 0
            self._unsynced_model = None
            self.zero_grad()

    # State

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state; when accumulating, the count and the open window too.

        A run that is resumed from it takes the same steps as one that was never stopped. With a
        distributed model in the middle of a window every rank must call it, as each has gradients
        of its own to hand to rank 0.
        """
        state = super().state_dict()
        if self._accumulative_counts > 1:
            state['accumulation'] = self._accumulation_state()
        return state

    def _accumulation_state(self) -> dict[str, Any]:
        start, end = self._window_of(self._inner_count)
        gradients: list[dict[int, Tensor]] = []
        if start < self._inner_count:
            groups = self.optimizer.param_groups
            is_shared = self._unsynced_model is None
            gradients = [gradients_of(groups)] if is_shared else gather_gradients(groups)
        return {
            'accumulative_counts': self._accumulative_counts,
            'inner_count': self._inner_count,
            'window_floor': self._window_floor,
            'window_size': end - start,
            'batches_skipped': self._batches_skipped,
            'gradients': gradients,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, or a plain ``torch.optim`` state dict.

        Args:
            state_dict: The state; left unchanged.
        """
        state = dict(state_dict)
        accumulation = state.pop('accumulation', None)
        super().load_state_dict(state)
        if accumulation is not None:
            self._load_accumulation_state(accumulation)

    def _load_accumulation_state(self, state: dict[str, Any]) -> None:
        self._inner_count = state['inner_count']
        self._window_floor = state['window_floor']
        self._batches_skipped = state['batches_skipped']
        self._restored_size = 0
        self._count_is_loaded = True
        if state['accumulative_counts'] != self._accumulative_counts:
            self._window_floor = self._inner_count
            self._batches_skipped = 0
            if state['gradients']:
                _warn(
                    f'The state was saved inside a window of {state["accumulative_counts"]} '
                    f'batches and is loaded for windows of {self._accumulative_counts}; the '
                    'gradients of the open window are dropped.'
                )
        elif state['gradients']:
            restore_gradients(self.optimizer.param_groups, state['gradients'])
            self._restored_size = state['window_size']
            if self._max_counts >= 0:
                self._fit_restored_window()

    def _fit_restored_window(self) -> None:
        """Divide restored gradients by the size that their window has now.

        It differs from the one they were divided by when the run is to end elsewhere than planned.
        """
        if not self._restored_size:
            return
        start, end = self._window_of(self._inner_count)
        if end - start != self._restored_size:
            gradients = list(gradients_of(self.optimizer.param_groups).values())
            torch._foreach_mul_(gradients, self._restored_size / (end - start))
        self._restored_size = 0

    def __repr__(self) -> str:
        lines = f'Type: {type(self).__name__}\n_accumulative_counts: {self._accumulative_counts}\n'
        return f'{lines}optimizer:\n{self.optimizer!r}'


def _is_finite_on_all_ranks(loss: Tensor) -> bool:
    finite = torch.isfinite(loss.detach()).all()
    if get_world_size() > 1:
        # One rank leaving out its backward pass would leave the others waiting for its gradients.
        finite = finite.to(torch.uint8)
        all_reduce(finite, op='min')
    return bool(finite.item())


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
