"""A Runner that is driven in any order, held to a plain model of what must be true.

``ANY_ORDER_EXAMPLES`` and ``ANY_ORDER_STEPS`` in the environment make the search longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from any_order_model import (
    EMA_MOMENTUM,
    EPOCH_GAMMA,
    EVAL_SAMPLES,
    LR,
    MOMENTUM,
    SAMPLES,
    WARMUP_ITERS,
    WARMUP_START,
    Boom,
    PlainRun,
    Settings,
    Trap,
    check_file,
    explode,
)
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from runner_toy import Error, Line, Net, parameters
from torch.utils.data import DataLoader

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend, Visualizer

_TRAIN_POINTS = [
    f'{when} {point}'
    for when in ('early', 'late')
    for point in (
        'before_run', 'before_train', 'before_train_epoch', 'before_train_iter',
        'after_train_iter', 'after_train_epoch', 'after_train', 'after_run',
    )
]  # fmt: skip


def _evaluation_points(stage: str) -> list[str]:
    points = ['before_{}', 'before_{}_epoch', 'before_{}_iter', 'after_{}_iter', 'after_{}_epoch',
              'after_{}']  # fmt: skip
    return ['predict', 'metric', *(f'early {point.format(stage)}' for point in points),
            f'late after_{stage}']  # fmt: skip


_COUNTS = st.integers(0, 7)
_WEIGHTS = st.tuples(st.integers(-2, 2), st.integers(-2, 2))


class Saboteur(Hook):
    """Passes by the trap at every point, before or after what the engine's own hooks do there."""

    def __init__(self, trap: Trap, when: str) -> None:
        self.priority = 'NORMAL' if when == 'early' else 'LOWEST'
        self.seen: list[str] = []
        for point in (*Hook.stages, 'on_exception'):
            setattr(self, point, self._passing(trap, when, point))

    def _passing(self, trap: Trap, when: str, point: str) -> Callable[..., None]:
        def pass_by(runner: Any, **arguments: Any) -> None:
            self.seen.append(point)
            trap.pass_by(f'{when} {point}')

        return pass_by


class Counter(Hook):
    def __init__(self) -> None:
        self.calls = 0

    def after_train_iter(self, runner: Any, batch_idx: int, **arguments: Any) -> None:
        self.calls += 1


class Recorder(Hook):
    """Notes each validation as (epoch, iter, metric)."""

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.validations: list[tuple[int, int, float]] = []
        self.metrics: dict[str, float] = {}

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.metrics = metrics

    def after_val(self, runner: Any) -> None:
        self.validations.append((runner.epoch, runner.iter, self.metrics['toy/error']))


class TrappedNet(Net):
    def __init__(self, trap: Trap, weights: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.trap = trap
        if weights is not None:
            torch.nn.init.constant_(self.linear.weight, weights[0])
            torch.nn.init.constant_(self.linear.bias, weights[1])

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        self.trap.pass_by('forward' if mode == 'loss' else 'predict')
        return super().forward(x, y, mode)


class TrappedError(Error):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self.trap = trap

    def process(self, data_batch: Any, data_samples: Any) -> None:
        super().process(data_batch, data_samples)
        self.trap.pass_by('metric')


class Tracker(BaseVisBackend):
    """Notes how it was closed."""

    def __init__(self) -> None:
        super().__init__(save_dir='')
        self.closings = 0

    @property
    def experiment(self) -> Any:
        return self

    def _init_env(self) -> None:
        pass

    def add_scalars(self, *args: Any, **kwargs: Any) -> None:
        pass

    def close(self) -> None:
        self.closings += 1


def _loader(samples: int) -> dict[str, Any]:
    sampler = {'type': 'DefaultSampler', 'shuffle': False}
    return {'dataset': Line(samples), 'batch_size': 2, 'sampler': sampler}


def _make_runner(work_dir: Path, given: Settings, trap: Trap, **changes: Any) -> Runner:
    """A runner of the plain run's settings; its last hooks are the recorder and two saboteurs."""
    unit = 'epochs' if given.by_epoch else 'iters'
    schedule: list[dict[str, Any]] = [
        dict(type='LinearLR', start_factor=WARMUP_START, end=WARMUP_ITERS + 1, by_epoch=False),
    ]
    if given.by_epoch:
        schedule.append(dict(type='ExponentialLR', gamma=EPOCH_GAMMA, by_epoch=True, end=1000))
    average = dict(type='EMAHook', momentum=EMA_MOMENTUM)
    checkpoint = dict(
        type='CheckpointHook', by_epoch=given.by_epoch, interval=given.interval, max_keep_ckpts=2
    )
    arguments: dict[str, Any] = dict(
        model=TrappedNet(trap),
        work_dir=str(work_dir),
        train_dataloader=_loader(SAMPLES),
        train_cfg={
            'by_epoch': given.by_epoch,
            f'max_{unit}': given.length,
            'val_interval': given.interval,
        },
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=LR, momentum=MOMENTUM),
            accumulative_counts=given.accumulation,
        ),
        param_scheduler=schedule if given.schedule else None,
        val_dataloader=_loader(EVAL_SAMPLES),
        val_cfg={},
        val_evaluator=TrappedError(trap),
        test_dataloader=_loader(EVAL_SAMPLES),
        test_cfg={},
        test_evaluator=TrappedError(trap),
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=[
            *([average] if given.ema else []),
            Recorder(),
            Saboteur(trap, 'early'),
            Saboteur(trap, 'late'),
        ],
        visualizer=Visualizer(name=f'{work_dir.name}_{len(os.listdir(work_dir))}',
                              vis_backends=[Tracker()]),
        log_level='CRITICAL',
        randomness=dict(seed=0),
    )  # fmt: skip
    return Runner(**{**arguments, **changes})


class AnyOrder(RuleBasedStateMachine):
    """One runner after another in one folder; ``plain`` is what the present one must be."""

    @initialize(
        by_epoch=st.booleans(),
        accumulation=st.sampled_from([1, 3]),
        ema=st.booleans(),
        schedule=st.booleans(),
    )
    def begin(self, by_epoch: bool, accumulation: int, ema: bool, schedule: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.given = Settings(by_epoch, 3 if by_epoch else 7, accumulation, ema, schedule)
        self.manual = 0
        self.others = 0
        self.plain = PlainRun(self.given, files={})
        self.trap = Trap()
        self._adopt(_make_runner(self._work_dir, self.given, self.trap))

    def teardown(self) -> None:
        if hasattr(self, 'folder'):
            shutil.rmtree(self.folder)

    @property
    def _work_dir(self) -> Path:
        path = self.folder / 'run'
        path.mkdir(exist_ok=True)
        return path

    def _adopt(self, runner: Runner) -> None:
        self.runner = runner
        self.model: Any = runner.model
        self.recorder = self._hook(Recorder)
        self.late = [hook for hook in runner.hooks if isinstance(hook, Saboteur)][-1]
        self.counters: list[Counter] = []
        self.has_own_optimizer = False

    def _hook(self, kind: type) -> Any:
        return next(hook for hook in self.runner.hooks if isinstance(hook, kind))

    # Stages

    def _stage(self, name: str, point: str, skip: int, *, stop: bool = False) -> None:
        def stop_runner() -> None:
            self.runner.train_loop.stop_training = True

        def stop_plain() -> None:
            self.plain.stops = True

        vars(self.trap).update(point=point, skip=skip, action=stop_runner if stop else explode)
        self.plain.trap = Trap(point, skip, stop_plain if stop else explode)
        plain_stage = self.plain.train if name == 'train' else lambda: self.plain.evaluate(name)
        expected, failed = None, False
        try:
            expected = plain_stage()
        except Boom:
            failed = True
        tracker = self.runner.visualizer._vis_backends
        before = [backend.closings for backend in tracker.values()]
        self.late.seen.clear()
        if failed:
            with pytest.raises(Boom):
                getattr(self.runner, name)()
            assert self.late.seen[-2:] == ['on_exception', 'after_run']
        else:
            found = getattr(self.runner, name)()
            assert self.late.seen[-1] == 'after_run'
            assert 'on_exception' not in self.late.seen
            if name == 'train':
                assert found is self.model
                grads = [param.grad for param in self.model.parameters()]
                assert all(grad is None or not grad.any() for grad in grads)
            else:
                assert found['toy/error'] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert [backend.closings > count for backend, count in
                zip(tracker.values(), before, strict=True)] == [True]  # fmt: skip
        self.trap.point = 'never'

    @rule(point=st.none() | st.sampled_from(
        [*_TRAIN_POINTS, 'forward', *_evaluation_points('val')]), skip=_COUNTS)  # fmt: skip
    def train(self, point: str | None, skip: int) -> None:
        self._stage('train', point or 'never', skip)

    @rule(point=st.sampled_from(_TRAIN_POINTS), skip=_COUNTS)
    def train_with_an_early_stop(self, point: str, skip: int) -> None:
        self._stage('train', point, skip, stop=True)

    @rule(point=st.none() | st.sampled_from(_evaluation_points('val')), skip=st.integers(0, 1))
    def val(self, point: str | None, skip: int) -> None:
        self._stage('val', point or 'never', skip)

    @rule(point=st.none() | st.sampled_from(_evaluation_points('test')), skip=st.integers(0, 1))
    def test(self, point: str | None, skip: int) -> None:
        self._stage('test', point or 'never', skip)

    # Checkpoints

    @rule(by_epoch=st.booleans())
    def save(self, by_epoch: bool) -> None:
        self.manual += 1
        name = f'manual_{self.manual}.pth'
        self.runner.save_checkpoint(str(self._work_dir), name, by_epoch=by_epoch)
        self.plain.save(name)

    @precondition(lambda self: self.plain.files)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.plain.files)))
        self.runner.load_checkpoint(str(self._work_dir / name))
        self.plain.load(name)

    @precondition(lambda self: self._resumable(self.plain.now.has_schedule))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self._resumable(self.plain.now.has_schedule)))
        self.runner.resume(str(self._work_dir / name))
        self.plain.resume(name)

    @precondition(lambda self: self.plain.newest in self._resumable(self.given.schedule))
    @rule()
    def resume_in_a_longer_run(self) -> None:
        """A new Runner goes on from the newest checkpoint."""
        longer = 1 if self.given.by_epoch else 4
        self.given = Settings(**{**vars(self.given), 'length': self.given.length + longer})
        self.trap = Trap()
        self._adopt(_make_runner(self._work_dir, self.given, self.trap, resume=True))
        newest, files = self.plain.newest, self.plain.files
        self.plain = PlainRun(self.given, files)
        self.plain.newest = newest
        self.runner.load_or_resume()
        self.plain.resume(newest)

    def _resumable(self, has_schedule: bool) -> list[str]:
        """Files of whole runs, which have schedules as the present run has or has not."""
        return sorted(
            name
            for name, saved in self.plain.files.items()
            if saved.is_whole and saved.has_schedule == has_schedule
        )

    # Assignments

    @rule(weights=_WEIGHTS)
    def assign_model(self, weights: tuple[float, float]) -> None:
        self.model = self.runner.model = TrappedNet(self.trap, weights)
        self.plain.assign_model(torch.tensor(weights, dtype=torch.float32))
        if self.has_own_optimizer:  # an object, which the runner cannot build anew
            self.assign_optimizer(LR)

    @rule(lr=st.sampled_from([0.05, 0.2]))
    def assign_optimizer(self, lr: float) -> None:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=MOMENTUM)
        accumulation = self.given.accumulation
        self.runner.optim_wrapper = OptimWrapper(optimizer, accumulative_counts=accumulation)
        self.plain.assign_optimizer(lr)
        self.has_own_optimizer = True

    @rule()
    def assign_no_schedule(self) -> None:
        self.runner.param_schedulers = []
        self.plain.assign_no_schedule()

    @rule(samples=st.sampled_from([3, 5, 8]))
    def assign_data(self, samples: int) -> None:
        self.runner.train_loop.dataloader = DataLoader(Line(samples), batch_size=2)
        self.plain.assign_data(samples)

    @rule()
    def register_hook(self) -> None:
        self.counters.append(Counter())
        self.runner.register_hook(self.counters[-1])
        self.plain.extra_hooks.append(0)

    @rule()
    def make_another_runner(self) -> None:
        """Another run of the process, which must see and change nothing of this one."""
        self.others += 1
        folder = self.folder / f'other_{self.others}'
        folder.mkdir()
        self.other = _make_runner(folder, self.given, Trap())

    # What must be true

    @invariant()
    def weights_and_position_are_right(self) -> None:
        runner, now = self.runner, self.plain.now
        assert runner.model is self.model is runner.strategy.model
        assert parameters(runner.model) == pytest.approx(now.weights.tolist(), rel=1e-4, abs=1e-5)
        assert (runner.epoch, runner.iter) == (now.epoch, now.iter)
        assert runner.state.stage is None
        assert self.recorder.validations == [
            (epoch, iteration, pytest.approx(metric, rel=1e-4, abs=1e-5))
            for epoch, iteration, metric in self.plain.validations
        ]
        assert [counter.calls for counter in self.counters] == self.plain.extra_hooks

    @invariant()
    def learning_rate_is_right(self) -> None:
        if self.plain.now.is_whole:
            assert self.runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(self.plain.now.lr)]

    @invariant()
    def hub_is_of_this_run(self) -> None:
        histories = self.runner.message_hub.log_scalars
        found = histories['train/loss'].data[0].tolist() if 'train/loss' in histories else []
        assert found == pytest.approx(self.plain.now.losses, rel=1e-4, abs=1e-5)
        assert self.runner.message_hub.get_info('loop_stage') is None
        if hasattr(self, 'other'):
            assert not self.other.message_hub.log_scalars

    @invariant()
    def files_are_right(self) -> None:
        names = sorted(path.name for path in self._work_dir.glob('*.pth'))
        assert names == sorted(self.plain.files)
        if self.plain.newest is not None:
            text = (self._work_dir / 'last_checkpoint').read_text()
            assert Path(text).name == self.plain.newest
        for name in sorted(self.plain.written & set(names)):
            checkpoint = torch.load(self._work_dir / name, weights_only=True)
            check_file(checkpoint, self.plain.files[name], has_average=self.given.ema)
        self.plain.written.clear()


@pytest.mark.hypothesis
def test_any_order_of_calls_leaves_what_a_plain_model_says() -> None:
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            derandomize=settings().derandomize,  # of the profile
            database=None,
            deadline=None,
            max_examples=int(os.environ.get('ANY_ORDER_EXAMPLES', '30')),
            stateful_step_count=int(os.environ.get('ANY_ORDER_STEPS', '12')),
            report_multiple_bugs=False,
            # To shrink a failure takes minutes: its calls are few and printed as they are.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
