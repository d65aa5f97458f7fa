"""A checkpoint that PyPI's mmengine 0.10.7 wrote loads, and its run goes on with the same bits.

The file is of the first of three epochs of the run below. The numbers it is compared with are those
that 0.10.7 had at the end of its own, uninterrupted run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine._checkpoint.files import read_checkpoint
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner

FILE = Path(__file__).with_name('data') / 'mmengine_0_10_7_epoch_1.pth'
WEIGHT, BIAS = '0x1.49e66e0000000p+0', '0x1.00393c0000000p-2'
WEIGHT_AT_END, BIAS_AT_END = '0x1.607b640000000p+1', '0x1.14fdfe0000000p+0'
LOSSES = [
    1.5625, 16.22270965576172, 38.24615478515625, 0.13761554658412933, 0.32979196310043335,
    12.367216110229492, 2.384138345718384, 9.795339584350586, 22.16497230529785,
]  # fmt: skip


class Line(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {'x': torch.tensor([float(index)]), 'y': torch.tensor([2.0 * index])}


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(1, 1)

    def forward(self, x: Any, y: Any, mode: str) -> Any:
        return {'loss': (self.l(torch.stack(x)) - torch.stack(y)).square().mean()}


def _runner(tmp_path: Path, **kwargs: Any) -> Runner:
    return Runner(
        Net(),
        str(tmp_path),
        train_dataloader={
            'dataset': Line(),
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        train_cfg={'by_epoch': True, 'max_epochs': 3},
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9},
            'paramwise_cfg': {'bias_lr_mult': 2.0},
        },
        param_scheduler=[
            {'type': 'LinearLR', 'start_factor': 0.5, 'end': 4, 'by_epoch': False},
            {'type': 'MultiStepLR', 'milestones': [2], 'by_epoch': True},
        ],
        default_hooks={'checkpoint': None},
        log_level='ERROR',
        **kwargs,
    )


def _bits(model: Net) -> tuple[str, str]:
    return model.l.weight.item().hex(), model.l.bias.item().hex()


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    return read_checkpoint(FILE)


def test_its_weights_and_meta_are_read(checkpoint):
    assert checkpoint['state_dict']['l.weight'].item().hex() == WEIGHT
    meta = checkpoint['meta']
    assert (meta['epoch'], meta['iter'], meta['seed']) == (1, 3, 0)
    assert meta['mmengine_version'] == '0.10.7'
    assert meta['dataset_meta'] == {'classes': ('a', 'b')}


def test_its_histories_are_histories(checkpoint):
    scalars = checkpoint['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    values, counts = scalars['train/loss'].data
    assert values.tolist() == LOSSES[:3]
    assert counts.tolist() == [1, 1, 1]
    assert scalars['train/loss'].mean(2) == (LOSSES[1] + LOSSES[2]) / 2


def test_numpy_values_and_configs_in_it_are_read(checkpoint):
    extra = checkpoint['extra']
    np.testing.assert_array_equal(extra['array'], [[0, 1, 2], [3, 4, 5]])
    assert extra['array'].dtype == np.float32
    assert type(extra['number']) is np.float64
    assert extra['cfg'] == ConfigDict(a=1, b=dict(c=[1, 2]))
    assert extra['cfg'].b.c == [1, 2]


def test_nothing_in_it_is_reported_as_left_out(capsys):
    read_checkpoint(FILE)
    assert capsys.readouterr().out == ''


def test_its_message_hub_is_loaded(checkpoint):
    hub = MessageHub.get_instance('old')
    hub.load_state_dict(checkpoint['message_hub'])
    assert hub.get_scalar('train/loss').data[0].tolist() == LOSSES[:3]
    assert hub.get_info('epoch') == 0


def test_it_loads_as_initial_weights(tmp_path):
    runner = _runner(tmp_path, load_from=str(FILE))
    runner.load_or_resume()
    assert _bits(runner.model) == (WEIGHT, BIAS)
    assert runner.epoch == 0


def test_its_run_goes_on_to_the_same_bits(tmp_path):
    runner = _runner(tmp_path, load_from=str(FILE), resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 9)
    assert _bits(runner.model) == (WEIGHT_AT_END, BIAS_AT_END)
    assert runner.message_hub.get_scalar('train/loss').data[0].tolist() == LOSSES
    assert runner.optim_wrapper.get_lr() == {
        'base_lr': [pytest.approx(0.001)],
        'lr': [pytest.approx(0.001), pytest.approx(0.002)],
    }
    assert len(runner.message_hub.get_scalar('train/base_lr').data[0]) == 9
