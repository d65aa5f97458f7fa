"""Log points that are further apart than the values that a history keeps one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.hooks.non_finite_loss_hook import NonFiniteLossError
from mmengine.logging import HistoryBuffer, MessageHub, _kept_values
from mmengine.model import BaseModel
from mmengine.runner.log_processor import LogProcessor

_KEPT = 4096
_LONG = 9000


class Counts(BaseModel):
    """``value`` is the number of the iteration, from 0; ``aux_loss`` is NaN in one of them."""

    def __init__(self, broken_at: int = -1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.count, self.broken_at = 0, broken_at

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        number = float(self.count)
        self.count += 1
        aux = float('nan') if number == self.broken_at else 0.0
        return {'loss': 1.0, 'aux_loss': aux, 'value': number}

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        raise NotImplementedError


@pytest.fixture
def median(monkeypatch):
    monkeypatch.setattr(HistoryBuffer, '_statistics', dict(HistoryBuffer._statistics))

    @HistoryBuffer.register_statistics
    def median_of(buffer, window_size=None):
        values = buffer.data[0]
        return float(np.median(values if window_size is None else values[-window_size:]))

    return 'median_of'


def _records(runner: Any) -> list[dict[str, Any]]:
    (path,) = Path(runner.work_dir).glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def _run(make_run: Any, model: BaseModel, interval: int, custom: list[Any], by_epoch: bool) -> Any:
    return make_run(
        model=model, epochs=1, iters=None if by_epoch else _LONG, batches=_LONG if by_epoch else 8,
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': interval}},
        log_processor={'by_epoch': by_epoch, 'custom_cfg': custom},
    )  # fmt: skip


def test_a_loss_that_was_not_finite_long_before_the_log_point_ends_the_run(make_run):
    runner = _run(make_run, Counts(broken_at=100), interval=_LONG - 1000, custom=[], by_epoch=False)
    with pytest.raises(NonFiniteLossError, match=r"'aux_loss' became nan at iteration 101 "):
        runner.train()
    assert runner.iter == _KEPT - 1  # found long before the log point


@pytest.mark.parametrize('by_epoch', [False, True])
def test_statistics_over_more_than_the_kept_values_are_exact(make_run, median, by_epoch):
    whole = 'epoch' if by_epoch else 'global'
    custom = [
        {'data_src': 'value', 'log_name': 'median', 'method_name': median, 'window_size': whole},
        {'data_src': 'value', 'log_name': 'recent', 'method_name': median, 'window_size': 6000},
        {'data_src': 'value', 'log_name': 'mean7', 'method_name': 'mean', 'window_size': 7000},
        {'data_src': 'value', 'log_name': 'max', 'method_name': 'max', 'window_size': whole},
    ]
    runner = _run(make_run, Counts(), interval=4500, custom=custom, by_epoch=by_epoch)
    runner.train()
    first, last = (record for record in _records(runner) if 'median' in record)
    assert first['median'] == 4499 / 2  # of 0, 1, ..., 4499
    assert last['median'] == 8999 / 2
    assert last['recent'] == (3000 + 8999) / 2
    assert last['mean7'] == (2000 + 8999) / 2
    assert last['max'] == 8999


def test_the_first_window_of_an_epoch_is_kept():
    hub = MessageHub('long interval')
    entry = {'data_src': 'loss', 'window_size': 'epoch', 'log_name': 'mean_loss'}
    _kept_values.keep_for_log(hub, LogProcessor(custom_cfg=[entry]), interval=8000)
    for number in range(20_000):
        hub.update_scalar('train/loss', float(number))
    assert hub.get_scalar('train/loss').mean(8000) == (12_000 + 19_999) / 2


def test_a_resumed_history_keeps_as_many():
    first, resumed = MessageHub('first'), MessageHub('resumed')
    for hub in (first, resumed):
        hub.keep_values(6000, 'train/loss')
    first.update_scalar('train/loss', 0.0)
    resumed.load_state_dict(first.state_dict())
    for number in range(1, 12_000):
        resumed.update_scalar('train/loss', float(number))
    assert resumed.get_scalar('train/loss').mean(6000) == (6000 + 11_999) / 2


def test_other_scalars_keep_no_more_values():
    hub = MessageHub('bounded')
    hub.keep_values(100_000, 'train/value')
    for key in ('train/value', 'train/loss'):
        for number in range(20_000):
            hub.update_scalar(key, float(number))
    assert len(hub.get_scalar('train/value').data[0]) == 20_000
    assert len(hub.get_scalar('train/loss').data[0]) <= _KEPT * 1.25
