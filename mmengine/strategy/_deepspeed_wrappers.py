"""Optimizer wrapper and model wrapper for a DeepSpeed engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.model.wrappers._forward_redirect import forward_through
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer._accumulation import scale_gradients
from mmengine.optim.optimizer._run import NO_CONTEXT
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS
from mmengine.strategy._deepspeed_gradients import (
    drop_gradients,
    held_gradients,
    is_zero_engine,
    restore_held,
)

Batch = dict[str, Any] | tuple[Any, ...] | list[Any]


@OPTIM_WRAPPERS.register_module()
class DeepSpeedOptimWrapper(OptimWrapper):
    """Delegates backward pass, scaling, clipping and steps to a DeepSpeed engine.

    An engine with ``managed_gradient_accumulation=False``, as :class:`DeepSpeedStrategy` makes it,
    leaves the accumulation windows to this wrapper. They are the windows of :class:`OptimWrapper`,
    with a shorter last one. Any other engine counts its windows itself, and sets gradients to
    zero itself.

    Args:
        optimizer: The optimizer of the engine, or one with the same groups, whose options are
            copied to the engine before each step.
        accumulative_counts: Batches per optimizer step.
        clip_grad: ``dict(max_norm=...)``. The engine clips; this writes the norm to the log.

    Attributes:
        has_own_copies: Whether the engine keeps weights and states that are not in the optimizer.
    """

    has_own_copies = True

    def __init__(
        self,
        optimizer: Any,
        *,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        self._model: Any = None
        # Gradients in the engine times this factor are an average of the open window.
        self._factor = 1.0

    @property
    def model(self) -> Any:
        """The engine; set it before the first step.

        Raises:
            ValueError: If the engine is not set yet.
        """
        if self._model is None:
            raise ValueError('DeepSpeedOptimWrapper needs an engine: set `model` first.')
        return self._model

    @model.setter
    def model(self, engine: Any) -> None:
        self._model = engine

    @property
    def _has_own_windows(self) -> bool:
        is_managed = getattr(self._model, 'managed_gradient_accumulation', None)
        return is_managed is not None and not is_managed()

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Nothing: the engine casts, and exchanges gradients."""
        return NO_CONTEXT

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Backward pass of one batch, and a step when the window is full."""
        if self._has_own_windows:
            super().update_params(loss, step_kwargs, zero_kwargs)
            return
        self.backward(loss)
        self.step(**step_kwargs or {})

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divide the loss by the number of batches in its window, when accumulating."""
        loss = super().scale_loss(loss)
        return loss if self._factor == 1.0 else loss / self._factor

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss``, through the engine, and count the batch."""
        if not self._has_own_windows:
            self.model.backward(loss, **kwargs)
            self._window.count += 1
            return
        self.model.backward(loss, scale_wrt_gas=False, **kwargs)
        self._count_batch()

    def step(self, **kwargs: Any) -> None:
        """Update the parameters; an engine that counts windows itself only if one is full."""
        engine = self.model
        if not self._has_own_windows:
            is_full = getattr(engine, 'is_gradient_accumulation_boundary', None)
            self.num_steps += 1 if is_full is None else int(is_full())
            engine.step(**kwargs)
            return
        self._copy_options(engine)
        with _gradients_times(self._factor, engine, self.optimizer.param_groups):
            engine.step(**kwargs)
        self._factor = 1.0
        self.num_steps += 1
        norm = engine.get_global_grad_norm()
        if self.clip_grad_kwargs and norm is not None:
            self.last_grad_norm = norm = torch.as_tensor(norm)
            self.message_hub.record(f'train/{self.grad_name}', norm)

    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients of an open window.

        Raises:
            NotImplementedError: If the engine counts its windows itself, because gradients of its
                open window would be lost.
        """
        if not self._has_own_windows:
            raise NotImplementedError(
                'A DeepSpeed engine sets gradients to zero itself, in `step`.'
            )
        drop_gradients(self.model)
        self._factor = 1.0

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """See :meth:`OptimWrapper.initialize_count_status`."""
        if self._has_own_windows:
            super().initialize_count_status(model, init_counts, max_counts)

    def state_dict(self) -> dict[str, Any]:
        """The state of this wrapper only: the engine has the state of its optimizer."""
        return self.own_state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`state_dict`."""
        self.load_own_state_dict(
            {name: state_dict[name] for name in self.own_state_names if name in state_dict}
        )

    def own_state_dict(self) -> dict[str, Any]:
        """The default learning rates, and with an open window its gradients.

        All ranks must call it.
        """
        state: dict[str, Any] = {}
        if self.base_param_settings is not None:
            state['base_param_settings'] = dict(self.base_param_settings)
        window = self._window
        if self._model is not None and self._has_own_windows and window.size > 1:
            gradients = []
            if window.is_open:
                gradients = [held_gradients(self.model, self._params(), self._factor)]
            state['accumulation'] = {**window.state_dict(), 'gradients': gradients}
        return state

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`, or the state of another optimizer wrapper."""
        base, saved = state.get('base_param_settings'), state.get('accumulation')
        if base is not None:
            self.base_param_settings = {**(self.base_param_settings or {}), **base}
        if saved is None or self._model is None or not self._has_own_windows:
            return
        by_rank = saved['gradients']
        if self._window.load_state_dict(saved, bool(by_rank), self._run.finished_iters):
            restore_held(self.model, self._params(), by_rank)
            self._factor = 1.0
            self._has_restored_gradients = True

    def _params(self) -> list[nn.Parameter]:
        return [param for group in self.optimizer.param_groups for param in group['params']]

    def _copy_options(self, engine: Any) -> None:
        """Copy what schedules and users have set to the groups of the engine's optimizer."""
        groups = engine.optimizer.param_groups
        if groups is self.optimizer.param_groups:
            return
        for position, group in enumerate(groups):
            own = self.optimizer.param_groups[group.get(GROUP, position)]
            for name, value in own.items():
                if name != 'params':
                    group[name] = value

    def _close_window(
        self, step_kwargs: dict[str, Any] | None, zero_kwargs: dict[str, Any] | None
    ) -> None:
        self.step(**step_kwargs or {})
        self._window.close()

    def _fit_gradients(self, batch: int) -> None:
        self._factor *= self._window.fit(batch)

    def _step_without_last_batch(
        self,
        batches: int,
        factor: float,
        step_kwargs: dict[str, Any] | None,
        zero_kwargs: dict[str, Any] | None,
    ) -> None:
        if self._window.skipped >= batches:
            self._window.close()
            return
        self._factor *= factor
        self._close_window(step_kwargs, zero_kwargs)


# Names the group of the wrapper's optimizer in a group of the engine's optimizer, because the
# engine drops groups that have nothing to train.
GROUP = 'mmengine_group'


@contextmanager
def _gradients_times(
    factor: float, engine: Any, param_groups: list[dict[str, Any]]
) -> Iterator[None]:
    """Context in which a step uses ``factor`` times the gradients of the engine."""
    optimizer = engine.optimizer
    if factor == 1.0:
        yield
    elif not is_zero_engine(engine):
        scale_gradients(param_groups, factor)
        yield
    else:
        # A step divides the gradients by the loss scale.
        scaler = optimizer.loss_scaler
        scaler.cur_scale /= factor
        try:
            yield
        finally:
            scaler.cur_scale *= factor


@MODEL_WRAPPERS.register_module()
class MMDeepSpeedEngineWrapper:
    """Adds ``train_step``, ``val_step`` and ``test_step`` of a ``BaseModel`` to a DeepSpeed engine.

    The steps are methods of the model. Its calls in a training step go through the engine.
    Other attributes are read from the engine.

    Args:
        model: The engine.
        inputs_to_half: Parts of the preprocessed batch that are cast to the dtype of the
            parameters: keys of a dict, positions in a list or tuple.
    """

    def __init__(self, *, model: Any, inputs_to_half: Iterable[int | str] | None = None) -> None:
        self.model = model
        self._inputs_to_half = frozenset(inputs_to_half or ())

    def __getattr__(self, name: str) -> Any:
        if name == 'model':  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def train_step(self, data: Batch, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Run the training step of the model on the batch of this rank."""
        module = self.model.module
        with forward_through(self._caller(self.model), module):
            return module.train_step(data, optim_wrapper=optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel

    def val_step(self, data: Batch) -> list[Any]:
        """The predictions for one validation batch."""
        return self._evaluate('val_step', data)

    def test_step(self, data: Batch) -> list[Any]:
        """The predictions for one test batch."""
        return self._evaluate('test_step', data)

    def _evaluate(self, step: str, data: Batch) -> list[Any]:
        # As with DDP, evaluation runs without autocast. Hooks on the modules gather parameters.
        module = self.model.module
        if not self._inputs_to_half:
            return getattr(module, step)(data)  # type: ignore[no-any-return]  # a BaseModel
        with forward_through(self._caller(module), module):
            return getattr(module, step)(data)  # type: ignore[no-any-return]  # a BaseModel

    def _caller(self, target: Any) -> Any:
        """What calls ``target`` with the chosen inputs cast to the dtype of the parameters."""
        if not self._inputs_to_half:
            return target
        dtype = _parameter_dtype(self.model)

        def call(*args: Any, **kwargs: Any) -> Any:
            chosen = self._inputs_to_half
            return target(
                *(_cast(each, dtype) if i in chosen else each for i, each in enumerate(args)),
                **{name: _cast(v, dtype) if name in chosen else v for name, v in kwargs.items()},
            )

        return call


def _parameter_dtype(model: nn.Module) -> torch.dtype:
    parameter = next(model.parameters(), None)
    return torch.get_default_dtype() if parameter is None else parameter.dtype


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors of ``value``, also inside lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _cast(entry, dtype) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(entry, dtype) for entry in value)
    return value
