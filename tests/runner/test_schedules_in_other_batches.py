"""Schedules in iterations, resumed with another number of batches an epoch: as in a fresh run."""

from pathlib import Path
from typing import Any

import pytest
from runner_toy import NO_TEST, NO_VALIDATION, toy_config, toy_runner

from mmengine.hooks import Hook

SCHEDULES: dict[str, list[dict[str, Any]]] = {
    'cosine in iterations': [{'type': 'CosineAnnealingLR', 'by_epoch': False}],
    'cosine, converted': [{'type': 'CosineAnnealingLR', 'convert_to_iter_based': True}],
    'milestones, converted': [
        {'type': 'MultiStepLR', 'milestones': [1, 3], 'convert_to_iter_based': True}
    ],
    'warm-up in iterations, then epochs': [
        {'type': 'LinearLR', 'start_factor': 0.1, 'end': 11, 'by_epoch': False},
        {'type': 'MultiStepLR', 'milestones': [3], 'by_epoch': True},
    ],
    'epochs': [{'type': 'PolyLR', 'by_epoch': True}],
}


class Rates(Hook):
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def before_train_epoch(self, runner: Any) -> None:
        self.seen.append([])

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.seen[-1].append(runner.optim_wrapper.get_lr()['lr'][0])


def _rates(folder: Path, schedule: Any, batch_size: int, **changes: Any) -> list[list[float]]:
    """The learning rate of each batch of each epoch that has batches left."""
    rates = Rates()
    loader = {**toy_config(folder)['train_dataloader'], 'batch_size': batch_size}
    runner = toy_runner(
        folder,
        train_dataloader=loader,
        param_scheduler=schedule,
        custom_hooks=[rates],
        **{
            'train_cfg': {'by_epoch': True, 'max_epochs': 4},
            'default_hooks': {
                'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False},
                'logger': None,
            },
            **NO_VALIDATION,
            **NO_TEST,
            **changes,
        },
    )
    runner.train()
    return [epoch for epoch in rates.seen if epoch]


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize(('then', 'now'), [(2, 4), (4, 2)])
@pytest.mark.parametrize('epochs_done', [1, 2.5])
def test_they_have_the_values_of_a_fresh_run(tmp_path, schedule, then, now, epochs_done):
    config = SCHEDULES[schedule]
    _rates(tmp_path / 'then', config, then)
    stop = int(epochs_done * 8 / then)  # 8 samples are an epoch
    path = str(tmp_path / 'then' / f'iter_{stop}.pth')
    found = _rates(tmp_path / 'now', config, now, resume=path)
    whole = _rates(tmp_path / 'whole', config, now)
    expected = whole[int(epochs_done) :]
    if epochs_done % 1:
        expected[0] = expected[0][len(expected[0]) // 2 :]
    assert [len(each) for each in found] == [len(each) for each in expected]
    for now_, then_ in zip(found, expected, strict=True):
        assert now_ == pytest.approx(then_, rel=1e-9)


def test_a_second_resume_goes_on_with_the_same_curve(tmp_path):
    config = SCHEDULES['cosine in iterations']
    _rates(tmp_path, config, 4)
    for name in ('iter_4.pth', 'iter_8.pth'):
        assert (tmp_path / name).exists()
    # Two epochs of two batches; from there on epochs have four batches.
    once = _rates(tmp_path / 'b', config, 2, resume=str(tmp_path / 'iter_4.pth'))
    assert [len(each) for each in once] == [4, 4]
    twice = _rates(tmp_path / 'c', config, 2, resume=str(tmp_path / 'b' / 'iter_8.pth'))
    assert twice == [once[1]]
