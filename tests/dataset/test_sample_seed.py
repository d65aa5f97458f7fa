"""The random state of a sample is a function of the run's seed, the pass and the position."""

import copy
import pickle
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    get_worker_info,
)

from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.dataset._dataloader import set_epoch
from mmengine.dataset._sample_order import VAL, begin_pass, number_samples, passes_of
from mmengine.dataset._sample_seed import SampleSeeds, SeededMap

sys.path.insert(0, str(Path(__file__).parents[1] / 'runner'))
from elastic_toy import Augmented

LENGTH = 6


class Own:
    """A transform with a generator of its own."""

    rng: torch.Generator | None = None  # torch cannot send two of them to a spawned worker

    def seed_sample(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self) -> int:
        return int(torch.randint(2**31, (), generator=self.rng))


class Piped(Augmented):
    def __init__(self) -> None:
        super().__init__(LENGTH)
        self.pipeline = [Own(), Own()]

    def __getitem__(self, index: int) -> torch.Tensor:
        sample = super().__getitem__(index)['sample']
        return torch.cat([sample, torch.tensor([transform() for transform in self.pipeline])])


def _first(samples: Any) -> Any:
    return torch.stack(list(samples))


def _loader(dataset: Any = None, batch_size: Any = 2, seed: Any = 1, **options: Any) -> DataLoader:
    dataset = Piped() if dataset is None else dataset
    loader = DataLoader(dataset, batch_size, sampler=DefaultSampler(dataset, False, 0), **options)
    number_samples(loader, seed)
    return loader


def _rows(loader: Any) -> list[Any]:
    return [
        tuple(row) for batch in loader for row in torch.as_tensor(batch).reshape(-1, 7).tolist()
    ]


def _by_hand(number: int, position: int) -> tuple[int, ...]:
    """Draws of the four kinds of generators from the words of SeedSequence, worked out plainly."""
    sequence = np.random.SeedSequence(1, spawn_key=(0, number, 0))
    words = sequence.generate_state(256 * 4, np.uint64).reshape(256, 4)[position]
    python, of_torch, numpy, holders = (int(word) for word in words)
    state = np.random.RandomState(numpy % 2**32)
    generator = torch.Generator().manual_seed(of_torch)
    golden = 0x9E3779B97F4A7C15
    seeds = [(holders + number * golden) % 2**63 for number in range(3)]
    return (
        position,
        random.Random(python).getrandbits(31),
        int(state.randint(2**31)),
        int(torch.randint(2**31, (), generator=generator)),
        int(np.random.default_rng(seeds[0]).integers(2**31)),
        *(
            int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(seed)))
            for seed in seeds[1:]
        ),
    )


def test_the_draws_of_a_sample_are_those_of_its_seed_sequence():
    assert _rows(_loader()) == [_by_hand(0, position) for position in range(LENGTH)]


@pytest.mark.parametrize(
    'options',
    [
        {'num_workers': 1},
        {'num_workers': 2},
        {'num_workers': 2, 'persistent_workers': True, 'prefetch_factor': 1},
        {'batch_size': 3},
        {'batch_size': None},
        {'batch_size': None, 'num_workers': 2},
        {'num_workers': 1, 'multiprocessing_context': 'forkserver'},
        {'num_workers': 1, 'multiprocessing_context': 'spawn', 'persistent_workers': True},
    ],
    ids=str,
)
def test_draws_do_not_depend_on_workers_batches_or_prefetching(options):
    loader = _loader(**options)
    passes = [_rows(loader) for _ in range(3)]
    assert passes == [[_by_hand(n, position) for position in range(LENGTH)] for n in range(3)]


def test_no_two_samples_of_runs_with_neighbouring_seeds_draw_the_same():
    draws = [
        row[column]
        for seed in range(4)
        for number in range(3)
        for row in _with_pass(_loader(seed=seed), number)
        for column in range(1, 7)
    ]
    assert len(set(draws)) == len(draws) == 4 * 3 * LENGTH * 6


def _with_pass(loader: Any, number: int) -> Any:
    set_epoch(loader, number)
    return _rows(loader)


def test_an_announced_pass_is_the_one_that_begins():
    loader = _loader(num_workers=1, persistent_workers=True)
    assert [_with_pass(loader, number)[0] for number in (5, 2)] == [_by_hand(5, 0), _by_hand(2, 0)]


def test_other_streams_draw_other_numbers():
    loader = _loader()
    training = _rows(loader)
    begin_pass(loader, 0, VAL)
    validation = _rows(loader)
    assert [row[0] for row in validation] == [row[0] for row in training]
    assert not {row[1] for row in validation} & {row[1] for row in training}


def test_seeds_beyond_a_block_go_on():
    seeds = SampleSeeds(1, 0)
    found = [tuple(seeds.of(0, position)) for position in (0, 255, 256, 1000, 0)]
    assert len(set(found)) == 4
    assert found[0] == found[-1] == tuple(SampleSeeds(1, 0).of(0, 0))


class Failing(Piped):
    def __getitem__(self, index: int) -> torch.Tensor:
        sample = super().__getitem__(index)
        if index == 3:
            raise OSError('no disk')
        return sample


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        for index in range(info.id if info else 0, LENGTH, info.num_workers if info else 1):
            draws = [random.getrandbits(31), int(np.random.randint(2**31))]
            yield torch.tensor([index, *draws, int(torch.randint(2**31, ())), 0, 0, 0])


def _randomly(samples: Any) -> Any:
    random.random(), np.random.randn(), torch.rand(())
    return _first(samples)


@pytest.mark.parametrize(
    'dataset', [Piped(), Stream(), Failing()], ids=['map', 'stream', 'failing']
)
def test_loading_leaves_the_random_numbers_of_the_process(dataset):
    loader = DataLoader(dataset, 2, collate_fn=_randomly)
    number_samples(loader, 1)
    batches = iter(loader)  # torch draws one number for the workers here
    random.seed(4), np.random.seed(4), torch.manual_seed(4)
    np.random.randn()  # leaves half of a pair of normal numbers to be drawn
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = [random.random(), np.random.randn(), torch.rand(()).item()]
    random.setstate(state[0]), np.random.set_state(state[1]), torch.set_rng_state(state[2])
    if isinstance(dataset, Failing):
        with pytest.raises(OSError, match='no disk'):
            list(batches)
    else:
        assert len(list(batches)) == 3
    assert [random.random(), np.random.randn(), torch.rand(()).item()] == expected


@pytest.mark.parametrize('persistent', [False, True])
def test_a_stream_draws_by_worker_and_pass(persistent):
    def passes(workers: int) -> list[Any]:
        options = {'num_workers': workers, 'persistent_workers': persistent and workers > 0}
        loader = DataLoader(Stream(), 2, **options)
        number_samples(loader, 1)
        return [sorted(_rows(loader)) for _ in range(3)]

    for workers in (0, 2):
        found = passes(workers)
        assert found == passes(workers)
        draws = [row[column] for rows in found for row in rows for column in (1, 2, 3)]
        assert len(set(draws)) == len(draws) == 3 * LENGTH * 3


class Batched(Dataset):
    """Reads a batch in one call, as a database does."""

    def __len__(self) -> int:
        return LENGTH

    def __getitems__(self, indices: list[int]) -> list[Any]:
        assert type(indices) is list
        return [(index, random.getrandbits(31)) for index in indices]


def test_a_dataset_that_reads_batches_is_given_them():
    loader = _loader(Batched(), batch_size=3, collate_fn=list)
    batches = [batch for _ in range(2) for batch in loader]
    assert [index for batch in batches for index, _ in batch] == [*range(LENGTH)] * 2
    assert len({draw for batch in batches for _, draw in batch}) == 2 * LENGTH
    set_epoch(loader, 0)
    assert list(loader) == batches[:2]


def test_subsets_and_joined_datasets_draw_by_position():
    plain = _rows(_loader())
    for dataset in (Subset(Piped(), range(LENGTH)), Subset(Subset(Piped(), range(6)), range(6))):
        assert _rows(_loader(dataset)) == plain
    joined = ConcatDataset([Subset(Piped(), [0, 1, 2]), Subset(Piped(), [3, 4, 5])])
    assert [row[:4] for row in _rows(_loader(joined))] == [row[:4] for row in plain]
    draws = [row[column] for row in _rows(_loader(joined)) for column in (4, 5, 6)]
    assert len(set(draws)) == len(draws)


class Asked(Piped):
    """Looks at itself as worker code does."""

    metainfo = {'classes': ('a',)}

    def __getitem__(self, index: int) -> torch.Tensor:
        info = get_worker_info()
        assert info is None or (type(info.dataset) is Asked and info.dataset is self)
        return super().__getitem__(index)


def _init(worker_id: int) -> None:
    assert type(get_worker_info().dataset) is Asked
    get_worker_info().dataset.mark = worker_id


class Curious(DataLoader):
    """A subclass with an ``__iter__`` of its own that looks at its parts."""

    def __iter__(self) -> Iterator[Any]:
        assert type(self.dataset) is Asked
        assert type(self.batch_sampler) is BatchSampler
        yield from super().__iter__()


@pytest.mark.parametrize('workers', [0, 1])
def test_dataset_sampler_and_loader_stay_what_they_are(workers):
    dataset = Asked()
    loader = Curious(dataset, 2, num_workers=workers, worker_init_fn=_init, collate_fn=_first)
    before = dict(vars(loader))
    number_samples(loader, 1)
    number_samples(loader, 1)
    assert len(_rows(loader)) == LENGTH
    assert _rows(loader)[0] == _by_hand(1, 0)
    after = {name: value for name, value in vars(loader).items() if name != '_get_iterator'}
    assert after == before
    assert type(loader) is Curious


def test_a_batch_sampler_keeps_its_attributes_and_length():
    class Marked(BatchSampler):
        mark = 'mine'

    dataset = Piped()
    loader = DataLoader(dataset, batch_sampler=Marked(SequentialSampler(dataset), 4, False))
    number_samples(loader, 1)
    assert _rows(loader) == _rows(_loader())
    assert loader.batch_sampler.mark == 'mine'
    assert passes_of(loader).samples_before(1, 0) == 4
    assert passes_of(loader).samples_before(2, 0) == LENGTH


def _pickled(loader: Any) -> Any:
    return pickle.loads(pickle.dumps(loader))


@pytest.mark.parametrize('copy_of', [copy.deepcopy, _pickled], ids=['copied', 'pickled'])
def test_a_copied_loader_is_its_own(copy_of):
    loader = _loader()
    copied = copy_of(loader)
    del loader
    assert _rows(copied)[0] == _by_hand(0, 0)
    assert passes_of(copied).number == 1


def test_without_a_seed_the_draws_are_those_of_torch():
    torch.manual_seed(7)
    expected = [int(torch.randint(2**31, ())) for _ in range(LENGTH)]
    loader = _loader(Augmented(LENGTH), seed=None, collate_fn=list)
    batches = iter(loader)
    torch.manual_seed(7)
    assert [int(sample['sample'][3]) for batch in batches for sample in batch] == expected


def test_a_loader_with_its_own_state_is_left_alone():
    class Stateful(DataLoader):
        def state_dict(self) -> Any:
            return {}

        def load_state_dict(self, state: Any) -> None:
            pass

    loader = Stateful(Piped())
    number_samples(loader, 1)
    assert passes_of(loader) is None


class DrawsToo(TensorDataset):
    def __getitem__(self, index):
        return super().__getitem__(index)[0] + torch.rand(())


def _fetched(dataset, **kwargs):
    loader = DataLoader(dataset, batch_size=2, **kwargs)
    number_samples(loader, 0)
    return iter(loader)._dataset_fetcher.dataset


def test_data_that_is_only_looked_up_gets_no_random_state():
    """It would cost more than the look-up. Anything that may draw numbers keeps one."""
    tensors = TensorDataset(torch.arange(4.0))
    for dataset in (tensors, [1, 2, 3, 4], Subset(tensors, [0, 2])):
        assert _fetched(dataset) is dataset
    assert _fetched([1, 2], collate_fn=pseudo_collate) == [1, 2]
    for dataset in (DrawsToo(torch.arange(4.0)), Subset(DrawsToo(torch.arange(4.0)), [0, 1])):
        assert isinstance(_fetched(dataset), SeededMap)
    assert isinstance(_fetched(tensors, collate_fn=lambda batch: torch.rand(1)), SeededMap)
