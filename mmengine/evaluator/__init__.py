"""Metrics over a whole dataset, on any number of ranks."""

from mmengine.evaluator._common_metrics import (
    Accuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
)
from mmengine.evaluator._torch_metric import TorchMetric
from mmengine.evaluator.evaluator import Evaluator
from mmengine.evaluator.metric import BaseMetric, DumpResults
from mmengine.evaluator.utils import get_metric_value

__all__ = [
    'Accuracy',
    'BaseMetric',
    'DumpResults',
    'Evaluator',
    'MeanAbsoluteError',
    'MeanSquaredError',
    'Perplexity',
    'TorchMetric',
    'get_metric_value',
]
