"""Train a model written for MMCV 1.x under Runner, its code unchanged."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS


class LegacyDataPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, out of the containers of MMCV 1.x's collate function.

    A container is recognised by its ``data``, ``stack`` and ``cpu_only``: MMCV need not be
    installed. It holds one chunk for each device of one process; here a process has one device, so
    the first chunk is the batch.
    """

    def cast_data(self, data: Any) -> Any:
        """``data`` on the device, containers opened."""
        if _is_container(data):
            chunks = data.data
            content = chunks[0] if isinstance(chunks, Sequence) and chunks else chunks
            return content if data.cpu_only else self.cast_data(content)
        if isinstance(data, Mapping):
            return {key: self.cast_data(value) for key, value in data.items()}
        if type(data) in (list, tuple):
            return type(data)(self.cast_data(value) for value in data)
        return super().cast_data(data)

    def forward(self, data: Any, training: bool = False) -> tuple[Any]:
        """The batch as one argument: a legacy model takes it whole."""
        return (self.cast_data(data),)


@MODELS.register_module()
class LegacyModel(BaseModel):
    """Lets a model with ``train_step(data, optimizer)`` of MMCV 1.x train under Runner.

    Training calls the model's own ``train_step`` and hands its ``loss`` to the optimizer wrapper,
    which does what the legacy optimizer hooks did: accumulation, clipping, mixed precision,
    stepping. ``log_vars`` are averaged over ``num_samples``. Validation calls
    ``model(return_loss=False, **data)`` for predictions.

    A legacy model wants batches of stacked tensors, and dataloaders here leave samples in lists:
    give each ``collate_fn=dict(type='default_collate')``, or the legacy collate function.

    Args:
        model: The legacy model, its weights as they are to be, or its config for ``MODELS``.
        steps_itself: The model's ``train_step`` calls ``backward`` and ``step`` of the optimizers
            it is given, as GANs did under a runner without optimizer hook. It then gets the torch
            optimizers, one or a dict by name, and the wrapper's accumulation and clipping have no
            part.
        predict_kwargs: Further arguments of the call that predicts, such as
            ``dict(rescale=True)``.

    Raises:
        TypeError: If the model has no ``train_step``.
    """

    def __init__(
        self,
        model: nn.Module | dict[str, Any],
        steps_itself: bool = False,
        predict_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=LegacyDataPreprocessor())
        self._is_built_here = isinstance(model, Mapping)
        built = MODELS.build(model) if self._is_built_here else model
        if not callable(getattr(built, 'train_step', None)):
            raise TypeError(
                'LegacyModel wraps a model with train_step(data, optimizer); '
                f'{type(built).__name__} has none.'
            )
        self.model: Any = built
        self.steps_itself = steps_itself
        self.predict_kwargs = dict(predict_kwargs or {})

    def __getattr__(self, name: str) -> Any:
        """What the legacy model has: optimizers and hooks find its parts by their names."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Wrappers of a model are recognised by a `module`.
            if name in ('model', 'module'):
                raise
            return getattr(self.model, name)

    def init_weights(self) -> None:
        """Call the legacy model's own, if it came as a config; any other keeps its weights.

        Runners of MMCV left the weights to the script that built the model.
        """
        if self._is_built_here and not self.is_init and hasattr(self.model, 'init_weights'):
            self.model.init_weights()
        self.is_init = True

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """One step; the log variables go to the message hub with their number of samples."""
        if not self.steps_itself:
            return super().train_step(data, optim_wrapper)
        (data,) = self.data_preprocessor(data, True)
        outputs = self.model.train_step(data, _torch_optimizers(optim_wrapper))
        self.parse_losses(_checked(self.model, outputs, needs_loss=False))
        return {}

    # A legacy batch is one argument.
    def forward(self, data: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        """The legacy model's answer to ``data``.

        Args:
            data: The whole batch, containers opened.
            mode: 'loss' runs its ``train_step``, 'predict' and 'tensor' call it with
                ``return_loss=False``.
        """
        if mode == 'loss':
            return _checked(self.model, self.model.train_step(data, None), needs_loss=True)
        arguments = {**self.predict_kwargs, 'return_loss': False}
        if isinstance(data, Mapping):
            predictions = self.model(**data, **arguments)
        elif isinstance(data, (list, tuple)):
            predictions = self.model(*data, **arguments)
        else:
            predictions = self.model(data, **arguments)
        return (
            list(predictions)
            if mode == 'predict' and isinstance(predictions, Tensor)
            else predictions
        )

    def parse_losses(self, losses: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise; its log variables are recorded here, since they carry weights."""
        if self.training:
            hub = MessageHub.get_current_instance()
            for name, value in losses['log_vars'].items():
                history = hub.log_scalars.get(f'train/{name}')
                if not isinstance(history, _MeansOverSamples):  # the first one, also after resuming
                    history = _MeansOverSamples.like(history)
                    hub.log_scalars[f'train/{name}'] = history
                hub.update_scalar(f'train/{name}', value, count=losses['num_samples'])
        return losses['loss'], {}


class _MeansOverSamples(HistoryBuffer):
    """Values that are means over their samples, as legacy models log them."""

    @classmethod
    def like(cls, history: HistoryBuffer | None) -> '_MeansOverSamples':
        """With the values of ``history`` so far."""
        return cls() if history is None else cls(*history.data, max_length=history.max_length)

    def mean(self, window_size: int | None = None) -> np.float64:
        """See :meth:`HistoryBuffer.weighted_mean`."""
        return self.weighted_mean(window_size)


def _checked(model: nn.Module, outputs: Any, needs_loss: bool) -> dict[str, Any]:
    """What a legacy ``train_step`` returned, its log variables as tensors.

    A plain dict with the loss in it: there DDP looks for the parameters that are unused.
    """
    if not isinstance(outputs, Mapping):
        raise TypeError(
            f'{type(model).__name__}.train_step returns a dict with loss, log_vars and '
            f'num_samples; got {type(outputs).__name__}.'
        )
    if needs_loss and not isinstance(outputs.get('loss'), Tensor):
        raise TypeError(
            f'{type(model).__name__}.train_step returned no tensor under loss (keys: '
            f'{sorted(outputs)}). A model that steps its optimizers itself needs '
            'steps_itself=True.'
        )
    log_vars = outputs.get('log_vars')
    loss = outputs.get('loss', torch.zeros(()))
    if log_vars is None:
        log_vars = {'loss': loss.detach()}
    values = {
        name: value if isinstance(value, Tensor) else torch.as_tensor(float(value))
        for name, value in log_vars.items()
    }
    return {'loss': loss, 'log_vars': values, 'num_samples': int(outputs.get('num_samples', 1))}


def _torch_optimizers(optim_wrapper: OptimWrapper | OptimWrapperDict) -> Any:
    if isinstance(optim_wrapper, OptimWrapperDict):
        return {name: wrapper.optimizer for name, wrapper in optim_wrapper.items()}
    return optim_wrapper.optimizer


def _is_container(value: Any) -> bool:
    return all(hasattr(value, name) for name in ('data', 'stack', 'cpu_only')) and not isinstance(
        value, Tensor
    )
