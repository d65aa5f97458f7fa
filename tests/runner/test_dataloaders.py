"""Dataloaders from configs."""

import functools
from typing import Any

import pytest
import torch
from runner_toy import Line
from torch.utils.data import BatchSampler, Dataset, IterableDataset, SequentialSampler

from mmengine.dataset import (
    BaseDataset,
    DefaultSampler,
    InfiniteSampler,
    default_collate,
    pseudo_collate,
    worker_init_fn,
)
from mmengine.dataset._dataloader import set_epoch
from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from mmengine.runner import Runner
from mmengine.runner._batch_position import is_endless
from mmengine.runner.utils import _get_batch_size


def _build(seed: int | None = None, **options: Any):
    options.setdefault('sampler', {'type': 'DefaultSampler', 'shuffle': False})
    return Runner.build_dataloader({'dataset': Line(), 'batch_size': 2, **options}, seed=seed)


class Random(Dataset):
    """Draws from torch's generator in whatever process reads it."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(1)


def _tenfold(values, factor=10):
    return [value['x'] * factor for value in values]


def test_samples_come_as_lists_by_default():
    batch = next(iter(_build()))
    assert batch == {
        'x': [torch.tensor([0.0]), torch.tensor([0.1])],
        'y': [torch.tensor([1.0]), torch.tensor([1.2])],
    }
    assert _build().collate_fn is pseudo_collate


@pytest.mark.parametrize(
    'collate', ['default_collate', {'type': 'default_collate'}, default_collate]
)
def test_a_collate_function_is_given_by_name_config_or_itself(collate):
    assert next(iter(_build(collate_fn=collate)))['x'].shape == (2, 1)


def test_a_collate_function_takes_the_arguments_of_its_config():
    FUNCTIONS.register_module(name='toy_tenfold', module=_tenfold, force=True)
    for kind in ('toy_tenfold', _tenfold):
        batch = next(iter(_build(collate_fn={'type': kind, 'factor': 100})))
        assert batch == [torch.tensor([0.0]), torch.tensor([10.0])]


@pytest.mark.parametrize(
    ('collate', 'error', 'message'),
    [
        (3, TypeError, 'collate_fn is a function, its name or a dict with type, got int'),
        ('default_colate', KeyError, "No function 'default_colate'.*default_collate"),
    ],
)
def test_another_collate_function_is_refused(collate, error, message):
    with pytest.raises(error, match=message):
        _build(collate_fn=collate)


def test_a_dataset_is_built_and_filled_before_workers_start():
    class Filled(BaseDataset):
        def load_data_list(self):
            return [{'a': 1}, {'a': 2}]

    DATASETS.register_module(name='ToyFilled', module=Filled, force=True)
    config = {'dataset': {'type': 'ToyFilled', 'lazy_init': True}, 'batch_size': 2}
    loader = Runner.build_dataloader(config)
    assert loader.dataset._fully_initialized
    assert len(loader) == 1


def test_without_a_sampler_samples_come_in_order():
    loader = Runner.build_dataloader({'dataset': Line(), 'batch_size': 8})
    assert isinstance(loader.sampler, DefaultSampler)
    assert list(loader.sampler) == list(range(8))


def test_shuffle_is_understood_without_a_sampler():
    config = {'dataset': Line(), 'batch_size': 8, 'shuffle': True}
    order = list(Runner.build_dataloader(config, seed=1).sampler)
    assert order == list(DefaultSampler(Line(), shuffle=True, seed=1))
    assert order != list(range(8))


def test_the_seed_of_the_run_goes_to_the_sampler():
    for kind in (DefaultSampler, InfiniteSampler):
        assert _build(seed=5, sampler={'type': kind}).sampler.seed == 5
    assert _build(seed=5, sampler={'type': 'DefaultSampler', 'seed': 6}).sampler.seed == 6


def test_a_sampler_draws_its_own_seed_when_ranks_differ():
    config = {'dataset': Line(), 'batch_size': 2, 'sampler': {'type': 'DefaultSampler'}}
    seeds = {Runner.build_dataloader(config, 5, diff_rank_seed=True).sampler.seed for _ in range(3)}
    assert 5 not in seeds
    assert len(seeds) == 3


def test_a_finished_sampler_is_taken():
    sampler = SequentialSampler(Line())
    assert _build(sampler=sampler).sampler is sampler


def test_a_batch_sampler_gets_the_sampler_and_the_batch_size():
    DATA_SAMPLERS.register_module(name='ToyBatches', module=BatchSampler, force=True)
    loader = _build(batch_size=3, batch_sampler={'type': 'ToyBatches', 'drop_last': True})
    assert list(loader.batch_sampler) == [[0, 1, 2], [3, 4, 5]]
    assert isinstance(loader.batch_sampler.sampler, DefaultSampler)


def test_a_finished_batch_sampler_is_taken():
    batches = BatchSampler(SequentialSampler(Line()), batch_size=5, drop_last=False)
    loader = _build(batch_sampler=batches)
    assert [len(batch['x']) for batch in loader] == [5, 3]


def test_batches_of_an_epoch_can_be_limited():
    loader = _build(num_batch_per_epoch=3)
    assert len(loader) == 3
    assert loader.dataset.metainfo == Line.metainfo
    assert [batch['x'][0].item() for batch in loader] == pytest.approx([0.0, 0.2, 0.4])
    assert len(_build(num_batch_per_epoch=100)) == 4


@pytest.mark.parametrize(
    'batch_sampler',
    [
        {'type': 'ToyBatches', 'drop_last': False, 'batch_size': 2},
        BatchSampler(SequentialSampler(Line(20)), 2, False),
    ],
    ids=['config', 'object'],
)
def test_batches_of_a_batch_sampler_can_be_limited(batch_sampler):
    DATA_SAMPLERS.register_module(name='ToyBatches', module=BatchSampler, force=True)
    options = {'dataset': Line(20), 'batch_sampler': batch_sampler, 'batch_size': 1}
    loader = _build(num_batch_per_epoch=3, **options)
    assert len(loader) == 3
    firsts = [batch['x'][0].item() for batch in loader]
    assert firsts == pytest.approx([0.0, 0.2, 0.4])
    assert [len(batch['x']) for batch in loader] == [2, 2, 2]  # each pass is limited
    assert loader.batch_sampler.batch_size == 2
    assert len(_build(num_batch_per_epoch=100, **options)) == 10


def test_a_limited_batch_sampler_hears_of_epochs_and_ends_an_endless_sampler():
    DATA_SAMPLERS.register_module(name='ToyBatches', module=BatchSampler, force=True)
    options = {
        'batch_size': 3,
        'batch_sampler': {'type': 'ToyBatches', 'drop_last': True},
        'num_batch_per_epoch': 2,
    }
    shuffled = _build(seed=0, sampler={'type': 'DefaultSampler'}, **options)
    set_epoch(shuffled, 4)
    order = DefaultSampler(Line(), seed=0)
    order.set_epoch(4)
    assert list(shuffled.batch_sampler) == [list(order)[:3], list(order)[3:6]]
    endless = _build(sampler={'type': 'InfiniteSampler', 'shuffle': False}, **options)
    assert list(endless.batch_sampler) == [[0, 1, 2], [3, 4, 5]]
    assert len(endless) == 2
    assert not is_endless(endless)


@pytest.mark.parametrize('number', [0, -1, 1.5, '2'])
def test_a_limit_is_a_whole_number_of_batches(number):
    with pytest.raises(ValueError, match='num_batch_per_epoch'):
        _build(num_batch_per_epoch=number)


def test_a_stream_has_no_first_samples():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([{'x': 1}])

    with pytest.raises(ValueError, match=r'num_batch_per_epoch takes the first samples.*Stream'):
        _build(dataset=Stream(), num_batch_per_epoch=3)


def test_without_batching_a_batch_is_a_sample():
    assert len(_build(batch_size=None, num_batch_per_epoch=3)) == 3


def test_other_arguments_go_to_the_dataloader():
    loader = _build(drop_last=True, num_workers=0, timeout=0, batch_size=3)
    assert len(loader) == 2


def test_an_iterable_dataset_has_no_sampler():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([{'x': 1}, {'x': 2}])

    loader = Runner.build_dataloader({'dataset': Stream(), 'batch_size': 2})
    assert list(loader) == [{'x': [1, 2]}]


def test_workers_are_seeded_by_the_run_and_told_apart():
    loader = _build(seed=7, dataset=Random(), num_workers=2, batch_size=1)
    numbers = [batch[0].item() for batch in loader]
    expected = []
    for worker in (0, 1):
        torch.manual_seed(7 + worker)
        expected.append(torch.rand(1).item())
    assert numbers[:2] == expected
    assert numbers == [batch[0].item() for batch in loader]


def test_a_function_of_ones_own_starts_the_workers():
    chosen = functools.partial(print)
    assert _build(seed=1, worker_init_fn=chosen).worker_init_fn is chosen


def test_a_function_for_the_workers_is_given_by_name():
    FUNCTIONS.register_module(name='toy_init', module=worker_init_fn, force=True)
    started = _build(seed=1, num_workers=2, worker_init_fn={'type': 'toy_init'}).worker_init_fn
    assert started.func is worker_init_fn
    assert started.keywords == {'num_workers': 2, 'rank': 0, 'seed': 1}


def test_warnings_of_workers_can_be_silenced():
    assert _build(seed=1, disable_subprocess_warning=True).worker_init_fn.keywords[
        'disable_subprocess_warning'
    ]
    assert not _build(seed=1).worker_init_fn.keywords['disable_subprocess_warning']


def test_without_a_seed_workers_start_as_torch_does():
    assert _build().worker_init_fn is None


@pytest.mark.parametrize(
    ('options', 'size'),
    [
        ({'batch_size': 3}, 3),
        ({'batch_sampler': {'type': 'x', 'batch_size': 4}}, 4),
        ({'batch_sampler': BatchSampler([1], 5, False)}, 5),
        ({}, None),
    ],
)
def test_the_batch_size_is_found_in_a_config(options, size):
    assert _get_batch_size(options) == size


def test_the_batch_size_is_found_in_a_dataloader():
    batches = BatchSampler(SequentialSampler(Line()), batch_size=5, drop_last=False)
    assert _get_batch_size(_build(batch_sampler=batches)) == 5
    assert _get_batch_size(_build(batch_size=3)) == 3
