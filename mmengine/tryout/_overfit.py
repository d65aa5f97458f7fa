"""overfit: train on the same few batches, whose loss goes near zero if all works."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mmengine.dataset._dataloader import num_batches, set_epoch
from mmengine.hooks import Hook
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.utils import as_positive
from mmengine.utils._quantities import counted
from mmengine.utils.errors import ArgumentError

# A loss that came down to this share of its start, or to this value, is near zero.
_SHARE = 0.01
_VALUE = 1e-3


class RepeatedBatches:
    """The first batches of a dataloader, loaded once and given again in every pass.

    Shuffling and augmentation have no effect after the first pass. A batch is copied each time,
    because a model may change it.

    Args:
        dataloader: Where the batches come from.
        limit: How many of them.
    """

    is_limited = True

    def __init__(self, dataloader: Any, limit: int) -> None:
        self._dataloader = dataloader
        self._limit = limit
        self._batches: list[Any] | None = None
        self.dataset = getattr(dataloader, 'dataset', None)
        self.batch_size = getattr(dataloader, 'batch_size', None)

    def __len__(self) -> int:
        length = num_batches(self._dataloader) if self._batches is None else len(self._batches)
        return len(self._loaded()) if length is None else min(self._limit, length)

    def __iter__(self) -> Iterator[Any]:
        return (copy.deepcopy(batch) for batch in self._loaded())

    def _loaded(self) -> list[Any]:
        if self._batches is None:
            set_epoch(self._dataloader, 0)
            self._batches = list(itertools.islice(iter(self._dataloader), self._limit))
        return self._batches


class Overfit(Hook):
    """Follows the losses of a training on few batches; as text it says what became of them.

    Attributes:
        num_batches: Batches of each epoch.
        num_iters: Iterations so far.
        notes: Remarks for the reader.
    """

    priority = 'LOWEST'

    def __init__(self, num_batches: int, notes: list[str]) -> None:
        self.num_batches = num_batches
        self.num_iters = 0
        self.notes = notes
        self._first: list[dict[str, Tensor]] = []
        self._last: deque[dict[str, Tensor]] = deque(maxlen=num_batches)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep the losses of the first pass and of the last, on their device."""
        losses = {
            name: value.detach().float().mean()
            for name, value in (outputs if isinstance(outputs, dict) else {}).items()
            if 'loss' in name and isinstance(value, Tensor)
        }
        if self.num_iters < self.num_batches:
            self._first.append(losses)
        self._last.append(losses)
        self.num_iters += 1

    @property
    def losses(self) -> dict[str, tuple[float, float]]:
        """Of each loss its mean in the first pass over the batches and in the last one."""
        names = self._first[0] if self._first else {}
        if 'loss' in names:
            names = {'loss': names['loss']}
        return {name: (_mean(self._first, name), _mean(self._last, name)) for name in names}

    @property
    def is_near_zero(self) -> bool:
        """Whether every loss came down to 1 % of its start, or below 0.001."""
        losses = self.losses.values()
        return bool(losses) and all(last <= max(_SHARE * first, _VALUE) for first, last in losses)

    def __str__(self) -> str:
        what, length = counted(self.num_batches, 'batch'), counted(self.num_iters, 'iteration')
        lines = [f'Overfitted {what} in {length}.']
        lines += [
            f'{name} went from {first:.4g} to {last:.4g}'
            for name, (first, last) in self.losses.items()
        ]
        if not self.losses:
            lines.append('The training step returned no loss to follow.')
        elif self.is_near_zero:
            lines.append('It went to near zero: model, loss and optimizer can learn this data.')
        else:
            lines.append(
                'It did not go to near zero. If it still falls, train longer; else look at the '
                'learning rate, at frozen parameters, at dropout and other randomness in the '
                'model, at labels that do not belong to their inputs, and at losses with another '
                'lowest value, such as label smoothing or the losses of a GAN.'
            )
        return '\n'.join([*lines, *self.notes])


def overfit(runner: Any, num_batches: int = 1) -> Overfit:
    """Let ``runner`` train on the same few batches in every epoch, and validate on them.

    Batches are loaded once, so neither shuffling nor the augmentation of samples changes them;
    dropout and augmentation in the data preprocessor stay. Call it before ``runner.train()``; the
    result, as text, then says whether the loss went to near zero.

    Args:
        runner: A runner that has not trained yet.
        num_batches: How many batches, on each rank.

    Raises:
        ArgumentError: If ``num_batches`` is not a positive integer, or the runner has nothing to
            train.

    Example:
        >>> runner = Runner.from_cfg(cfg)  # doctest: +SKIP
        >>> result = overfit(runner, 4)  # doctest: +SKIP
        >>> runner.train()  # doctest: +SKIP
        >>> print(result)  # doctest: +SKIP
    """
    num_batches = as_positive('num_batches', num_batches)
    if runner._train_loop is None:
        raise ArgumentError('overfit trains, but the runner was made without train_cfg.')
    loop = runner.train_loop
    batches = RepeatedBatches(loop.dataloader, num_batches)
    loop.dataloader = batches
    notes = []
    evaluation = runner.val_loop
    if isinstance(evaluation, BaseLoop):
        parts = getattr(evaluation, 'parts', [])
        if len(parts) > 1:
            notes.append(
                f'Validation used the evaluator of {parts[0].name!r}, the first of {len(parts)}.'
            )
            del parts[1:]
        evaluation.dataloader = batches  # type: ignore[assignment]  # all that a loop needs
    hook = Overfit(min(num_batches, len(batches)), notes)
    runner.register_hook(hook)
    return hook


def _mean(losses: Any, name: str) -> float:
    return float(torch.stack([each[name] for each in losses if name in each]).mean())
