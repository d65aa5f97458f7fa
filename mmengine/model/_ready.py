"""Models that are ready to train: any module with a loss, for the usual kinds of data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, softplus

from mmengine.model.adapt import AdaptedModel, Loss, _logits, built_loss, built_module
from mmengine.model.base_model.base_model import BaseModel
from mmengine.model.base_model.data_preprocessor import BaseDataPreprocessor
from mmengine.utils.errors import ArgumentError

TARGETS = ('target', 'targets', 'label', 'labels', 'gt_label', 'y')
"""Where the target of a batch is, in the order in which they are looked for."""


class _ReadyModel(AdaptedModel):
    """What the ready models share: their loss, and where the target of a batch is."""

    default_collate_fn = 'default_collate'
    """The ``collate_fn`` of dataloader configs of a run that have none."""

    def __init__(
        self,
        module: nn.Module | Mapping[str, Any],
        loss: Loss | Mapping[str, Any] | None = None,
        target: str | int | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(module, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.loss = self._usual_loss if loss is None else built_loss(loss, type(self))
        self.target = target
        # Whether the module has an argument of a name; read once for each name.
        self._takes: dict[str, bool] = {}

    @staticmethod
    def _usual_loss(outputs: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, *args: Any, mode: str = 'tensor', **kwargs: Any) -> Any:
        """See :meth:`AdaptedModel.forward`; a batch without a target can be predicted."""
        if mode == 'loss' and self._place_of_target(args, kwargs) is None:
            had = f'the keys {list(kwargs)}' if kwargs else f'{len(args)} values'
            raise ArgumentError(
                f'{type(self).__name__} needs the target in the batch: a pair (inputs, target), or '
                f'a key named {", ".join(TARGETS[:4])}; got {had}. Another name is given by '
                "target='name'."
            )
        return super().forward(*args, mode=mode, **kwargs)

    def _split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        key = self._place_of_target(args, kwargs)
        target = None
        if isinstance(key, str):
            target = kwargs[key]
            kwargs = {name: value for name, value in kwargs.items() if name != key}
        elif key is not None:
            target, args = args[key], (*args[:key], *args[key + 1 :])
        if len(kwargs) == 1 and not args:
            ((name, value),) = kwargs.items()
            if not self._has_argument(name):
                return target, (value,), {}
        return target, args, kwargs

    def _has_argument(self, name: str) -> bool:
        known = self._takes.get(name)
        if known is None:
            parameters = inspect.signature(self.inner.forward).parameters
            takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            known = self._takes[name] = takes_any or name in parameters
        return known

    def _place_of_target(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | int | None:
        if self.target is not None:
            is_there = self.target in kwargs if isinstance(self.target, str) else bool(args)
            return self.target if is_there else None
        named = next((name for name in TARGETS if name in kwargs), None)
        if named is not None:
            return named
        return len(args) - 1 if len(args) > 1 else None


class Classifier(_ReadyModel):
    """Trains a module that returns logits, with the cross entropy.

    A batch is a pair (inputs, target), or a dict in which the target is called ``target``,
    ``label`` or ``labels``. The module gets the rest of the batch by position or by name; a single
    value goes by position if the module has no argument of its name.

    Args:
        module: The module, or its config:
            ``dict(type='torchvision.models.resnet18', num_classes=10)``.
        loss: ``loss(logits, target)``, a function, a module or its config.
        target: Where the target is in a batch, if it has another name or position.
        data_preprocessor: See :class:`BaseModel`.
        init_cfg: See :class:`BaseModule`.

    Example:
        >>> import torch
        >>> model = Classifier(nn.Linear(2, 3))
        >>> batch = (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
        >>> list(model(*batch, mode='loss'))
        ['loss']
        >>> sorted(model(*batch, mode='predict')[0])
        ['preds', 'target']
    """

    @staticmethod
    def _usual_loss(outputs: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(outputs, target)


class Regressor(_ReadyModel):
    """Trains a module that returns numbers, with the mean squared error.

    See :class:`Classifier` for batches and arguments. Outputs of shape (N, 1) fit targets of shape
    (N,).
    """

    @staticmethod
    def _usual_loss(outputs: Tensor, target: Tensor) -> Tensor:
        if outputs.shape != target.shape and outputs.numel() == target.numel():
            outputs = outputs.reshape(target.shape)
        if outputs.shape != target.shape:
            raise ArgumentError(
                f'The outputs of the module have the shape {tuple(outputs.shape)}, the targets '
                f'{tuple(target.shape)}.'
            )
        return mse_loss(outputs, target.to(outputs.dtype))


class LanguageModel(AdaptedModel):
    """Trains a module to predict the next token of a text, with the cross entropy.

    A sample is a tensor of tokens, or a dict with ``input_ids``. The module gets all tokens but the
    last one, and returns logits of shape (N, length, number of tokens), or an output with
    ``logits`` as models of ``transformers`` do. Tokens that ``labels`` of a dict set to -100 are
    not learned.

    Args:
        module: The module, or its config.
        data_preprocessor: See :class:`BaseModel`.
        init_cfg: See :class:`BaseModule`.

    Example:
        >>> import torch
        >>> model = LanguageModel(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10)))
        >>> tokens = torch.randint(10, (2, 8))
        >>> model(tokens, mode='predict')[0]['preds'].shape
        torch.Size([7, 10])
    """

    default_collate_fn = 'default_collate'

    def __init__(
        self,
        module: nn.Module | Mapping[str, Any],
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if data_preprocessor is None:
            data_preprocessor = _NamingPreprocessor('input_ids')
        super().__init__(module, data_preprocessor=data_preprocessor, init_cfg=init_cfg)

    def forward(  # type: ignore[override]  # takes the batch by its names
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        mode: str = 'tensor',
        **kwargs: Any,
    ) -> Any:
        """The loss, a dict of ``preds`` and ``target`` for each text, or the module's output.

        Args:
            input_ids: Tokens, of shape (N, length).
            labels: What is to be predicted, if not ``input_ids``; in the same places.
            mode: See :meth:`BaseModel.forward`.
            kwargs: More values of the batch of that shape, such as ``attention_mask``; the module
                gets them.
        """
        if mode == 'tensor':
            return self.inner(input_ids, **kwargs)
        target = (input_ids if labels is None else labels)[:, 1:]
        rest = {name: value[:, :-1] for name, value in kwargs.items()}
        logits = _logits(self.inner(input_ids[:, :-1], **rest))
        if mode == 'loss':
            return {'loss': cross_entropy(logits.flatten(0, 1), target.flatten())}
        return [{'preds': p, 'target': t} for p, t in zip(logits, target, strict=True)]


class GAN(BaseModel):
    """Trains a generator against a discriminator, with the non-saturating loss.

    Each batch first trains the discriminator, then the generator through the discriminator, whose
    parameters rest meanwhile. A run gives each network its optimizer::

        optim_wrapper = dict(generator=dict(optimizer=...), discriminator=dict(optimizer=...))

    A sample is a tensor, a tuple that begins with one, or a dict with ``inputs``.

    The loss is from Goodfellow et al. 2014, arXiv:1406.2661. Override
    :meth:`discriminator_loss` and :meth:`generator_loss` for another one.

    Args:
        generator: Makes samples from a batch of noise; a module or its config.
        discriminator: Returns a score for each sample, high for a real one; a module or its config.
        noise: Shape of the noise for one sample.
        data_preprocessor: See :class:`BaseModel`.
        init_cfg: See :class:`BaseModule`.

    Example:
        >>> import torch
        >>> model = GAN(nn.Linear(8, 2), nn.Linear(2, 1), noise=8)
        >>> sorted(model(torch.zeros(4, 2), mode='loss'))
        ['loss_discriminator', 'loss_generator']
    """

    default_collate_fn = 'default_collate'
    default_model_wrapper = 'MMSeparateDistributedDataParallel'
    """The wrapper on several ranks where none is chosen: each network is called by itself."""

    def __init__(
        self,
        generator: nn.Module | Mapping[str, Any],
        discriminator: nn.Module | Mapping[str, Any],
        noise: int | Sequence[int],
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if data_preprocessor is None:
            data_preprocessor = _NamingPreprocessor('inputs')
        super().__init__(data_preprocessor, init_cfg)
        self.generator: Any = built_module(generator, 'generator', type(self))
        self.discriminator: Any = built_module(discriminator, 'discriminator', type(self))
        self.noise = (noise,) if isinstance(noise, int) else tuple(noise)

    def forward(self, inputs: Tensor, *rest: Any, mode: str = 'tensor', **kwargs: Any) -> Any:  # type: ignore[override]  # takes any batch that begins with the samples
        """Made samples, as many as ``inputs``: one tensor ('tensor') or dicts with ``preds``.

        In mode 'loss' the losses of both networks, for a validation with ``compute_loss``.
        """
        made = self.make(inputs)
        if mode == 'loss':
            real_scores, scores = self.discriminator(inputs), self.discriminator(made)
            return {
                'loss_discriminator': self.discriminator_loss(real_scores, scores),
                'loss_generator': self.generator_loss(scores),
            }
        return [{'preds': one} for one in made] if mode == 'predict' else made

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """One update of each network."""
        data = self.data_preprocessor(data, True)
        real = data['inputs'] if isinstance(data, Mapping) else data[0]
        wrapper = optim_wrapper['discriminator']
        with wrapper.optim_context(self.discriminator):
            with torch.no_grad():
                made = self.make(real)
            loss_discriminator = self.discriminator_loss(
                self.discriminator(real), self.discriminator(made)
            )
        wrapper.update_params(loss_discriminator)
        resting = [p for p in self.discriminator.parameters() if p.requires_grad]
        for parameter in resting:
            parameter.requires_grad_(False)
        wrapper = optim_wrapper['generator']
        with wrapper.optim_context(self.generator):
            loss_generator = self.generator_loss(self.discriminator(self.make(real)))
        wrapper.update_params(loss_generator)
        for parameter in resting:
            parameter.requires_grad_(True)
        return {'loss_discriminator': loss_discriminator, 'loss_generator': loss_generator}

    def make(self, like: Tensor) -> Any:
        """As many made samples as ``like`` has, on its device."""
        return self.generator(torch.randn(like.shape[0], *self.noise, device=like.device))

    def discriminator_loss(self, real_scores: Tensor, made_scores: Tensor) -> Tensor:
        """What the discriminator minimises."""
        return softplus(-real_scores).mean() + softplus(made_scores).mean()

    def generator_loss(self, made_scores: Tensor) -> Tensor:
        """What the generator minimises."""
        return softplus(-made_scores).mean()


class _NamingPreprocessor(BaseDataPreprocessor):
    """Gives a batch that is a single tensor the name that the model has for it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, data: Any, training: bool = False) -> Any:
        """Move the batch to the device of the model."""
        moved = self.cast_data(data)
        return {self._name: moved} if isinstance(moved, Tensor) else moved
