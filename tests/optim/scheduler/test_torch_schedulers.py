"""Schedulers of torch in ``param_scheduler`` give the values that they give by themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler._build import build_param_schedulers
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    'restarts': ('CosineAnnealingWarmRestarts', {'T_0': 3, 'T_mult': 2}),
    'cyclic': ('CyclicLR', {'base_lr': 0.01, 'max_lr': 0.1, 'step_size_up': 3}),
    'lambda': ('LambdaLR', {'lr_lambda': lambda step: 0.9**step}),
}


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('form', ['path', 'name', 'class'])
def test_the_values_are_those_of_torch(case, form, make_optimizer, record):
    name, arguments = CASES[case]
    torchs = getattr(lr_scheduler, name)
    kind = {'path': f'torch.optim.lr_scheduler.{name}', 'name': name, 'class': torchs}[form]
    ours, theirs = make_optimizer([0.1, 0.2]), make_optimizer([0.1, 0.2])
    schedules = build_param_schedulers({'type': kind, **arguments}, ours, max_epochs=100)
    expected = record(theirs, [torchs(theirs, **arguments)], 12)
    assert record(ours, schedules, 12) == expected


def test_a_registered_schedule_goes_before_a_class_of_torch_of_its_name(make_optimizer):
    (schedule,) = build_param_schedulers({'type': 'StepLR', 'step_size': 2}, make_optimizer())
    assert type(schedule).__module__.startswith('mmengine')
    (torchs,) = build_param_schedulers(
        {'type': 'torch.optim.lr_scheduler.StepLR', 'step_size': 2}, make_optimizer()
    )
    assert type(torchs.scheduler) is lr_scheduler.StepLR


def test_a_wrapper_is_opened_for_torch(make_optimizer):
    wrapper = OptimWrapper(make_optimizer([0.1, 0.2]))
    (schedule,) = build_param_schedulers({'type': 'CosineAnnealingWarmRestarts', 'T_0': 2}, wrapper)
    wrapper.optimizer.step()
    schedule.step()
    # (1 + cos(pi / 2)) / 2 = 0.5
    assert [group['lr'] for group in wrapper.optimizer.param_groups] == pytest.approx([0.05, 0.1])


def test_its_state_goes_on_where_it_was(make_optimizer, record):
    config = {'type': 'CosineAnnealingWarmRestarts', 'T_0': 3, 'T_mult': 2}
    whole = make_optimizer()
    expected = record(whole, build_param_schedulers(config, whole), 14)
    first = make_optimizer()
    (schedule,) = build_param_schedulers(config, first)
    record(first, [schedule], 6)
    second = make_optimizer()
    (resumed,) = build_param_schedulers(config, second)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert record(second, [resumed], 8) == expected[6:]


def test_outside_its_window_it_does_not_step(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    config = {'type': 'torch.optim.lr_scheduler.ExponentialLR', 'gamma': 0.5, 'begin': 2, 'end': 5}
    values = record(optimizer, build_param_schedulers(config, optimizer), 7)
    rates = [value for (value,) in values]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.025, 0.025, 0.025])


def test_a_plateau_hears_of_its_metric_only(make_optimizer):
    optimizer = make_optimizer([0.1])
    config = {'type': 'ReduceLROnPlateau', 'patience': 0, 'monitor': 'acc', 'mode': 'max'}
    (schedule,) = build_param_schedulers(config, optimizer)
    assert schedule.need_val_args
    for acc in (0.5, torch.tensor(0.4), 0.3):
        schedule.step()
        schedule.step({'acc': acc})
    # Twice no better: 0.1 * 0.1 * 0.1.
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.001)
    with pytest.raises(KeyError, match=r"watches 'acc'.*among the metrics \(loss\)"):
        schedule.step({'loss': 1.0})
    with pytest.raises(ArgumentError, match='leave by_epoch=True'):
        build_param_schedulers({**config, 'by_epoch': False}, optimizer)


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any = None, mode: str = 'tensor') -> Any:
        return {'loss': self.weight.sum()} if mode == 'loss' else [1]


class Fixed(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'acc': 0.5}


def as_x(batch: list[int]) -> dict[str, Any]:
    return {'x': batch}


def run(folder: Path, epochs: int, scheduler: Any, **changes: Any) -> list[float]:
    rates: list[float] = []

    class Look(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            rates.append(runner.optim_wrapper.get_lr()['lr'][0])

    loader = {'dataset': [0, 1], 'batch_size': 1, 'collate_fn': as_x}
    Runner(
        Line(),
        str(folder),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=Fixed(),
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1.0}},
        param_scheduler=scheduler,
        custom_hooks=[Look()],
        log_level='ERROR',
        **changes,
    ).train()
    return rates


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_run_steps_it_and_resumes_it(tmp_path, by_epoch):
    scheduler = {
        'type': 'torch.optim.lr_scheduler.ExponentialLR', 'gamma': 0.5, 'by_epoch': by_epoch,
    }  # fmt: skip
    rates = run(tmp_path, 2, scheduler)
    expected = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25] if by_epoch else [0.5**i for i in range(6)]
    assert rates == expected[:4]
    assert run(tmp_path, 3, scheduler, resume=True) == expected[4:]


def test_a_run_lets_a_plateau_judge_its_validations(tmp_path):
    scheduler = {'type': 'ReduceLROnPlateau', 'monitor': 'acc', 'mode': 'max', 'patience': 0}
    rates = run(tmp_path, 3, scheduler)
    # The second validation is no better than the first one.
    assert rates == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.1, 0.1])
