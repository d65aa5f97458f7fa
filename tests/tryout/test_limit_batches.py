"""limit_batches: fewer batches an epoch, for the training, its schedules and its validations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset, default_convert
from tryout_toy import batch_of, order_of, tryout_config

from mmengine.config import Config
from mmengine.runner import Runner, check_config
from mmengine.tryout import limit_batches
from mmengine.utils.errors import ArgumentError


class Count(IterableDataset[dict[str, torch.Tensor]]):
    """0, 1, 2 and so on."""

    def __init__(self, end: int | None = None) -> None:
        self.end = end

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        number = 0
        while self.end is None or number < self.end:
            yield {'x': torch.tensor([float(number)])}
            number += 1


def build(limit: Any, **options: Any) -> Any:
    loader = {'dataset': list(range(10)), 'batch_size': 2, 'limit_batches': limit, **options}
    return Runner.build_dataloader(loader, seed=0)


def trained_by_hand(num_batches: int, epochs: int) -> list[torch.Tensor]:
    linear = nn.Linear(1, 1)
    nn.init.constant_(linear.weight, 0.5)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_batches * epochs)
    for epoch in range(epochs):
        order = order_of(epoch)
        for first in range(0, 2 * num_batches, 2):
            batch = batch_of(order[first : first + 2])
            optimizer.zero_grad()
            (linear(batch['x']) - batch['y']).square().mean().backward()
            optimizer.step()
            schedule.step()
    return [each.detach() for each in linear.parameters()]


def trained(cfg: Config) -> list[torch.Tensor]:
    model = Runner.from_cfg(cfg).train()
    return [each.detach() for each in model.parameters()]


COSINE = {'type': 'CosineAnnealingLR', 'T_max': 2, 'convert_to_iter_based': True}


@pytest.mark.parametrize(('limit', 'batches'), [(3, 3), (0.5, 2), (1.0, 4), (99, 4)])
def test_training_equals_a_plain_loop_over_so_many_batches(
    limit: float, batches: int, tmp_path: Path
) -> None:
    cfg = tryout_config(tmp_path, param_scheduler=COSINE)
    limit_batches(cfg, train=limit)
    by_hand = trained_by_hand(batches, 2)
    for own, expected in zip(trained(cfg), by_hand, strict=True):
        # The schedules calculate the cosine in different orders of operations.
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-6)


def test_a_resumed_run_goes_on_within_a_limited_epoch(tmp_path: Path) -> None:
    hooks = {'checkpoint': {'by_epoch': False, 'interval': 1}}
    cfg = tryout_config(tmp_path / 'whole', param_scheduler=COSINE, default_hooks=hooks)
    limit_batches(cfg, train=3)
    whole = trained(cfg)
    cfg.work_dir, cfg.resume = str(tmp_path / 'rest'), str(tmp_path / 'whole' / 'iter_2.pth')
    assert all(map(torch.equal, trained(cfg), whole))


def test_validation_counts_the_samples_that_came(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path)
    limit_batches(cfg, val=3)
    metrics = Runner.from_cfg(cfg).val()
    # |0.5 x - (2 x + 1)| for x = 0 to 5/8
    by_hand = sum(1.5 * i / 8 + 1 for i in range(6)) / 6
    assert metrics == {'error': pytest.approx(by_hand), 'count': 6}


def test_each_of_several_dataloaders_is_limited(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path)
    loader, evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.val_dataloader, cfg.val_evaluator = dict(a=loader, b=loader), dict(a=evaluator, b=evaluator)
    limit_batches(cfg, val=1)
    metrics = Runner.from_cfg(cfg).val()
    assert (metrics['a/count'], metrics['b/count']) == (2, 2)


@pytest.mark.parametrize('workers', [0, 1])
def test_a_stream_ends_after_so_many_batches(workers: int) -> None:
    loader = build(2, dataset=Count(), collate_fn={'type': 'default_collate'}, num_workers=workers)
    for _ in range(2):
        assert [batch['x'].flatten().tolist() for batch in loader] == [[0, 1], [2, 3]]
    assert len(loader) == 2


def test_a_shorter_stream_corrects_the_length(capsys: pytest.CaptureFixture[str]) -> None:
    loader = build(4, dataset=Count(end=3), collate_fn={'type': 'default_collate'})
    assert len(list(loader)) == 2
    assert len(loader) == 2
    assert 'gave only 2 batches' in capsys.readouterr().out


def test_the_batch_size_stays_known() -> None:
    loader = build(2)
    assert loader.batch_size == 2
    assert len(loader) == 2
    assert [list(map(int, batch)) for batch in build(2, shuffle=False)] == [[0, 1], [2, 3]]


def test_without_batches_indices_are_limited(tmp_path: Path) -> None:
    loader = build(3, batch_size=None, shuffle=False, collate_fn={'type': default_convert})
    assert list(loader) == [0, 1, 2]


@pytest.mark.parametrize('limit', [0, -1, 1.5, 0.0, True, '3'])
def test_another_limit_is_refused(limit: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match='limit_batches is a number of batches'):
        build(limit)
    cfg = tryout_config(tmp_path)
    cfg.train_dataloader.limit_batches = limit
    assert 'limit_batches' in str(check_config(cfg)[0])


def test_a_share_needs_a_length() -> None:
    with pytest.raises(ArgumentError, match=r'limit_batches=0\.5 is a share.*has no length'):
        build(0.5, dataset=Count())


def test_what_is_not_a_config_cannot_be_limited(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path)
    cfg.val_dataloader = build(None)
    with pytest.raises(ArgumentError, match='val_dataloader cannot be limited: it is a DataLoader'):
        limit_batches(cfg, val=1)
    with pytest.raises(ArgumentError, match="takes train, val, test, got 'vall'"):
        limit_batches(cfg, vall=1)
