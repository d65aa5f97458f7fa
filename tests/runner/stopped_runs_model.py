"""A run that is stopped and started again, in plain torch: the model that a Runner is held to.

:class:`PlainRuns` is the history of one work dir. It has hand-written loops over torch's own
optimizers, learning rates in closed form, and orders of samples as the samplers promise them. It
counts samples, windows, validations and files by itself. Nothing of the engine is imported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SEED, GAMMA, WARMUP_START, CLIP = 3, 0.5, 0.25, 0.5
EMA_MOMENTUM, MIN_DELTA, EVAL_SAMPLES = 0.25, 0.02, 3
PLATEAU_FACTOR, PLATEAU_PATIENCE, PLATEAU_THRESHOLD = 0.5, 0, 0.05
WEIGHTS = [0.5, -0.25]


@dataclass(frozen=True)
class Given:
    """The config of one start; ``length`` and the intervals are in the unit of the loop."""

    by_epoch: bool = True
    length: int = 3
    sampler: str = 'default'
    samples: int = 8
    batch_size: int = 2
    drop_last: bool = False
    ranks: int = 1
    workers: int = 0
    accumulation: int = 1
    amp: str | None = None
    loss_scale: float = 16.0
    clips: bool = False
    ema: bool = False
    optimizer: str = 'SGD'
    lr: float = 0.25
    momentum: float = 0.5
    weight_decay: float = 0.0
    schedule: str | None = None
    milestone: int = 2
    val_interval: int = 1
    save_interval: int = 1
    saves_by_epoch: bool = True
    max_keep: int = -1
    keeps_best: bool = False
    patience: int | None = None

    @property
    def is_endless(self) -> bool:
        return self.sampler in ('infinite', 'infinite in order')

    @property
    def num_batches(self) -> int:
        """Batches of a pass; for an endless order, what ``len`` of the loader says."""
        if self.is_endless:
            own = self.samples
        else:
            own = math.ceil(self.samples / self.ranks)
        return own // self.batch_size if self.drop_last else math.ceil(own / self.batch_size)


@dataclass(frozen=True)
class Stop:
    """How a start ends before its length.

    Attributes:
        kind: 'length', 'stop_training', 'signal', 'stop file', 'exception' or 'kill'.
        at: It happens in this iteration of the start, counted from 1, or in this validation.
        where: 'early' or 'late' in the iteration, before or after the hooks of the engine;
            'val', in a validation; 'pointer', after a checkpoint was written and before
            ``last_checkpoint`` names it.
    """

    kind: str = 'length'
    at: int = 1
    where: str = 'early'


class Left(Exception):
    """The process has failed, or is gone."""


@dataclass
class State:
    """What a checkpoint holds."""

    net: nn.Linear
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None
    given: Given
    base_lr: float
    average: list[Tensor] | None = None
    epoch: int = 0
    iter: int = 0
    # Where the data goes on: the pass, samples of all ranks, and whether the pass is over.
    number: int = 0
    seen: int = 0
    is_over: bool = False
    # The position of schedules.
    iter_steps: int = 0
    epoch_steps: int = 0
    reductions: int = 0
    plateau_best: float = math.inf
    plateau_bad: int = 0
    # The open accumulation window: means over ranks, summed over batches.
    gradients: list[Tensor] | None = None
    window_start: int = 0
    divisor: int = 0
    num_steps: int = 0
    owes: bool = False
    ended: int | None = None
    waited: int = 0
    stop_best: float = math.inf
    kept: list[int] = field(default_factory=list)
    interim: str | None = None
    best: float = math.inf
    best_name: str | None = None

    def copied(self, **changes: Any) -> State:
        state = copy.deepcopy(self)
        vars(state).update(changes)
        return state

    @property
    def weights(self) -> list[Tensor]:
        return [param.detach() for param in self.net.parameters()]

    @property
    def shown(self) -> list[Tensor]:
        """The weights that are validated."""
        return self.weights if self.average is None else self.average


@dataclass
class Expected:
    """What a start does; each batch has (pass, position, sample) of all ranks."""

    state: State
    how: str = ''
    lr: float = 0.0
    batches: list[list[tuple[int, int, int]]] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    written: set[str] = field(default_factory=set)


def features(index: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs and the target of samples, in float64."""
    index = index.double()
    x = torch.stack([index / 8, (index * 7 % 5) / 4], dim=-1)
    return x, (2 * x[..., :1] - x[..., 1:] + 1)


def make_net(amp: str | None) -> nn.Linear:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([WEIGHTS]))
        net.bias.zero_()
    return net if amp else net.double()


def error_of(weights: list[Tensor]) -> float:
    """Mean absolute error on the samples of the validation."""
    weight, bias = (value.double() for value in weights)
    x, y = features(torch.arange(EVAL_SAMPLES))
    return float((x @ weight.T + bias - y).abs().mean())


class PlainRuns:
    """The starts in one work dir, and its files."""

    def __init__(self) -> None:
        self.files: dict[str, State] = {}
        self.pointer: str | None = None
        self.last_written: str | None = None

    @property
    def newest(self) -> str | None:
        return self.last_written if self.pointer is None else self.pointer

    def start(self, given: Given, stop: Stop, again: bool = False) -> Expected:
        """Start a run, from the newest checkpoint if there is one."""
        one = _Start(self, given, stop, again)
        try:
            one.train()
        except Left:
            one.told.how = stop.kind
        one.told.state, one.told.lr = one.state, one.lr
        return one.told


class _Start:
    """One start of the run."""

    def __init__(self, runs: PlainRuns, given: Given, stop: Stop, again: bool) -> None:
        self.runs, self.given, self.stop, self.again = runs, given, stop, again
        source = runs.newest
        self.is_resumed = source is not None
        if source is None:
            self.state = _fresh(given)
        else:
            self.state = _resumed(runs.files[source], given)
        self.ended, self.state.ended = self.state.ended, None
        self.told = Expected(self.state)
        self.stops = self.asked = self.interrupts = False
        self.iterations = self.num_validations = self.saves = 0
        # Changes of the state without an iteration: with the iterations they number its moments.
        self.changes = 0
        self.written_at: tuple[int, int] | None = None
        self.saved_at = self._moment if self.is_resumed else None
        self.own_file: str | None = None
        self.of_this_moment: list[str] = []
        self.max_iters = self._max_iters()

    # The loops

    def train(self) -> None:
        given, state = self.given, self.state
        if not given.by_epoch:
            state.epoch = 0
        if self._stays_ended():
            state.epoch = state.epoch if given.by_epoch else 1
        elif given.by_epoch:
            self._train_epochs()
        else:
            self._train_iterations()
        if not self.interrupts and state.gradients is not None:
            self._fit(state.iter - state.window_start)
            self._step()
            state.window_start = state.iter
            self.changes += 1
        if not self.interrupts and not given.by_epoch:
            state.epoch = 1
        self._save_end()
        self.told.how = 'stopped' if self.asked else 'returned'

    def _stays_ended(self) -> bool:
        given, state = self.given, self.state
        if not self.is_resumed or state.owes:
            return False
        done = state.epoch if given.by_epoch else state.iter
        if done >= given.length:
            return True
        if self.ended is None:
            return False
        if self.again or given.length > self.ended:
            state.waited = 0
            return False
        return True

    def _train_epochs(self) -> None:
        state = self.state
        if state.owes:
            self._validate()
        while state.epoch < self.given.length:
            self.interrupts |= self.asked
            if self.interrupts or self.stops:
                return
            batches = list(self._rest_of_pass())
            self.max_iters = self._max_iters()
            for number, batch in enumerate(batches, start=1):
                self._iterate(batch, is_last_of_pass=number == len(batches))
                if self.asked and number < len(batches):
                    self.interrupts = True
                    return
            self._end_epoch()
            if self._is_due(state.epoch):
                self._validate()

    def _train_iterations(self) -> None:
        state = self.state
        if state.owes:
            self._validate()
        while state.iter < self.given.length:
            self.interrupts |= self.asked
            if self.interrupts or self.stops:
                return
            batch = next(self._rest_of_pass(), None)
            while batch is None:
                state.number, state.seen, state.is_over = state.number + 1, 0, False
                batch = next(self._rest_of_pass(), None)
            after = state.seen + len(batch)
            is_last = not self.given.is_endless and self._num_batches_from(after) == 0
            self._iterate(batch, is_last)
            if self._is_due(state.iter):
                self._validate()

    def _iterate(self, batch: list[tuple[int, int, int]], is_last_of_pass: bool) -> None:
        given, state, told = self.given, self.state, self.told
        self.iterations += 1
        told.batches.append(batch)
        told.lrs.append(self.lr)
        self._accumulate([sample for _, _, sample in batch])
        self._act('early')
        state.iter_steps += 1
        state.seen += len(batch)
        state.is_over = is_last_of_pass
        saves_iters = not (given.by_epoch and given.saves_by_epoch)
        done = state.iter + 1
        if saves_iters and (done % given.save_interval == 0 or done == self.max_iters):
            owes = not given.by_epoch and self._is_due(done)
            self._save(f'iter_{done}.pth', done, iter=done, owes=owes)
        state.iter = done
        self._act('late')

    def _end_epoch(self) -> None:
        given, state = self.given, self.state
        state.epoch_steps += 1
        self.changes += 1
        done = state.epoch + 1
        state.number, state.seen, state.is_over = done, 0, False
        if given.saves_by_epoch and (done % given.save_interval == 0 or done == given.length):
            self._save(f'epoch_{done}.pth', done, epoch=done, owes=self._is_due(done))
        state.epoch = done

    def _is_due(self, done: int) -> bool:
        return done % self.given.val_interval == 0 or done == self.given.length

    def _act(self, where: str) -> None:
        """Do what the start is stopped by, in this iteration or validation."""
        stop = self.stop
        count = self.num_validations if where == 'val' else self.iterations
        if where != stop.where or count != stop.at:
            return
        if stop.kind in ('exception', 'kill'):
            raise Left
        if stop.kind == 'stop_training':
            self.stops = True
        elif stop.kind in ('signal', 'stop file'):
            self.asked = True

    # The data

    def _rest_of_pass(self) -> Iterator[list[tuple[int, int, int]]]:
        """The global batches that are left of the pass."""
        given, state = self.given, self.state
        size, position = given.batch_size * given.ranks, state.seen
        if state.is_over:
            return
        if given.is_endless:
            while True:
                places = range(position, position + size)
                yield [(0, place, _endless(given, place)) for place in places]
                position += size
        order = _order(given, state.number)
        end = position + math.ceil((given.samples - position) / given.ranks) * given.ranks
        while position < end:
            after = min(position + size, end)
            if given.sampler == 'batches':  # the batches stay where they are
                after = min((position // size + 1) * size, end)
            if given.drop_last and after - position < size:
                return
            yield [(state.number, place, order[place % given.samples])
                   for place in range(position, after)]  # fmt: skip
            position = after

    def _num_batches_from(self, seen: int) -> int:
        """Batches that are left in a pass of which ``seen`` samples are seen."""
        given = self.given
        left = max(math.ceil((given.samples - seen) / given.ranks), 0)
        return left // given.batch_size if given.drop_last else math.ceil(left / given.batch_size)

    def _max_iters(self) -> int:
        given, state = self.given, self.state
        if not given.by_epoch:
            return given.length
        left = 0 if state.is_over else sum(1 for _ in self._rest_of_pass())
        epochs = given.length - state.epoch - 1
        return state.iter + (0 if epochs < 0 else left + epochs * given.num_batches)

    # The step

    def _accumulate(self, samples: list[int]) -> None:
        given, state = self.given, self.state
        start, end = state.window_start, self._end_of_window()
        self._fit(end - start)
        total: list[Tensor] = [torch.zeros_like(param) for param in state.net.parameters()]
        for rank in range(given.ranks):
            of_rank = torch.tensor(samples[rank :: given.ranks])
            for sum_, grad in zip(total, self._gradients(of_rank, end - start), strict=True):
                sum_ += grad / given.ranks
        if state.gradients is None:
            state.gradients = total
        else:
            state.gradients = [a + b for a, b in zip(state.gradients, total, strict=True)]
        if state.iter + 1 == end:
            self._step()
            state.window_start = end

    def _end_of_window(self) -> int:
        size, count = self.given.accumulation, self.state.iter
        end = count - count % size + size
        return self.max_iters if count < self.max_iters < end else end

    def _fit(self, size: int) -> None:
        """The gradients of the open window are of a window of ``size`` batches."""
        state = self.state
        if state.gradients is not None and state.divisor != size:
            state.gradients = [grad * (state.divisor / size) for grad in state.gradients]
        state.divisor = size

    def _gradients(self, samples: Tensor, size: int) -> list[Tensor]:
        given, state = self.given, self.state
        x, y = features(samples)
        x, y = (x, y) if given.amp is None else (x.float(), y.float())
        cast = nullcontext()
        if given.amp is not None:
            cast = torch.autocast('cpu', dtype=getattr(torch, given.amp))
        with cast:
            prediction = state.net(x)
            loss = (prediction - y).square().mean() / size
        if state.scaler is not None:
            loss = state.scaler.scale(loss)
        return list(torch.autograd.grad(loss, list(state.net.parameters())))

    def _step(self) -> None:
        given, state = self.given, self.state
        params = list(state.net.parameters())
        for param, grad in zip(params, state.gradients, strict=True):
            param.grad = grad.clone()
        state.gradients = None
        for group in state.optimizer.param_groups:
            group['lr'] = self.lr
        if state.scaler is not None and given.clips:
            state.scaler.unscale_(state.optimizer)
        if given.clips:
            nn.utils.clip_grad_norm_(params, CLIP)
        if state.scaler is None:
            state.optimizer.step()
        else:
            state.scaler.step(state.optimizer)
            state.scaler.update()
        state.optimizer.zero_grad()
        state.num_steps += 1
        if given.ema:
            new = [value.clone() for value in state.weights]
            if state.average is None:
                state.average = new
            else:
                state.average = [
                    torch.lerp(old, value, EMA_MOMENTUM)
                    for old, value in zip(state.average, new, strict=True)
                ]

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.state.base_lr * _factor(self.given, self.state)

    # Validations

    def _validate(self) -> None:
        given, state = self.given, self.state
        state.owes = True
        if self.asked:
            self.interrupts = True
            return
        self.num_validations += 1
        self._act('val')
        if self.asked:
            self.interrupts = True
            return
        error = error_of(state.shown)
        self.told.validations.append((state.iter, error))
        if given.schedule == 'plateau':
            self._judge_plateau(error)
        if given.keeps_best and error < state.best and state.iter:
            unit = 'epoch' if given.by_epoch and given.saves_by_epoch else 'iter'
            done = state.epoch if unit == 'epoch' else state.iter
            best_name = f'best_toy_error_{unit}_{done}.pth'
            if state.best_name not in (None, best_name):
                self.runs.files.pop(state.best_name, None)
            state.best, state.best_name = error, best_name
            self.of_this_moment = [*self._files_of_now(), best_name]
            self.written_at = self._moment
        if given.patience is not None:
            if error + MIN_DELTA <= state.stop_best:
                state.stop_best, state.waited = error, 0
            else:
                state.waited += 1
            self.stops |= 0 < state.waited >= given.patience
        state.owes = False
        files = self._files_of_now()
        for name in files:
            self.runs.files[name] = state.copied()
            self.told.written.add(name)
        if self.own_file not in files:
            self.saved_at = None
        self.of_this_moment = []

    def _files_of_now(self) -> list[str]:
        """The files that were written at this iteration."""
        return self.of_this_moment if self.written_at == self._moment else []

    def _judge_plateau(self, error: float) -> None:
        state = self.state
        if error < state.plateau_best * (1 - PLATEAU_THRESHOLD):
            state.plateau_best, state.plateau_bad = error, 0
        else:
            state.plateau_bad += 1
        if state.plateau_bad > PLATEAU_PATIENCE:
            state.reductions, state.plateau_bad = state.reductions + 1, 0

    # Files

    @property
    def _moment(self) -> tuple[int, int]:
        return self.state.iter, self.changes

    def _save(self, name: str, done: int, *, is_interim: bool = False, **changes: Any) -> None:
        given, state, runs = self.given, self.state, self.runs
        dropped: list[int] = []
        interim, state.interim = state.interim, name if is_interim else None
        if not is_interim and given.max_keep > 0:
            state.kept = [number for number in state.kept if number != done] + [done]
            dropped, state.kept = state.kept[: -given.max_keep], state.kept[-given.max_keep :]
        runs.files[name] = state.copied(**changes)
        runs.last_written = name
        self.told.written.add(name)
        self.saves += 1
        if self.stop.where == 'pointer' and self.saves == self.stop.at:
            raise Left
        self.saved_at = self.written_at = (runs.files[name].iter, self.changes)
        self.own_file, self.of_this_moment = name, [name]
        runs.pointer = name
        pattern = 'epoch_{}.pth' if given.by_epoch and given.saves_by_epoch else 'iter_{}.pth'
        for number in dropped:
            runs.files.pop(pattern.format(number), None)
        if interim not in (None, name) and given.max_keep > 0:
            runs.files.pop(interim, None)

    def _save_end(self) -> None:
        given, state = self.given, self.state
        ends_early = self.stops and not self.interrupts
        ended = given.length if ends_early else None
        if not state.iter:
            return
        if self.saved_at == self._moment:
            if not ends_early:
                return
            if self.own_file is not None:
                self.runs.files[self.own_file].ended = ended
                self.told.written.add(self.own_file)
                return
        counts_epochs = given.by_epoch and given.saves_by_epoch
        is_within = counts_epochs and self.interrupts and bool(state.seen or state.is_over)
        done = state.epoch if counts_epochs and not is_within else state.iter
        unit = 'epoch' if counts_epochs and not is_within else 'iter'
        self._save(f'{unit}_{done}.pth', done, is_interim=is_within, ended=ended)


def _fresh(given: Given) -> State:
    net = make_net(given.amp)
    scaler = None
    if given.amp == 'float16':
        scaler = torch.amp.GradScaler('cpu', init_scale=given.loss_scale, growth_interval=2)
    return State(net, _optimizer(net, given), scaler, given, given.lr)


def _optimizer(net: nn.Module, given: Given) -> torch.optim.Optimizer:
    cls = getattr(torch.optim, given.optimizer)
    options: dict[str, Any] = {'lr': given.lr, 'weight_decay': given.weight_decay}
    if given.optimizer == 'SGD':
        options['momentum'] = given.momentum
    return cls(net.parameters(), **options)


def _resumed(saved: State, given: Given) -> State:
    """``saved`` as a run with the config ``given`` takes it up."""
    state = saved.copied(given=given)
    then = saved.given
    if state.scaler is not None:
        state.scaler.scale(torch.zeros(()))  # a copy has its scale from the first use on
    if given.lr != then.lr:
        state.base_lr = given.lr
    if not given.ema:
        state.average = None
    for group in state.optimizer.param_groups:
        group['weight_decay'] = given.weight_decay
        if given.optimizer == 'SGD':
            group['momentum'] = given.momentum
    if given.accumulation != then.accumulation:
        state.gradients, state.window_start = None, state.iter
    if given.by_epoch and given.num_batches != then.num_batches:
        # Schedules go on as if all epochs had had today's batches.
        left = _left(state, given)
        state.iter_steps = state.number * given.num_batches + given.num_batches - left
    if not given.by_epoch:
        state.iter_steps = state.iter
    return state


def _left(state: State, given: Given) -> int:
    """Batches that a resumed run has left in its pass."""
    if state.is_over:
        return 0
    left = max(math.ceil((given.samples - state.seen) / given.ranks), 0)
    return left // given.batch_size if given.drop_last else math.ceil(left / given.batch_size)


def _order(given: Given, number: int) -> list[int]:
    """The order of one pass."""
    if given.sampler == 'in order':
        return list(range(given.samples))
    seed = number if given.sampler == 'turns' else SEED + number
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(given.samples, generator=generator).tolist()


def _endless(given: Given, place: int) -> int:
    """The sample at one place of an endless order."""
    number, offset = divmod(place, given.samples)
    if given.sampler == 'infinite in order':
        return offset
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(number):
        torch.randperm(given.samples, generator=generator)
    return int(torch.randperm(given.samples, generator=generator)[offset])


def _factor(given: Given, state: State) -> float:
    """By what the learning rate of the config is multiplied now."""
    steps, kind = given.milestone, given.schedule
    # Without an `end`, the last step of a schedule is the one before the end of the run.
    length = _length_in_iters(given)
    iters = min(state.iter_steps, length - 1)
    epochs = min(state.epoch_steps, given.length - 1)
    factor = 1.0
    if kind in ('warmup', 'warmup, then milestone'):
        factor *= WARMUP_START + (1 - WARMUP_START) * min(state.iter_steps, steps) / steps
    if kind == 'cosine':
        factor *= (1 + math.cos(math.pi * iters / length)) / 2
    if kind == 'converted milestone' and iters >= steps * given.num_batches:
        factor *= GAMMA
    if kind == 'milestone in iterations' and iters >= steps:
        factor *= GAMMA
    if kind in ('milestone', 'warmup, then milestone') and epochs >= steps:
        factor *= GAMMA
    if kind == 'epochs':
        factor *= GAMMA**epochs
    if kind == 'plateau':
        factor *= PLATEAU_FACTOR**state.reductions
    return factor


def _length_in_iters(given: Given) -> int:
    return given.length * given.num_batches if given.by_epoch else given.length
