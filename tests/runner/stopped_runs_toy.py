"""A start of a Runner with a config of the plain model, which is stopped and tells what it did."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from elastic_toy import InTurn, OwnBatches
from stopped_runs_model import (
    CLIP,
    EMA_MOMENTUM,
    EVAL_SAMPLES,
    GAMMA,
    MIN_DELTA,
    PLATEAU_FACTOR,
    PLATEAU_PATIENCE,
    PLATEAU_THRESHOLD,
    SEED,
    WARMUP_START,
    Given,
    Stop,
    features,
    make_net,
)
from torch.utils.data import Dataset

from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.process import RunStopped, _stop_requests
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed
from mmengine.visualization import Visualizer

OWN_SAMPLERS = {'turns': InTurn, 'batches': OwnBatches}
_Line = dict[str, Any]


class Boom(Exception):
    """A failure of the run."""


class Killed(BaseException):
    """Stands for SIGKILL in the process of the test; nothing that follows stays."""


@dataclass
class Told:
    """What a start did, by its own account.

    Attributes:
        how: 'returned', 'stopped', 'exception' or 'kill'.
        iterations: Of each rank: ``samples`` (index and draw), ``noise`` and ``lr`` of each batch.
        validations: Iteration and metric.
        state: What the run has at its end; empty if the process is gone.
    """

    how: str
    iterations: list[list[_Line]]
    validations: list[tuple[int, float]]
    state: dict[str, Any] = field(default_factory=dict)


class Points(Dataset):
    """Each sample has a number that is drawn when it is loaded."""

    def __init__(self, length: int, dtype: torch.dtype) -> None:
        self.length, self.dtype = length, dtype

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        x, y = features(torch.tensor(index))
        drawn = torch.tensor([index, int(torch.randint(2**31, ()))])
        return {'x': x.to(self.dtype), 'y': y.to(self.dtype), 'drawn': drawn}


class Net(BaseModel):
    """A linear model; it also draws a number in each training step, as dropout does."""

    def __init__(self, amp: str | None) -> None:
        super().__init__()
        self.linear = make_net(amp)
        self.last: _Line = {}

    def forward(self, x: Any, y: Any, drawn: Any, mode: str = 'tensor') -> Any:
        prediction = self.linear(x)
        if mode == 'loss':
            self.last = {'samples': drawn.tolist(), 'noise': int(torch.randint(2**31, ()))}
            return {'loss': (prediction - y).square().mean()}
        return list((prediction.double() - y.double()).abs())


class Error(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(sample) for sample in data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'error': sum(results) / len(results)}


class Account(Hook):
    """Writes a line for each batch and each validation, outside the work dir."""

    priority = 'HIGHEST'

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lr = 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.lr = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        model: Any = runner.model
        self._write({'iter': runner.iter, 'lr': self.lr, **getattr(model, 'module', model).last})

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        self._write({'validated': runner.iter, 'error': metrics['toy/error']})

    def _write(self, line: _Line) -> None:
        with (self.folder / f'rank_{get_rank()}.jsonl').open('a') as file:
            file.write(json.dumps(line) + '\n')


class Stopper(Hook):
    """Stops the run as ``stop`` says, before or after the hooks of the engine in an iteration."""

    def __init__(self, stop: Stop, where: str, die: Callable[[], None]) -> None:
        self.priority = 'LOWEST' if where == 'late' else 'VERY_HIGH'
        self.stop, self.where, self.die = stop, where, die
        self.iterations = self.validations = self.saves = 0

    def before_train(self, runner: Runner) -> None:
        io = runner.strategy.io
        if self.where == 'pointer':
            mark = io.mark_newest
            io.mark_newest = lambda work_dir, path: self._mark(mark, work_dir, path)

    def _mark(self, mark: Callable[..., None], work_dir: str, path: str) -> None:
        self.saves += 1
        if self.saves == self.stop.at:
            self.die()
        mark(work_dir, path)

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        self.iterations += 1
        if self.where in ('early', 'late') and self.iterations == self.stop.at:
            self._act(runner)

    def before_val(self, runner: Runner) -> None:
        self.validations += 1

    def after_val_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        if self.where == 'val' and batch_idx == 0 and self.validations == self.stop.at:
            self._act(runner)

    def _act(self, runner: Runner) -> None:
        kind = self.stop.kind
        if kind == 'exception':
            raise Boom
        if kind == 'kill':
            self.die()
        elif kind == 'stop_training':
            runner.train_loop.stop_training = True
        elif kind in ('signal', 'stop file'):
            if get_rank() == runner.world_size - 1 and kind == 'signal':
                signal.raise_signal(signal.SIGTERM)
            elif kind == 'stop file':
                Path(runner.work_dir, 'stop').touch()
            while runner.world_size > 1 and runner.state.stops.look_at > 0:
                _stop_requests.time.sleep(0.01)  # until this rank has heard of it


def _schedule(given: Given) -> Any:
    steps = given.milestone
    warmup = {
        'type': 'LinearLR', 'start_factor': WARMUP_START, 'end': steps + 1, 'by_epoch': False
    }  # fmt: skip
    milestone = {'type': 'MultiStepLR', 'milestones': [steps], 'gamma': GAMMA}
    plateau = {
        'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error', 'rule': 'less',
        'factor': PLATEAU_FACTOR, 'patience': PLATEAU_PATIENCE, 'threshold': PLATEAU_THRESHOLD,
    }  # fmt: skip
    return {
        None: None,
        'warmup': warmup,
        'cosine': {'type': 'CosineAnnealingLR', 'by_epoch': False},
        'milestone in iterations': {**milestone, 'by_epoch': False},
        'milestone': {**milestone, 'by_epoch': True},
        'converted milestone': {**milestone, 'by_epoch': True, 'convert_to_iter_based': True},
        'warmup, then milestone': [warmup, {**milestone, 'by_epoch': True}],
        'epochs': {'type': 'ExponentialLR', 'gamma': GAMMA, 'by_epoch': True},
        'plateau': plateau,
    }[given.schedule]


def _loader(given: Given) -> dict[str, Any]:
    dtype = torch.float64 if given.amp is None else torch.float32
    loader: dict[str, Any] = {
        'dataset': Points(given.samples, dtype),
        'batch_size': given.batch_size,
        'num_workers': given.workers,
        'collate_fn': {'type': 'default_collate'},
        'drop_last': given.drop_last,
        'sampler': {
            'type': 'InfiniteSampler' if given.is_endless else 'DefaultSampler',
            'shuffle': given.sampler not in ('in order', 'infinite in order'),
        },
    }
    if given.sampler == 'turns':
        loader['sampler'] = {'type': 'ToyInTurn'}
    if given.sampler == 'batches':
        loader['batch_sampler'] = {'type': 'ToyOwnBatches'}
        del loader['drop_last']
    return loader


def make(
    work_dir: Path | str, given: Given, stop: Stop, folder: Path, die: Callable[[], None],
    resume: Any,
) -> Runner:  # fmt: skip
    """The runner of one start."""
    unit = 'epochs' if given.by_epoch else 'iters'
    options: dict[str, Any] = {'lr': given.lr, 'weight_decay': given.weight_decay}
    if given.optimizer == 'SGD':
        options['momentum'] = given.momentum
    wrapper: dict[str, Any] = {
        'optimizer': {'type': given.optimizer, **options},
        'accumulative_counts': given.accumulation,
    }
    if given.clips:
        wrapper['clip_grad'] = {'max_norm': CLIP}
    if given.amp is not None:
        wrapper |= {'type': 'AmpOptimWrapper', 'dtype': given.amp}
    if given.amp == 'float16':
        wrapper['loss_scale'] = {'init_scale': given.loss_scale, 'growth_interval': 2}
    hooks: list[Any] = [Account(folder)]
    hooks += [Stopper(stop, stop.where, die)] if stop.kind != 'length' else []
    hooks += [EMAHook(momentum=EMA_MOMENTUM)] if given.ema else []
    if given.patience is not None:
        hooks.append({
            'type': 'EarlyStoppingHook', 'monitor': 'toy/error', 'rule': 'less',
            'min_delta': MIN_DELTA, 'patience': given.patience,
        })  # fmt: skip
    checkpoint: dict[str, Any] = {
        'type': 'CheckpointHook',
        'interval': given.save_interval,
        'by_epoch': given.by_epoch and given.saves_by_epoch,
        'max_keep_ckpts': given.max_keep,
    }
    if given.keeps_best:
        checkpoint |= {'save_best': 'toy/error', 'rule': 'less'}
    name = uuid.uuid4().hex
    dtype = torch.float64 if given.amp is None else torch.float32
    return Runner(
        Net(given.amp),
        str(work_dir),
        train_dataloader=_loader(given),
        train_cfg={
            'by_epoch': given.by_epoch,
            f'max_{unit}': given.length,
            'val_interval': given.val_interval,
        },
        optim_wrapper=wrapper,
        param_scheduler=_schedule(given),
        val_dataloader={
            'dataset': Points(EVAL_SAMPLES, dtype),
            'batch_size': 1,
            'collate_fn': {'type': 'default_collate'},
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        val_cfg={},
        val_evaluator=Error(),
        default_hooks={'checkpoint': checkpoint, 'logger': None},
        custom_hooks=hooks,
        visualizer=Visualizer(name=name),
        experiment_name=name,
        launcher='pytorch' if given.ranks > 1 else 'none',
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
        log_level='CRITICAL',
        resume=resume,
        randomness={'seed': SEED},
    )


def start(
    work_dir: Path, given: Given, stop: Stop, again: bool = False, really_kill: bool = False
) -> Told:
    """Start the run in ``work_dir``, in this process or in one process a rank.

    Args:
        work_dir: Of the run.
        given: Its config.
        stop: How it is stopped.
        again: Open a run that had ended.
        really_kill: Kill processes, instead of a failure after which the files are put back.
    """
    folder = work_dir.parent / f'account_{uuid.uuid4().hex}'
    folder.mkdir()
    resume = {'again': True} if again else True
    arguments = (work_dir, given, stop, folder, resume)
    if given.ranks == 1 and not (really_kill and stop.kind == 'kill'):
        how, state = _start_here(*arguments)
    else:
        how, state = stop.kind, {}
        try:
            how, state = run_distributed(_start_rank, given.ranks, *arguments, timeout_s=120)[0]
        except RuntimeError as error:
            fails = ('exception', 'kill')
            if stop.kind not in fails or not any(w in str(error) for w in ('-9', 'Boom', 'gone')):
                raise
    ranks = [_lines(folder / f'rank_{rank}.jsonl') for rank in range(given.ranks)]
    iterations = [[line for line in lines if 'lr' in line] for lines in ranks]
    validations = [(line['validated'], line['error']) for line in ranks[0] if 'error' in line]
    return Told(how, iterations, validations, state)


def _lines(path: Path) -> list[_Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _start_rank(rank: int, world_size: int, *arguments: Any) -> tuple[str, dict[str, Any]]:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if world_size == 1:
        torch.distributed.destroy_process_group()
    return _run(*arguments, die=die)


def _start_here(work_dir: Path, *arguments: Any) -> tuple[str, dict[str, Any]]:
    kept = work_dir.parent / f'kept_{uuid.uuid4().hex}'

    def die() -> None:
        shutil.copytree(work_dir, kept)
        raise Killed

    try:
        return _run(work_dir, *arguments, die=die)
    except Killed:
        shutil.rmtree(work_dir)
        kept.rename(work_dir)
        # A process that was really killed leaves its lock too, but it is dead then.
        (work_dir / 'run.lock').unlink(missing_ok=True)
        return 'kill', {}
    except Boom:
        return 'exception', {}


def _run(
    work_dir: Path, given: Given, stop: Stop, folder: Path, resume: Any, die: Callable[[], None]
) -> tuple[str, dict[str, Any]]:
    runner = make(work_dir, given, stop, folder, die, resume)
    try:
        # The file is looked for at each batch, not once a second.
        with mock.patch.object(_stop_requests, '_FILE_EVERY_S', 0.0):
            runner.train()
    except RunStopped:
        return 'stopped', state_of(runner)
    finally:
        for manager in (MessageHub, MMLogger, Visualizer):
            manager._instance_dict.pop(runner.experiment_name, None)
    return 'returned', state_of(runner)


def state_of(runner: Runner) -> dict[str, Any]:
    """All that training changes, as plain numbers."""
    model: Any = runner.model
    wrapper: Any = runner.optim_wrapper
    average = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    has_average = bool(average) and int(average[0].ema_model.steps) > 0
    scaler = getattr(wrapper, 'loss_scaler', None)
    return {
        'epoch': runner.epoch,
        'iter': runner.iter,
        'weights': _numbers(getattr(model, 'module', model).linear),
        'average': _numbers(average[0].ema_model.module.linear) if has_average else None,
        'optimizer': [
            {name: value.tolist() for name, value in state.items()}
            for _, state in sorted(wrapper.optimizer.state_dict()['state'].items())
        ],
        'lr': wrapper.get_lr()['lr'][0],
        'num_steps': wrapper.num_steps,
        'loss_scale': scaler.get_scale() if scaler is not None and scaler.is_enabled() else None,
        'has_gradients': any(
            param.grad is not None and bool(param.grad.any()) for param in model.parameters()
        ),
    }


def _numbers(linear: Any) -> list[float]:
    return [*linear.weight.flatten().tolist(), *linear.bias.tolist()]


def files_in(work_dir: Path) -> dict[str, dict[str, Any]]:
    """The checkpoints in ``work_dir``, with what their validations have changed."""
    found = {}
    for path in sorted(work_dir.glob('*.pth')):
        checkpoint = torch.load(path, weights_only=True)
        record = Path(f'{path}.after_val')
        if record.exists():
            changes = torch.load(record, weights_only=True)
            if changes['save_id'] == checkpoint['meta']['save_id']:
                checkpoint['meta'].update(changes['meta'])
        found[path.name] = checkpoint
    return found


def is_close(found: float, expected: float, amp: str | None) -> bool:
    """Whether two numbers are equal up to the order of additions, in the precision of the run."""
    if amp is None:
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-11)
    return math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-5)
