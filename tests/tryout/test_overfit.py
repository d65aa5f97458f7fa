"""overfit: the same batches in every epoch, and what became of their loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from tryout_toy import batch_of, order_of, pair_config, tryout_config

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.tryout import overfit
from mmengine.tryout._overfit import RepeatedBatches
from mmengine.utils.errors import ArgumentError


class Jittered(torch.utils.data.Dataset[torch.Tensor]):
    """Random numbers, other ones each time."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(1) + index


class Batches(Hook):
    """The x of each training batch."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def after_train_iter(self, runner: Any, data_batch: Any = None, **_: Any) -> None:
        self.seen.append(data_batch['x'].flatten().tolist())


def test_random_batches_are_drawn_once_and_copied() -> None:
    batches = RepeatedBatches(DataLoader(Jittered(), batch_size=2, shuffle=True), 2)
    first = [batch.clone() for batch in batches]
    for batch in batches:
        batch.zero_()  # as a model may do
    assert all(map(torch.equal, batches, first))
    assert len(batches) == 2
    assert len(RepeatedBatches(DataLoader(Jittered(), batch_size=4), 9)) == 2


@pytest.mark.parametrize(
    'loop', [{'by_epoch': True, 'max_epochs': 4}, {'by_epoch': False, 'max_iters': 8}]
)
def test_every_epoch_has_the_first_batches(loop: dict[str, Any], tmp_path: Path) -> None:
    runner = Runner.from_cfg(tryout_config(tmp_path, train_cfg=loop))
    batches = Batches()
    overfit(runner, 2)
    runner.register_hook(batches)
    runner.train()
    order = order_of(0)
    pair = [batch_of(order[at : at + 2])['x'].flatten().tolist() for at in (0, 2)]
    assert batches.seen == pair * 4
    assert runner.max_iters == 8


def test_validation_is_on_these_batches(tmp_path: Path) -> None:
    runner = Runner.from_cfg(tryout_config(tmp_path, optim_wrapper=_sgd(0.0)))
    overfit(runner, 2)
    metrics = runner.val()
    xs = [index / 8 for index in order_of(0)[:4]]
    by_hand = sum(1.5 * x + 1 for x in xs) / 4  # |0.5 x - (2 x + 1)|
    assert metrics == {'error': pytest.approx(by_hand), 'count': 4}


def test_a_line_through_two_points_goes_to_near_zero(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 100})
    cfg.optim_wrapper = _sgd(0.5)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    result = overfit(runner)
    runner.train()
    first, last = result.losses['loss']
    batch = batch_of(order_of(0)[:2])
    assert first == pytest.approx(float((0.5 * batch['x'] - batch['y']).square().mean()))
    assert last < 1e-3
    assert result.is_near_zero
    assert 'Overfitted 1 batch in 100 iterations.' in str(result)
    assert 'near zero: model, loss and optimizer can learn' in str(result)


def test_a_model_that_does_not_learn_is_said_to(tmp_path: Path) -> None:
    runner = Runner.from_cfg(tryout_config(tmp_path, optim_wrapper=_sgd(0.0)))
    result = overfit(runner, 2)
    runner.train()
    assert not result.is_near_zero
    assert 'did not go to near zero' in str(result)


def test_losses_of_a_train_step_are_followed_by_name(tmp_path: Path) -> None:
    runner = Runner.from_cfg(pair_config(tmp_path))
    result = overfit(runner, 1)
    runner.train()
    assert set(result.losses) == {'loss_a', 'loss_b'}
    assert all(last < first for first, last in result.losses.values())


def test_a_resumed_run_has_the_same_batches(tmp_path: Path) -> None:
    def run(folder: str, **changes: Any) -> list[torch.Tensor]:
        hooks = {'checkpoint': {'by_epoch': False, 'interval': 1}}
        cfg = tryout_config(tmp_path / folder, default_hooks=hooks, **changes)
        runner = Runner.from_cfg(cfg)
        overfit(runner, 3)
        return [each.detach() for each in runner.train().parameters()]

    whole = run('whole')
    rest = run('rest', resume=str(tmp_path / 'whole' / 'iter_4.pth'))
    assert all(map(torch.equal, whole, rest))


def test_several_validations_become_the_first(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path)
    loader, evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.val_dataloader, cfg.val_evaluator = dict(a=loader, b=loader), dict(a=evaluator, b=evaluator)
    runner = Runner.from_cfg(cfg)
    result = overfit(runner, 1)
    assert runner.val()['a/count'] == 2
    assert "the evaluator of 'a', the first of 2" in str(result)


@pytest.mark.parametrize('number', [0, -2, 0.5])
def test_another_number_is_refused(number: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match='num_batches'):
        overfit(Runner.from_cfg(tryout_config(tmp_path)), number)


def _sgd(lr: float) -> dict[str, Any]:
    return {'optimizer': {'type': 'SGD', 'lr': lr}}
