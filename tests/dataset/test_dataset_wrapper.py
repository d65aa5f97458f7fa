"""Datasets made of datasets."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmengine.utils.errors import ArgumentError


class Letters(BaseDataset):
    """As many samples as the metainfo says; only the last has the second category."""

    METAINFO = {'letters': 'abcde'}

    def load_data_list(self):
        return [{'letter': letter} for letter in self._metainfo['letters']]

    def get_cat_ids(self, idx):
        return [0, 1] if idx == len(self) - 1 else [0]


def letters(dataset) -> str:
    return ''.join(dataset[i]['letter'] for i in range(len(dataset)))


def wrappers(**kwargs):
    return [
        ConcatDataset([Letters(), Letters()], **kwargs),
        RepeatDataset(Letters(), 2, **kwargs),
        ClassBalancedDataset(Letters(), 0.8, **kwargs),
    ]


# All three


@pytest.mark.parametrize('number', range(3), ids=['concat', 'repeat', 'balanced'])
class TestEveryWrapper:
    def test_it_loads_late_when_asked(self, number):
        wrapper = wrappers(lazy_init=True)[number]
        assert not wrapper._fully_initialized
        assert wrapper[0]['letter'] == 'a'
        assert wrapper._fully_initialized

    def test_it_has_the_metainfo_as_a_copy(self, number):
        wrapper = wrappers()[number]
        wrapper.metainfo['letters'] = ''
        assert wrapper.metainfo == {'letters': 'abcde'}

    def test_negative_indices_count_from_the_end(self, number):
        wrapper = wrappers()[number]
        assert wrapper[-1]['letter'] == 'e'
        assert wrapper.get_data_info(-1) == {'letter': 'e', 'sample_idx': 4}

    def test_an_index_out_of_range_is_an_index_error(self, number):
        wrapper = wrappers()[number]
        for index in (len(wrapper), -len(wrapper) - 1):
            with pytest.raises(IndexError, match=f'{type(wrapper).__name__} has {len(wrapper)}'):
                wrapper[index]

    def test_it_has_no_subsets(self, number):
        wrapper = wrappers()[number]
        for method in (wrapper.get_subset, wrapper.get_subset_):
            with pytest.raises(NotImplementedError, match='subset of the wrapped dataset'):
                method(1)

    def test_it_tells_the_categories_of_its_samples(self, number):
        wrapper = wrappers()[number]
        assert wrapper.get_cat_ids(0) == [0]
        assert wrapper.get_cat_ids(-1) == [0, 1]

    def test_a_copy_has_the_same_samples(self, number):
        wrapper = wrappers()[number]
        for sent in (copy.deepcopy(wrapper), pickle.loads(pickle.dumps(wrapper))):
            assert letters(sent) == letters(wrapper)

    def test_what_is_no_dataset_is_refused(self, number):
        build = [
            lambda it: ConcatDataset([Letters(), it]),
            lambda it: RepeatDataset(it, 2),
            lambda it: ClassBalancedDataset(it, 0.5),
        ][number]
        with pytest.raises(TypeError, match='int has no full_init'):
            build(3)
        with pytest.raises(TypeError, match='Dataset has no full_init'):
            build(Dataset())


def test_wrappers_are_built_from_configs_and_wrap_each_other():
    DATASETS.register_module(module=Letters)
    try:
        inner = {'type': 'Letters', 'indices': 2}
        outer = {
            'type': 'RepeatDataset',
            'times': 2,
            'dataset': {'type': 'ConcatDataset', 'datasets': [inner, inner]},
        }
        dataset = DATASETS.build(outer)
    finally:
        DATASETS._module_dict.pop('Letters')
    assert letters(dataset) == 'abababab'


# ConcatDataset


def test_concatenation_keeps_the_order():
    dataset = ConcatDataset([Letters(indices=2), Letters(indices=[4]), Letters(indices=-2)])
    assert letters(dataset) == 'abede'
    assert dataset.cumulative_sizes == [2, 3, 5]
    assert dataset._get_ori_dataset_idx(2) == (1, 0)
    assert dataset._get_ori_dataset_idx(4) == (2, 1)


def test_an_empty_part_of_a_concatenation_is_stepped_over():
    dataset = ConcatDataset([Letters(indices=1), Letters(indices=0), Letters(indices=1)])
    assert letters(dataset) == 'aa'


@pytest.mark.parametrize(
    ('first', 'second', 'detail'),
    [
        ({'x': 2}, {'x': 1}, '2 and 1'),
        ({}, {'x': 1}, 'dataset 0 has none'),
        ({'x': 1}, {}, 'dataset 1 has none'),
        ({'x': np.ones(2)}, {'x': np.zeros(2)}, 'and'),
    ],
    ids=['value', 'only-second', 'only-first', 'array'],
)
def test_differing_metainfo_is_refused_unless_its_key_is_ignored(first, second, detail):
    datasets = [Letters(metainfo=first), Letters(metainfo=second)]
    with pytest.raises(ArgumentError, match=rf"0 and 1 .* metainfo\['x'\]: .*{detail}"):
        ConcatDataset(datasets)
    for ignore_keys in ('x', ['x']):
        merged = ConcatDataset(datasets, ignore_keys=ignore_keys).metainfo
        assert ('x' in merged) == ('x' in first)
        assert np.array_equal(merged.get('x'), first.get('x'))


def test_equal_arrays_and_tensors_in_metainfo_are_equal():
    facts = [{'a': {'b': [np.ones(2), torch.ones(2)]}, 'c': (1, 'd')} for _ in range(2)]
    dataset = ConcatDataset([Letters(metainfo=metainfo) for metainfo in facts])
    assert dataset.metainfo['c'] == (1, 'd')


def test_nothing_to_concatenate_is_refused():
    with pytest.raises(ArgumentError, match='at least one dataset'):
        ConcatDataset([])
    with pytest.raises(TypeError, match='needs a list of datasets, got Letters'):
        ConcatDataset(Letters())


def test_keys_to_ignore_must_be_keys():
    with pytest.raises(TypeError, match='ignore_keys must be a key or a list of keys, got int'):
        ConcatDataset([Letters()], ignore_keys=3)


# RepeatDataset


def test_repetition_goes_round():
    dataset = RepeatDataset(Letters(indices=2), 3)
    assert letters(dataset) == 'ababab'
    assert dataset._get_ori_dataset_idx(3) == 1


def test_zero_repetitions_are_no_samples():
    assert len(RepeatDataset(Letters(), 0)) == 0


@pytest.mark.parametrize(
    ('times', 'error'), [(-1, ArgumentError), (1.5, TypeError), ('2', TypeError)]
)
def test_times_must_be_a_whole_number(times, error):
    with pytest.raises(error, match='times must be'):
        RepeatDataset(Letters(), times)


# ClassBalancedDataset


@pytest.mark.parametrize(
    ('threshold', 'expected'),
    [
        # Category 0 is in 5/5 of the samples, category 1 in 1/5; the last sample has both.
        (0.1, 'abcde'),  # sqrt(0.1 / 0.2) < 1
        (0.2, 'abcde'),  # sqrt(0.2 / 0.2) = 1
        (0.4, 'abcdee'),  # sqrt(0.4 / 0.2) = 1.41
        (0.8, 'abcdee'),  # sqrt(0.8 / 0.2) = 2
        (1.0, 'abcdeee'),  # sqrt(1.0 / 0.2) = 2.24
        (2.0, 'aabbccddeeee'),  # sqrt(2 / 1) = 1.41 and sqrt(2 / 0.2) = 3.16
    ],
)
def test_rare_categories_are_repeated(threshold, expected):
    assert letters(ClassBalancedDataset(Letters(), threshold)) == expected


def test_samples_without_categories_occur_once():
    class Bare(Letters):
        def get_cat_ids(self, idx):
            return []

    assert letters(ClassBalancedDataset(Bare(), 0.9)) == 'abcde'


def test_a_category_twice_in_a_sample_counts_once():
    class Twice(Letters):
        def get_cat_ids(self, idx):
            return [1, 1, 1] if idx == 0 else [0]

    # Category 1 is in one sample of five: sqrt(0.8 / 0.2) = 2; category 0 in four: 1.
    assert letters(ClassBalancedDataset(Twice(), 0.8)) == 'aabcde'


def test_a_negative_threshold_is_refused():
    with pytest.raises(ArgumentError, match='oversample_thr'):
        ClassBalancedDataset(Letters(), -0.1)
