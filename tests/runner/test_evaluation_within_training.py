"""An evaluation that a hook runs within a training changes nothing of the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from runner_toy import Error, Net, toy_runner
from torch import nn

from mmengine.hooks import EMAHook, Hook, ProfilerHook
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.runner import Runner, ValLoop

BY_EPOCH = {'by_epoch': True, 'max_epochs': 1, 'val_begin': 9}
BY_ITER = {'by_epoch': False, 'max_iters': 4, 'val_begin': 9}


class Modes(Net):
    """Notes the modes of itself and of a frozen layer in each training step."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1))
        self.seen: list[tuple[bool, ...]] = []

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        if mode == 'loss':
            self.seen.append((self.training, *(part.training for part in self.frozen.modules())))
        return super().forward(x, y, mode)


class Merging(nn.Linear):
    """Merges a second weight in `eval`, and takes it out in `train`, as layers of low rank do."""

    is_merged = False

    def train(self, mode: bool = True) -> Merging:
        self.is_merged = not mode
        return super().train(mode)


class At(Hook):
    """Calls a function before the second iteration."""

    def __init__(self, act: Callable[[Runner], Any]) -> None:
        self.act = act

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 1:
            self.act(runner)


class FreezesOne(Hook):
    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 0:
            runner.model.frozen[0].eval()


class Boom(Exception):
    pass


class FailingError(Error):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        raise Boom('metric')


class OwnRun(ValLoop):
    """A loop that a project wrote, which does not put the modes back."""

    def run(self) -> dict[str, float]:
        self.runner.model.eval()
        return {}


def _caught(evaluate: Callable[[Runner], Any]) -> Callable[[Runner], None]:
    def act(runner: Runner) -> None:
        with pytest.raises(Boom):
            evaluate(runner)

    return act


WAYS = {
    'val': lambda runner: runner.val(),
    'test': lambda runner: runner.test(),
    'val_loop': lambda runner: runner.val_loop.run(),
    'test_loop': lambda runner: runner.test_loop.run(),
    'nested': lambda runner: (runner.register_hook(_TestsInVal()), runner.val()),
}


class _TestsInVal(Hook):
    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        runner.test()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('train_cfg', [BY_EPOCH, BY_ITER], ids=['epochs', 'iterations'])
def test_each_module_gets_its_own_mode_back(tmp_path, train_cfg, way):
    model = Modes()
    hooks = [FreezesOne(), At(WAYS[way])]
    toy_runner(tmp_path, model=model, train_cfg=train_cfg, custom_hooks=hooks).train()
    # The model, both layers in one module, the frozen layer, the other one.
    assert model.seen == [(True, True, False, True)] * 4


@pytest.mark.parametrize('way', ['val', 'test', 'val_loop', 'test_loop'])
def test_each_module_gets_its_own_mode_back_after_an_error_too(tmp_path, way):
    model = Modes()
    failing = {'type': FailingError}
    toy_runner(
        tmp_path,
        model=model,
        val_evaluator=failing,
        test_evaluator=failing,
        train_cfg=BY_ITER,
        custom_hooks=[FreezesOne(), At(_caught(WAYS[way]))],
    ).train()
    assert model.seen == [(True, True, False, True)] * 4


def test_the_validation_of_the_training_does_not_thaw_a_layer(tmp_path):
    model = Modes()
    train_cfg = {'by_epoch': False, 'max_iters': 4, 'val_interval': 1}
    toy_runner(tmp_path, model=model, train_cfg=train_cfg, custom_hooks=[FreezesOne()]).train()
    assert model.seen == [(True, True, False, True)] * 4


def test_a_custom_run_of_a_val_loop_does_not_leave_the_eval_mode(tmp_path):
    model = Modes()
    toy_runner(
        tmp_path, model=model, train_cfg=BY_ITER, val_cfg={'type': OwnRun},
        custom_hooks=[At(lambda runner: runner.val())],
    ).train()  # fmt: skip
    assert model.seen == [(True, True, True, True)] * 4


def test_what_train_does_besides_setting_the_mode_is_done(tmp_path):
    model = Net()
    model.linear = Merging(1, 1)
    merged = []
    runner = toy_runner(
        tmp_path, model=model, train_cfg=BY_ITER,
        custom_hooks=[At(lambda runner: (runner.val(), merged.append(model.linear.is_merged)))],
    )  # fmt: skip
    runner.train()
    assert merged == [False]


def test_a_model_stays_in_eval_mode_after_a_validation_alone(tmp_path):
    runner = toy_runner(tmp_path)
    runner.val()
    assert not runner.model.training


@pytest.mark.parametrize('way', ['val', 'test', 'val_loop', 'test_loop'])
def test_a_caught_failure_leaves_the_guard_of_the_gradients(tmp_path, way):
    class BadGradient(Net):
        """A finite loss whose gradient is NaN in the third of four iterations."""

        num_losses = 0

        def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
            found = super().forward(x, y, mode)
            if mode == 'loss':
                self.num_losses += 1
                if self.num_losses == 3:
                    found['loss_z'] = (self.linear.weight * 0).sum().sqrt()
            return found

    failing = {'type': FailingError}
    runner = toy_runner(
        tmp_path,
        model=BadGradient(),
        val_evaluator=failing,
        test_evaluator=failing,
        train_cfg=BY_ITER,
        default_hooks={
            'checkpoint': None,
            'non_finite_loss': {'type': 'NonFiniteLossHook', 'policy': 'skip'},
        },
        custom_hooks=[At(_caught(WAYS[way]))],
        log_level='CRITICAL',
    )
    runner.train()
    assert runner.iter == 4
    assert torch.isfinite(runner.model.linear.weight).all()


@pytest.mark.parametrize('way', ['val', 'test', 'val_loop', 'test_loop'])
def test_a_training_that_caught_a_failure_equals_one_without(tmp_path, way):
    """Averages, schedules that wait for metrics, the stage in the hub, views of a test."""

    @MODELS.register_module(name='WithinTTA', force=True)
    class Merge(BaseTTAModel):
        def merge_preds(self, data_samples_list: Any) -> Any:
            raise Boom('merge')

    stages, saved = [], []

    def run(name: str, **changes: Any) -> Runner:
        runner = toy_runner(
            tmp_path / name,
            train_cfg={'by_epoch': True, 'max_epochs': 2},
            param_scheduler={'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error', 'patience': 0,
                             'rule': 'greater', 'factor': 0.5},
            default_hooks={'checkpoint': {'type': 'CheckpointHook', 'save_best': 'toy/error',
                                          'rule': 'less'}},
            **changes,
        )  # fmt: skip
        runner.train()
        saved.append(sorted(path.name for path in (tmp_path / name).glob('*.pth')))
        return runner

    class FailsOnce(Hook):
        priority = 'VERY_LOW'
        fails = False

        def _fail(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            if self.fails:
                raise Boom('batch')

        before_val_iter = before_test_iter = _fail

    failing = FailsOnce()

    def act(runner: Runner) -> None:
        failing.fails = True
        _caught(WAYS[way])(runner)
        failing.fails = False
        stages.append(runner.message_hub.get_info('loop_stage'))

    plain = run('plain', custom_hooks=[EMAHook(momentum=0.5)])
    broken = run(
        'broken',
        custom_hooks=[
            EMAHook(momentum=0.5),
            {'type': 'PrepareTTAHook', 'tta_cfg': {'type': 'WithinTTA'}},
            failing,
            At(act),
        ],
    )
    assert stages == ['train']
    assert torch.equal(broken.model.linear.weight, plain.model.linear.weight)
    assert broken.optim_wrapper.get_lr() == plain.optim_wrapper.get_lr()
    assert saved[0] == saved[1]


def test_a_caught_failure_is_no_exception_of_the_run(tmp_path):
    calls = []

    class Witness(Hook):
        def on_exception(self, runner: Any, error: BaseException) -> None:
            calls.append('on_exception')

        def on_evaluation_cut(self, runner: Any) -> None:
            calls.append('on_evaluation_cut')

    toy_runner(
        tmp_path, val_evaluator={'type': FailingError}, train_cfg=BY_ITER,
        custom_hooks=[Witness(), At(_caught(WAYS['val']))],
    ).train()  # fmt: skip
    assert calls == ['on_evaluation_cut']


def test_the_stage_of_the_training_is_back_after_a_test(tmp_path):
    stages = []

    def act(runner: Runner) -> None:
        runner.test()
        stages.append(runner.message_hub.get_info('loop_stage'))

    toy_runner(tmp_path, train_cfg=BY_ITER, custom_hooks=[At(act)]).train()
    assert stages == ['train']


def test_trackers_stay_open_until_the_training_ends(tmp_path):
    calls = []
    runner = toy_runner(tmp_path, train_cfg=BY_ITER, default_hooks={'checkpoint': None})
    runner.register_hook(At(lambda runner: (runner.test(), calls.append('trains on'))))
    runner.visualizer.close = lambda: calls.append('closed')
    runner.train()
    assert calls == ['trains on', 'closed']


def test_a_validation_in_a_hook_does_not_reset_what_counts_over_the_run(tmp_path):
    """The error never improves: with a patience of 1 the training ends after its second epoch."""
    runner = toy_runner(
        tmp_path,
        train_cfg={'by_epoch': True, 'max_epochs': 5},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        custom_hooks=[
            {'type': 'EarlyStoppingHook', 'monitor': 'toy/error', 'rule': 'less', 'patience': 1},
            _ValidatesEachEpoch(),
        ],
    )
    runner.train()
    assert runner.epoch == 2


class _ValidatesEachEpoch(Hook):
    def before_train_epoch(self, runner: Any) -> None:
        runner.val()


def test_the_profile_of_a_training_goes_on_after_a_test(tmp_path):
    """Three steps are profiled; the test comes before the second."""
    path = tmp_path / 'trace.json'
    profiler = ProfilerHook(by_epoch=False, profile_times=3, json_trace_path=str(path))
    hooks = [profiler, At(lambda runner: runner.test())]
    toy_runner(tmp_path, train_cfg=BY_ITER, custom_hooks=hooks).train()
    names = [event.get('name') for event in json.loads(path.read_text())['traceEvents']]
    assert names.count('Optimizer.step#SGD.step') == 3
