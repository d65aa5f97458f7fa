"""Model, optimizer, schedules, hub and position of a run have one owner, whoever assigns them."""

import itertools
from typing import Any

import pytest
import torch
from runner_toy import NO_VALIDATION, Net, parameters, toy_config, toy_runner, trained_by_hand
from torch import nn

from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import LOOPS, MODEL_WRAPPERS
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    FlexibleRunner,
    IterBasedTrainLoop,
    Runner,
)

EPOCH = [(0, 1), (2, 3), (4, 5), (6, 7)]
NAMES = ('model', 'optim_wrapper', 'param_schedulers', 'message_hub')


def _new(name: str, runner: Runner) -> Any:
    if name == 'model':
        return Net()
    if name == 'optim_wrapper':
        return OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.3))
    if name == 'param_schedulers':
        return []
    return MessageHub.get_instance('another')


class AssignsAt(Hook):
    def __init__(self, point: str, assign: Any) -> None:
        self.point, self.assign = point, assign
        setattr(self, point, lambda runner, **kwargs: assign(runner))

    def _overrides(self, name: str) -> bool:
        return name == self.point


@pytest.mark.parametrize('moment', ['new', 'trained', 'before_train', 'after_train_epoch'])
@pytest.mark.parametrize('name', NAMES)
def test_an_assignment_is_seen_on_both_sides(tmp_path, name, moment):
    values: list[Any] = []

    def assign(runner: Runner) -> None:
        values.append(_new(name, runner))
        setattr(runner, name, values[-1])
        assert getattr(runner.strategy, name) is values[-1] is getattr(runner, name)

    hooks = [AssignsAt(moment, assign)] if '_' in moment else []
    runner = toy_runner(tmp_path, custom_hooks=hooks)
    if moment == 'trained':
        runner.train()
    if not hooks:
        assign(runner)
    runner.train()
    if name == 'param_schedulers':
        assert runner.param_schedulers == []
    else:
        assert getattr(runner, name) is values[-1]


@pytest.mark.parametrize('name', ['model', 'optim_wrapper', 'param_schedulers'])
def test_an_assignment_to_the_strategy_is_the_runners(tmp_path, name):
    runner = toy_runner(tmp_path)
    value = _new(name, runner)
    setattr(runner.strategy, name, value)
    assert getattr(runner, name) is value


def test_a_replaced_model_gets_an_optimizer_of_its_own(tmp_path):
    runner = toy_runner(tmp_path, **NO_VALIDATION)
    before = runner.model
    runner.model = Net()
    runner.train()
    assert parameters(before) == (0.5, 0.0)
    assert parameters(runner.model) == pytest.approx(trained_by_hand(EPOCH * 2), abs=1e-6)


def test_a_model_replaced_after_training_starts_afresh_with_a_new_optimizer(tmp_path):
    runner = toy_runner(
        tmp_path,
        param_scheduler={'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
    )
    runner.train()
    old = runner.optim_wrapper
    runner.model = Net()
    runner.train_loop._epoch = runner.train_loop._iter = 0
    runner.train()
    assert runner.optim_wrapper is not old
    fresh = toy_runner(
        tmp_path / 'fresh',
        param_scheduler={'type': 'MultiStepLR', 'milestones': [1], 'gamma': 0.1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
    )
    fresh.train()
    assert parameters(runner.model) == parameters(fresh.model)
    runner.save_checkpoint(str(tmp_path), 'saved.pth')
    saved = torch.load(tmp_path / 'saved.pth', weights_only=True)
    assert torch.equal(saved['state_dict']['linear.weight'], runner.model.linear.weight.cpu())


def test_an_optimizer_object_of_another_model_is_an_error(tmp_path):
    model = Net()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    runner = toy_runner(tmp_path, model=model, optim_wrapper=wrapper)
    runner.model = Net()
    with pytest.raises(RuntimeError, match=r'Assign runner\.optim_wrapper too'):
        runner.train()
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    runner.train()
    assert parameters(runner.model) == pytest.approx(trained_by_hand(EPOCH * 2), abs=1e-6)


@LOOPS.register_module(name='OwnerOwnLoop')
class OwnLoop(BaseLoop):
    """Counts by itself, under names of its own too."""

    def __init__(self, runner: Any, dataloader: Any, times: int) -> None:
        super().__init__(runner, dataloader)
        self.max_epochs, self.max_iters = times, times * len(self.dataloader)
        self.epoch = self.iter = 0
        self._position = 'a note of the user'

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        for _ in range(self.max_epochs):
            self.runner.call_hook('before_train_epoch')
            for index, batch in enumerate(self.dataloader):
                self.runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
                outputs = self.runner.model.train_step(batch, self.runner.optim_wrapper)
                self.runner.call_hook(
                    'after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs
                )
                self.iter += 1
            self.runner.call_hook('after_train_epoch')
            self.epoch += 1
        self.runner.call_hook('after_train')
        return self.runner.model


class SetsUpItself(EpochBasedTrainLoop):
    """Passes over the constructor of its base, as loops of projects do."""

    def __init__(self, runner: Any, dataloader: Any, max_epochs: int) -> None:
        super(EpochBasedTrainLoop, self).__init__(runner, dataloader)
        self._max_epochs = max_epochs
        self._max_iters = max_epochs * len(self.dataloader)
        self._epoch = self._iter = 0
        self.val_begin = self.val_interval = 1


class SetsUpByBase(EpochBasedTrainLoop):
    def __init__(self, runner: Any, dataloader: Any, max_epochs: int) -> None:
        BaseLoop.__init__(self, runner, dataloader)
        self._max_epochs, self._max_iters = max_epochs, max_epochs * len(self.dataloader)
        self._epoch = self._iter = 0

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        while self._epoch < self._max_epochs:
            self.run_epoch()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, self.runner.optim_wrapper)
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1


class LastIters(IterBasedTrainLoop):
    """Changes its end as it goes."""

    def run_iter(self, data_batch: Any) -> None:
        super().run_iter(data_batch)
        if self._iter == 3:
            self._max_iters = 8


for _loop in (SetsUpItself, SetsUpByBase, LastIters):
    LOOPS.register_module(name=f'Owner{_loop.__name__}', module=_loop)


class Positions(Hook):
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.ends: tuple[int, int] | None = None

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        self.seen.append((runner.epoch, runner.iter))
        self.ends = (runner.max_epochs, runner.max_iters)


@pytest.mark.parametrize('loop', [
    {'type': 'OwnerOwnLoop', 'times': 2},
    {'type': 'OwnerSetsUpItself', 'max_epochs': 2},
    {'type': 'OwnerSetsUpByBase', 'max_epochs': 2},
    {'type': 'OwnerLastIters', 'max_iters': 5},
], ids=lambda loop: loop['type'])  # fmt: skip
@pytest.mark.parametrize('accumulation', [1, 3])
def test_the_position_of_a_loop_of_ones_own_is_that_of_the_run(tmp_path, loop, accumulation):
    positions = Positions()
    is_by_epoch = 'max_iters' not in loop
    runner = toy_runner(
        tmp_path,
        train_cfg=loop,
        custom_hooks=[positions],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1,
                                      'by_epoch': is_by_epoch}},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1},
                       'accumulative_counts': accumulation},
        **NO_VALIDATION,
    )  # fmt: skip
    runner.train()
    assert positions.seen == [(n // 4 if is_by_epoch else 0, n) for n in range(8)]
    assert positions.ends == (2 if is_by_epoch else 1, 8)
    assert (runner.epoch, runner.iter) == (2 if is_by_epoch else 1, 8)
    batches = EPOCH * 2
    if accumulation == 1:
        assert parameters(runner.model) == pytest.approx(trained_by_hand(batches), abs=1e-6)
    else:
        # Windows begin at multiples of 3, also where the loop moves its end while it runs.
        joined = [sum(batches[i:j], ()) for i, j in itertools.pairwise([0, 3, 6, 8])]
        assert parameters(runner.model) == pytest.approx(trained_by_hand(joined), abs=1e-6)
    saved = torch.load(tmp_path / ('epoch_2.pth' if is_by_epoch else 'iter_8.pth'))
    assert saved['meta']['iter'] == 8
    assert torch.equal(saved['state_dict']['linear.weight'], runner.model.linear.weight)


def _asked(base: type[Runner], *names: str) -> tuple[type[Runner], list[str]]:
    calls: list[str] = []

    def method(name: str) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return getattr(super(made, self), name)(*args, **kwargs)

        return call

    made = type('Asked', (base,), {name: method(name) for name in names})
    return made, calls


@pytest.mark.parametrize('base', [Runner, FlexibleRunner])
@pytest.mark.parametrize('name', [
    'build_optim_wrapper', 'build_param_scheduler', 'scale_lr', 'load_or_resume',
    'build_train_loop', 'build_val_loop', 'build_model', 'build_evaluator', 'build_visualizer',
    'build_log_processor', 'build_message_hub', 'register_hooks', 'dump_config', 'save_checkpoint',
    'call_hook', 'wrap_model',
])  # fmt: skip
def test_an_overridden_method_is_asked(tmp_path, base, name):
    kind, calls = _asked(base, name)
    settings = toy_config(
        tmp_path,
        param_scheduler={'type': 'ConstantLR', 'factor': 1.0},
        default_hooks={'checkpoint': {'type': 'CheckpointHook'}},
    )
    runner = kind(**settings)
    runner.train()
    assert calls
    plain = toy_runner(tmp_path / 'plain')
    plain.train()
    assert parameters(runner.model) == parameters(plain.model)


@pytest.mark.parametrize(('name', 'changes'), [
    ('resume', {'resume': True}), ('load_checkpoint', {'load_from': 'epoch_1.pth'})
])  # fmt: skip
def test_an_overridden_way_of_loading_is_asked(tmp_path, name, changes):
    hooks = {'checkpoint': {'type': 'CheckpointHook'}}
    toy_runner(tmp_path, default_hooks=hooks, train_cfg={'by_epoch': True, 'max_epochs': 1}).train()
    kind, calls = _asked(Runner, name)
    if 'load_from' in changes:
        changes = {'load_from': str(tmp_path / changes['load_from'])}
    runner = kind(**toy_config(tmp_path, **changes))
    runner.train()
    assert calls == [name]
    epochs = 2 if name == 'resume' else 3
    assert parameters(runner.model) == pytest.approx(trained_by_hand(EPOCH * epochs), abs=1e-6)


@MODEL_WRAPPERS.register_module(name='OwnerShell')
class Shell(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.train_step(*args, **kwargs)

    def val_step(self, data: Any) -> Any:
        return self.module.val_step(data)


class Shelled(Runner):
    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        return Shell(super().wrap_model(model_wrapper_cfg, model))


def test_a_replaced_model_is_wrapped_in_the_runners_own_way(tmp_path):
    runner = Shelled(**toy_config(tmp_path))
    assert is_model_wrapper(runner.model)
    runner.train()
    assert type(runner.model) is Shell
    runner.model = Net()
    runner.train_loop._epoch = runner.train_loop._iter = 0
    runner.train()
    assert type(runner.model) is Shell
    assert type(runner.model.module) is Net
    assert parameters(runner.model.module) == pytest.approx(trained_by_hand(EPOCH * 2), abs=1e-6)


def test_two_runners_in_turns_do_not_mix(tmp_path):
    inner: list[Runner] = []

    class Interleaves(Hook):
        def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
            if not inner or inner[-1].iter == 8:
                inner.append(make(tmp_path / f'inner{len(inner)}', []))
                inner[-1].train()

    def make(folder: Any, hooks: list[Any]) -> Runner:
        return toy_runner(
            folder,
            custom_hooks=hooks,
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3,
                           'clip_grad': {'max_norm': 100.0}},
            **NO_VALIDATION,
        )  # fmt: skip

    outer = make(tmp_path / 'outer', [Interleaves()])
    outer.train()
    batches = EPOCH * 2
    joined = [sum(batches[i : i + 3], ()) for i in range(0, 8, 3)]
    for runner in (outer, *inner):
        assert parameters(runner.model) == pytest.approx(trained_by_hand(joined), abs=1e-6)
        assert len(runner.message_hub.get_scalar('train/grad_norm').data[0]) == 3
        assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 8


def test_one_strategy_may_serve_two_runners_in_turn(tmp_path):
    from mmengine.strategy import SingleDeviceStrategy

    strategy = SingleDeviceStrategy(work_dir=str(tmp_path), log_kwargs={'log_level': 'ERROR'})
    first, second = (
        FlexibleRunner(**toy_config(tmp_path, strategy=strategy), experiment_name=name)
        for name in 'ab'
    )
    first.train()
    assert parameters(second.model) == (0.5, 0.0)
    second.train()
    first.val()
    for runner in (first, second):
        assert parameters(runner.model) == pytest.approx(trained_by_hand(EPOCH * 2), abs=1e-6)
