"""Metrics that are numbers without being floats: nothing raises once the evaluation has run."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

HUGE = 10**400
SPARSE = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse()
# The metric, its value in the JSON of a test, and the score of the best checkpoint.
CASES: dict[str, tuple[Any, Any, Any]] = {
    'decimal': (Decimal('1.5'), 1.5, 1.5),
    'fraction': (Fraction(1, 2), 0.5, 0.5),
    'huge': (HUGE, HUGE, float('inf')),
    'minus huge': (-HUGE, -HUGE, None),
    'sparse': (SPARSE, [[0.0, 2.0], [0.0, 0.0]], None),
    'nested': ({'a': [Fraction(1, 2), SPARSE]}, {'a': ['1/2', [[0.0, 2.0], [0.0, 0.0]]]}, None),
}


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        return {'loss': (self.weight * x).mean()} if mode == 'loss' else [x]


class Fixed(BaseMetric):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        return {'m': self.value}


def runner_of(folder: Path, value: Any, hooks: Any = ()) -> Runner:
    data = DataLoader([{'x': torch.ones(1)}] * 2)
    return Runner(
        Net(),
        str(folder),
        train_dataloader=data,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        val_dataloader=data,
        val_cfg={},
        val_evaluator=[Fixed(value)],
        test_dataloader=data,
        test_cfg={},
        test_evaluator=[Fixed(value)],
        log_level='ERROR',
        custom_hooks=list(hooks),
    )


@pytest.mark.parametrize('case', CASES)
def test_a_test_writes_it_to_its_json(case: str, tmp_path: Path) -> None:
    value, written, _ = CASES[case]
    runner = runner_of(tmp_path, value)
    assert runner.test()['m'] is value
    path = Path(runner.log_dir, f'{runner.timestamp}.json')
    assert json.loads(path.read_text())['m'] == written


@pytest.mark.parametrize('case', CASES)
def test_a_training_goes_on_and_saves(case: str, tmp_path: Path) -> None:
    value, _, score = CASES[case]
    hooks = []
    if score is not None:
        hooks = [
            {'type': 'CheckpointHook', 'save_best': 'm', 'rule': 'greater'},
            {'type': 'EarlyStoppingHook', 'monitor': 'm', 'rule': 'greater'},
        ]
    runner = runner_of(tmp_path, value, hooks)
    runner.train()
    assert (tmp_path / 'epoch_1.pth').exists()
    if score is not None:
        assert runner.message_hub.get_info('best_score') == score
        assert (tmp_path / 'best_m_epoch_1.pth').exists()
    torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
