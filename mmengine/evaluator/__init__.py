"""Metrics over a whole dataset, on any number of ranks."""

from mmengine.evaluator._torch_metric import TorchMetric
from mmengine.evaluator.evaluator import Evaluator
from mmengine.evaluator.metric import BaseMetric, DumpResults
from mmengine.evaluator.utils import get_metric_value

__all__ = ['BaseMetric', 'DumpResults', 'Evaluator', 'TorchMetric', 'get_metric_value']
