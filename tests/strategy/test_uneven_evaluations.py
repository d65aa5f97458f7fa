"""Evaluations of models whose forward passes need all ranks, of which some have more batches."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsdp_toy
import pytest
import torch
import tp_toy
from torch.utils.data import DataLoader, IterableDataset

from mmengine.dataset import default_collate
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.process.failure import RankFailedError
from mmengine.runner import FlexibleRunner
from mmengine.runner._even_batches import UnevenBatchesError
from mmengine.runner.loops import ValLoop
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

FSDP = {'type': 'FSDPStrategy', 'blocks': ['Block']}
ZERO = {'type': 'DeepSpeedStrategy', 'zero_optimization': {'stage': 3}}
TENSOR = {
    'type': 'FSDPStrategy', 'blocks': ['Layer'],
    'mesh': {'tensor': 2, 'shard': 2}, 'tp_plan': tp_toy.PLAN,
}  # fmt: skip


class Listed(BaseMetric):
    """The predictions of all samples, in ascending order."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, Any]:
        return {'all': sorted(results)}


class Counted(Hook):
    """Batches of a rank in an evaluation, as hooks see them."""

    count = 0

    def after_val_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.count += 1


class Stream(IterableDataset[Any]):
    """Each data rank has its own samples; their number is not announced."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        yield from self.samples


def _of_config(samples: list[Any], batch_size: int = 1) -> dict[str, Any]:
    return {
        'dataset': samples, 'batch_size': batch_size,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False, 'round_up': False},
        'collate_fn': {'type': 'default_collate'},
    }  # fmt: skip


def _loaders(samples: list[Any], rank: int, ranks: int) -> dict[str, Any]:
    """Dataloaders by name. Each gives all of five samples, or of as many as its name says."""
    first, rest = samples[:3], samples[3:5]
    if ranks == 3:  # the third rank has no sample
        parts = [first, rest, []]
    else:
        parts = [[*first, *rest[:1]], rest[1:]]
    return {
        'sampler': _of_config(samples[:5]),
        'one sample': _of_config(samples[:1], batch_size=2),
        'ready loader': DataLoader(parts[rank], batch_size=1, collate_fn=default_collate),
        'stream': DataLoader(Stream(parts[rank]), batch_size=1, collate_fn=default_collate),
    }


def _evaluate(
    rank: int, world_size: int, folder: str, toy: str, strategy: dict[str, Any], names: list[str]
) -> dict[str, Any]:
    of_toy: Any = {'fsdp_toy': fsdp_toy, 'tp_toy': tp_toy}[toy]
    data_rank, data_ranks = (rank // 2, world_size // 2) if toy == 'tp_toy' else (rank, world_size)
    more = () if toy == 'fsdp_toy' else (data_ranks,)
    found = {}
    for name, loader in _loaders(of_toy.samples(), data_rank, data_ranks).items():
        if name not in names:
            continue
        counted = Counted()
        stages = {
            f'{stage}_{part}': value
            for stage in ('val', 'test')
            for part, value in (
                ('dataloader', loader), ('cfg', {'compute_loss': True}), ('evaluator', Listed()),
            )
        }  # fmt: skip
        runner = FlexibleRunner(
            **of_toy.config(
                f'{folder}/{name}',
                {'optimizer': {'type': 'SGD', 'lr': 0.0}},
                *more,
                **stages,
                custom_hooks=[counted],
            )
            | {'train_cfg': {'by_epoch': False, 'max_iters': 1, 'val_interval': 9}},
            strategy=strategy,
        )
        runner.train()  # a validation at its end
        found[name] = [runner.val(), runner.test(), counted.count]
    return found


def _truth(toy: Any, count: int) -> tuple[list[float], float]:
    """Predictions and mean loss of one process; weights do not change at learning rate 0."""
    model = toy.seeded_net() if toy is fsdp_toy else toy.former()
    samples = default_collate(toy.samples()[:count])
    with torch.no_grad():
        out = model(samples['x'])
        loss = torch.nn.functional.mse_loss(out, samples['y'])
    return sorted(out.flatten().tolist()), float(loss)


def _check(ranks: list[dict[str, Any]], toy: Any) -> None:
    for found in ranks:
        for name, (validated, tested, _) in found.items():
            predictions, loss = _truth(toy, 1 if name == 'one sample' else 5)
            for values, of in ((validated, 'val'), (tested, 'test')):
                assert values['all'] == pytest.approx(predictions, abs=1e-5), (name, of)
                assert values[f'{of}_loss'] == pytest.approx(loss, rel=1e-4), (name, of)


EVERY = ['sampler', 'one sample', 'ready loader', 'stream']


def test_shards_of_two_ranks(tmp_path: Path) -> None:
    ranks = run_distributed(_evaluate, 2, str(tmp_path), 'fsdp_toy', FSDP, EVERY, backend=None)
    _check(ranks, fsdp_toy)
    # Hooks see a batch once: five of the sampler are three and two. Two validations ran.
    assert [found['sampler'][2] for found in ranks] == [6, 4]
    assert [found['ready loader'][2] for found in ranks] == [8, 2]


def test_shards_of_three_ranks_of_which_one_has_nothing(tmp_path: Path) -> None:
    ranks = run_distributed(_evaluate, 3, str(tmp_path), 'fsdp_toy', FSDP, EVERY, backend=None)
    _check(ranks, fsdp_toy)
    assert [found['stream'][2] for found in ranks] == [6, 4, 0]


def test_ranks_that_split_layers(tmp_path: Path) -> None:
    names = ['sampler', 'stream']
    ranks = run_distributed(_evaluate, 4, str(tmp_path), 'tp_toy', TENSOR, names, backend=None)
    _check(ranks, tp_toy)


class OwnRun(ValLoop):
    def run(self) -> dict[str, float]:
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        return self.evaluator.evaluate(len(self.dataloader.dataset))


def _run_on_its_own(rank: int, world_size: int, folder: str) -> list[Any]:
    found: list[Any] = []
    for batch_size in (1, 5):  # three and two batches; one for each rank
        loader = _of_config(fsdp_toy.samples()[:5], batch_size)
        runner = FlexibleRunner(
            **fsdp_toy.config(
                folder, {'optimizer': {'type': 'SGD', 'lr': 0.0}},
                val_dataloader=loader, val_cfg={'type': OwnRun}, val_evaluator=Listed(),
            ),
            strategy=FSDP,
        )  # fmt: skip
        try:
            found.append(len(runner.val()['all']))
        except (UnevenBatchesError, RankFailedError) as error:
            found.append(str(error))
    return found


def test_a_loop_with_its_own_run_is_refused_if_it_would_hang(tmp_path: Path) -> None:
    for text, count in run_distributed(_run_on_its_own, 2, str(tmp_path), backend=None):
        assert 'rank 0 has 3, rank 1 has 2. OwnRun overrides run()' in text
        assert 'round_up=True' in text
        assert count == 5


@pytest.mark.skipif(find_spec('deepspeed') is None, reason='needs deepspeed')
def test_stage_3_of_zero(tmp_path: Path) -> None:
    names = ['sampler', 'stream']
    ranks = run_distributed(_evaluate, 2, str(tmp_path), 'fsdp_toy', ZERO, names, backend=None)
    _check(ranks, fsdp_toy)
