"""Modules of other libraries as models: what ``forward`` returns there, as losses and predictions.

``transformers`` models return an output with ``loss`` and ``logits``. ``timm`` models and plain
modules return logits, and the loss is a separate function.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mmengine.model.base_model import BaseModel
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean, short_form

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
        self.inner: nn.Module = built_module(module, 'module', type(self))
        self.loss: Any = None if loss is None else built_loss(loss, type(self))
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
        if mode == 'loss' and target is None and self.loss is not None:
            raise ArgumentError(self._without_target(args, kwargs))
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

    def _without_target(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The message for a batch that has no target where it is looked for."""
        had = f'the keys {list(kwargs)}' if kwargs else f'{len(args)} values'
        near = did_you_mean(self.target, kwargs) if isinstance(self.target, str) else ''
        return (
            f'{type(self).__name__} has target={self.target!r}, and its batch has {had}.{near} '
            "target is the batch's key of the target, or its position."
        )

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


def built_module(part: Any, name: str, owner: type) -> Any:
    """The module of a model from its config; a module as it is.

    Args:
        part: The argument.
        name: Its name, for the message.
        owner: The class of the model.

    Raises:
        ArgumentTypeError: If it is something else, or its config builds something else.
    """
    built = MODELS.build(part) if isinstance(part, Mapping) else part
    if isinstance(built, nn.Module):
        return built
    raise ArgumentTypeError(
        f'{owner.__name__} takes {name} as a torch.nn.Module or its config, such as '
        f"{name}=dict(type='torch.nn.Linear', ...); {_got(part, built)}."
    )


def built_loss(loss: Any, owner: type) -> Any:
    """A loss from its config; a function or module as it is.

    Raises:
        ArgumentTypeError: If it cannot be called.
    """
    built = MODELS.build(loss) if isinstance(loss, Mapping) else loss
    if callable(built) and not isinstance(built, type):
        return built
    raise ArgumentTypeError(
        f'{owner.__name__} takes loss as a function, a module or its config, such as '
        f"loss=dict(type='torch.nn.CrossEntropyLoss'); {_got(loss, built)}."
    )


def _got(part: Any, built: Any) -> str:
    if isinstance(part, Mapping):
        return f'this one builds {short_form(built)}'
    return f'got {short_form(part)}'


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
