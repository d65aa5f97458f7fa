"""What projects give a run: configs as objects, old names of backends, metrics of any shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, EMAHook, Hook, LoggerHook, ProfilerHook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, StepLR
from mmengine.registry import HOOKS, METRICS, MODELS
from mmengine.runner import (
    EpochBasedTrainLoop,
    LogProcessor,
    Runner,
    TestLoop,
    ValLoop,
    save_checkpoint,
)
from mmengine.strategy import FileCheckpointIO
from mmengine.visualization import LocalVisBackend, Visualizer


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any = None, mode: str = 'tensor') -> Any:
        return {'loss': self.weight.sum()} if mode == 'loss' else [1] * len(x)


class Several(BaseMetric):
    """Reports values of every kind that projects report."""

    VALUES: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        return dict(self.VALUES)


class NothingHook(Hook):
    pass


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, kind in ((MODELS, Toy), (METRICS, Several), (HOOKS, NothingHook)):
        monkeypatch.setitem(registry.module_dict, kind.__name__, kind)


def as_x(batch: list[int]) -> dict[str, Any]:
    return {'x': batch}


LOADER = {'dataset': [0, 1], 'batch_size': 1, 'collate_fn': as_x}


def make_runner(tmp_path: Path, **changes: Any) -> Runner:
    arguments: dict[str, Any] = {
        'model': Toy(),
        'work_dir': str(tmp_path),
        'log_level': 'ERROR',
        'train_dataloader': LOADER,
        'train_cfg': {'by_epoch': True, 'max_epochs': 1},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'val_dataloader': LOADER,
        'val_cfg': {},
        'val_evaluator': {'type': 'Several'},
        'test_dataloader': LOADER,
        'test_cfg': {},
        'test_evaluator': {'type': 'Several'},
    }
    return Runner(**{**arguments, **changes})


# -- values of metrics


def values_of_every_kind() -> dict[str, Any]:
    return {
        'acc': torch.tensor(0.5),
        'one': torch.tensor([[0.75]]),
        'half': torch.tensor([1.0], dtype=torch.bfloat16),
        'array': np.arange(3.0),
        'per_class': torch.tensor([0.25, 0.5]),
        'deep': {'a': [torch.tensor(1.0), np.float32(2)], 'b': (torch.arange(2),), 3: {'c': {4}}},
        'none': None,
        'text': 'x',
        'empty': torch.zeros(0),
        'complex': torch.tensor(1 + 2j),
        'object': Path('a'),
    }


def test_a_test_ends_with_lists_in_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Several, 'VALUES', values_of_every_kind())
    make_runner(tmp_path).test()
    (file,) = tmp_path.glob('*/*.json')
    found = json.loads(file.read_text())
    del found['time'], found['data_time']
    assert found == {
        'acc': 0.5,
        'one': 0.75,
        'half': 1.0,
        'array': [0.0, 1.0, 2.0],
        'per_class': [0.25, 0.5],
        'deep': {'a': [1.0, 2.0], 'b': [[0, 1]], '3': {'c': [4]}},
        'none': None,
        'text': 'x',
        'empty': [],
        'complex': '(1+2j)',
        'object': 'a',
    }


def test_a_validation_logs_what_is_scalar_and_goes_on_to_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = values_of_every_kind()
    del values['object']
    monkeypatch.setattr(Several, 'VALUES', values)
    hook = {'type': 'CheckpointHook', 'save_best': 'acc', 'rule': 'greater', 'interval': 1}
    make_runner(tmp_path, default_hooks={'checkpoint': hook}).train()
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    record = json.loads(scalars.read_text().splitlines()[-1])
    assert {key: record[key] for key in ('acc', 'one', 'half')} == {
        'acc': 0.5,
        'one': 0.75,
        'half': 1.0,
    }
    assert not {'per_class', 'deep', 'complex', 'text'} & set(record)
    assert (tmp_path / 'best_acc_epoch_1.pth').exists()
    checkpoint = FileCheckpointIO().read(str(tmp_path / 'epoch_1.pth'))
    info = checkpoint['message_hub']['runtime_info']
    assert info['val/per_class'].tolist() == [0.25, 0.5]


# -- the old name of the local backend


def test_disk_is_the_local_backend_of_hooks_and_checkpoints(tmp_path: Path) -> None:
    disk = {'backend': 'disk'}
    save_checkpoint({'a': 1}, tmp_path / 'x.pth', file_client_args=disk)
    hooks = {
        'checkpoint': {'type': 'CheckpointHook', 'file_client_args': disk},
        'logger': {'type': 'LoggerHook', 'out_dir': f'{tmp_path}/out', 'backend_args': disk},
    }
    make_runner(tmp_path / 'run', default_hooks=hooks).train()
    assert (tmp_path / 'x.pth').exists()
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()
    assert list((tmp_path / 'out').rglob('*.log'))


# -- a Config where a dict is taken

SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
STEP = {'type': 'StepLR', 'step_size': 1}


@pytest.mark.parametrize(
    ('builder', 'config', 'kind'),
    [
        ('build_dataloader', LOADER, DataLoader),
        ('build_model', {'type': 'Toy'}, Toy),
        ('build_optim_wrapper', SGD, OptimWrapper),
        ('build_evaluator', {'type': 'Several'}, Evaluator),
        ('build_evaluator', {'type': 'Evaluator', 'metrics': {'type': 'Several'}}, Evaluator),
        ('build_train_loop', {'by_epoch': True, 'max_epochs': 1}, EpochBasedTrainLoop),
        ('build_val_loop', {'type': 'ValLoop'}, ValLoop),
        ('build_test_loop', {}, TestLoop),
        ('build_log_processor', {'type': 'LogProcessor'}, LogProcessor),
        ('build_visualizer', {'type': 'Visualizer', 'name': 'other'}, Visualizer),
    ],
)
def test_a_builder_takes_a_config(
    tmp_path: Path, builder: str, config: dict[str, Any], kind: type
) -> None:
    built = getattr(make_runner(tmp_path), builder)(Config(config))
    assert isinstance(built, kind)


def test_schedules_and_hooks_take_configs(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(SGD)
    for given in (Config(STEP), [Config(STEP)]):
        (schedule,) = runner.build_param_scheduler(given)
        assert isinstance(schedule, StepLR)
    runner.register_hook(Config({'type': 'NothingHook'}))
    assert type(runner.hooks[-1]) is NothingHook or NothingHook in map(type, runner.hooks)


def test_a_run_is_made_of_configs(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        'model': {'type': 'Toy'},
        'train_dataloader': LOADER,
        'val_dataloader': LOADER,
        'train_cfg': {'by_epoch': True, 'max_epochs': 1},
        'val_cfg': {},
        'optim_wrapper': SGD,
        'param_scheduler': STEP,
        'val_evaluator': {'type': 'Several'},
        'log_processor': {'type': 'LogProcessor'},
        'visualizer': {'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]},
        'default_hooks': {'checkpoint': None},
        'randomness': {'seed': 1},
        'env_cfg': {'cudnn_benchmark': False},
    }
    runner = make_runner(tmp_path, **{name: Config(part) for name, part in parts.items()})
    runner.train()
    assert runner.iter == 2
    assert runner.seed == 1


def test_trackers_may_be_configs(tmp_path: Path) -> None:
    config = Config({'type': 'LocalVisBackend'})
    for given in (config, [config]):
        visualizer = Visualizer(vis_backends=given, save_dir=str(tmp_path))
        assert isinstance(visualizer.get_backend('LocalVisBackend'), LocalVisBackend)


# -- errors, caught as the API raised them


@pytest.mark.parametrize(
    ('call', 'error'),
    [
        # Recorded from mmengine 0.10.7.
        (lambda: LoggerHook(interval='a'), TypeError),
        (lambda: LoggerHook(interval=0), ValueError),
        (lambda: LoggerHook(out_dir=3), TypeError),
        (lambda: ProfilerHook(by_epoch=3), AssertionError),
        (lambda: ProfilerHook(profile_times=0), AssertionError),
        (lambda: EMAHook(begin_iter=1, begin_epoch=1), AssertionError),
        (lambda: CheckpointHook(save_begin=-1), AssertionError),
        (lambda: MessageHub('a').update_scalar('a', 'x'), AssertionError),
        (lambda: MessageHub('a').update_scalar('a', torch.zeros(2)), AssertionError),
        (lambda: MessageHub('a').get_scalar('a'), KeyError),
        (lambda: LocalVisBackend('nowhere').add_scalars(3), AssertionError),
        (lambda: Visualizer(vis_backends=3), TypeError),
    ],
    ids=range(12),
)
def test_wrong_arguments_are_caught_as_before(call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
