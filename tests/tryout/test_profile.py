"""profile: phases that sum to the wall clock, and a trace."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tryout_toy import POINTS, Line, files_in, pair_config, tryout_config

from mmengine.hooks import Hook
from mmengine.model.base_model.data_preprocessor import BaseDataPreprocessor
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, OPTIM_WRAPPERS
from mmengine.tryout import profile
from mmengine.tryout._step_clock import StepClock
from mmengine.utils.errors import ArgumentError

SLEEP = 0.002


class SlowPoints(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return len(POINTS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(SLEEP)
        return POINTS[index]


@MODELS.register_module()
class TryoutSlowInputs(BaseDataPreprocessor):
    def forward(self, data: Any, training: bool = False) -> Any:
        time.sleep(2 * SLEEP)
        return super().forward(data, training)


class SlowLine(Line):
    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = TryoutSlowInputs()

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        time.sleep(3 * SLEEP)
        return super().forward(x, y, mode)


@OPTIM_WRAPPERS.register_module()
class TryoutSlowSteps(OptimWrapper):
    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        time.sleep(4 * SLEEP)
        super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        time.sleep(5 * SLEEP)
        super().step(**kwargs)


class SlowHook(Hook):
    def before_train_iter(self, runner: Any, **_: Any) -> None:
        time.sleep(6 * SLEEP)


def test_each_phase_has_at_least_the_time_that_it_slept(tmp_path: Path) -> None:
    cfg = tryout_config(
        tmp_path,
        model={'type': SlowLine},
        optim_wrapper={'type': 'TryoutSlowSteps', 'optimizer': {'type': 'SGD', 'lr': 0.1}},
        custom_hooks=[{'type': SlowHook}],
        train_cfg={'by_epoch': True, 'max_epochs': 9, 'val_interval': 99},
    )
    cfg.train_dataloader.dataset = SlowPoints()
    result = profile(cfg, 4)
    least = {
        'data wait': 2, 'preprocessing': 2, 'forward': 3, 'backward': 4, 'optimizer': 5, 'hooks': 6
    }  # fmt: skip
    assert result.num_iters == 4
    for phase, sleeps in least.items():
        assert result.seconds[phase] >= 4 * sleeps * SLEEP, phase
    assert sum(result.seconds.values()) == pytest.approx(result.wall_s, rel=1e-9)
    # None of it is counted twice.
    assert result.wall_s >= 4 * sum(least.values()) * SLEEP
    assert 'log and checkpoints' in result.seconds


def test_log_trace_and_numbers_are_left(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 9})
    result = profile(cfg, 2)
    folder = Path(result.log).parent
    assert files_in(tmp_path) == sorted(
        f'{folder.name}/{name}' for name in (f'{folder.name}.log', 'profile.json', 'trace.json')
    )
    assert result.trace == str(folder / 'trace.json')
    names = {
        event.get('name') for event in json.loads(Path(result.trace).read_text())['traceEvents']
    }
    assert {'phase: forward', 'phase: backward', 'phase: optimizer', 'phase: hooks'} <= names
    saved = json.loads((folder / 'profile.json').read_text())
    assert saved['seconds'] == result.seconds
    assert saved['wall_s'] == result.wall_s
    lines = str(result).splitlines()
    assert lines[0].split() == ['phase', 'a', 'step', 'share']
    assert any(line.startswith('together') and line.endswith('100.0%') for line in lines)


@pytest.mark.parametrize(
    'changes',
    [dict(train_cfg={'by_epoch': False, 'max_iters': 100, 'val_interval': 4}), {}],
    ids=['validations within', 'ends before'],
)
def test_validations_and_short_trainings_count(changes: dict[str, Any], tmp_path: Path) -> None:
    result = profile(tryout_config(tmp_path, **changes), 6)
    assert result.seconds['validation'] > 0
    assert sum(result.seconds.values()) == pytest.approx(result.wall_s, rel=1e-9)
    assert result.num_iters == (6 if changes else 8 - 3)


def test_a_custom_train_step_with_two_optimizers(tmp_path: Path) -> None:
    result = profile(pair_config(tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 9}), 2)
    assert min(result.seconds[phase] for phase in ('forward', 'backward', 'optimizer')) > 0


def test_a_training_of_fewer_iterations_is_refused(tmp_path: Path) -> None:
    cfg = tryout_config(tmp_path, train_cfg={'by_epoch': False, 'max_iters': 3})
    with pytest.raises(ArgumentError, match='ended after 3 iterations'):
        profile(cfg)
    with pytest.raises(ArgumentError, match='num_iters'):
        profile(cfg, 0)


def test_nested_phases_are_counted_once() -> None:
    clock = StepClock(waits=False)
    clock.restart()
    clock.change('outer')
    time.sleep(SLEEP)
    clock.push('inner')
    time.sleep(SLEEP)
    clock.pop()
    clock.change('next')
    seconds, wall = clock.stop()
    assert seconds['outer'] >= SLEEP
    assert seconds['inner'] >= SLEEP
    assert sum(seconds.values()) == pytest.approx(wall, rel=1e-9)
