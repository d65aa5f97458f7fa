"""LegacyParamSchedulerHook: learning rates as hooks of MMCV 1.x saw them."""

import pytest
import torch
from torch.utils.data import DataLoader

from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

LENGTH, EPOCHS = 2, 3


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, mode='tensor'):
        return dict(loss=(self.slope * x).sum())


class Sees(Hook):
    """Notes the learning rate between iterations."""

    def __init__(self):
        self.seen = []

    def _note(self, name, runner):
        self.seen.append((name, round(runner.optim_wrapper.get_lr()['lr'][0], 6)))

    def before_train_epoch(self, runner):
        self._note('epoch', runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._note('iter', runner)

    def after_train_epoch(self, runner):
        self._note('end', runner)


def trained(work_dir, scheduler, priority='NORMAL', epochs=EPOCHS, **more):
    runner = Runner(
        Line(),
        str(work_dir),
        train_dataloader=DataLoader([dict(x=torch.ones(1))] * LENGTH),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        param_scheduler=scheduler,
        default_hooks=dict(param_scheduler=dict(type='LegacyParamSchedulerHook')),
        log_level='ERROR',
        **more,
    )
    hook = Sees()
    runner.register_hook(hook, priority=priority)
    runner.train()
    return hook.seen, runner


@pytest.mark.parametrize('priority', ['VERY_HIGH', 'NORMAL', 'LOWEST'])
def test_between_iterations_the_last_learning_rate_is_seen(tmp_path, priority):
    # It halves with each iteration: 1, 1/2 | 1/4, 1/8 | 1/16, 1/32.
    seen, _ = trained(tmp_path, dict(type='ExponentialLR', gamma=0.5, by_epoch=False), priority)
    assert seen == [
        ('epoch', 1.0), ('iter', 1.0), ('iter', 0.5), ('end', 0.5),
        ('epoch', 0.5), ('iter', 0.25), ('iter', 0.125), ('end', 0.125),
        ('epoch', 0.125), ('iter', 0.0625), ('iter', 0.03125), ('end', 0.03125),
    ]  # fmt: skip


def test_a_schedule_of_epochs_is_set_when_an_epoch_begins(tmp_path):
    seen, _ = trained(tmp_path, dict(type='MultiStepLR', milestones=[1, 2], gamma=0.1))
    expected = [
        (name, rate) for rate in (1.0, 0.1, 0.01) for name in ('epoch', 'iter', 'iter', 'end')
    ]
    assert seen == expected


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_resumed_run_takes_the_steps_that_a_checkpoint_lacks(tmp_path, by_epoch):
    scheduler = dict(type='ExponentialLR', gamma=0.5, by_epoch=by_epoch)
    whole, _ = trained(tmp_path / 'whole', scheduler)
    trained(tmp_path / 'part', scheduler, epochs=1)
    rest, _ = trained(
        tmp_path / 'part', scheduler, resume=True, load_from=str(tmp_path / 'part/epoch_1.pth')
    )
    assert rest == whole[4:]


def test_a_checkpoint_of_the_stock_hook_is_resumed_as_well(tmp_path):
    scheduler = dict(type='ExponentialLR', gamma=0.5, by_epoch=False)
    whole, _ = trained(tmp_path / 'whole', scheduler)
    Runner(
        Line(),
        str(tmp_path / 'stock'),
        train_dataloader=DataLoader([dict(x=torch.ones(1))] * LENGTH),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        param_scheduler=scheduler,
        log_level='ERROR',
    ).train()
    rest, _ = trained(
        tmp_path / 'stock', scheduler, resume=True, load_from=str(tmp_path / 'stock/epoch_1.pth')
    )
    # The stock hook has set the next learning rate before the epoch begins.
    assert rest[0] == ('epoch', 0.25)
    assert rest[1:] == whole[5:]
