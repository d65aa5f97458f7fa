"""OptimWrapper: accumulates and clips gradients, and steps the optimizer, in one call."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmengine.logging import MessageHub, print_log
from mmengine.optim.optimizer import _window_notes
from mmengine.optim.optimizer._accumulation import (
    gather_gradients,
    left_gradients,
    rescale_gradients,
    restore_gradients,
)
from mmengine.optim.optimizer._clipping import (
    CLIPPERS,
    clip_type_of,
    params_to_clip,
    parse_clip_grad,
)
from mmengine.optim.optimizer._direct_backward import run_backward
from mmengine.optim.optimizer._direct_step import drop_gradients, take_step
from mmengine.optim.optimizer._run import NO_CONTEXT, OptimizerRun, logger_of
from mmengine.optim.optimizer._window import AccumulationWindow
from mmengine.optim.optimizer.base import BaseOptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils.errors import ArgumentError


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(BaseOptimWrapper):
    """An optimizer with gradient accumulation and clipping, called once per batch.

    :meth:`update_params` does the following. A custom ``train_step`` can call each line itself::

        loss = self.scale_loss(loss)    # divide by the number of batches in this window
        self.backward(loss)             # counts the batch
        if self.should_update():        # the window is full, or the run ends here
            self.step()                 # clips first
            self.zero_grad()

    Windows of ``accumulative_counts`` batches are counted from the first batch of the run. The last
    window of a run may be shorter. :meth:`initialize_count_status` tells the wrapper where the run
    ends, so that the loss is divided by the window's actual size. A wrapper that is not called once
    per iteration cannot use that end: :meth:`flush` closes its last window.

    Args:
        optimizer: The optimizer to wrap.
        accumulative_counts: Number of batches whose gradients are averaged for one step.
        clip_grad: ``dict(max_norm=...)`` for ``clip_grad_norm_``, or ``dict(type='value',
            clip_value=...)`` for ``clip_grad_value_``, with other arguments of these functions. The
            norm before clipping is written to the message hub as ``train/grad_norm``, and stays on
            its device until it is read.

    Attributes:
        skip_non_finite: If True and a loss is NaN or infinite on any rank, all ranks skip its
            backward pass. This reads the loss from the device once per batch. In an accumulation
            window a skipped batch counts as a batch with zero gradients. In a configuration:
            ``optim_wrapper=dict(skip_non_finite=True, ...)``. Among the default hooks
            ``NonFiniteLossHook`` ends the run nevertheless; its ``policy='skip'`` sets this too.
        last_grad_norm, num_skipped: The last norm before clipping, and batches skipped in a row.
        direct_step: Leave out what torch does for others around ``backward``, ``step`` and
            ``zero_grad``, such as profiler labels, while nobody uses it. The results are the same.

    Raises:
        TypeError: If ``optimizer`` has no ``param_groups``.
        ArgumentError: If ``accumulative_counts`` is not a positive integer, or ``clip_grad`` is
            not one of the above.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> wrapper = OptimWrapper(optimizer, accumulative_counts=4)
        >>> for batch in torch.ones(8, 3, 2):
        ...     wrapper.update_params(model(batch).mean())
        >>> wrapper.inner_count
        8
    """

    own_state_names: ClassVar[tuple[str, ...]] = (
        *BaseOptimWrapper.own_state_names, 'accumulation', 'left_gradients'
    )  # fmt: skip

    # On the class, because a subclass need not call this class's `__init__`.
    direct_step = True
    # The model whose ranks hold different gradients since a batch under its `no_sync`.
    _unsynced_model: nn.Module | None = None
    num_steps: int = 0
    last_grad_norm: Tensor | None = None
    _has_restored_gradients = False
    num_skipped: int = 0
    _assigned_hub: MessageHub | None = None

    def __init__(
        self,
        optimizer: Any,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer)
        if not isinstance(accumulative_counts, int) or accumulative_counts < 1:
            raise ArgumentError(
                'accumulative_counts is the number of batches per step, a positive integer; '
                f'got {accumulative_counts!r}.'
            )
        self.clip_grad_kwargs: dict[str, Any] | None = None
        if clip_grad is not None:
            clip_type, self.clip_grad_kwargs = parse_clip_grad(clip_grad)
            if not hasattr(self, 'clip_func'):  # a subclass may define its own
                self.clip_func = CLIPPERS[clip_type]
            self.grad_name = f'grad_{clip_type}'
        self.skip_non_finite = False
        self._window = AccumulationWindow(accumulative_counts)

    # The step

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Run the backward pass of one batch; if the window is full, step and zero the gradients.

        Args:
            loss: The loss of the batch, a 0-d tensor, not divided for accumulation.
            step_kwargs: Passed to :meth:`step`.
            zero_kwargs: Passed to :meth:`zero_grad`.
        """
        if self.skip_non_finite and not self._is_finite_on_all_ranks(loss):
            self._skip_batch(step_kwargs, zero_kwargs)
            return
        self.backward(self.scale_loss(loss))
        if self.should_update():
            self._close_window(step_kwargs, zero_kwargs)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide the loss by the number of batches in its window, when accumulating.

        Call this before :meth:`backward` of the same batch, which counts the batch.
        """
        window = self._window
        if window.size == 1:
            return loss
        self._fit_gradients(window.count)
        return loss if window.divisor == 1 else loss / window.divisor

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to the gradients of the parameters, and count the batch.

        Args:
            loss: The result of :meth:`scale_loss`.
            kwargs: Passed to ``Tensor.backward``.
        """
        run_backward(loss, kwargs, self.direct_step)
        if self._window.size == 1:
            self._window.count += 1
        else:
            self._count_batch()

    def should_update(self) -> bool:
        """Whether the last counted batch fills its window, so that a step is due."""
        return self._window.size == 1 or self._window.is_full

    def should_sync(self) -> bool:
        """Whether the next batch fills its window, so that ranks must exchange gradients."""
        return self._window.size == 1 or self._window.is_last

    def step(self, **kwargs: Any) -> None:
        """Clip if ``clip_grad`` was given, and step the optimizer, which gets ``kwargs``."""
        if self.clip_grad_kwargs:
            self._clip_grad()
        if kwargs or not self.direct_step:
            self.optimizer.step(**kwargs)
        else:
            take_step(self.optimizer)
        self.num_steps += 1

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients; ``zero_grad`` of the optimizer gets ``kwargs``."""
        if kwargs or not self.direct_step:
            self.optimizer.zero_grad(**kwargs)
        else:
            drop_gradients(self.optimizer)

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context for the forward and backward pass of the next batch.

        Before the last batch of a window, it is ``no_sync`` of a distributed ``model``, so that
        ranks exchange gradients once per step.
        """
        if self._window.size == 1 or self.should_sync():
            return NO_CONTEXT
        context = self._run.no_sync(model)
        if isinstance(context, nullcontext):
            return NO_CONTEXT
        # In a step that a wrapper took over, the model calls the wrapper, which outlasts the step.
        self._unsynced_model = model.__dict__.get('_redirected_to', model)
        return context

    def _close_window(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        if (
            not (step_kwargs or zero_kwargs)
            and self.direct_step
            and getattr(self.step, '__func__', None) is _STEP
            and getattr(self.zero_grad, '__func__', None) is _ZERO_GRAD
        ):
            if self.clip_grad_kwargs:
                self._clip_grad()
            take_step(self.optimizer, drops_gradients=True)
            self.num_steps += 1
        else:
            steps = self.num_steps
            self.step(**step_kwargs or {})
            self.num_steps = steps + 1  # a subclass may replace `step`, and not count
            self.zero_grad(**zero_kwargs or {})
        # Inlined for speed, because this runs in every step.
        self._window.divisor = 0
        self._window.skipped = 0
        self._unsynced_model = None

    def _clip_grad(self) -> None:
        params = params_to_clip(self.optimizer.param_groups)
        if not params:
            return
        kwargs = self.clip_grad_kwargs or {}
        clip_type = clip_type_of(self.clip_func)
        if clip_type is None:
            norm = self.clip_func(params, **kwargs)
        else:
            norm = self._run.clip_grad(params, clip_type, **kwargs)
        self.last_grad_norm = norm
        if norm is not None:
            self.message_hub.record(f'train/{self.grad_name}', norm)

    # The run

    def attach_run(self, run: OptimizerRun) -> None:
        """Attach the wrapper to ``run``, from which it reads message hub, position and ranks."""
        super().attach_run(run)
        if hasattr(self, '_window'):  # a subclass need not call this class's `__init__`
            self._window.follow(run.finished_iters)

    @property
    def message_hub(self) -> MessageHub:
        """The message hub of the run, unless another hub was assigned."""
        return self._run.message_hub if self._assigned_hub is None else self._assigned_hub

    @message_hub.setter
    def message_hub(self, hub: MessageHub) -> None:
        self._assigned_hub = hub

    @property
    def inner_count(self) -> int:
        """Number of batches that were counted by :meth:`backward` since the run began."""
        return self._window.count

    @property
    def _inner_count(self) -> int:
        return self._window.count

    @_inner_count.setter
    def _inner_count(self, count: int) -> None:
        # A subclass that replaces `backward` counts its batch by adding 1.
        if count == self._window.count + 1:
            self._count_batch()
        else:
            self._window.count = count

    @property
    def _accumulative_counts(self) -> int:
        return self._window.size

    @_accumulative_counts.setter
    def _accumulative_counts(self, size: int) -> None:
        self._window.resize(size)

    @property
    def _max_counts(self) -> int:
        return -1 if self._window.run_end is None else self._window.run_end

    @_max_counts.setter
    def _max_counts(self, count: int) -> None:
        self._window.announce(count if count >= 0 else None)

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Set the start and the end of the run.

        A count from a loaded state dict is kept: it is also correct for a wrapper that is not
        called once per iteration. If no gradients were loaded and the run continues inside a
        window, the remaining batches of the window are averaged separately, with a warning.

        Args:
            model: The model to train.
            init_counts: Number of finished iterations.
            max_counts: Number of iterations of the whole run.
        """
        window = self._window
        run_end = max_counts if max_counts >= 0 else None
        goes_on = window.begin(init_counts, run_end, self._run.finished_iters)
        if not (goes_on and window.is_open) and not self._has_restored_gradients:
            self.zero_grad()  # of an earlier run, a failed batch, or another wrapper
        if goes_on:
            self._fit_gradients(window.count)
        elif init_counts % window.size:
            self._warn(_window_notes.rest_alone(init_counts, window.size))
        self._has_restored_gradients = False
        if init_counts == 0:
            self.num_steps = 0
        elif self.num_steps == 0:
            self.num_steps = init_counts // window.size  # of another wrapper, or an old checkpoint
        if window.size > 1 and any(isinstance(part, _BatchNorm) for part in model.modules()):
            self._warn(_window_notes.batch_norm(window.size))

    def flush(self) -> bool:
        """Step with the gradients of an open window, averaged over the batches that it has.

        A training loop calls this after the last batch of the run. If no window is open, nothing
        happens. A window is open in wrappers that are not called once per iteration, and in runs
        that are stopped early. With a distributed model all ranks must call this.

        Returns:
            Whether a window was open.
        """
        if not self._window.is_open:
            return False
        batches, factor = self._window.cut()
        self._step_without_last_batch(batches, factor, None, None)
        return True

    def _count_batch(self) -> None:
        if self._window.advance(self._run.finished_iters):
            self._fit_gradients(self._window.count - 1)

    def _fit_gradients(self, batch: int) -> None:
        """Divide the gradients of the window of ``batch`` by its present size."""
        factor = self._window.fit(batch)
        if factor != 1.0:
            rescale_gradients(self._run, self._unsynced_model, self.optimizer.param_groups, factor)

    # Skipped batches

    def _is_finite_on_all_ranks(self, loss: Tensor) -> bool:
        # All ranks decide together: the others would wait for the gradients of one that skips.
        return self._run.all_ranks_agree(torch.isfinite(loss.detach()).all())

    def _skip_batch(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        window, finished = self._window, self._run.finished_iters
        self._warn(
            f'The loss of iteration {window.count if finished is None else finished} is not finite '
            'on every rank; the batch is skipped (skip_non_finite).'
        )
        self._fit_gradients(window.count)
        window.skipped += 1
        self.num_skipped += 1
        self._count_batch()
        if window.is_full:
            start, end = window.bounds(window.count - 1)
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
            batches: The number of these batches, including skipped batches.
            factor: The factor that makes their gradients an average.
            step_kwargs: Passed to :meth:`step`.
            zero_kwargs: Passed to :meth:`zero_grad`.
        """
        groups = self.optimizer.param_groups
        model = self._unsynced_model
        if self._window.skipped >= batches:
            self._window.close()
        elif model is None or self._run.average_gradients(model, groups):
            rescale_gradients(self._run, None, groups, factor)
            self._close_window(step_kwargs, zero_kwargs)
        else:
            self._warn(
                f'{type(model).__name__} exchanges gradients only in a backward pass, and the last '
                'backward pass of this accumulation window is missing; the window is dropped.'
            )
            self._window.close()
            self._unsynced_model = None
            self.zero_grad()

    # State

    def own_state_dict(self) -> dict[str, Any]:
        """The state of the wrapper; when accumulating, with the count and the open window.

        A run that is resumed from this state takes the same steps as an uninterrupted run. In the
        middle of a window all ranks of a distributed model must call this, because each rank sends
        its gradients to rank 0.
        """
        state, window = super().own_state_dict(), self._window
        if window.size > 1:
            groups, is_shared = self.optimizer.param_groups, self._unsynced_model is None
            gradients = gather_gradients(groups, is_shared) if window.is_open else []
            state['accumulation'] = {**window.state_dict(), 'gradients': gradients}
        if not window.is_open:
            # The next step of this optimizer adds to what the step of another one has left.
            left = left_gradients(self.optimizer.param_groups)
            state |= {'left_gradients': left} if left else {}
        return state

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`; values that ``state`` does not have are kept.

        Args:
            state: The state. Not changed.
        """
        super().load_own_state_dict(state)
        if 'left_gradients' in state:
            restore_gradients(self.optimizer.param_groups, [state['left_gradients']])
            self._has_restored_gradients = True
        saved = state.get('accumulation')
        if saved is None:
            return
        gradients, window = saved['gradients'], self._window
        if window.load_state_dict(saved, bool(gradients), self._run.finished_iters):
            restore_gradients(self.optimizer.param_groups, gradients)
        elif gradients:
            self._warn(_window_notes.other_size(saved['accumulative_counts'], window.size))

    def _warn(self, message: str) -> None:
        print_log(message, logger=logger_of(self._run), level=logging.WARNING)

    def __repr__(self) -> str:
        lines = f'Type: {type(self).__name__}\n_accumulative_counts: {self._accumulative_counts}\n'
        return f'{lines}optimizer:\n{self.optimizer!r}'


# Both at once save a call and the second look at the conditions, unless one was replaced.
_STEP, _ZERO_GRAD = OptimWrapper.step, OptimWrapper.zero_grad
