"""A run that is stopped and resumed has the bits of the run that was never stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

LENGTH = 12


class Noisy(Dataset):
    """Draws from the global generator for each sample, as augmentation does."""

    def __init__(self) -> None:
        self.data = torch.linspace(-1, 1, LENGTH * 4).reshape(LENGTH, 4)
        self.read: list[int] = []

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.read.append(index)
        return {'x': self.data[index] + 0.1 * torch.randn(4)}


class Net(BaseModel):
    """Dropout: the random numbers of the step matter too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 1)
        )

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        prediction = self.net(x)
        return {'loss': prediction.square().mean()} if mode == 'loss' else list(prediction)


class Mean(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        torch.randn(3)  # a metric that draws numbers may not change the training
        self.results.extend(float(sample) for sample in data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'acc': sum(results) / len(results)}


def _run(work_dir: Path, train_cfg: dict[str, Any], sampler: str, **kwargs: Any) -> Runner:
    dataset = Noisy()
    make = {'default': DefaultSampler, 'infinite': InfiniteSampler, 'torch': _ByTorch}[sampler]
    loader = DataLoader(dataset, batch_size=3, sampler=make(dataset, shuffle=True, seed=5))
    by_epoch = train_cfg['by_epoch']
    return Runner(
        Net(),
        str(work_dir),
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.01}, **kwargs.pop('wrapper', {})},
        param_scheduler=[
            {'type': 'LinearLR', 'start_factor': 0.1, 'end': 5, 'by_epoch': False},
            {'type': 'CosineAnnealingLR', 'T_max': 8, 'begin': 5, 'by_epoch': False},
        ],
        val_dataloader=DataLoader(Noisy(), batch_size=3),
        val_cfg={},
        val_evaluator=[Mean()],
        randomness={'seed': 11},
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'by_epoch': kwargs.pop('save_by_epoch', by_epoch),
                'save_best': 'acc',
            },
            'logger': {'type': 'LoggerHook', 'interval': 2},
        },
        log_processor={'by_epoch': by_epoch},
        log_level='ERROR',
        **kwargs,
    )  # fmt: skip


class _ByTorch(torch.utils.data.Sampler):
    """A sampler of the user's own: no skip, no state, its order from its seed."""

    def __init__(self, dataset: Any, shuffle: bool, seed: int) -> None:
        self.length, self.seed, self.epoch = len(dataset), seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(torch.randperm(self.length, generator=generator).tolist())

    def __len__(self) -> int:
        return self.length


def _assert_same_run(resumed: Runner, whole: Runner) -> None:
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    ours = resumed.optim_wrapper.optimizer.state_dict()['state']
    for index, state in whole.optim_wrapper.optimizer.state_dict()['state'].items():
        for key, value in state.items():
            assert torch.equal(ours[index][key], value), (index, key)
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    assert (resumed.epoch, resumed.iter) == (whole.epoch, whole.iter)
    assert torch.equal(torch.tensor(_losses(resumed)), torch.tensor(_losses(whole)))


def _losses(runner: Runner) -> list[float]:
    return [float(value) for value in runner.message_hub.get_scalar('train/loss').data[0]]


@pytest.mark.parametrize('sampler', ['default', 'torch'])
@pytest.mark.parametrize('stop_at', [1, 2])
def test_an_epoch_run_resumes_between_epochs(tmp_path, sampler, stop_at):
    cfg = {'by_epoch': True, 'max_epochs': 3}
    whole = _run(tmp_path / 'whole', cfg, sampler)
    whole.train()
    resumed = _run(
        tmp_path / 'resumed', cfg, sampler,
        resume=True, load_from=str(tmp_path / 'whole' / f'epoch_{stop_at}.pth'),
    )  # fmt: skip
    resumed.train()
    _assert_same_run(resumed, whole)


@pytest.mark.parametrize('sampler', ['default', 'torch'])
@pytest.mark.parametrize('stop_at', [3, 6, 7])
def test_an_epoch_run_resumes_within_an_epoch_without_reading_what_it_had_read(
    tmp_path, sampler, stop_at
):
    cfg = {'by_epoch': True, 'max_epochs': 2}
    whole = _run(tmp_path / 'whole', cfg, sampler, save_by_epoch=False)
    whole.train()
    resumed = _run(
        tmp_path / 'resumed', cfg, sampler, save_by_epoch=False,
        resume=True, load_from=str(tmp_path / 'whole' / f'iter_{stop_at}.pth'),
    )  # fmt: skip
    resumed.train()
    _assert_same_run(resumed, whole)
    assert (
        resumed.train_dataloader.dataset.read == whole.train_dataloader.dataset.read[stop_at * 3 :]
    )


@pytest.mark.parametrize('sampler', ['default', 'infinite', 'torch'])
@pytest.mark.parametrize('stop_at', [2, 4, 7])
def test_an_iteration_run_resumes_anywhere(tmp_path, sampler, stop_at):
    cfg = {'by_epoch': False, 'max_iters': 9, 'val_interval': 2}
    whole = _run(tmp_path / 'whole', cfg, sampler)
    whole.train()
    resumed = _run(
        tmp_path / 'resumed', cfg, sampler,
        resume=True, load_from=str(tmp_path / 'whole' / f'iter_{stop_at}.pth'),
    )  # fmt: skip
    resumed.train()
    _assert_same_run(resumed, whole)
    assert (
        resumed.train_dataloader.dataset.read == whole.train_dataloader.dataset.read[stop_at * 3 :]
    )


@pytest.mark.parametrize('stop_at', [4, 5])
def test_a_run_resumes_in_the_middle_of_an_accumulation_window(tmp_path, stop_at):
    cfg = {'by_epoch': False, 'max_iters': 8, 'val_interval': 100}
    wrapper = {'accumulative_counts': 3}
    whole = _run(tmp_path / 'whole', cfg, 'infinite', wrapper=wrapper)
    whole.train()
    resumed = _run(
        tmp_path / 'resumed', cfg, 'infinite', wrapper=wrapper,
        resume=True, load_from=str(tmp_path / 'whole' / f'iter_{stop_at}.pth'),
    )  # fmt: skip
    resumed.train()
    _assert_same_run(resumed, whole)


def test_a_run_without_a_given_seed_resumes_with_the_one_it_had(tmp_path):
    cfg = {'by_epoch': False, 'max_iters': 4}

    def run(work_dir: Path, **kwargs: Any) -> Runner:
        return Runner(
            Net(), str(work_dir), train_cfg=dict(cfg), log_level='ERROR',
            train_dataloader={
                'dataset': Noisy(), 'batch_size': 3,
                'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
                'collate_fn': 'default_collate',
            },
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
            default_hooks={'checkpoint': {'interval': 2, 'by_epoch': False}}, **kwargs,
        )  # fmt: skip

    whole = run(tmp_path / 'whole')
    whole.train()
    resumed = run(tmp_path / 'r', resume=True, load_from=str(tmp_path / 'whole' / 'iter_2.pth'))
    assert resumed.seed != whole.seed
    resumed.train()
    assert resumed.seed == whole.seed
    assert resumed.train_dataloader.dataset.read == whole.train_dataloader.dataset.read[6:]


class _Interrupt(Hook):
    """Ctrl-C in the second epoch, after a checkpoint of the first."""

    priority = 'LOWEST'

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_resume_takes_the_newest_checkpoint_of_the_work_dir(tmp_path):
    cfg = {'by_epoch': True, 'max_epochs': 3}
    whole = _run(tmp_path / 'whole', cfg, 'default')
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / 'stopped', cfg, 'default', custom_hooks=[_Interrupt()]).train()
    resumed = _run(tmp_path / 'stopped', cfg, 'default', resume=True)
    resumed.train()
    _assert_same_run(resumed, whole)
