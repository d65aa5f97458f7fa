"""lr_find: a range test of the learning rate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmengine.dist import all_reduce, get_world_size
from mmengine.fileio._atomic import atomic_write
from mmengine.optim.optimizer.optimizer_wrapper_dict import OptimWrapperDict, wrappers_of
from mmengine.runner.utils import as_positive
from mmengine.tryout._untouched import TrialSteps, prepare, training_batches, untouched
from mmengine.utils.errors import ArgumentError, did_you_mean

_ROWS = 12
# No sooner is the test ended: first it has to be seen how batches differ.
_QUIET_STEPS = 10
# A loss has diverged when it is above its best by this many times the best, or their difference.
_DIVERGED = 3.0
# Neighbours count with the weights of a normal distribution of this share of the curve's length.
_WIDTH = 0.03
# A fall has to be this many times the noise of the smoothed curve.
_LEAST_FALL = 4.0


@dataclass
class LRFind:
    """The curve of a range test.

    Attributes:
        loss: Name of the loss.
        lrs: Learning rates of the steps: of the group with the largest one.
        losses: The loss before each of these steps.
        optimizers: By optimizer (``''`` for a single one), the factor from ``lrs`` to the ``lr``
            of its config.
        smoothed: The losses, each averaged with its neighbours.
        suggestion: The learning rate at which the smoothed loss falls most for each factor in the
            learning rate; None if it falls nowhere.
    """

    loss: str
    lrs: list[float]
    losses: list[float]
    optimizers: dict[str, float] = field(default_factory=lambda: {'': 1.0})
    smoothed: list[float] = field(init=False)
    suggestion: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.smoothed = smoothed_losses(self.losses)
        self.suggestion = steepest(self.lrs, self.losses)

    @property
    def settings(self) -> dict[str, float]:
        """The suggestion as keys of the config; empty if there is none."""
        if self.suggestion is None:
            return {}
        return {
            f'optim_wrapper.{name}.optimizer.lr'.replace('..', '.'): self.suggestion * factor
            for name, factor in self.optimizers.items()
        }

    def __str__(self) -> str:
        rows = [f'{"lr":>10}  {self.loss:>12}  {"smoothed":>12}']
        last = len(self.lrs) - 1
        shown = sorted({round(index * last / (_ROWS - 1)) for index in range(_ROWS)})
        if self.suggestion is not None:
            shown = sorted({*shown, self.lrs.index(self.suggestion)})
        for index in shown:
            mark = '  <- steepest' if self.lrs[index] == self.suggestion else ''
            rows.append(
                f'{self.lrs[index]:>10.3g}  {self.losses[index]:>12.5g}  '
                f'{self.smoothed[index]:>12.5g}{mark}'
            )
        if self.suggestion is None:
            rows.append(
                f'{self.loss} falls at none of these learning rates by more than batches differ.'
            )
        for key, value in self.settings.items():
            rows.append(f'Suggestion: {key}={value:.3g}')
        return '\n'.join(rows)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``lr_find.json``, and ``lr_find.png`` if matplotlib is installed.

        Returns:
            The files.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        values = {
            'loss': self.loss, 'lr': self.lrs, 'losses': self.losses, 'smoothed': self.smoothed,
            'suggestion': self.suggestion, 'settings': self.settings,
        }  # fmt: skip
        with atomic_write(target / 'lr_find.json', 'w', encoding='utf-8') as file:
            json.dump(values, file, indent=1)
        files = [target / 'lr_find.json']
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            return files
        self._draw(target / 'lr_find.png')
        return [*files, target / 'lr_find.png']

    def _draw(self, path: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout='constrained')
        FigureCanvasAgg(figure)
        axes: Any = figure.subplots()
        axes.plot(self.lrs, self.losses, color='0.7', label=self.loss)
        axes.plot(self.lrs, self.smoothed, label='smoothed')
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color='tab:red', label=f'steepest: {self.suggestion:.2g}')
        axes.set_xscale('log')
        # A loss that has diverged would flatten the rest.
        low, high = min(self.losses), max(self.smoothed)
        height = (high - low) or 1.0
        axes.set_ylim(low - 0.1 * height, high + 0.5 * height)
        axes.set_xlabel('learning rate')
        axes.set_ylabel(self.loss)
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_write(path) as file:
            figure.savefig(file, format='png')


def lr_find(
    runner: Any,
    *,
    min_lr: float = 1e-7,
    max_lr: float = 10.0,
    num_steps: int = 100,
    loss: str = 'loss',
) -> LRFind:
    """Find a learning rate by the range test of Smith (2015, arXiv:1506.01186).

    The learning rate grows by the same factor in each of ``num_steps`` optimizer steps on training
    batches, and the loss is noted, until it diverges. Groups and optimizers keep the ratios of
    their learning rates. Hooks and schedules do not act. Afterwards weights, buffers, optimizer
    state, messages and random state are what they were, to the bit: ``runner.train()`` gives what
    it would have given.

    Args:
        runner: A runner that is to train. It is prepared, and loads its checkpoint if it has one.
        min_lr: The first learning rate.
        max_lr: The last one.
        num_steps: Optimizer steps; each takes as many batches as gradients are accumulated over.
        loss: The entry in the result of ``train_step`` to follow.

    Raises:
        ArgumentError: If a number is out of range, or ``train_step`` does not return that loss.
    """
    if not 0 < min_lr < max_lr or not math.isfinite(max_lr):
        raise ArgumentError(f'lr_find needs 0 < min_lr < max_lr, got {min_lr} and {max_lr}.')
    num_steps = as_positive('num_steps', num_steps)
    if num_steps < 2:
        raise ArgumentError('lr_find needs at least 2 steps.')
    prepare(runner, 'lr_find')
    planned = [min_lr * (max_lr / min_lr) ** (i / (num_steps - 1)) for i in range(num_steps)]
    losses: list[float] = []
    with untouched(runner) as steps:
        groups = _Groups(steps.optim_wrapper)
        steps.begin(num_steps * steps.window)
        batches = training_batches(runner)
        try:
            for lr in planned:
                groups.set(lr)
                losses.append(_mean_loss(steps, batches, loss))
                if _has_diverged(losses):
                    break
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator
    known = [pair for pair in zip(planned, losses, strict=False) if math.isfinite(pair[1])]
    if len(known) < 2:
        raise ArgumentError(
            f'The loss is not finite after {len(known)} steps from learning rate {min_lr:g} on: '
            'look at the data and the model, or lower min_lr.'
        )
    return LRFind(
        loss, [lr for lr, _ in known], [value for _, value in known], groups.factors_to_config
    )


def smoothed_losses(losses: Sequence[float]) -> list[float]:
    """Losses averaged with their neighbours.

    A loss above all of the first steps counts as the highest of these, or what comes after the
    lowest point would hide it.
    """
    values = np.asarray(losses, dtype=np.float64)
    values = np.minimum(values, values[: _quiet_steps(losses)].max())
    index = np.arange(len(values))
    distance = (index[:, None] - index[None, :]) / max(1.0, _WIDTH * len(values))
    weights = np.exp(-0.5 * distance**2)
    return [float(value) for value in weights @ values / weights.sum(axis=1)]


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float | None:
    """Where the smoothed loss falls most over the logarithm of the learning rate.

    Only its last fall counts, from the level of the first steps to the lowest point: before that,
    batches differ. None if it falls by little more than they do.
    """
    smoothed = np.asarray(smoothed_losses(losses))
    quiet = smoothed[: _quiet_steps(losses)]
    level, noise = float(quiet.mean()), float(quiet.std())
    lowest = int(np.argmin(smoothed))
    if lowest == 0 or smoothed[lowest] >= level - _LEAST_FALL * noise:
        return None
    high = np.flatnonzero(smoothed[: lowest + 1] >= level - noise)
    start = int(high[-1]) if len(high) else 0
    slopes = np.gradient(smoothed, np.log(np.asarray(lrs)))[start : lowest + 1]
    best = int(np.argmin(slopes))
    return float(lrs[start + best]) if slopes[best] < 0 else None


def _quiet_steps(losses: Sequence[float]) -> int:
    """The steps whose learning rates are too small to matter: a fifth of them."""
    return max(2, len(losses) // 5)


def _has_diverged(losses: Sequence[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    best = min(losses)
    highest = best + _DIVERGED * max(abs(best), max(losses[:_QUIET_STEPS]) - best)
    return len(losses) > _QUIET_STEPS and min(losses[-3:]) > highest


def _mean_loss(steps: TrialSteps, batches: Any, name: str) -> float:
    """The loss of one optimizer step, averaged over its batches and ranks."""
    values = []
    for _ in range(steps.window):
        outputs = steps.take(next(batches))
        value = outputs.get(name)
        if not isinstance(value, Tensor) or value.numel() != 1:
            losses = [key for key in outputs if 'loss' in key]
            raise ArgumentError(
                f'The training step returned no value {name!r} to follow, but {", ".join(outputs)}.'
                f'{did_you_mean(name, losses)} Name the loss: --lr-find LOSS, or loss=...'
            )
        values.append(value.detach().float().reshape(()))
    mean = torch.stack(values).mean()
    if get_world_size() > 1:
        all_reduce(mean, op='mean')
    return float(mean)


class _Groups:
    """The parameter groups of all optimizers, which keep the ratios of their learning rates."""

    def __init__(self, optim_wrapper: Any) -> None:
        self._groups = [
            group for wrapper in wrappers_of(optim_wrapper) for group in wrapper.param_groups
        ]
        if any(group.get('lr') is None for group in self._groups):
            raise ArgumentError('lr_find changes lr, but an optimizer has a group without it.')
        # Schedules have changed `lr` already, and remember what it was.
        present = [float(group.get('initial_lr', group['lr'])) for group in self._groups]
        self._largest = max(present, default=0.0)
        largest = self._largest or 1.0
        self._shares = [each / largest if self._largest else 1.0 for each in present]
        named: Mapping[str, Any] = {'': optim_wrapper}
        if isinstance(optim_wrapper, OptimWrapperDict):
            named = dict(optim_wrapper.items())
        self.factors_to_config = {
            name: float(wrapper.defaults.get('lr', largest)) / largest if self._largest else 1.0
            for name, wrapper in named.items()
        }

    def set(self, lr: float) -> None:
        """Let the largest learning rate be ``lr``."""
        for group, share in zip(self._groups, self._shares, strict=True):
            if isinstance(group['lr'], Tensor):
                group['lr'].fill_(lr * share)
            else:
                group['lr'] = lr * share
