"""A pass that starts inside the data: the user's loader, its batches and its random numbers."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from runner_toy import Line, toy_runner
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.process.seed import rng_state
from mmengine.runner._batch_position import batches_from, epoch_and_offset, is_endless

LENGTH = 10


class Noisy(Dataset):
    """Each sample is its index and a number of torch's generator, as augmentation draws it."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> torch.Tensor:
        self.read.append(index)
        return torch.tensor([float(index), torch.rand(()).item()])


class Tenfold(DataLoader):
    """Changes each batch, in an ``__iter__`` that is a generator, and counts its passes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        for batch in super().__iter__():
            yield 10 * batch


class Counting(DataLoader):
    """Takes as many batches as it is long."""

    def __iter__(self) -> Iterator[Any]:
        batches = super().__iter__()
        for _ in range(len(self)):
            yield next(batches)


class Kept(DataLoader):
    """One iterator, made in the constructor, serves every pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        vars(self)['batch_sampler'] = Repeated(self.batch_sampler)
        self._kept = super().__iter__()

    def __len__(self) -> int:
        return len(self.batch_sampler.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(len(self)):
            yield next(self._kept)


class Repeated:
    def __init__(self, batch_sampler: Any) -> None:
        self.batch_sampler = batch_sampler

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self.batch_sampler


class Own(BatchSampler):
    """A batch sampler of a project."""


class Uneven(Sampler):
    """Batches of 1, 2, 3 and 4 samples, over a sampler that could skip samples of equal batches."""

    def __init__(self, dataset: Any) -> None:
        self.sampler = DefaultSampler(dataset, shuffle=False, seed=0)

    def __iter__(self) -> Iterator[list[int]]:
        order = iter(self.sampler)
        for size in (1, 2, 3, 4):
            yield [next(order) for _ in range(size)]

    def __len__(self) -> int:
        return 4


def _with_batch_sampler(cls: type[DataLoader], **options: Any) -> DataLoader:
    dataset = Noisy()
    return cls(dataset, batch_sampler=Own(SequentialSampler(dataset), 3, False), **options)


def _with_default_sampler(cls: type[DataLoader], **options: Any) -> DataLoader:
    dataset = Noisy()
    return cls(dataset, 3, sampler=DefaultSampler(dataset, shuffle=True, seed=1), **options)


def _with_torch_sampler(cls: type[DataLoader], **options: Any) -> DataLoader:
    dataset = Noisy()
    generator = torch.Generator().manual_seed(5)
    return cls(dataset, 3, sampler=RandomSampler(dataset, generator=generator), **options)


def _without_batching(cls: type[DataLoader], **options: Any) -> DataLoader:
    dataset = Noisy()
    sampler = DefaultSampler(dataset, shuffle=True, seed=1)
    return cls(dataset, batch_size=None, sampler=sampler, **options)


def _with_uneven_batches(cls: type[DataLoader], **options: Any) -> DataLoader:
    dataset = Noisy()
    return cls(dataset, batch_sampler=Uneven(dataset), **options)


MAKERS = [
    _with_batch_sampler,
    _with_default_sampler,
    _with_torch_sampler,
    _without_batching,
    _with_uneven_batches,
]
CLASSES = [DataLoader, Tenfold, Counting]
WORKERS = [
    {},
    {'num_workers': 2},
    {'num_workers': 2, 'persistent_workers': True, 'prefetch_factor': 1},
]


def _rows(batches: Any) -> list[list[float]]:
    return [batch.flatten().tolist() for batch in batches]


def _stopped_after(loader: DataLoader, num_batches: int) -> tuple[dict[str, Any], list[Any]]:
    """The state of the random numbers after some batches of a pass, and the batches after them."""
    batches = iter(loader)
    for _ in range(num_batches):
        next(batches)
    state = rng_state()
    rest = _rows(batches)
    return state, [*rest, torch.rand(()).item()]


@pytest.mark.parametrize('start', [1, 3])
@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.parametrize('make', MAKERS)
def test_the_rest_of_a_pass_is_that_of_the_unbroken_one(make, cls, start):
    state, expected = _stopped_after(make(cls), start)
    torch.manual_seed(99)
    loader = make(cls)
    rest = _rows(batches_from(loader, start, state))
    assert [*rest, torch.rand(()).item()] == expected
    read = [int(index) for row in expected[:-1] for index in row[::2]]
    assert loader.dataset.read == [index // 10 if cls is Tenfold else index for index in read]


@pytest.mark.parametrize('options', WORKERS[1:], ids=['workers', 'persistent workers'])
@pytest.mark.parametrize('make', MAKERS)
def test_workers_are_given_the_later_indices_only(make, options):
    # Workers draw by the seed that they are started with, so only the indices are compared.
    def indices(rows):
        return [row[::2] for row in rows]

    whole = indices(_rows(make(Tenfold)))
    loader = make(Tenfold, **options)
    assert indices(_rows(batches_from(loader, 2))) == whole[2:]
    # One pass starts late. The next one is whole, also where the same workers go on.
    torch.manual_seed(0)
    again = indices(_rows(loader))
    assert len(again) == len(loader) == len(whole)
    if make is not _with_torch_sampler:  # its generator has moved on
        assert again == whole


def test_workers_leave_the_random_numbers_of_the_process_as_they_were_saved():
    options = {'num_workers': 1}
    batches = iter(_with_batch_sampler(DataLoader, **options))
    next(batches)
    state = rng_state()
    expected = torch.rand(())
    assert len(list(batches)) == 3
    resumed = batches_from(_with_batch_sampler(DataLoader, **options), 1, state)
    assert torch.equal(torch.rand(()), expected)
    assert len(list(resumed)) == 3


@pytest.mark.parametrize('cls', CLASSES)
def test_the_loader_is_left_as_it_was(cls):
    loader = _with_batch_sampler(cls)
    loader.note = 'mine'
    before = dict(vars(loader))
    batches = batches_from(loader, 2)
    after = dict(vars(loader))
    if cls is Tenfold:
        assert (before.pop('passes'), after.pop('passes')) == (0, 1)
    assert after == before
    assert len(list(batches)) == 2
    assert len(loader) == 4
    assert len(list(loader)) == 4


def test_the_loader_is_left_as_it_was_when_its_first_batch_fails():
    class Failing(DataLoader):
        def __iter__(self):
            raise OSError('no disk')

    loader = _with_batch_sampler(Failing)
    order = loader.batch_sampler
    with pytest.raises(OSError, match='no disk'):
        batches_from(loader, 2)
    assert loader.batch_sampler is order


def test_a_loader_that_keeps_its_iterator_drops_batches():
    loader = _with_batch_sampler(Kept)
    state, expected = _stopped_after(_with_batch_sampler(Kept), 2)
    rest = _rows(batches_from(loader, 2, state))
    assert [*rest, torch.rand(()).item()] == expected
    assert len(list(loader)) == 4


def test_workers_that_have_started_drop_batches():
    loader = _with_batch_sampler(DataLoader, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 4
    assert [row[::2] for row in _rows(batches_from(loader, 3))] == [[9]]
    assert len(list(loader)) == 4


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[torch.Tensor]:
        for index in range(LENGTH):
            yield torch.tensor([float(index), torch.rand(()).item()])


class Plain:
    """Not a DataLoader: whatever gives batches."""

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(Stream())


@pytest.mark.parametrize('make', [Plain, lambda: DataLoader(Stream(), 2)], ids=['plain', 'stream'])
def test_without_indices_batches_are_drawn_and_dropped(make):
    state, expected = _stopped_after(make(), 2)
    rest = _rows(batches_from(make(), 2, state))
    assert [*rest, torch.rand(()).item()] == expected


@pytest.mark.parametrize('make', MAKERS)
def test_a_pass_that_is_over_gives_nothing(make):
    loader = make(DataLoader)
    state, expected = _stopped_after(make(DataLoader), len(loader))
    rest = _rows(batches_from(loader, len(loader), state))
    assert [*rest, torch.rand(()).item()] == expected
    assert loader.dataset.read == []


class FirstTwo(BatchSampler):
    """Ends, whatever it is over."""

    is_endless = False

    def __iter__(self) -> Iterator[list[int]]:
        batches = super().__iter__()
        return iter([next(batches), next(batches)])

    def __len__(self) -> int:
        return 2


def _infinite() -> InfiniteSampler:
    return InfiniteSampler(Noisy(), shuffle=False, seed=0)


@pytest.mark.parametrize(
    ('loader', 'expected'),
    [
        (DataLoader(Noisy(), 3), False),
        (DataLoader(Noisy(), 3, sampler=_infinite()), True),
        (DataLoader(Noisy(), batch_sampler=Own(_infinite(), 3, False)), True),
        (DataLoader(Noisy(), batch_sampler=FirstTwo(_infinite(), 3, False)), False),
        (DataLoader(Noisy(), batch_size=None, sampler=_infinite()), True),
        (DataLoader(Stream()), True),
        (iter([1]), True),
        ([1], False),
    ],
    ids=[
        'finite', 'endless', 'endless in batches', 'cut off', 'endless without batches', 'stream',
        'iterator', 'list',
    ],
)  # fmt: skip
def test_a_pass_that_never_ends_is_known(loader, expected):
    assert is_endless(loader) is expected
    if not expected:
        assert epoch_and_offset(loader, 2 * len(loader)) == (2, 0)


BY_EPOCH = {'by_epoch': True, 'max_epochs': 2}
BY_ITER = {'by_epoch': False, 'max_iters': 4}


def test_an_epoch_that_never_ends_is_refused_before_training(tmp_path):
    loader = {'dataset': Line(), 'sampler': {'type': 'InfiniteSampler'}, 'batch_size': 2}
    runner = toy_runner(tmp_path, train_dataloader=loader, train_cfg=BY_EPOCH)
    with pytest.raises(ValueError, match=r'InfiniteSampler is endless.*IterBasedTrainLoop'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize('train_cfg', [BY_EPOCH, BY_ITER])
@pytest.mark.parametrize(
    ('options', 'samples'),
    [({'dataset': Line(3), 'drop_last': True, 'batch_size': 4}, 3), ({'dataset': Line(0)}, 0)],
)
def test_data_without_a_batch_is_refused_before_training(tmp_path, train_cfg, options, samples):
    loader = {'batch_size': 2, 'sampler': {'type': 'DefaultSampler'}, **options}
    runner = toy_runner(tmp_path, train_dataloader=loader, train_cfg=train_cfg)
    with pytest.raises(ValueError, match=f'gives no batch: its dataset of {samples} samples'):
        runner.train()


def test_a_few_samples_without_end_fill_any_batch(tmp_path):
    loader = {
        'dataset': Line(3), 'batch_size': 4, 'drop_last': True,
        'sampler': {'type': 'InfiniteSampler', 'shuffle': False},
    }  # fmt: skip
    runner = toy_runner(tmp_path, train_dataloader=loader, train_cfg=BY_ITER)
    runner.train()
    assert runner.iter == 4


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('persistent', [False, True])
def test_a_later_pass_that_is_resumed_leaves_the_random_state_of_the_unbroken_one(
    shuffle: bool, persistent: bool
) -> None:
    """Persistent workers are seeded once, in the first pass of an unbroken run."""

    def loader() -> Any:
        return DataLoader(
            list(range(6)),
            batch_size=2,
            shuffle=shuffle,
            num_workers=1,
            persistent_workers=persistent,
        )

    unbroken = loader()
    torch.manual_seed(5)
    list(unbroken)
    saved = rng_state()
    expected = torch.cat(list(unbroken)).tolist(), torch.rand(3).tolist()

    torch.manual_seed(99)
    again = torch.cat(list(batches_from(loader(), 0, saved))).tolist()
    assert (again, torch.rand(3).tolist()) == expected
