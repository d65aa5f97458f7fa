import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner._rehearsal import ToyModel, fake_run

READ: list[int] = []


@DATASETS.register_module()
class DatasetOfFakeRun(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        READ.append(index)
        return torch.ones(1)


def config(work_dir: Path, **changes: Any) -> Config:
    return Config(
        {
            'model': {'type': 'ThereIsNoSuchModel', 'depth': 50},
            'train_dataloader': {
                'dataset': {'type': 'DatasetOfFakeRun'},
                'batch_size': 2,
                'sampler': {'type': 'DefaultSampler', 'shuffle': True},
                'num_workers': 0,
            },
            'train_cfg': {'by_epoch': True, 'max_epochs': 4},
            'val_cfg': {'type': 'ThereIsNoSuchLoop'},
            'optim_wrapper': {
                'type': 'AmpOptimWrapper',
                'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
            },
            'param_scheduler': [{'type': 'StepLR', 'step_size': 2, 'gamma': 0.5}],
            'work_dir': str(work_dir),
            'experiment_name': work_dir.name,
            **changes,
        }
    )


def test_the_rates_are_those_of_the_real_run_and_no_sample_is_read(tmp_path: Path) -> None:
    READ.clear()
    cfg = config(tmp_path)
    before = cfg.to_dict()
    runner = fake_run(cfg)
    history, _ = runner.message_hub.get_scalar('train/lr').data
    # Three iterations an epoch; halved after two of four epochs.
    assert [round(float(rate), 6) for rate in history] == [0.1] * 6 + [0.05] * 6
    momenta, _ = runner.message_hub.get_scalar('train/momentum').data
    assert [round(float(value), 6) for value in momenta] == [0.9] * 12
    assert READ == []
    assert cfg.to_dict() == before
    assert not list(tmp_path.rglob('*.pth'))


def test_a_schedule_by_iteration(tmp_path: Path) -> None:
    schedule = [{'type': 'CosineAnnealingLR', 'by_epoch': False, 'T_max': 12}]
    runner = fake_run(config(tmp_path, param_scheduler=schedule))
    history, _ = runner.message_hub.get_scalar('train/lr').data
    expected = [0.1 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(12)]
    assert [float(rate) for rate in history] == pytest.approx(expected)


@pytest.mark.parametrize('changes', [{'train_cfg': None}, {'optim_wrapper': {'a': {}, 'b': {}}}])
def test_a_configuration_that_cannot_be_rehearsed_says_why(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match='fake_run'):
        fake_run(config(tmp_path, **changes))


def test_the_toy_model_takes_any_argument_and_any_batch() -> None:
    model = ToyModel(3, depth=50)
    assert model(torch.ones(2), mode='loss')['loss'].item() == 0
