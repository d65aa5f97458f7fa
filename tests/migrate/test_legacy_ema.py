"""The averaged weights of MMCV 1.x; whole trainings with them are in ``test_runs_as_mmcv``."""

from typing import Any

import pytest
import torch
from mmcv_runs import here, toys
from mmcv_runs.cases import RUNS
from torch import nn

from mmengine.migrate._ema import LegacyMovingAverage

AVERAGED = RUNS['epochs/ema/Line-plain']


def _average(shares: list[float], values: list[float]) -> float:
    average = values[0]
    for share, value in zip(shares, values[1:], strict=True):
        average = (1 - share) * average + share * value
    return average


@pytest.mark.parametrize(
    ('options', 'shares'),
    [
        # (1 + t) / (2 + t) is 1/2, 2/3, 3/4 for t = 0, 1, 2.
        (dict(momentum=0.7, warm_up=2), [1 / 2, 2 / 3, 0.7]),
        (dict(momentum=0.7, warm_up=2, interval=2), [0.49, 0, 0.49]),
        (dict(), [0.0002, 0.0002, 0.0002]),
    ],
    ids=['warm-up', 'interval', 'default'],
)
def test_the_share_of_new_weights_rises_to_the_momentum(options, shares):
    model = nn.Linear(1, 1, bias=False)
    values = [1.0, 3.0, -2.0, 7.0]
    average: Any = None
    for value in values:
        nn.init.constant_(model.weight, value)
        average = average or LegacyMovingAverage(model, **options)
        # The first update is the copy that an average begins with.
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(_average(shares, values), rel=1e-6)


def test_the_average_of_a_finetuning_begins_at_the_loaded_weights(tmp_path):
    trained = toys.Line()
    nn.init.constant_(trained.slope, 2.0)
    weights = {f'model.{name}': value for name, value in trained.state_dict().items()}
    torch.save({'state_dict': weights}, tmp_path / 'trained.pth')
    # With a momentum of nearly 0 the average stays where it begins.
    hooks = [dict(type='EMAHook', momentum=1e-9)]
    config = {**AVERAGED, 'custom_hooks': hooks, 'evaluation': None, 'checkpoint_config': None}
    outcome = here.run(config, tmp_path / 'work', load_from=str(tmp_path / 'trained.pth'))
    assert outcome['averaged'] == pytest.approx({'slope': 2.0, 'shift': -0.5}, rel=1e-6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(momentum=0.0), 'between 0 and 1'),
        (dict(momentum=1.5), 'between 0 and 1'),
        (dict(warm_up=0), 'at least 1'),
        (dict(interval=0), 'at least 1'),
    ],
)
def test_a_number_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LegacyMovingAverage(nn.Linear(1, 1), **options)
