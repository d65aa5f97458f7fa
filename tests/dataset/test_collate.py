"""Batches from samples, and the seeds of workers."""

import random
import warnings
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch

from mmengine.dataset import COLLATE_FUNCTIONS, default_collate, pseudo_collate, worker_init_fn
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement
from mmengine.utils.errors import ArgumentError

Point = namedtuple('Point', 'x y')
ONE, TWO = BaseDataElement(), BaseDataElement()


@pytest.mark.parametrize(
    ('batch', 'expected'),
    [
        ([{'inputs': 'a', 'n': 1}, {'inputs': 'b', 'n': 2}], {'inputs': ['a', 'b'], 'n': [1, 2]}),
        ([('a', 1), ('b', 2)], [('a', 'b'), (1, 2)]),
        ([['a', 1], ['b', 2]], [('a', 'b'), (1, 2)]),
        ([Point(1, 'a'), Point(2, 'b')], Point((1, 2), ('a', 'b'))),
        (
            [{'a': [{'x': 1}, {'x': 2}]}, {'a': [{'x': 3}, {'x': 4}]}],
            {'a': [{'x': [1, 3]}, {'x': [2, 4]}]},
        ),
        (['a', 'b'], ['a', 'b']),
        ([b'a', b'b'], [b'a', b'b']),
        ([None, 1.5], [None, 1.5]),
        ([{1}, {2}], [{1}, {2}]),
        ([ONE, TWO], [ONE, TWO]),
        ([{'a': 1}, {'a': 2, 'extra': 3}], {'a': [1, 2]}),
        ([(), ()], []),
        (({'a': 1}, {'a': 2}), {'a': [1, 2]}),
    ],
    ids=[
        'dicts', 'tuples', 'lists', 'named-tuples', 'nested', 'strings', 'bytes', 'none', 'sets',
        'data-elements', 'keys-of-the-first', 'empty-tuples', 'a-tuple-of-samples',
    ],
)  # fmt: skip
def test_pseudo_collate_turns_samples_inside_out(batch, expected):
    collated = pseudo_collate(batch)
    assert collated == expected
    assert type(collated) is type(expected)


def test_pseudo_collate_keeps_tensors_of_any_shape_as_they_are():
    images = [torch.ones(3, 4, 4), torch.ones(3, 5, 2)]
    collated = pseudo_collate([{'inputs': image} for image in images])
    assert all(a is b for a, b in zip(collated['inputs'], images, strict=True))


def test_mappings_keep_their_type():
    ordered = pseudo_collate([OrderedDict(a=1), OrderedDict(a=2)])
    assert ordered == OrderedDict(a=[1, 2])
    assert isinstance(ordered, OrderedDict)
    with_default = pseudo_collate([defaultdict(list, a=1), defaultdict(list, a=2)])
    assert with_default == {'a': [1, 2]}
    assert with_default['new'] == []


def test_default_collate_stacks_what_torch_stacks():
    batch = [
        {'image': torch.full((2,), float(i)), 'array': np.full(2, i), 'label': i, 'score': i / 2}
        for i in range(3)
    ]
    collated = default_collate(batch)
    expected = torch.utils.data.default_collate(batch)
    assert collated.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(collated[key], value, rtol=0, atol=0)
        assert collated[key].dtype == value.dtype


def test_default_collate_keeps_text_and_data_elements_in_lists():
    collated = default_collate([{'name': 'a', 'sample': ONE}, {'name': 'b', 'sample': TWO}])
    assert collated == {'name': ['a', 'b'], 'sample': [ONE, TWO]}


def test_default_collate_keeps_the_type_of_named_tuples():
    collated = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert isinstance(collated, Point)
    assert collated.x.tolist() == [1, 3]


@pytest.mark.parametrize('collate', [pseudo_collate, default_collate])
class TestSamplesOfDifferentStructure:
    def test_a_missing_key_is_told(self, collate):
        with pytest.raises(KeyError, match="Sample 1 of the batch has no 'b'"):
            collate([{'a': 1, 'b': 1}, {'a': 1}])

    def test_another_kind_of_sample_is_told(self, collate):
        with pytest.raises(TypeError, match='sample 1 is of type int'):
            collate([{'a': 1}, 3])
        with pytest.raises(TypeError, match='one structure, got int and tuple'):
            collate([(1,), 3])

    def test_sequences_of_different_length_are_told(self, collate):
        with pytest.raises(RuntimeError, match=r'equally long, got lengths \[1, 2\]'):
            collate([[1], [1, 2]])

    def test_no_sample_is_told(self, collate):
        with pytest.raises(ArgumentError, match='at least one sample'):
            collate([])


def test_tensors_that_do_not_stack_are_told_with_their_key():
    batch = [{'inputs': {'img': torch.ones(3, 2)}}, {'inputs': {'img': torch.ones(3, 4)}}]
    with pytest.raises(
        RuntimeError, match=r'Tensor of shape \(3, 2\), Tensor of shape \(3, 4\)'
    ) as caught:
        default_collate(batch)
    notes = getattr(caught.value, '__notes__', None)
    if notes is not None:
        assert ['img' in notes[0], 'inputs' in notes[1]] == [True, True]


@pytest.mark.parametrize('values', [[None, None], [{1}, {2}], [1, 'a']])
def test_values_that_are_no_tensors_are_told(values):
    with pytest.raises(TypeError, match='pseudo_collate'):
        default_collate([{'a': value} for value in values])


def test_collate_functions_are_found_by_name():
    assert COLLATE_FUNCTIONS is FUNCTIONS
    assert FUNCTIONS.get('pseudo_collate') is pseudo_collate
    assert FUNCTIONS.get('default_collate') is default_collate


# Workers


@pytest.fixture
def kept_rng():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.usefixtures('kept_rng')
def test_a_worker_is_seeded_by_its_number_among_all_workers():
    worker_init_fn(worker_id=1, num_workers=2, rank=3, seed=10)
    drawn = draws()
    # 2 workers on each of the 3 ranks before, 1 before on this rank, from seed 10 on
    random.seed(17)
    np.random.seed(17)
    torch.manual_seed(17)
    assert drawn == draws()


@pytest.mark.usefixtures('kept_rng')
def test_the_largest_seed_fits_numpy():
    worker_init_fn(worker_id=1, num_workers=2, rank=0, seed=2**32 - 1)
    assert torch.initial_seed() == 0


@pytest.mark.usefixtures('kept_rng')
@pytest.mark.parametrize(('worker_id', 'count'), [(0, 1), (1, 0)])
def test_only_the_first_worker_warns_when_asked(worker_id, count):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        worker_init_fn(worker_id, 2, 0, 0, disable_subprocess_warning=True)
        warnings.warn('again', stacklevel=1)
    assert len(caught) == count
