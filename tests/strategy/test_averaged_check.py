"""A training step that goes around DDP is told at its first step, not trained in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.model import GAN, BaseModel
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

SAMPLES = torch.linspace(-1, 1, 16).reshape(8, 2)


class Step(BaseModel):
    """A step that calls the model, or a sub-module alone."""

    def __init__(self, goes_around: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.goes_around = nn.Linear(2, 1), goes_around

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return self.net(x)

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        outputs = self.net(data['x']) if self.goes_around else self(data['x'])
        loss = outputs.square().mean()
        optim_wrapper.update_params(loss)
        return {'loss': loss}


def trained(folder: str, goes_around: bool, **wrapper: Any) -> list[float]:
    runner = Runner(
        Step(goes_around), folder,
        train_dataloader={
            'dataset': [{'x': sample} for sample in SAMPLES], 'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': 'default_collate',
        },
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, **wrapper},
        default_hooks={'checkpoint': None, 'logger': None},
        launcher='pytorch', log_level='ERROR',
    )  # fmt: skip
    runner.train()
    return [value for param in runner.model.parameters() for value in param.flatten().tolist()]


def by_hand(accumulated: int) -> list[float]:
    """The same steps over the batches of both ranks, by plain PyTorch."""
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    # Ranks take samples in turns: rank 0 has 0, 2, 4, 6 and rank 1 has 1, 3, 5, 7.
    batches = [SAMPLES[[0, 2, 1, 3]], SAMPLES[[4, 6, 5, 7]]]
    for number, batch in enumerate(batches):
        (net(batch).square().mean() / accumulated).backward()
        if (number + 1) % accumulated == 0:
            optimizer.step()
            optimizer.zero_grad()
    return [value for param in net.parameters() for value in param.flatten().tolist()]


def _gan(rank: int, world_size: int, folder: str) -> list[float]:
    torch.manual_seed(0)
    model = GAN(nn.Linear(3, 2), nn.Linear(2, 1), noise=3)
    adam = {'optimizer': {'type': 'Adam', 'lr': 0.01}}
    Runner(
        model, folder,
        train_dataloader={
            'dataset': list(SAMPLES), 'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'generator': adam, 'discriminator': adam},
        default_hooks={'checkpoint': None, 'logger': None},
        launcher='pytorch', log_level='ERROR',
    ).train()  # fmt: skip
    return [value for param in model.parameters() for value in param.flatten().tolist()]


def _around(rank: int, world_size: int, folder: str) -> None:
    trained(folder, True)


def _through(rank: int, world_size: int, folder: str) -> tuple[list[float], list[float]]:
    each = trained(f'{folder}/each', False)
    window = trained(f'{folder}/window', False, accumulative_counts=2, clip_grad={'max_norm': 99})
    return each, window


def test_a_step_around_ddp_is_refused(tmp_path: Path) -> None:
    told = r'other gradients of net\.weight, net\.bias, .*MMSeparateDistributedDataParallel'
    with pytest.raises(RuntimeError, match=told):
        run_distributed(_around, 2, str(tmp_path))


def test_steps_through_ddp_train_as_by_hand(tmp_path: Path) -> None:
    for each, window in run_distributed(_through, 2, str(tmp_path)):
        assert each == pytest.approx(by_hand(1), abs=1e-6)
        assert window == pytest.approx(by_hand(2), abs=1e-6)


def test_a_ready_gan_is_one_model_on_all_ranks(tmp_path: Path) -> None:
    first, second = run_distributed(_gan, 2, str(tmp_path))
    assert first == second
    torch.manual_seed(0)
    untrained = [nn.Linear(3, 2), nn.Linear(2, 1)]
    before = [v for net in untrained for p in net.parameters() for v in p.flatten().tolist()]
    # Adam moves each number by up to the learning rate in each of 4 steps, and all of them.
    moved = [abs(after - start) for after, start in zip(first, before, strict=True)]
    assert all(0 < distance < 4 * 0.0101 for distance in moved)
