"""A metric with ``reduce``: flat memory, and each sample counted once on several ranks."""

from __future__ import annotations

from typing import Any

import pytest

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.testing._internal.distributed import run_distributed

SIZE = 10


class Mean(BaseMetric):
    """Entries are pairs of a sum and a count."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [(sample, 1) for sample in data_samples]

    def reduce(self, results: list[Any]) -> list[Any]:
        return [tuple(map(sum, zip(*results, strict=True)))] if results else []

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        ((total, count),) = self.reduce(results)
        return {'mean': total / count, 'count': count}


def evaluate(rank: int, world_size: int) -> tuple[dict[str, Any], int]:
    # 10 samples on 3 or 4 ranks: the sampler repeats the first ones, so that all have as many.
    own = [number % SIZE for number in range(rank, -(-SIZE // world_size) * world_size, world_size)]
    evaluator, held = Evaluator(Mean()), 0
    for _ in range(2):  # the second evaluation has nothing of the first one
        for start in range(0, len(own), 2):
            evaluator.process(own[start : start + 2])
            metric = evaluator.metrics[0]
            held = max(held, len(metric.results) + len(metric._reduced))
        values = evaluator.evaluate(SIZE)
    return values, held


def test_one_process_holds_two_entries_at_most() -> None:
    assert evaluate(0, 1) == ({'mean': 4.5, 'count': SIZE}, 2)


def test_a_failed_pass_leaves_nothing() -> None:
    evaluator = Evaluator(Mean())
    evaluator.process([5, 6, 7])
    evaluator.drop_results()
    evaluator.process([1])
    assert evaluator.evaluate(1) == {'mean': 1.0, 'count': 1}


@pytest.mark.distributed
def test_repeated_samples_are_counted_once_on_all_ranks() -> None:
    for values, held in run_distributed(evaluate, 3):
        assert values == {'mean': 4.5, 'count': SIZE}
        assert held <= 2


@pytest.mark.parametrize(
    'own', [lambda self, results, mode='mean': 1 / 0, lambda self: 1 / 0, 'mean', None]
)
def test_a_reduce_of_another_purpose_is_left_alone(own: Any) -> None:
    def compute(self: Any, results: list[Any]) -> dict[str, float]:
        return {'entries': len(results)}

    kind = type('Own', (Mean,), {'reduce': own, 'compute_metrics': compute})
    evaluator = Evaluator(kind())
    for _ in range(2):
        evaluator.process([1.0, 2.0, 3.0])
    assert evaluator.evaluate(6) == {'entries': 6}
