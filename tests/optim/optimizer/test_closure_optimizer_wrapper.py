"""Optimizers with closures take the steps that they take in plain torch."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.model import BaseModel
from mmengine.optim import ClosureOptimWrapper, build_optim_wrapper
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

X = torch.tensor([[0.0, 1.0], [1.0, 0.5], [2.0, -1.0], [-1.0, 0.3]])
Y = torch.tensor([[1.0], [0.2], [-0.7], [0.4]])
LBFGS = {'type': 'LBFGS', 'lr': 0.5, 'max_iter': 4, 'line_search_fn': 'strong_wolfe'}


class Fit(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        self.num_evaluated = 0

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        self.num_evaluated += 1
        loss = nn.functional.mse_loss(self.net(x), y)
        return {'loss_fit': loss, 'count': torch.tensor(1.0)}


def by_hand(net: nn.Module, steps: int, max_norm: float | None = None) -> list[float]:
    options = {key: value for key, value in LBFGS.items() if key != 'type'}
    optimizer = torch.optim.LBFGS(net.parameters(), **options)
    first_losses = []
    for _ in range(steps):
        losses = []

        def closure(losses: list[torch.Tensor] = losses) -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(X), Y)
            loss.backward()
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)
            losses.append(loss.detach())
            return loss

        optimizer.step(closure)
        first_losses.append(losses[0].item())
    return first_losses


@pytest.mark.parametrize('max_norm', [None, 0.1])
def test_steps_equal_those_of_plain_torch(max_norm: float | None) -> None:
    model = Fit()
    net = copy.deepcopy(model.net)
    config: dict[str, Any] = {'type': 'ClosureOptimWrapper', 'optimizer': LBFGS}
    if max_norm is not None:
        config['clip_grad'] = {'max_norm': max_norm}
    wrapper = build_optim_wrapper(model, config)
    logged = [model.train_step({'x': X, 'y': Y}, wrapper) for _ in range(5)]
    assert [log['loss'].item() for log in logged] == by_hand(net, 5, max_norm)
    for ours, theirs in zip(model.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert model.num_evaluated > 5
    assert set(logged[0]) == {'loss', 'loss_fit', 'count'}
    assert wrapper._inner_count == 5


def test_a_run_trains_with_it_and_resumes(tmp_path: Path) -> None:
    loader = {'dataset': [0], 'batch_size': 1, 'collate_fn': lambda batch: {'x': X, 'y': Y}}

    def run(epochs: int, folder: str, **changes: Any) -> nn.Module:
        torch.manual_seed(0)
        runner = Runner(
            Fit(),
            str(tmp_path / folder),
            train_dataloader=loader,
            train_cfg={'by_epoch': True, 'max_epochs': epochs},
            optim_wrapper={'type': 'ClosureOptimWrapper', 'optimizer': LBFGS},
            log_level='ERROR',
            randomness={'seed': 0},
            **changes,
        )
        return runner.train()

    whole = run(4, 'whole')
    run(2, 'parts')
    resumed = run(4, 'parts', resume=True)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_is_computed_already_is_refused() -> None:
    wrapper = build_optim_wrapper(Fit(), {'type': 'ClosureOptimWrapper', 'optimizer': LBFGS})
    with pytest.raises(RuntimeError, match='minimise'):
        wrapper.update_params(torch.tensor(1.0, requires_grad=True))


def test_there_is_no_accumulation() -> None:
    optimizer = torch.optim.LBFGS(Fit().parameters())
    with pytest.raises(ArgumentError, match='accumulative_counts=1'):
        ClosureOptimWrapper(optimizer, accumulative_counts=2)
