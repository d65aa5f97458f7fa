"""Gradients that the step of one optimizer leaves in the parameters of another one are state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, toy_runner
from torch import nn
from torch.nn import functional

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.testing._internal.distributed import run_distributed


class Gan(BaseModel):
    """The step of the generator leaves gradients in the discriminator, which is not frozen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(9)
        self.generator = nn.Linear(1, 1)
        self.discriminator = nn.Linear(1, 1)

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        return self.discriminator(self.generator(x))

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Any]:
        x, y = data['x'].float(), data['y'].float()
        faked = self.discriminator(self.generator(x).detach())
        loss = functional.softplus(-self.discriminator(y)).mean()
        loss = loss + functional.softplus(faked).mean()
        optim_wrapper['discriminator'].update_params(loss)
        fooled = functional.softplus(-self.discriminator(self.generator(x))).mean()
        optim_wrapper['generator'].update_params(fooled)
        return {'loss': loss.detach(), 'fooled': fooled.detach()}


def _by_hand(steps: int, length: int, batch_size: int) -> dict[str, torch.Tensor]:
    """The same steps in plain PyTorch; each optimizer clears its own gradients after its step."""
    model = Gan()
    of = {
        'generator': torch.optim.Adam(model.generator.parameters(), lr=0.01),
        'discriminator': torch.optim.SGD(model.discriminator.parameters(), lr=0.05, momentum=0.9),
    }

    class Wrapper:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer = optimizer

        def update_params(self, loss: Any) -> None:
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    wrappers = {name: Wrapper(optimizer) for name, optimizer in of.items()}
    points = torch.tensor([[index / 10] for index in range(length)])
    for step in range(steps):
        first = step * batch_size % length
        x = points[first : first + batch_size]
        model.train_step({'x': x, 'y': 2 * x + 1}, wrappers)
    return model.state_dict()


def _run(
    work_dir: Path, loop: Any, counts: int = 1, resume: Any = False, **changes: Any
) -> dict[str, Any]:
    model = Gan()
    adam = torch.optim.Adam(model.generator.parameters(), lr=0.01)
    sgd = torch.optim.SGD(model.discriminator.parameters(), lr=0.05, momentum=0.9)
    runner = toy_runner(
        work_dir,
        model=model,
        optim_wrapper=OptimWrapperDict(
            generator=OptimWrapper(adam),
            discriminator=OptimWrapper(sgd, accumulative_counts=counts),
        ),
        train_dataloader={
            'dataset': {'type': 'ToyLine', 'length': 8},
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'default_collate'},
        },
        param_scheduler=None,
        train_cfg=loop,
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False},
            'logger': None,
        },
        resume=resume,
        **NO_VALIDATION,
        **NO_TEST,
        **changes,
    )
    runner.train()
    return runner.model.state_dict()


LOOPS = [{'by_epoch': True, 'max_epochs': 3}, {'by_epoch': False, 'max_iters': 12}]


def _is_same(one: Any, other: Any) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize('cfg', LOOPS, ids=['epochs', 'iterations'])
@pytest.mark.parametrize('at', [4, 7])
@pytest.mark.parametrize('counts', [1, 4])
def test_they_are_there_after_a_resume(tmp_path, cfg, at, counts):
    whole = _run(tmp_path / 'whole', cfg, counts)
    if counts == 1:
        assert _is_same(whole, _by_hand(12, 8, 2))
    resumed = _run(tmp_path / 'resumed', cfg, counts, str(tmp_path / 'whole' / f'iter_{at}.pth'))
    assert _is_same(whole, resumed)


def test_a_run_without_them_saves_none(tmp_path):
    runner = toy_runner(tmp_path, **NO_VALIDATION, **NO_TEST)
    runner.train()
    runner.optim_wrapper.zero_grad(set_to_none=False)
    runner.save_checkpoint(str(tmp_path), 'last.pth')
    assert 'left_gradients' not in torch.load(tmp_path / 'last.pth')['optimizer']


def _on_rank(rank: int, world_size: int, work_dir: str, resume: Any) -> Any:
    wrapper = {'type': 'MMSeparateDistributedDataParallel'}
    return _run(Path(work_dir), LOOPS[0], resume=resume, cfg={'model_wrapper_cfg': wrapper})


@pytest.mark.distributed
def test_they_are_there_on_all_ranks(tmp_path):
    whole = run_distributed(_on_rank, 2, str(tmp_path / 'whole'), False)
    path = str(tmp_path / 'whole' / 'iter_3.pth')
    resumed = run_distributed(_on_rank, 2, str(tmp_path / 'resumed'), path)
    assert all(_is_same(whole[rank], resumed[rank]) for rank in range(2))
