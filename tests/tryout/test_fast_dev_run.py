"""fast_dev_run: the first steps of the real run, then nothing is left but the log."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from tryout_toy import batch_of, files_in, order_of, pair_config, tryout_config

from mmengine.hooks import Hook
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from mmengine.tryout import fast_dev_run
from mmengine.utils.errors import ArgumentError


class Notes(Hook):
    """What happened, in order."""

    seen: list[str] = []

    def after_train_iter(self, runner: Any, **_: Any) -> None:
        self.seen.append('train')

    def after_val_iter(self, runner: Any, **_: Any) -> None:
        self.seen.append('val')

    def after_test_iter(self, runner: Any, **_: Any) -> None:
        self.seen.append('test')

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.seen.append('save')


@pytest.fixture
def notes() -> list[str]:
    Notes.seen = []
    return Notes.seen


@LOOPS.register_module()
class TryoutOwnLoop(BaseLoop):
    """Counts by itself, and never looks whether it is to stop."""

    def __init__(self, runner: Any, dataloader: Any, rounds: int) -> None:
        super().__init__(runner, dataloader)
        self.rounds = rounds
        self.epoch = self.iter = 0
        self.max_epochs, self.max_iters = 1, rounds

    def run(self) -> Any:
        self.runner.call_hook('before_train')
        for index, batch in enumerate(self.dataloader):
            self.runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
            outputs = self.runner.model.train_step(batch, self.runner.optim_wrapper)
            self.runner.call_hook(
                'after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs
            )
            self.iter += 1
        self.runner.call_hook('after_train')
        return self.runner.model


def first_losses(num_batches: int) -> list[float]:
    """Of plain gradient steps at a constant learning rate."""
    linear = nn.Linear(1, 1)
    nn.init.constant_(linear.weight, 0.5)
    nn.init.zeros_(linear.bias)
    losses = []
    for index in range(num_batches):
        batch = batch_of(order_of(0)[2 * index : 2 * index + 2])
        loss = (linear(batch['x']) - batch['y']).square().mean()
        losses.append(loss.item())
        grads = torch.autograd.grad(loss, list(linear.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(linear.parameters(), grads, strict=True):
                parameter -= 0.1 * grad
    return losses


def test_each_stage_runs_and_only_the_log_is_left(tmp_path: Path, notes: list[str]) -> None:
    cfg = tryout_config(tmp_path, custom_hooks=[{'type': Notes}], default_hooks={})
    result = fast_dev_run(cfg, 3)
    assert notes == [*['train'] * 3, *['val'] * 3, 'save', *['test'] * 3]
    assert result.trained == 3
    assert result.values['loss'] == pytest.approx(first_losses(3)[-1])
    assert result.val is not None
    assert result.test is not None
    assert result.val['count'] == result.test['count'] == 6
    assert [str(tmp_path / name) for name in files_in(tmp_path)] == [result.log]
    text = str(result)
    assert 'Trained          3 batches: loss' in text
    assert text.endswith('This was a check: no checkpoint or other file of it is kept.')


@pytest.mark.parametrize(
    'changes',
    [
        dict(train_cfg={'by_epoch': False, 'max_iters': 50, 'val_interval': 10}),
        dict(train_cfg={'by_epoch': True, 'max_epochs': 9, 'val_begin': 5}),
        # With one epoch alone, this schedule would end before it begins.
        dict(
            train_cfg={'by_epoch': True, 'max_epochs': 9},
            param_scheduler=[{'type': 'CosineAnnealingLR', 'T_max': 4, 'begin': 5}],
        ),
        dict(train_cfg={'type': 'TryoutOwnLoop', 'rounds': 4}),
        dict(runner_type='FlexibleRunner', strategy={'type': 'SingleDeviceStrategy'}),
        dict(val_dataloader=None, val_cfg=None, val_evaluator=None),
        dict(default_hooks={'checkpoint': {'save_best': 'error', 'rule': 'less'}}),
    ],
    ids=[
        'iterations',
        'late validation',
        'late schedule',
        'own loop',
        'flexible',
        'no val',
        'best',
    ],
)
def test_whatever_the_run_is(changes: dict[str, Any], tmp_path: Path, notes: list[str]) -> None:
    result = fast_dev_run(tryout_config(tmp_path, custom_hooks=[{'type': Notes}], **changes))
    has_val = changes.get('val_cfg', {}) is not None
    assert [each for each in notes if each != 'save'] == ['train', *['val'] * has_val, 'test']
    assert result.values['loss'] == pytest.approx(first_losses(1)[0])
    assert len(files_in(tmp_path)) == 1


def test_several_optimizers_in_a_train_step(tmp_path: Path) -> None:
    result = fast_dev_run(pair_config(tmp_path))
    assert set(result.values) == {'loss_a', 'loss_b'}


def test_it_goes_on_from_the_checkpoint_of_the_work_dir(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, default_hooks={'checkpoint': {'by_epoch': False, 'interval': 1}})
    whole = Runner.from_cfg(cfg)
    losses: list[float] = []

    class Losses(Hook):
        def after_train_iter(self, runner: Any, outputs: Any = None, **_: Any) -> None:
            losses.append(outputs['loss'].item())

    whole.register_hook(Losses())
    whole.train()
    before = files_in(tmp_path)
    # What the check changes is not taken for a change of the config.
    cfg.resume = {'path': str(tmp_path / 'iter_2.pth'), 'on_change': 'error'}
    assert fast_dev_run(cfg).values['loss'] == losses[2]
    cfg.resume = True  # the newest one is the end
    ended = fast_dev_run(cfg)
    assert ended.trained == 0
    assert 'had ended' in str(ended)
    assert len(files_in(tmp_path)) == len(before) + 2


def test_a_resumed_check_misses_no_checkpoint(tmp_path: Path) -> None:
    settings = {'by_epoch': False, 'interval': 1, 'save_best': 'error', 'rule': 'less',
                'max_keep_ckpts': 1}  # fmt: skip
    cfg = tryout_config(tmp_path, default_hooks={'checkpoint': settings})
    Runner.from_cfg(cfg).train()
    before = [name for name in files_in(tmp_path) if not name.endswith('.log')]
    assert any('best_error' in name for name in before)
    cfg.resume, cfg.train_cfg.max_epochs = True, 9
    result = fast_dev_run(cfg)
    assert result.trained == 1
    assert 'are not all in' not in Path(result.log).read_text()
    assert [name for name in files_in(tmp_path) if not name.endswith('.log')] == before


def test_a_mistake_is_the_users_and_nothing_is_left(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, default_hooks={'checkpoint': {'save_best': 'accuracy'}})
    with pytest.raises((KeyError, ValueError), match='accuracy'):
        fast_dev_run(cfg)
    assert [Path(name).suffix for name in files_in(tmp_path)] == ['.log']


@pytest.mark.parametrize('number', [0, -1, 1.5])
def test_another_number_is_refused(number: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match='num_batches'):
        fast_dev_run(tryout_config(tmp_path), number)


def test_a_config_without_training_is_refused(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, train_cfg=None, train_dataloader=None, optim_wrapper=None)
    with pytest.raises(ArgumentError, match='no train_cfg'):
        fast_dev_run(cfg)
