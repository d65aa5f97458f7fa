"""Samplers that draw the order of a pass from random states: a stopped pass keeps its order."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, toy_runner
from runner_toy import Net as LineNet
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from mmengine.hooks import Hook
from mmengine.testing._internal.distributed import run_distributed

LENGTH = 24


class Numbers(Dataset):
    """Samples that say their index, and draw a number."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.rand(1)
        return {'x': x, 'y': 2 * x + index, 'index': torch.tensor(index)}


class Net(LineNet):
    """Takes the index of each sample too, and draws numbers as dropout does."""

    def forward(self, x: Any, y: Any, index: Any, mode: str = 'tensor') -> Any:
        return super().forward(x + 0.1 * torch.rand(1), y, mode)


class Shuffled(Sampler[int]):
    """Draws all its indices when an iterator is asked for, from the numpy generator it is given."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Any:
        return iter(self.rng.permutation(LENGTH).tolist())


class Drawn(Sampler[int]):
    """Shuffles with Python's random numbers at the first index."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Any:
        indices = list(range(LENGTH))
        self.rng.shuffle(indices)
        yield from indices


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


WEIGHTS = torch.linspace(0.1, 1, LENGTH)
LOADERS: dict[str, Any] = {
    'shuffle': lambda: {'shuffle': True},
    'shuffle, generator of the loader': lambda: {'shuffle': True, 'generator': _generator()},
    'generator of the sampler': lambda: {
        'sampler': RandomSampler(Numbers(), generator=_generator())  # type: ignore[arg-type]
    },
    'more than the dataset': lambda: {
        'sampler': RandomSampler(Numbers(), replacement=True, num_samples=40)  # type: ignore[arg-type]
    },
    'weighted': lambda: {'sampler': WeightedRandomSampler(WEIGHTS, LENGTH)},
    'numpy, global': lambda: {'sampler': Shuffled(np.random)},
    'numpy, own': lambda: {'sampler': Shuffled(np.random.default_rng(3))},
    'numpy, own, legacy': lambda: {'sampler': Shuffled(np.random.RandomState(3))},
    'python, global': lambda: {'sampler': Drawn(random)},
    'python, own': lambda: {'sampler': Drawn(random.Random(3))},
    'workers': lambda: {'shuffle': True, 'num_workers': 2},
    'persistent workers': lambda: {
        'shuffle': True, 'num_workers': 2, 'persistent_workers': True, 'generator': _generator()
    },
}  # fmt: skip


class Seen(Hook):
    """Notes the indices of each batch, and stops the run after one of them."""

    def __init__(self, stop: int | None) -> None:
        self.indices: list[list[int]] = []
        self.stop = stop

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.indices.append(data_batch['index'].tolist())
        random.random()
        if runner.iter + 1 == self.stop:
            raise KeyboardInterrupt


def _run(work_dir: Path, loader: Any, cfg: Any, stop: int | None = None, **changes: Any) -> Any:
    options = {'batch_size': 4, **loader()}
    seen = Seen(stop)
    runner = toy_runner(
        work_dir,
        model=Net(),
        train_dataloader=DataLoader(Numbers(), **options),
        train_cfg=cfg,
        custom_hooks=[seen],
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False},
            'logger': None,
        },
        randomness={'seed': 5},
        **NO_VALIDATION,
        **NO_TEST,
        **changes,
    )
    if stop is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return seen.indices, runner.model.state_dict()


EPOCHS = {'by_epoch': True, 'max_epochs': 3}
ITERS = {'by_epoch': False, 'max_iters': 18}


@pytest.mark.parametrize('cfg', [EPOCHS, ITERS], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('name', LOADERS)
def test_a_stopped_pass_goes_on_in_its_order(tmp_path, name, cfg):
    whole, weights = _run(tmp_path / 'whole', LOADERS[name], cfg)
    begun: list[list[int]] = []
    for stop in (3, 8, 9, 13):  # within a pass, twice in one, and just after its begin
        part, _ = _run(tmp_path / 'run', LOADERS[name], cfg, stop, resume=bool(begun))
        begun += part[: stop - 1 - len(begun)]  # the batch in which the run stopped is not saved
    rest, resumed = _run(tmp_path / 'run', LOADERS[name], cfg, resume=True)
    assert begun + rest == whole
    assert all(torch.equal(resumed[key], weights[key]) for key in weights)


def _train_on_rank(
    rank: int, world_size: int, work_dir: str, stop: int | None, resume: bool
) -> list[list[int]]:
    seen, _ = _run(Path(work_dir), LOADERS['shuffle'], EPOCHS, stop, resume=resume)
    return seen


@pytest.mark.distributed
def test_each_rank_goes_on_in_its_own_order(tmp_path):
    whole = run_distributed(_train_on_rank, 2, str(tmp_path / 'whole'), None, False)
    begun = run_distributed(_train_on_rank, 2, str(tmp_path / 'run'), 4, False)
    rest = run_distributed(_train_on_rank, 2, str(tmp_path / 'run'), None, True)
    for rank in range(2):
        assert begun[rank][:3] + rest[rank] == whole[rank]


def test_an_order_that_the_checkpoint_does_not_have_is_told(tmp_path):
    _run(tmp_path / 'old', LOADERS['shuffle'], EPOCHS, 3)
    checkpoint = torch.load(tmp_path / 'old' / 'iter_2.pth')
    del checkpoint['meta']['data']['orders']
    torch.save(checkpoint, tmp_path / 'other.pth')
    options = {'resume': str(tmp_path / 'other.pth'), 'log_level': 'WARNING'}
    _run(tmp_path / 'new', LOADERS['shuffle'], EPOCHS, **options)
    (log,) = (tmp_path / 'new').glob('*/*.log')
    assert 'may repeat or leave out samples' in log.read_text()
