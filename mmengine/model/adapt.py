"""Modules of other libraries as models: what ``forward`` returns there, as losses and predictions.

``transformers`` models return an output with ``loss`` and ``logits``. ``timm`` models and plain
modules return logits, and the loss is a separate function.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mmengine.model.base_model import BaseModel
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError

Loss = Callable[[Any, Any], Any]


@MODELS.register_module()
class AdaptedModel(BaseModel):
    """Trains a module that was not written for this engine.

    A batch that is a dict is passed by name, a tuple by position. With ``loss`` the target is taken
    out of the batch first; without it the module is given the whole batch and computes the loss.

    Args:
        module: The module, or its config: ``dict(type='timm.create_model', model_name='resnet18')``
            or the import path of any class or function that returns a module.
        loss: ``loss(logits, target)``, a function, a module or its config; returns a tensor, or a
            dict of losses. The output of a module that has no logits is passed as it is.
        target: Where the target is in a batch: a key, or a position.
        data_preprocessor: See :class:`BaseModel`.
        init_cfg: See :class:`BaseModule`.

    Attributes:
        inner: The module.

    Example:
        >>> import torch
        >>> model = AdaptedModel(nn.Linear(2, 3), loss=nn.CrossEntropyLoss(), target=1)
        >>> batch = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
        >>> sorted(model(*batch, mode='predict')[0])
        ['preds', 'target']
    """

    def __init__(
        self,
        module: nn.Module | Mapping[str, Any],
        loss: Loss | Mapping[str, Any] | None = None,
        target: str | int | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.inner: nn.Module = _built(module)
        self.loss: Any = _built(loss)
        if loss is not None and target is None:
            raise ArgumentError(
                'AdaptedModel gives loss(logits, target) the target of the batch: pass '
                "target='labels', or its position in the batch."
            )
        self.target = target

    def forward(self, *args: Any, mode: str = 'tensor', **kwargs: Any) -> Any:  # type: ignore[override]  # takes the batch of any module
        """See :meth:`BaseModel.forward`.

        Returns:
            In mode 'predict' a dict a sample: ``preds``, its logits, and ``target`` where it is
            known. Metrics of torchmetrics take these as they are.
        """
        target, args, kwargs = self._split(args, kwargs)
        outputs = self.inner(*args, **kwargs)
        if mode == 'tensor':
            return outputs
        if mode == 'loss':
            own = self.loss
            loss = _entry(outputs, 'loss') if own is None else own(_or_all(outputs), target)
            if loss is None:
                raise ArgumentError(
                    f'{type(self.inner).__name__} returned no loss. Give it the labels in the '
                    "batch, or give AdaptedModel a loss=... and the batch's target=..."
                )
            return loss if isinstance(loss, Mapping) else {'loss': loss}
        logits = _logits(outputs)
        if target is None:
            return [{'preds': one} for one in logits]
        return [{'preds': one, 'target': label} for one, label in zip(logits, target, strict=True)]

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The target, and what the module is called with."""
        key = self.target
        if isinstance(key, str):
            target = kwargs.get(key)
            rest = kwargs if self.loss is None else {k: v for k, v in kwargs.items() if k != key}
            return target, args, rest
        if key is None or key >= len(args):  # a batch to predict on may have no target
            return None, args, kwargs
        rest_args = args if self.loss is None else (*args[:key], *args[key + 1 :])
        return args[key], rest_args, kwargs


def _built(part: Any) -> Any:
    """A part of a model from its config; an object as it is."""
    return MODELS.build(part) if isinstance(part, Mapping) else part


def adapt(module: nn.Module | Mapping[str, Any], **options: Any) -> AdaptedModel:
    """``module`` as a model that a run trains; see :class:`AdaptedModel` for the options."""
    return AdaptedModel(module, **options)


def _or_all(outputs: Any) -> Any:
    """The logits in ``outputs``, or all of it if a loss of the user has to find its way in it."""
    if isinstance(outputs, Tensor):
        return outputs
    logits = _entry(outputs, 'logits')
    return outputs if logits is None else logits


def _logits(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs
    logits = _entry(outputs, 'logits')
    if logits is None:
        raise ArgumentError(
            'A module is adapted when it returns a tensor of logits, or an output with `logits`; '
            f'got {type(outputs).__name__}.'
        )
    return logits


def _entry(outputs: Any, name: str) -> Any:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
