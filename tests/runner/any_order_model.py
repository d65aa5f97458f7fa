"""What must be true of a run, in plain torch and plain Python: the model that a Runner is held to.

:class:`PlainRun` goes through the points of a run in their order, without anything of the engine. A
:class:`Trap` springs at one of the points, in the Runner and in the plain run alike.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

LR, MOMENTUM, EMA_MOMENTUM = 0.1, 0.5, 0.25
WARMUP_ITERS, WARMUP_START, EPOCH_GAMMA = 5, 0.5, 0.5
START = [0.5, 0.0]
SAMPLES, EVAL_SAMPLES, KEEP = 5, 3, 2
NEVER = 'never'


class Boom(Exception):
    """What a trap raises."""


@dataclass
class Trap:
    """Acts once: when ``point`` was passed ``skip`` times and comes again."""

    point: str = NEVER
    skip: int = 0
    action: Callable[[], None] = lambda: None

    def pass_by(self, point: str) -> None:
        if point != self.point:
            return
        self.skip -= 1
        if self.skip < 0:
            self.point = NEVER
            self.action()


def explode() -> None:
    raise Boom


def points(samples: list[int]) -> tuple[Tensor, Tensor]:
    """The samples of the toy's line with these indices."""
    x = torch.tensor(samples, dtype=torch.float32) / 10
    return x, 2 * x + 1


def error_of(weights: Tensor, samples: list[int]) -> float:
    """Mean absolute error of weight and bias."""
    x, y = points(samples)
    return float((weights[0] * x + weights[1] - y).abs().mean())


def batches_of(num_samples: int, first: int = 0) -> list[list[int]]:
    """Batches of two, in order, from sample ``first`` on."""
    return [list(range(i, min(i + 2, num_samples))) for i in range(first, num_samples, 2)]


@dataclass(frozen=True)
class Place:
    """Where a training is in a pass over its data.

    ``batch`` batches were finished, and ``seen`` samples. Batches are numbered so that the last one
    of a pass has its usual number, also in a pass that a resumed run begins at an odd sample. Of a
    dataset that was assigned since, ``batch`` batches are left out.
    """

    batch: int = 0
    seen: int = 0
    samples: int = SAMPLES

    @property
    def is_over(self) -> bool:
        return self.batch >= len(batches_of(self.samples))

    @property
    def rest(self) -> list[list[int]]:
        """The batches that are left."""
        return batches_of(self.samples, self.seen)

    def after_one(self) -> Place:
        """One batch later; after the last batch the next one is the first of another pass."""
        begun = Place(samples=self.samples) if self.is_over else self
        return replace(begun, batch=begun.batch + 1, seen=begun.seen + len(begun.rest[0]))

    def with_data(self, samples: int, batch: int) -> Place:
        """With another dataset in the same run, ``batch`` batches of which count as seen."""
        return Place(batch, min(2 * batch, samples), samples)

    def resumed_with(self, samples: int) -> Place:
        """In a run that is resumed with ``samples`` samples: those that were seen are left out."""
        total = len(batches_of(samples))
        if samples == self.samples:
            return self
        if self.is_over:
            return Place(total, samples, samples)
        if self.seen >= samples:
            return Place(total, self.seen, samples)
        return Place(total - len(batches_of(samples, self.seen)), self.seen, samples)


@dataclass(frozen=True)
class Settings:
    """How a run is set up; ``length`` counts epochs or iterations."""

    by_epoch: bool
    length: int
    accumulation: int
    ema: bool
    schedule: bool

    @property
    def interval(self) -> int:
        """Epochs or iterations between two validations, and between two checkpoints."""
        return 1 if self.by_epoch else 2


@dataclass
class Training:
    """What a checkpoint holds."""

    weights: Tensor
    average: Tensor | None = None
    epoch: int = 0
    iter: int = 0
    place: Place = Place()
    buffer: Tensor | None = None
    lr: float = LR
    base_lr: float = LR
    iter_steps: int = 0
    epoch_steps: int = 0
    gradients: list[Tensor] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    owes_validation: bool = False
    is_whole: bool = False
    """Whether optimizer and schedules are there, and belong to the model."""
    has_schedule: bool = False
    kept: list[int] = field(default_factory=list)
    ended: int | None = None
    """The length of the run that had stopped early here."""

    @property
    def shown(self) -> Tensor:
        """The weights that are validated, and that a reader of the checkpoint gets."""
        return self.weights if self.average is None else self.average


class PlainRun:
    """The run of one Runner, and the files that it writes."""

    def __init__(self, settings: Settings, files: dict[str, Training]) -> None:
        self.settings = settings
        self.now = Training(torch.tensor(START), has_schedule=settings.schedule)
        self.files = files
        self.newest: str | None = None
        self.trap = Trap()
        # Where the file was that was resumed, until a batch was taken since.
        self.resumed_place: Place | None = None
        self.stops = False
        # The iteration of the last file that was resumed, and whether the run had ended there.
        self.resumed_iter: int | None = None
        self.resumed_ended: int | None = None
        self.is_saved = False
        # The file that the hook of this run wrote last, since a file was resumed.
        self.own_file: str | None = None
        self.of_this_moment: tuple[int, str] | None = None
        self.is_counted_ahead = False
        self.is_training = False
        self.validations: list[tuple[int, int, float]] = []
        self.extra_hooks: list[int] = []
        self.written: set[str] = set()
        self._max_iters: int | None = None

    # Between stages

    def assign_model(self, weights: Tensor) -> None:
        self.now.weights, self.now.average = weights.clone(), None
        self.now.is_whole = False
        self._optimizer_fits = False

    _optimizer_fits = False
    _schedule_fits = False

    def assign_optimizer(self, lr: float) -> None:
        now = self.now
        now.buffer, now.gradients, now.lr, now.base_lr = None, [], lr, lr
        self._optimizer_fits, self._schedule_fits = True, False
        now.is_whole = False

    def assign_no_schedule(self) -> None:
        self.now.has_schedule = False
        self._schedule_fits = True

    def assign_data(self, samples: int) -> None:
        place = self.now.place
        if self.resumed_place is not None:
            self.now.place = self.resumed_place.resumed_with(samples)
        elif self.settings.by_epoch:
            self.now.place = place.with_data(samples, place.batch)
        else:
            # The iterations of the run are counted as if all had been over this dataset.
            total = len(batches_of(samples))
            self.now.place = place.with_data(samples, self.now.iter % total)

    def save(self, name: str) -> None:
        self._write(name, copy.deepcopy(self.now))

    def load(self, name: str) -> None:
        saved = self.files[name]
        self.now.weights, self.now.average = saved.shown.clone(), None
        self.is_saved = False

    def resume(self, name: str) -> None:
        self._prepare()
        kept, samples, built_lr = self.now.kept, self.now.place.samples, self.now.base_lr
        self.now = copy.deepcopy(self.files[name])
        self.resumed_place = self.now.place
        self.now.place = self.resumed_place.resumed_with(samples)
        if kept:  # a hook that has saved goes by what it has saved itself
            self.now.kept = kept
        self.is_counted_ahead = False
        self.is_saved, self.own_file = True, None
        if self.now.base_lr != built_lr:  # this run is meant to have another learning rate
            self.now.lr = self.now.base_lr = built_lr
            self._schedule()
        self.resumed_iter, self.resumed_ended = self.now.iter, self.now.ended
        self.now.ended = None

    # The stages

    def train(self) -> None:
        try:
            self._train()
        except Boom:
            self.is_saved = self.is_training = False
            raise

    def _train(self) -> None:
        self.stops = False
        self._prepare()
        self._point('before_run')
        if self.is_counted_ahead:
            self.now.gradients = []
        self.is_counted_ahead = False
        if not self.settings.by_epoch:
            self.now.epoch = 0
        self._point('before_train')
        self.is_training = True
        if self._stays_ended():
            self.now.epoch = self.now.epoch if self.settings.by_epoch else 1
        elif self.settings.by_epoch:
            self._train_epochs()
        else:
            self._train_iterations()
        self._flush()
        self._point('after_train', self._save_end)
        self.is_training = False
        self._point('after_run')

    def evaluate(self, stage: str) -> float:
        self._point('before_run')
        metric = self._evaluate(stage)
        self._point('after_run')
        return metric

    def _stays_ended(self) -> bool:
        now, length = self.now, self.settings.length
        if self.resumed_iter != now.iter or now.owes_validation:
            return False
        done = now.epoch if self.settings.by_epoch else now.iter
        return done >= length or (self.resumed_ended is not None and length <= self.resumed_ended)

    def _train_epochs(self) -> None:
        now = self.now
        if now.owes_validation:
            self._validate()
        while now.epoch < self.settings.length and not self.stops:
            self._point('before_train_epoch')
            self.resumed_place = None
            for batch in now.place.rest:
                self._iterate(batch)
            if now.epoch + 1 == self.settings.length:
                self._flush()
            self._point('after_train_epoch', self._end_epoch)
            now.epoch, now.place = now.epoch + 1, Place(samples=now.place.samples)
            self._validate()

    def _train_iterations(self) -> None:
        now = self.now
        self._point('before_train_epoch')
        if now.owes_validation:
            self._validate()
        self.resumed_place = None
        while now.iter < self.settings.length and not self.stops:
            begun = Place(samples=now.place.samples) if now.place.is_over else now.place
            self._iterate(begun.rest[0])
            if now.iter % self.settings.interval == 0 or now.iter == self.settings.length:
                self._validate()
        self._flush()
        self._point('after_train_epoch', self._end_epoch)
        now.epoch = 1

    def _iterate(self, batch: list[int]) -> None:
        now = self.now
        self._point('before_train_iter')
        self.trap.pass_by('forward')
        value = now.weights.clone().requires_grad_()
        x, y = points(batch)
        loss = (value[0] * x + value[1] - y).square().mean()
        loss.backward()
        now.gradients.append(value.grad)
        self.is_counted_ahead, self.is_saved = True, False
        done = now.iter + 1
        if done % self.settings.accumulation == 0 or self._is_last_iter():
            self._step()
        now.losses.append(loss.item())
        self._point('after_train_iter', self._end_iteration)
        now.iter, now.place, self.is_counted_ahead = done, now.place.after_one(), False

    def _is_last_iter(self) -> bool:
        now = self.now
        if not self.settings.by_epoch:
            return now.iter + 1 == self.settings.length
        is_last_epoch = now.epoch + 1 == self.settings.length
        return is_last_epoch and len(now.place.rest) == 1

    def _end_iteration(self) -> None:
        now = self.now
        self.extra_hooks = [calls + 1 for calls in self.extra_hooks]
        now.iter_steps += 1
        self._schedule()
        done = now.iter + 1
        if not self.settings.by_epoch and (
            done % self.settings.interval == 0 or done == self.settings.length
        ):
            due = done % self.settings.interval == 0 or done == self.settings.length
            self._save_by_hook(done, iter=done, place=now.place.after_one(), owes_validation=due)

    def _end_epoch(self) -> None:
        now = self.now
        now.epoch_steps += 1
        self._schedule()
        if self.settings.by_epoch:
            done = now.epoch + 1
            begun = Place(samples=now.place.samples)
            self._save_by_hook(done, epoch=done, place=begun, owes_validation=True)

    def _save_end(self) -> None:
        now = self.now
        done = now.epoch if self.settings.by_epoch else now.iter
        ended = self.settings.length if self.stops else None
        if now.iter and (not self.is_saved or (self.stops and self.own_file is None)):
            owes = now.owes_validation
            self._save_by_hook(done, owes_validation=owes, ended=ended)
        elif self.stops and self.own_file in self.files:
            self.files[self.own_file].ended = ended

    def _step(self) -> None:
        now = self.now
        gradient = torch.stack(now.gradients).mean(0)
        now.gradients = []
        now.buffer = gradient if now.buffer is None else MOMENTUM * now.buffer + gradient
        now.weights = now.weights - now.lr * now.buffer
        if self.settings.ema:
            first = now.average is None
            now.average = now.weights.clone() if first else torch.lerp(
                now.average, now.weights, EMA_MOMENTUM
            )  # fmt: skip

    def _flush(self) -> None:
        if self.now.gradients:
            self._step()
            self.is_saved = False

    def _validate(self) -> None:
        self.now.owes_validation = True
        self._evaluate('val')
        self.now.owes_validation = False

    def _evaluate(self, stage: str) -> float:
        now = self.now
        self._point(f'before_{stage}')
        self._point(f'before_{stage}_epoch')
        for _ in batches_of(EVAL_SAMPLES):
            self._point(f'before_{stage}_iter')
            self.trap.pass_by('predict')
            self.trap.pass_by('metric')
            self._point(f'after_{stage}_iter')
        metric = error_of(now.shown, list(range(EVAL_SAMPLES)))
        self._point(f'after_{stage}_epoch')
        if stage == 'val':
            self.validations.append((now.epoch, now.iter, metric))
            self._point('after_val', self._record_validation)
        else:
            self._point('after_test')
        return metric

    def _record_validation(self) -> None:
        if self.is_training and self.of_this_moment and self.of_this_moment[0] == self.now.iter:
            self.files[self.of_this_moment[1]].owes_validation = False
            self.of_this_moment = None

    # Parts of a stage

    def _point(self, name: str, between: Callable[[], None] = lambda: None) -> None:
        self.trap.pass_by(f'early {name}')
        between()
        self.trap.pass_by(f'late {name}')

    def _prepare(self) -> None:
        now = self.now
        if not self._optimizer_fits:
            now.buffer, now.gradients, now.lr, now.base_lr = None, [], LR, LR
        if not (self._optimizer_fits and self._schedule_fits):
            now.iter_steps, now.epoch_steps = now.iter, now.epoch
            self._schedule()
        self._optimizer_fits = self._schedule_fits = now.is_whole = True

    def _schedule(self) -> None:
        now = self.now
        if now.has_schedule:
            share = min(now.iter_steps, WARMUP_ITERS) / WARMUP_ITERS
            warmup = WARMUP_START + (1 - WARMUP_START) * share
            epoch_steps = now.epoch_steps if self.settings.by_epoch else 0
            now.lr = now.base_lr * warmup * EPOCH_GAMMA**epoch_steps

    def _save_by_hook(self, done: int, **position: Any) -> None:
        now = self.now
        name = f'epoch_{done}.pth' if self.settings.by_epoch else f'iter_{done}.pth'
        now.kept = [number for number in now.kept if number != done] + [done]
        dropped, now.kept = now.kept[:-KEEP], now.kept[-KEEP:]
        self._write(name, replace(copy.deepcopy(now), **{'owes_validation': False, **position}))
        self.is_saved, self.newest, self.own_file = True, name, name
        self.of_this_moment = (self.files[name].iter, name)
        for number in dropped:
            self.files.pop(name.replace(f'_{done}.', f'_{number}.'), None)

    def _write(self, name: str, training: Training) -> None:
        self.files[name] = training
        self.written.add(name)


def check_file(checkpoint: dict[str, Any], expected: Training, *, has_average: bool) -> None:
    """Hold a checkpoint of an engine's run to what the plain run has in it."""

    def weights(state: dict[str, Any], prefix: str = '') -> list[float]:
        return [state[f'{prefix}linear.{name}'].item() for name in ('weight', 'bias')]

    meta = checkpoint['meta']
    assert (meta['epoch'], meta['iter']) == (expected.epoch, expected.iter)
    close = dict(rel=1e-4, abs=1e-5)
    assert weights(checkpoint['state_dict']) == pytest.approx(expected.shown.tolist(), **close)
    if has_average:
        raw = weights(checkpoint['ema_state_dict'], 'module.')
        assert raw == pytest.approx(expected.weights.tolist(), **close)
    if expected.is_whole:
        group = checkpoint['optimizer']['param_groups'][0]
        assert group['lr'] == pytest.approx(expected.lr)
