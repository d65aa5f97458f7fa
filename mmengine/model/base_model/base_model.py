"""BaseModel: adds training, validation and test steps to the ``forward`` of a network."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.compiler import is_compiling

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.model.base_model._device_methods import AcceleratorMoves
from mmengine.model.base_model._forward_errors import describe_misfit, unusable_batch
from mmengine.model.base_model._refused_values import refused_value
from mmengine.model.base_model.data_preprocessor import BaseDataPreprocessor
from mmengine.model.base_module import BaseModule
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


def forward_batch(model: nn.Module, data: Any, mode: str) -> Any:
    """Call ``model(**data, mode=mode)`` for a dict, ``model(*data, mode=mode)`` for a sequence.

    Args:
        model: The model or its distributed wrapper.
        data: The batch that the data preprocessor returned.
        mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

    Raises:
        TypeError: If the batch has another type, or ``forward`` does not accept it.
        RefusedValueError: If a loss or an embedding of torch refuses a value of the batch.
    """
    try:
        if isinstance(data, (dict, Mapping)):
            return model(**data, mode=mode)
        if isinstance(data, (list, tuple)):
            return model(*data, mode=mode)
    except TypeError as error:
        # The signature is inspected only after a call has failed.
        misfit = describe_misfit(unwrap_model(model), data, mode)
        if misfit is None:
            raise
        raise TypeError(misfit) from error
    except (IndexError, RuntimeError, ValueError) as error:
        refused = refused_value(unwrap_model(model), error)
        if refused is None:
            raise
        raise refused from error
    raise TypeError(unusable_batch(unwrap_model(model), data))


class BaseModel(AcceleratorMoves, BaseModule):
    """Base class of models that a Runner trains. Implement ``forward``; the steps below call it.

    A training step is::

        data = data_preprocessor(data, training=True)
        with optim_wrapper.optim_context(model):
            losses = model(**data, mode='loss')        # *data when the batch is a list or tuple
        loss, log_vars = model.parse_losses(losses)
        optim_wrapper.update_params(loss)

    A step reads no value back from the device: logged values stay tensors.

    Args:
        data_preprocessor: A module called as ``data_preprocessor(data, training)`` before
            ``forward``, or the config of one in ``MODELS``. None moves the batch to the model's
            device and does nothing else.
        init_cfg: Config of the weight initialisation, see :class:`BaseModule`.

    Raises:
        TypeError: If ``data_preprocessor`` is not a module, a config or None.
    """

    def __init__(
        self,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = _as_preprocessor(data_preprocessor)

    @abstractmethod
    def forward(
        self, inputs: Tensor, data_samples: list[Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Compute losses, predictions or raw outputs of a batch, selected by ``mode``.

        Args:
            inputs: Inputs of the batch, after the data preprocessor.
            data_samples: Annotations of the batch.
            mode: ``'loss'`` returns a dict of losses (tensors or lists of tensors), ``'predict'``
                a list of predictions for the evaluator, ``'tensor'`` the raw output of the network.
        """

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: 'OptimWrapper'
    ) -> dict[str, Tensor]:
        """Update the parameters from one batch.

        Override this method for a custom training step. With several optimizers,
        ``optim_wrapper`` is an ``OptimWrapperDict``.

        Args:
            data: A batch from the dataloader.
            optim_wrapper: Updates the parameters.

        Returns:
            Values to log, as tensors on their device; the total is the first entry, ``loss``.

        Raises:
            TypeError: If ``forward`` does not accept the batch, or returns losses that are not
                tensors.
            ValueError: If no key of the losses contains "loss".
        """
        data = self.data_preprocessor(data, True)
        if getattr(optim_wrapper, 'needs_closure', False):
            return self._minimise(data, optim_wrapper)
        with optim_wrapper.optim_context(self):
            losses = self._run_forward(data, mode='loss')
        loss, log_vars = self.parse_losses(losses)
        if isinstance(loss, int):
            raise nothing_to_minimise(self, losses)
        optim_wrapper.update_params(loss)
        return log_vars

    def _minimise(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """A step of an optimizer that evaluates the loss several times; logs the first one."""
        first: dict[str, Tensor] = {}

        def evaluate() -> Tensor:
            with optim_wrapper.optim_context(self):
                losses = self._run_forward(data, mode='loss')
            loss, log_vars = self.parse_losses(losses)
            if isinstance(loss, int):
                raise nothing_to_minimise(self, losses)
            if not first:
                first.update({name: value.detach() for name, value in log_vars.items()})
            return loss

        optim_wrapper.minimise(evaluate)
        return first

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The predictions for one validation batch: ``forward(..., mode='predict')``."""
        return self._run_forward(self.data_preprocessor(data, False), mode='predict')  # type: ignore[no-any-return]  # the user's forward

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The predictions for one test batch: ``forward(..., mode='predict')``."""
        return self._run_forward(self.data_preprocessor(data, False), mode='predict')  # type: ignore[no-any-return]  # the user's forward

    def parse_losses(
        self, losses: dict[str, Tensor | list[Tensor]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reduce the losses to the total loss and the values to log.

        Every entry becomes a 0-d tensor: the mean of a tensor, or the sum of the means of a list of
        tensors. The total is the sum of the entries whose key contains "loss"; other entries (such
        as accuracies) are only logged.

        Args:
            losses: The result of ``forward(..., mode='loss')``.

        Returns:
            The total, and the values to log by name; the total is the first entry, ``loss``. If
            ``losses`` has an entry ``loss``, the log keeps the value of that entry, and the total
            of several losses is ``engine_loss``. Without any loss the total is 0.

        Raises:
            TypeError: If an entry is neither a tensor nor a list of tensors; the message has its
                key.
        """
        if not isinstance(losses, (dict, Mapping)):
            raise TypeError(
                f"{type(self).__name__}.forward(mode='loss') must return a dict of losses, such as "
                f'dict(loss=loss), got {type(losses).__name__}.'
            )
        total: Tensor | None = None
        log_vars: dict[str, Any] = OrderedDict(loss=0)
        live = []
        for name, value in losses.items():
            if not isinstance(value, Tensor):
                reduced = _sum_of_means(name, value)
                if len(value) == 1:
                    live.append(name)
            elif value.dim():
                reduced = value.mean()
            else:
                reduced = value
                # The compiler follows neither views nor versions.
                if value.is_leaf or (not is_compiling() and (value._is_view() or value._version)):
                    live.append(name)
            log_vars[name] = reduced
            if 'loss' in name:
                total = reduced if total is None else total + reduced
        if total is None:
            return 0, log_vars  # type: ignore[return-value]  # nothing to minimise; train_step raises an error
        if 'loss' not in losses:
            log_vars['loss'] = total
        elif total is not log_vars['loss']:
            log_vars.setdefault('engine_loss', total)
        # These may share memory with a parameter or a buffer, which the optimizer step changes.
        for name in live:
            log_vars[name] = log_vars[name].clone()
        return total, log_vars

    # This assigns the function itself: a method that calls it would add a frame to every step.
    _run_forward = forward_batch


def nothing_to_minimise(model: nn.Module, losses: Mapping[str, Any]) -> ArgumentError:
    """The error to raise if no entry of ``losses`` is a loss."""
    return ArgumentError(
        f"{type(model).__name__}.forward(mode='loss') returned nothing to minimise: the total is "
        f"the sum of entries whose key contains 'loss', but none of {list(losses)} does. Rename "
        'the key of the loss, for example to "loss_cls".'
    )


def _as_preprocessor(data_preprocessor: dict[str, Any] | nn.Module | None) -> nn.Module:
    if data_preprocessor is None:
        return BaseDataPreprocessor()
    if isinstance(data_preprocessor, nn.Module):
        return data_preprocessor
    if isinstance(data_preprocessor, dict):
        return MODELS.build(data_preprocessor)
    raise TypeError(
        'data_preprocessor must be a config (dict with `type`), a torch.nn.Module or None, got '
        f'{type(data_preprocessor).__name__}.'
    )


def _sum_of_means(name: str, values: Sequence[Tensor]) -> Any:
    """The sum of the means of ``values``; 0 if there are none (a level without targets)."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f'The loss entry {name!r} must be a tensor or a list of tensors, got '
            f'{type(values).__name__} ({_shortened(values)}). Only tensors can be differentiated '
            'and logged without waiting for the device.'
        )
    total: Any = None
    for index, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(
                f'The loss entry {name!r} must be a list of tensors, but element {index} is a '
                f'{type(value).__name__} ({_shortened(value)}).'
            )
        reduced = value.mean() if value.dim() else value
        total = reduced if total is None else total + reduced
    return 0 if total is None else total


def _shortened(value: object, limit: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + '...'
