"""A finished run that is resumed with a longer training."""

from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, toy_runner
from torch.optim.lr_scheduler import CosineAnnealingLR

from mmengine.hooks import Hook


class LearningRates(Hook):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.seen.append(runner.optim_wrapper.get_lr()['lr'][0])


def _run(folder: Any, train_cfg: dict[str, Any], **changes: Any) -> list[float]:
    rates = LearningRates()
    by_epoch = train_cfg['by_epoch']
    checkpoint = {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': by_epoch}
    runner = toy_runner(
        folder,
        train_cfg=train_cfg,
        custom_hooks=[rates],
        default_hooks={'checkpoint': checkpoint, 'logger': None},
        **{**NO_VALIDATION, **NO_TEST, **changes},
    )
    runner.train()
    return rates.seen


def _cosine(steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize(
    ('schedule', 'lengths', 'repeat'),
    [
        ({'by_epoch': True}, [{'max_epochs': 2}, {'max_epochs': 5}], 4),
        (
            {'by_epoch': True, 'convert_to_iter_based': True},
            [{'max_epochs': 2}, {'max_epochs': 5}],
            1,
        ),
        ({'by_epoch': False}, [{'max_iters': 6}, {'max_iters': 20}], 1),
    ],
    ids=['epochs', 'converted', 'iterations'],
)
def test_its_schedule_follows_the_new_length(tmp_path, schedule, lengths, repeat):
    schedule = {'type': 'CosineAnnealingLR', **schedule}
    short, long = ({'by_epoch': 'max_epochs' in length, **length} for length in lengths)
    done = _run(tmp_path, short, param_scheduler=schedule)
    rates = _run(tmp_path, long, param_scheduler=schedule, resume=True)
    whole = [rate for rate in _cosine(20 // repeat) for _ in range(repeat)]
    assert len(done) + len(rates) == 20
    assert rates == pytest.approx(whole[len(done) :], rel=1e-12)


def test_a_given_end_is_told(tmp_path, capsys):
    schedule = {'type': 'LinearLR', 'end': 2, 'by_epoch': True}
    _run(tmp_path, {'by_epoch': True, 'max_epochs': 2}, param_scheduler=schedule)
    _run(
        tmp_path, {'by_epoch': True, 'max_epochs': 5}, param_scheduler=schedule,
        resume=True, log_level='WARNING',
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "LinearLR has end=2, so 'lr' keeps its value after epoch 2" in text
