"""Ranks that have no batches, or losses of other names, evaluate together with the others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import Net, toy_runner

from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.fileio import load
from mmengine.logging import HistoryBuffer
from mmengine.registry import METRICS, MODELS
from mmengine.runner.loops import _parse_losses
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed


@MODELS.register_module(name='ToyRankLosses')
class RankLosses(Net):
    """Rank 1 reports a loss that rank 0 does not have, as a head without samples does."""

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        outputs = super().forward(x, y, mode)
        if mode == 'loss' and torch.distributed.get_rank() == 1:
            return {'loss_other': 2 * outputs['loss'], **outputs}
        return outputs


@METRICS.register_module(name='ToyCount')
class Count(BaseMetric):
    """How many results arrived, which ones, and none at all where there were none."""

    default_prefix = 'n'

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(y) for y in data_batch['y'])

    def compute_metrics(self, results: list[float]) -> dict[str, Any]:
        return {'results': results, 'count': len(results)} if results else {}


def _changes(length: int, batch_size: int, **model: Any) -> dict[str, Any]:
    loader = {
        'dataset': {'type': 'ToyLine', 'length': length},
        'batch_size': batch_size,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False, 'round_up': False},
    }
    return {
        'model': {'type': 'ToyNet', **model},
        'val_dataloader': loader,
        'val_cfg': {'compute_loss': True},
        'launcher': 'pytorch',
    }


def _validate(rank: int, world_size: int, folder: str) -> list[dict[str, Any]]:
    def run(number: int, *args: Any, metrics: Any, **changes: Any) -> dict[str, Any]:
        work_dir = Path(folder, str(number))
        all_changes = {**_changes(*args), 'val_evaluator': metrics, **changes}
        return toy_runner(work_dir, **all_changes).val()

    dump = {'type': 'DumpResults', 'out_file_path': str(Path(folder, 'results.pkl'))}
    losses = {'type': 'ToyRankLosses'}
    loader = _changes(1, 1)['val_dataloader']
    return [
        run(0, 1, 1, metrics={'type': 'ToyCount'}),
        run(1, 3, 1, metrics=[{'type': 'ToyCount'}, {'type': 'ToyCount', 'prefix': 'm'}, dump]),
        run(2, 4, 2, metrics={'type': 'ToyCount'}, model=losses),
        run(3, 1, 1, metrics={'type': 'ToyCount'}, val_cfg={}),
        run(
            4, 1, 1,
            val_dataloader={'a': loader, 'b': _changes(3, 1)['val_dataloader']},
            metrics={'a': {'type': 'ToyCount'}, 'b': {'type': 'ToyCount'}},
        ),
    ]  # fmt: skip


def test_runs_of_two_processes_report_the_same_as_one(tmp_path):
    one, two = run_distributed(_validate, 2, str(tmp_path))
    assert one == two
    alone, three, others, without_losses, parts = one
    # The loss at x is (1.5 x + 1) squared: 1, 1.3225, 1.69, 2.1025 at 0, 0.1, 0.2 and 0.3.
    assert alone == {
        'n/results': [1.0],
        'n/count': 1,
        'loss': pytest.approx(1.0),
        'val_loss': pytest.approx(1.0),
    }
    assert three['n/results'] == three['m/results'] == pytest.approx([1.0, 1.2, 1.4])
    assert three['val_loss'] == pytest.approx((1 + 1.3225 + 1.69) / 3)
    assert len(load(str(tmp_path / 'results.pkl'))) == 3
    # Rank 1 has the samples at 0.1 and 0.3, and twice their loss under a name of its own.
    assert others['loss'] == pytest.approx((1 + 1.3225 + 1.69 + 2.1025) / 4)
    assert others['loss_other'] == pytest.approx(1.3225 + 2.1025)
    assert others['val_loss'] == pytest.approx(others['loss'] + others['loss_other'])
    assert without_losses == {'n/results': [1.0], 'n/count': 1}
    assert list(parts) == [
        'a/n/results', 'a/n/count', 'a/loss', 'a/val_loss',
        'b/n/results', 'b/n/count', 'b/loss', 'b/val_loss',
    ]  # fmt: skip


def _parse(rank: int, world_size: int) -> list[dict[str, float]]:
    def buffer(*values: float) -> HistoryBuffer:
        return HistoryBuffer(list(values), [1] * len(values))

    own = [
        [{}, {}],
        [{}, {'loss': buffer(3.0)}],
        [{'loss_a': buffer(1.0, 2.0)}, {'acc': buffer(5.0), 'loss_a': buffer(6.0)}],
        [{'x': buffer(1.0), 'y': buffer(2.0)}, {'y': buffer(4.0), 'x': buffer(3.0)}],
    ]
    return [_parse_losses(losses[rank], 'val') for losses in own]


def test_losses_are_joined_by_name_whatever_each_rank_has():
    one, two = run_distributed(_parse, 2)
    assert one == two
    assert one == [
        {},
        {'loss': 3.0, 'val_loss': 3.0},
        {'loss_a': 3.0, 'acc': 5.0, 'val_loss': 3.0},
        {'x': 2.0, 'y': 3.0, 'val_loss': 0},
    ]
    assert list(one[2]) == list(two[2]) == ['loss_a', 'acc', 'val_loss']


def _evaluate_nothing(rank: int, world_size: int, folder: str) -> list[Any]:
    path = str(Path(folder, 'empty.pkl'))
    evaluator = Evaluator([Count(), Count(prefix='m'), DumpResults(path)])
    nothing = evaluator.evaluate(0)
    # Only the second rank has processed anything, and the first computes.
    if rank == 1:
        evaluator.process([None], {'y': [7.0]})
    return [nothing, evaluator.evaluate(1), evaluator.evaluate(0), load(path) if rank == 0 else []]


def test_an_evaluator_joins_ranks_of_which_some_have_nothing(tmp_path):
    one, two = run_distributed(_evaluate_nothing, 2, str(tmp_path))
    joined = {'n/results': [7.0], 'n/count': 1, 'm/results': [7.0], 'm/count': 1}
    assert one == two == [{}, joined, {}, []]
