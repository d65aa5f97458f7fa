"""Optimizer wrapper and model wrapper for a DeepSpeed engine."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mmengine.model.base_model.base_model import forward_batch
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.builder import _register_optional
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, STRATEGIES
from mmengine.strategy._unavailable import raise_unavailable
from mmengine.strategy.base import BaseStrategy

Batch = dict[str, Any] | tuple[Any, ...] | list[Any]

_OPTIMIZERS = {
    'deepspeed.ops.adam': ('DeepSpeedCPUAdam', 'FusedAdam'),
    'deepspeed.ops.adagrad': ('DeepSpeedCPUAdagrad',),
    'deepspeed.ops.lamb': ('FusedLamb',),
    'deepspeed.ops.lion': ('DeepSpeedCPULion', 'FusedLion'),
    'deepspeed.runtime.fp16.onebit': ('OnebitAdam', 'OnebitLamb', 'ZeroOneAdam'),
}


def register_deepspeed_optimizers() -> list[str]:
    """Register the optimizers of ``deepspeed``, if it is installed; returns their names."""
    return [
        name
        for module, names in _OPTIMIZERS.items()
        for name in _register_optional('deepspeed', module, names)
    ]


@OPTIM_WRAPPERS.register_module()
class DeepSpeedOptimWrapper(BaseOptimWrapper):
    """Delegates backward pass, accumulation, scaling, clipping and steps to a DeepSpeed engine.

    Args:
        optimizer: The engine's optimizer.
    """

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self._model: Any = None

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

    def update_params(self, loss: Tensor) -> None:
        """Backward pass and step of one batch; the engine steps when its window is full."""
        self.backward(loss)
        self.step()

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss``, through the engine."""
        self.model.backward(loss, **kwargs)

    def zero_grad(self, **kwargs: Any) -> None:
        """Not supported: the engine sets gradients to zero after its steps.

        Raises:
            NotImplementedError: Always, because gradients of an open window would be lost.
        """
        raise NotImplementedError('A DeepSpeed engine sets gradients to zero itself, in `step`.')

    def step(self, **kwargs: Any) -> None:
        """Count the batch; update the parameters when the window is full."""
        self.model.step(**kwargs)

    def state_dict(self) -> dict[str, Any]:
        """The default learning rates only: the engine saves the state of its optimizer."""
        if self.base_param_settings is None:
            return {}
        return {'base_param_settings': dict(self.base_param_settings)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`state_dict`."""
        settings = state_dict.get('base_param_settings')
        if settings is not None:
            self.base_param_settings = dict(settings)


@MODEL_WRAPPERS.register_module()
class MMDeepSpeedEngineWrapper:
    """Adds ``train_step``, ``val_step`` and ``test_step`` of a ``BaseModel`` to a DeepSpeed engine.

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

    def train_step(self, data: Batch, optim_wrapper: DeepSpeedOptimWrapper) -> dict[str, Tensor]:
        """Update the parameters from one batch; see :meth:`BaseModel.train_step`."""
        losses = self._forward(data, training=True, mode='loss')
        loss, log_vars = self.model.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars  # type: ignore[no-any-return]  # the model's parse_losses

    def val_step(self, data: Batch) -> list[Any]:
        """The predictions for one validation batch."""
        return self._forward(data, training=False, mode='predict')  # type: ignore[no-any-return]  # the user's forward

    def test_step(self, data: Batch) -> list[Any]:
        """The predictions for one test batch."""
        return self._forward(data, training=False, mode='predict')  # type: ignore[no-any-return]  # the user's forward

    def _forward(self, data: Batch, *, training: bool, mode: str) -> Any:
        data = self.model.module.data_preprocessor(data, training)
        if self._inputs_to_half:
            data = self._with_half(data)
        return forward_batch(self.model, data, mode)

    def _with_half(self, data: Any) -> Any:
        dtype = _parameter_dtype(self.model)
        if isinstance(data, Mapping):
            return {
                key: _cast(value, dtype) if key in self._inputs_to_half else value
                for key, value in data.items()
            }
        return [
            _cast(value, dtype) if position in self._inputs_to_half else value
            for position, value in enumerate(data)
        ]


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


@STRATEGIES.register_module()
class DeepSpeedStrategy(BaseStrategy):
    """Trains through a DeepSpeed engine. Not implemented yet.

    Args:
        config: DeepSpeed's config, as a dict or the path of its JSON file; the arguments below are
            entries of it.
        zero_optimization: How optimizer state, gradients and parameters are split.
        gradient_clipping: Maximum norm of the gradients.
        fp16: Settings of training in float16.
        inputs_to_half: Parts of a batch that are cast to the dtype of the parameters.
        bf16: Settings of training in bfloat16.
        amp: Settings of training with apex.
        activation_checkpointing: Activations that are computed again in the backward pass.
        aio: Settings of asynchronous reads and writes of offloaded state.
        train_micro_batch_size_per_gpu: Batch size of one device.
        gradient_accumulation_steps: Batches per optimizer step.
        steps_per_print: Steps between two reports of DeepSpeed.
        exclude_frozen_parameters: Do not save frozen parameters in checkpoints.
        **kwargs: Arguments of :class:`BaseStrategy`.

    Raises:
        ImportError: If deepspeed is not installed.
        NotImplementedError: Otherwise.
    """

    def __new__(
        cls,
        *,
        config: str | dict[str, Any] | None = None,
        zero_optimization: dict[str, Any] | None = None,
        gradient_clipping: float | None = None,
        fp16: dict[str, Any] | None = None,
        inputs_to_half: list[int | str] | None = None,
        bf16: dict[str, Any] | None = None,
        amp: dict[str, Any] | None = None,
        activation_checkpointing: dict[str, Any] | None = None,
        aio: dict[str, Any] | None = None,
        train_micro_batch_size_per_gpu: int | None = None,
        gradient_accumulation_steps: int | None = None,
        # DeepSpeed must not print reports: the Runner writes the log.
        steps_per_print: int = 10_000_000_000_000,
        exclude_frozen_parameters: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        raise_unavailable(cls, package='deepspeed')


DEEPSPEED_OPTIMIZERS = register_deepspeed_optimizers()
