"""Metrics of torchmetrics, with values worked out by hand."""

from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric, Evaluator, TorchMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError

# The tests import it, and not this file: collecting it would take seconds in each process.
pytestmark = [
    pytest.mark.skipif(find_spec('torchmetrics') is None, reason='needs torchmetrics'),
    pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning'),
]

ACCURACY = {
    'type': 'torchmetrics.classification.MulticlassAccuracy',
    'num_classes': 3,
    'average': 'micro',
}


def sample(scores: list[float], label: int) -> dict[str, Any]:
    return {'scores': torch.tensor(scores), 'label': torch.tensor([label])}


# Right, wrong, right, right.
SAMPLES = [
    sample([0.8, 0.1, 0.1], 0),
    sample([0.8, 0.1, 0.1], 1),
    sample([0.1, 0.2, 0.7], 2),
    sample([0.1, 0.7, 0.2], 1),
]
KEYS = {'preds': 'scores', 'target': 'label'}


def accuracy() -> Any:
    import torchmetrics

    return torchmetrics.classification.MulticlassAccuracy(num_classes=3, average='micro')


def by_hand(data_batch: Any, samples: Any) -> Any:
    return torch.stack([s['scores'] for s in samples]), torch.cat([s['label'] for s in samples])


@pytest.mark.parametrize(
    'metric',
    [
        {**ACCURACY, 'adapter': KEYS},
        {**ACCURACY, 'adapter': ('scores', 'label')},
        {**ACCURACY, 'adapter': by_hand},
        lambda: TorchMetric(accuracy(), KEYS),
        {'type': 'TorchMetric', 'metric': ACCURACY, 'adapter': KEYS},
    ],
    ids=['dict', 'list', 'function', 'object', 'by its wrapper'],
)
def test_a_metric_counts_over_batches_and_starts_afresh(metric: Any) -> None:
    evaluator = Evaluator(metric() if isinstance(metric, FunctionType) else metric)
    for _ in range(2):
        evaluator.process(SAMPLES[:3])
        evaluator.process(SAMPLES[3:])
        assert evaluator.evaluate(4) == {'MulticlassAccuracy': 0.75}


def test_a_prefix_and_other_metrics_beside_it() -> None:
    class Count(BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results += data_samples

        def compute_metrics(self, results: list[Any]) -> dict[str, int]:
            return {'n': len(results)}

    evaluator = Evaluator([{**ACCURACY, 'adapter': KEYS, 'prefix': 'toy'}, Count()])
    evaluator.process(SAMPLES)
    assert evaluator.evaluate(4) == {'toy/MulticlassAccuracy': 0.75, 'n': 4}


def test_without_an_adapter_the_keys_are_preds_and_target() -> None:
    import torchmetrics

    evaluator = Evaluator(torchmetrics.MeanSquaredError())
    evaluator.process([{'preds': 1.0, 'target': 3.0}, {'preds': 2.0, 'target': 2.0}])
    assert evaluator.evaluate(2) == {'MeanSquaredError': 2.0}  # (4 + 0) / 2


def test_targets_may_come_from_the_batch_and_keys_go_deeper() -> None:
    import torchmetrics

    metric = TorchMetric(
        torchmetrics.MeanSquaredError(), {'preds': 'out.value', 'target': 'labels'}
    )
    evaluator = Evaluator(metric)
    samples = [BaseDataElement(out=BaseDataElement(value=v)) for v in (1.0, 2.0)]
    evaluator.process(samples, {'labels': torch.tensor([3.0, 2.0])})
    assert evaluator.evaluate(2) == {'MeanSquaredError': 2.0}


def test_a_collection_gives_one_number_a_metric() -> None:
    import torchmetrics

    both = torchmetrics.MetricCollection(
        [torchmetrics.MeanSquaredError(), torchmetrics.MeanAbsoluteError()]
    )
    evaluator = Evaluator(both)
    evaluator.process([{'preds': 1.0, 'target': 3.0}, {'preds': 2.0, 'target': 2.0}])
    assert evaluator.evaluate(2) == {'MeanSquaredError': 2.0, 'MeanAbsoluteError': 1.0}


def test_a_key_that_is_nowhere_is_named() -> None:
    evaluator = Evaluator(accuracy())
    with pytest.raises(ArgumentError, match=r"'preds'.*\['scores', 'label'\]"):
        evaluator.process(SAMPLES)


def test_what_is_no_metric_of_torchmetrics_is_refused() -> None:
    with pytest.raises(TypeError, match='takes a metric of torchmetrics, got int'):
        TorchMetric(3)


def evaluate_on_rank(rank: int, world_size: int) -> list[Any]:
    results = []
    for batch_size in (1, 2):
        evaluator = Evaluator({**ACCURACY, 'adapter': KEYS})
        # Three samples for two ranks: the sampler repeats the first one on rank 1.
        mine = [SAMPLES[i % 3] for i in range(get_rank(), 4, world_size)]
        for start in range(0, 2, batch_size):
            evaluator.process(mine[start : start + batch_size])
        results.append(evaluator.evaluate(3)['MulticlassAccuracy'])
    return results


@pytest.mark.distributed
def test_ranks_are_added_up_and_a_repeated_sample_counts_once() -> None:
    # Right, wrong, right: 2 of 3.
    for results in run_distributed(evaluate_on_rank, 2):
        assert results == pytest.approx([2 / 3, 2 / 3])


class Classifier(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, samples: Any, mode: str = 'tensor') -> Any:
        return {'loss': self.weight.sum()} if mode == 'loss' else samples


def as_samples(batch: list[Any]) -> dict[str, Any]:
    return {'samples': batch}


def test_a_run_validates_with_it_and_saves_the_best(tmp_path: Path) -> None:
    loader = {'dataset': SAMPLES, 'batch_size': 3, 'collate_fn': as_samples}
    hook = {'type': 'CheckpointHook', 'save_best': 'MulticlassAccuracy', 'rule': 'greater'}
    runner = Runner(
        Classifier(),
        str(tmp_path),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        val_cfg={},
        val_evaluator={**ACCURACY, 'adapter': KEYS},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={'checkpoint': hook},
        log_level='ERROR',
    )
    runner.train()
    assert runner.message_hub.get_scalar('val/MulticlassAccuracy').current() == 0.75
    assert (tmp_path / 'best_MulticlassAccuracy_epoch_1.pth').exists()
