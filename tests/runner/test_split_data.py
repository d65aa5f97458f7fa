"""Data that every rank would read whole is split, once, and a resumed run goes on in its part."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

from mmengine.dataset import DefaultSampler
from mmengine.dataset._fingerprint import fingerprint
from mmengine.dataset._mentions import words_of
from mmengine.dataset._shared_stream import SharedStream
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner import _split_data as module
from mmengine.testing._internal.distributed import run_distributed

Numbers = list[float]


class Whole(IterableDataset[Any]):
    """Knows of no rank and of no worker; may shuffle, by the global generator."""

    def __init__(self, size: int, shuffled: bool = False, sized: bool = True) -> None:
        self.size = size
        self.shuffled = shuffled
        if sized:
            self.__class__ = Sized

    def __iter__(self) -> Iterator[Any]:
        order = list(range(self.size))
        if self.shuffled:
            random.shuffle(order)
        for number in order:
            yield {'number': float(number)}


class Sized(Whole):
    def __len__(self) -> int:
        return self.size


class ByWorker(Whole):
    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for number in range(first, self.size, step):
            yield {'number': float(number)}


class ByRank(Whole):
    def __iter__(self) -> Iterator[Any]:
        for number in numbers_of_rank(self.size):
            yield {'number': float(number)}


class OwnPart(IterableDataset[Any]):
    """The part of a rank, and its length."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        yield from self.items

    def __len__(self) -> int:
        return len(self.items)


def numbers_of_rank(size: int) -> range:
    rank, ranks = get_dist_info()
    return range(rank, size, ranks)


class Keeping(Whole):
    """Keeps its place; counts what it reads."""

    place = num_read = 0

    def state_dict(self) -> dict[str, int]:
        return {'place': self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state['place']

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.place, self.size):
            self.place = number + 1
            self.num_read += 1
            yield {'number': float(number)}
        self.place = 0


class Noting(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: Numbers = []

    def forward(self, number: torch.Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        if mode == 'predict':
            return [{'number': one} for one in number.tolist()]
        self.seen += number.tolist()
        return {'loss': (self.weight * number).mean()}


class Listed(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [sample['number'] for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, Any]:
        return {'count': len(results), 'total': sum(results)}


def train(folder: Path, loader: Any, loop: dict[str, Any], **more: Any) -> Numbers:
    model = Noting()
    Runner(
        model, str(folder), train_dataloader=loader, train_cfg=loop,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1},
            'logger': None,
        },
        launcher='pytorch', randomness={'seed': 3}, **{'log_level': 'ERROR', **more},
    ).train()  # fmt: skip
    return model.seen


def epochs(count: int) -> dict[str, Any]:
    return {'by_epoch': True, 'max_epochs': count}


def iterations(count: int) -> dict[str, Any]:
    return {'by_epoch': False, 'max_iters': count}


def loader_of(dataset: Any, workers: int = 0, **more: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=2, num_workers=workers, **more)


# -- what code mentions, without ranks ------------------------------------------------------------


class Part:
    def __init__(self, first: int) -> None:
        self.first = first

    def pick(self) -> int:
        return get_dist_info()[0] + self.first


class OfParts(IterableDataset[Any]):
    def __init__(self, part: Any) -> None:
        self.part = part

    def __iter__(self) -> Iterator[Any]:
        yield self.part


def _by_environment() -> int:
    import os

    return int(os.environ['RANK'])


@pytest.mark.parametrize(
    ('stream', 'ranks', 'workers'),
    [
        (Whole(4), False, False),
        (ByWorker(4, sized=False), False, True),
        (ByRank(4, sized=False), True, False),
        (OfParts(Part(1)), True, False),
        (OfParts(functools.partial(_by_environment)), True, False),
        (OfParts([1, 2]), False, False),
    ],
    ids=['whole', 'by worker', 'by a function', 'by a part', 'by the environment', 'a list'],
)
def test_code_that_asks_for_ranks_and_workers_is_known(
    stream: Any, ranks: bool, workers: bool
) -> None:
    words = words_of(stream)
    assert words is not None
    assert any(map(module._RANK.search, words)) == ranks
    assert any(map(module._WORKER.search, words)) == workers


def test_equal_datasets_have_one_fingerprint_and_parts_have_others() -> None:
    data = torch.arange(1000.0)
    parts = [Subset(data, list(range(rank, 1000, 2))) for rank in (0, 1)]  # type: ignore[arg-type]
    again = Subset(data.clone(), list(range(0, 1000, 2)))  # type: ignore[arg-type]
    assert fingerprint(parts[0]) == fingerprint(again) != fingerprint(parts[1])
    half, other = torch.ones(4, 4).bfloat16(), torch.ones(4, 4).bfloat16()
    other[2, 1] = 0
    assert fingerprint([half.T]) == fingerprint([half.T.clone()]) != fingerprint([other])
    assert fingerprint(data.numpy()) == fingerprint(data.numpy().copy()) != fingerprint(data[1:])
    assert fingerprint(Whole(3)) == fingerprint(Whole(3)) != fingerprint(Whole(4))


@pytest.mark.parametrize('length', [0, 1, 7, 8, 9])
@pytest.mark.parametrize('workers', [1, 2])
def test_readers_have_each_sample_once_and_lengths_that_differ_by_one(
    length: int, workers: int
) -> None:
    ranks = 3
    shares = {
        (rank, worker): SharedStream(range(length), rank, ranks, True).share(worker, workers)
        for rank in range(ranks)
        for worker in range(workers)
    }
    own = {
        key: [n for n in range(length) if n >= share.first and share.has(n)]
        for key, share in shares.items()
    }
    assert sorted(n for numbers in own.values() for n in numbers) == list(range(length))
    for (rank, worker), share in shares.items():
        missing = len(own[0, worker]) - len(own[rank, worker])
        assert missing == share.lacks_one(length)
        # After k of its samples, it has read all samples up to the k-th.
        for given, number in enumerate(own[rank, worker], start=1):
            assert share.read_before(given) == number + 1


# -- two ranks ------------------------------------------------------------------------------------


def _on_ranks(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    path, seen = Path(folder), {}
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        'loader': (loader_of(Whole(12, sized=False)), iterations(3)),
        'map': (DataLoader(_items(12), batch_size=2), epochs(1)),
        'map, shuffled': (DataLoader(_items(12), batch_size=2, shuffle=True), epochs(1)),
        'map, batch sampler': (
            DataLoader(
                _items(12), batch_sampler=BatchSampler(SequentialSampler(_items(12)), 2, False)),
            epochs(1)),
        'map, split by user': (
            DataLoader(Subset(_items(12), range(rank, 12, 2)), batch_size=2), epochs(1)),
        'map, sampler': (
            DataLoader(_items(12), batch_size=2, sampler=DefaultSampler(_items(12), seed=1)),
            epochs(1)),
        'stream, shuffled': (loader_of(Whole(12, shuffled=True)), epochs(1)),
        'stream, uneven': (loader_of(Whole(11)), epochs(1)),
        'stream, two workers': (loader_of(Whole(24), 2), epochs(1)),
        'stream, by worker': (loader_of(ByWorker(24, sized=False), 2), iterations(6)),
        'stream, by rank': (loader_of(ByRank(12, sized=False)), iterations(3)),
        'stream, of a config': ({
            'dataset': Whole(12), 'batch_size': 2, 'collate_fn': {'type': 'default_collate'},
        }, epochs(1)),
        'off': (loader_of(Whole(6)), epochs(1)),
    }  # fmt: skip
    for name, (loader, loop) in cases.items():
        more = {'cfg': {'split_data': False}} if name == 'off' else {}
        seen[name] = train(path / name, loader, loop, **more)
    mine = DataLoader(_items(4), batch_size=2)
    train(path / 'own', mine, epochs(1))
    seen['own loader afterwards'] = [n for batch in mine for n in batch['number'].tolist()]
    return seen


def _items(size: int) -> Any:
    return [{'number': float(number)} for number in range(size)]


@pytest.mark.distributed
def test_two_ranks_see_each_sample_once(tmp_path: Path) -> None:
    first, second = run_distributed(_on_ranks, 2, str(tmp_path))
    both = {name: sorted(first[name] + second[name]) for name in first}
    sizes = {'stream, two workers': 24, 'stream, by worker': 24}
    for name, numbers in both.items():
        if name not in ('off', 'stream, uneven', 'own loader afterwards'):
            assert numbers == list(range(sizes.get(name, 12))), name
    assert first['map'] == [0, 2, 4, 6, 8, 10]
    assert first['map, shuffled'] != sorted(first['map, shuffled'])
    # The rank with one sample less repeats one, so that both make as many steps.
    assert len(first['stream, uneven']) == len(second['stream, uneven']) == 6
    assert set(both['stream, uneven']) == set(range(11))
    assert first['off'] == second['off'] == [0, 1, 2, 3, 4, 5]
    assert first['own loader afterwards'] == [0, 1, 2, 3]


def _resumed_on_ranks(rank: int, world_size: int, folder: str) -> Any:
    path, found = Path(folder), {}
    cases: dict[str, Any] = {
        'map': lambda: (DataLoader(_items(16), batch_size=2, shuffle=True), epochs(2)),
        'stream': lambda: (loader_of(Whole(16, shuffled=True)), epochs(2)),
        'keeps its place': lambda: (loader_of(Keeping(16, sized=False)), iterations(8)),
        'two workers': lambda: (loader_of(Keeping(32, sized=False), 2), iterations(8)),
    }
    for name, make in cases.items():
        unbroken = train(path / name, *make())
        for stop in (1, 6) if name == 'map' else (6,):
            loader, loop = make()
            saved = str(path / name / f'iter_{stop}.pth')
            seen = train(path / f'{name}_{stop}', loader, loop, load_from=saved, resume=True)
            found[name, stop] = (unbroken[2 * stop :], seen, getattr(loader.dataset, 'num_read', 0))
    return found


@pytest.mark.distributed
def test_a_resumed_rank_goes_on_in_its_part(tmp_path: Path) -> None:
    for found in run_distributed(_resumed_on_ranks, 2, str(tmp_path)):
        for case, (expected, seen, _) in found.items():
            assert len(expected) > 0
            assert seen == expected, case
        # Stopped after iteration 6 of 4 a pass, at 8 of 16 samples: two further batches of each
        # rank are 8 samples, of which a stream that keeps its place reads no other.
        assert found['keeps its place', 6][2] == 8


def _evaluated_on_ranks(rank: int, world_size: int, folder: str) -> dict[str, dict[str, float]]:
    found = {}
    own = [{'number': float(number)} for number in ([0, 1, 2, 3, 4], [5, 6])[rank]]
    for name, loader in {
        'own dataset': DataLoader(own, batch_size=2),
        'own part of a stream': loader_of(OwnPart(own)),
        'map': DataLoader(_items(7), batch_size=2),
        'sized stream': loader_of(Whole(7)),
        'stream': loader_of(Whole(7, sized=False)),
    }.items():
        found[name] = Runner(
            Noting(), f'{folder}/{name}', val_dataloader=loader, val_cfg={},
            val_evaluator=Listed(), launcher='pytorch', log_level='ERROR',
        ).val()  # fmt: skip
    return found


@pytest.mark.distributed
def test_an_evaluation_counts_each_sample_once(tmp_path: Path) -> None:
    for found in run_distributed(_evaluated_on_ranks, 2, str(tmp_path)):
        assert found == {name: {'count': 7, 'total': 21.0} for name in found}


def _read_alone(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    """Rank 0 alone reads its loops before the training, and finds in them what all ranks train."""
    found: dict[str, Any] = {}
    for name, loader, loop in (
        ('map', DataLoader(_items(8), batch_size=2), epochs(2)),
        ('stream', DataLoader(Whole(8), batch_size=2), epochs(2)),
        ('of config', loader_of(Whole(8)), epochs(2)),
        ('own parts', DataLoader(_items(8 - 4 * rank), batch_size=2), {**epochs(2), **SHORTEST}),
    ):
        runner = Runner(
            Noting(), f'{folder}/{name}', train_dataloader=loader, train_cfg=loop,
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
            val_dataloader=loader, val_cfg={}, val_evaluator=Listed(),
            launcher='pytorch', log_level='ERROR', default_hooks={'checkpoint': None},
        )  # fmt: skip
        alone = None
        if rank == 0:
            alone = len(runner.train_dataloader), len(runner.val_loop.dataloader)
        runner.train()
        found[name] = [alone, runner.iter, runner.max_iters]
    return found


SHORTEST = {'uneven': 'shortest'}


@pytest.mark.distributed
def test_one_rank_may_read_a_loop_alone(tmp_path: Path) -> None:
    # 8 samples on 2 ranks in batches of 2 are 2 iterations of an epoch; own parts have 4 and 2.
    for rank, found in enumerate(run_distributed(_read_alone, 2, str(tmp_path))):
        for name, (alone, *iterations) in found.items():
            length = 4 if name == 'own parts' else 2
            assert alone == (None if rank else (length, length)), name
            assert iterations == [4, 4], name


def test_streams_of_datasets_are_split_by_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip('datasets')
    datasets.Dataset.from_list(_items(12)).to_parquet(str(tmp_path / '0.parquet'))
    for is_split in (False, True):
        seen = []
        for rank in (0, 1):
            stream: Any = datasets.load_dataset(
                'parquet', data_files=str(tmp_path / '0.parquet'), split='train', streaming=True,
                cache_dir=str(tmp_path / 'cache'),
            )  # fmt: skip
            if is_split:
                stream = datasets.distributed.split_dataset_by_node(stream, rank, 2)
            monkeypatch.setattr(module, 'get_data_parallel_info', lambda rank=rank: (rank, 2))
            loader = module.split_over_ranks(loader_of(stream), seed=0)
            seen.append([number for batch in loader for number in batch['number'].tolist()])
        assert len(seen[0]) == 6
        assert sorted(seen[0] + seen[1]) == list(range(12))


# -- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('make', 'is_wanted', 'told'),
    [
        (lambda: DataLoader(_items(4), shuffle=True), True, (20, 'RandomSampler. Each of 2 ranks')),
        (lambda: DataLoader(_items(4)), False, (30, 'so each of 2 ranks reads the same samples')),
        (lambda: DataLoader(Whole(4)), True, (20, 'keeps every 2-th sample')),
        (lambda: DataLoader(Whole(4)), False, (30, 'each of 2 ranks reads all of it')),
        (
            lambda: DataLoader(
                _items(4), sampler=torch.utils.data.RandomSampler(_items(4), replacement=True)
            ),
            True,
            (30, 'so each of 2 ranks reads the same samples'),
        ),
        (
            lambda: DataLoader(_items(4), sampler=WeightedRandomSampler([0.5] * 4, 4)),
            True,
            (30, 'WeightedRandomSampler, so each of 2 ranks reads the same samples'),
        ),
        (
            lambda: DataLoader(
                _items(4), batch_sampler=BatchSampler(SubsetRandomSampler([0, 2]), 1, False)
            ),
            True,
            (30, 'SubsetRandomSampler, so each of 2 ranks reads the same samples'),
        ),
    ],
)
def test_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch, make: Any, is_wanted: bool, told: tuple[int, str]
) -> None:
    messages: list[tuple[int, str]] = []
    monkeypatch.setattr(module, 'get_data_parallel_info', lambda: (0, 2))
    monkeypatch.setattr(
        module, 'print_log', lambda text, logger, level: messages.append((level, text))
    )
    module.split_over_ranks(make(), seed=0, is_wanted=is_wanted)
    ((level, text),) = messages
    assert level == told[0]
    assert told[1] in text
