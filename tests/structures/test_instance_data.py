"""Fields with one entry an instance: their rule, indexing, joining."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmengine.structures import InstanceData
from mmengine.utils.errors import ArgumentError


class Boxes:
    """A project's own container: a length, slices and ``cat`` are all it offers."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice) -> 'Boxes':
        assert isinstance(index, slice)
        return Boxes(self.values[index])

    @staticmethod
    def cat(parts: list['Boxes']) -> 'Boxes':
        return Boxes([value for part in parts for value in part.values])


class Plain:
    """A container that can be sliced and nothing more."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: slice) -> list[int]:
        return [0, 1, 2][index]


def instances(length: int = 4) -> InstanceData:
    numbers = list(range(length))
    return InstanceData(
        metainfo={'size': (4, 6)},
        tensor=torch.arange(2 * length).reshape(length, 2),
        array=np.arange(length),
        listed=numbers,
        tupled=tuple(numbers),
        text=''.join(map(str, numbers)),
        boxes=Boxes(numbers),
        inner=InstanceData(deep=numbers),
    )


def entries(data: InstanceData) -> list[int]:
    """The numbers of the instances, after a check that all fields hold the same."""
    numbers = data.listed
    assert isinstance(numbers, list)
    assert isinstance(data.tensor, torch.Tensor)
    assert data.tensor.tolist() == [[2 * n, 2 * n + 1] for n in numbers]
    assert isinstance(data.array, np.ndarray)
    assert data.array.tolist() == numbers
    assert data.tupled == tuple(numbers)
    assert data.text == ''.join(map(str, numbers))
    assert data.boxes.values == numbers
    assert isinstance(data.inner, InstanceData)
    assert data.inner.deep == numbers
    assert data.size == (4, 6)
    assert len(data) == len(numbers)
    return numbers


# The rule of equal length


def test_the_length_is_that_of_the_fields() -> None:
    assert len(InstanceData()) == 0
    assert len(InstanceData(metainfo={'names': [1, 2, 3]})) == 0
    assert len(instances(4)) == 4


@pytest.mark.parametrize('value', [[1, 2, 3], torch.ones(5), np.ones((1, 4))], ids=type)
def test_a_field_of_another_length_is_refused(value: object) -> None:
    data = instances(4)
    with pytest.raises(AssertionError, match='entry for each of the 4 instances'):
        data.more = value
    with pytest.raises(ArgumentError, match='entry for each of the 4 instances'):
        data['listed'] = value
    assert 'more' not in data
    assert entries(data) == [0, 1, 2, 3]


@pytest.mark.parametrize('value', [1, None, 2.5], ids=repr)
def test_a_field_without_length_is_refused(value: object) -> None:
    with pytest.raises(AssertionError, match='more must have a length'):
        InstanceData(more=value)


def test_fields_without_entries_do_not_bind() -> None:
    data = InstanceData(scores=torch.zeros(0))
    data.scores = torch.ones(2)
    data.labels = [1, 2]
    assert len(data) == 2


def test_items_can_be_set_and_deleted_like_attributes() -> None:
    data = instances(2)
    data['more'] = [5, 6]
    assert data.more == [5, 6]
    assert data['more'] is data.more
    del data['more']
    assert 'more' not in data


def test_other_data_and_metainfo_keep_to_the_rule() -> None:
    data = instances(2)
    data.set_metainfo({'anything': [1, 2, 3]})
    assert data.new(only=[7]).keys() == ['only']
    with pytest.raises(AssertionError):
        data.update(InstanceData(other=[1, 2, 3]))


# Indexing


INDICES: dict[str, tuple[Any, list[int]]] = {
    'first': (0, [0]),
    'last': (-1, [3]),
    'numpy integer': (np.int64(2), [2]),
    'slice': (slice(1, 3), [1, 2]),
    'step': (slice(None, None, 2), [0, 2]),
    'backwards': (slice(None, None, -1), [3, 2, 1, 0]),
    'empty slice': (slice(0, 0), []),
    'list': ([2, 0], [2, 0]),
    'negative list': ([-1, -2], [3, 2]),
    'list of bools': ([True, False, True, False], [0, 2]),
    'empty list': ([], []),
    'long tensor': (torch.tensor([3, 3, 1]), [3, 3, 1]),
    'int tensor': (torch.tensor([1], dtype=torch.int32), [1]),
    'empty tensor': (torch.tensor([], dtype=torch.long), []),
    'bool tensor': (torch.tensor([True, False, False, True]), [0, 3]),
    'nothing chosen': (torch.zeros(4, dtype=torch.bool), []),
    'array': (np.array([3, 1]), [3, 1]),
    'int32 array': (np.array([1], dtype=np.int32), [1]),
    'bool array': (np.array([True, False, False, False]), [0]),
}


@pytest.mark.parametrize(('index', 'expected'), INDICES.values(), ids=INDICES)
def test_every_field_is_indexed_alike(index: Any, expected: list[int]) -> None:
    data = instances(4)
    assert entries(data[index]) == expected
    assert entries(data) == [0, 1, 2, 3]


def test_a_name_gives_the_field() -> None:
    data = instances()
    assert data['tensor'] is data.tensor
    assert data['size'] == (4, 6)
    with pytest.raises(AttributeError, match='nothing'):
        data['nothing']


@pytest.mark.parametrize('index', [4, -5, [0, 4], torch.tensor([-5]), np.array([9])], ids=repr)
def test_a_position_out_of_range_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError):
        instances(4)[index]
    with pytest.raises(IndexError):
        InstanceData(boxes=Boxes([0, 1, 2, 3]))[index]


def test_no_position_is_in_range_of_nothing() -> None:
    with pytest.raises(IndexError, match='out of range for 0 instances'):
        InstanceData()[0]
    assert len(InstanceData(metainfo={'a': 1})[:0]) == 0


@pytest.mark.parametrize(
    'index',
    [
        (1, 2),
        1.5,
        None,
        range(2),
        Ellipsis,
        torch.tensor([1.0]),
        torch.tensor([1, 0, 1, 0], dtype=torch.uint8),
        np.array([1.0]),
        ['a', 'b'],
    ],
    ids=repr,
)
def test_an_index_of_another_kind_is_refused(index: Any) -> None:
    with pytest.raises(AssertionError, match='InstanceData is indexed by'):
        instances(4)[index]


@pytest.mark.parametrize('index', [torch.tensor(1), torch.tensor([[1, 0]]), [[0, 1]]], ids=repr)
def test_an_index_has_one_axis(index: Any) -> None:
    with pytest.raises(AssertionError, match='index must be a vector'):
        instances(4)[index]


@pytest.mark.parametrize('mask', [torch.ones(3, dtype=torch.bool), [True], np.array([True] * 5)])
def test_a_mask_has_an_entry_for_each_instance(mask: Any) -> None:
    with pytest.raises(AssertionError, match='needs 4 entries'):
        instances(4)[mask]


def test_an_object_without_cat_can_be_sliced_only() -> None:
    data = InstanceData(plain=Plain())
    assert data[1].plain == [1]
    with pytest.raises(ValueError, match=r'Plain has no static method cat\(list\)'):
        data[[0, 1]]


def test_neighbours_are_taken_in_one_slice() -> None:
    class Recording(Boxes):
        taken: list[slice] = []

        def __getitem__(self, index: slice) -> Boxes:
            self.taken.append(index)
            return Boxes(self.values[index])

    data = InstanceData(boxes=Recording(list(range(8))))
    assert data[[2, 3, 4, 0, 7, -2]].boxes.values == [2, 3, 4, 0, 7, 6]
    assert Recording.taken == [slice(2, 5), slice(0, 1), slice(7, 8), slice(6, 7)]


def test_indexing_keeps_gradients_and_the_subclass() -> None:
    class Found(InstanceData):
        pass

    scores = torch.ones(3, requires_grad=True)
    chosen = Found(scores=scores)[torch.tensor([True, False, True])]
    assert type(chosen) is Found
    chosen.scores.sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [1, 0, 1]


def test_metainfo_of_a_part_is_its_own() -> None:
    data = InstanceData(metainfo={'path': ['a']}, x=[1, 2])
    part = data[0]
    part.path.append('b')
    assert data.path == ['a']


@st.composite
def indices(draw: st.DrawFn) -> tuple[int, Any]:
    """A number of instances, and an index of each kind that fits them."""
    length = draw(st.integers(1, 9))
    masks = st.lists(st.booleans(), min_size=length, max_size=length)
    positions = st.lists(st.integers(-length, length - 1), max_size=12)
    index: st.SearchStrategy[Any] = st.one_of(
        st.integers(-length, length - 1),
        st.slices(length),
        masks,
        masks.map(np.array),
        masks.map(torch.tensor),
        positions,
        positions.map(lambda chosen: np.array(chosen, dtype=np.int64)),
        positions.map(lambda chosen: torch.tensor(chosen, dtype=torch.int64)),
    )
    return length, draw(index)


def chosen_by_numpy(length: int, index: Any) -> list[int]:
    """What NumPy picks by its own kind of index, as a list also where that is one number."""
    if isinstance(index, torch.Tensor):
        # NumPy calls `__index__` of a tensor with one element, and so takes a mask for a number.
        index = index.numpy()
    elif isinstance(index, list) and not index:
        # Without elements to tell, NumPy takes a list for one of floats.
        index = slice(0, 0)
    return np.atleast_1d(np.arange(length)[index]).tolist()


@settings(max_examples=100)
@given(indices())
@example((1, torch.tensor([True])))
@example((1, torch.tensor([False])))
@example((1, [True]))
@example((3, torch.tensor([1])))
def test_any_index_means_what_it_means_to_numpy(drawn: tuple[int, Any]) -> None:
    length, index = drawn
    assert entries(instances(length)[index]) == chosen_by_numpy(length, index)


# Joining


def test_cat_joins_fields_of_every_type() -> None:
    data = instances(4)
    joined = InstanceData.cat([data[:1], data[[3, 1]], data[:0], data[2]])
    assert entries(joined) == [0, 3, 1, 2]


def test_cat_of_one_is_that_one() -> None:
    data = instances()
    assert InstanceData.cat([data]) is data


def test_cat_takes_class_and_metainfo_from_the_first() -> None:
    class Found(InstanceData):
        pass

    joined = Found.cat([Found(metainfo={'id': 1}, x=[1]), Found(metainfo={'id': 2}, x=[2])])
    assert type(joined) is Found
    assert joined.id == 1
    assert joined.x == [1, 2]
    assert len(InstanceData.cat([InstanceData(), InstanceData()])) == 0


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        pytest.param([], 'at least one element', id='none'),
        pytest.param([instances(), 3], 'element 1 is of type int', id='no element'),
        pytest.param(
            [InstanceData(x=[1]), InstanceData(x=[1], y=[2])], r"differ in \['y'\]", id='fields'
        ),
        pytest.param(
            [InstanceData(x=[1]), InstanceData(metainfo={'m': 1}, x=[1])],
            r"elements 0 and 1 differ in \['m'\]",
            id='metainfo',
        ),
    ],
)
def test_cat_needs_elements_of_the_same_fields(parts: list, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        InstanceData.cat(parts)


def test_cat_needs_a_cat_of_other_classes() -> None:
    with pytest.raises(ValueError, match="field 'x' is of type Plain"):
        InstanceData.cat([InstanceData(x=Plain()), InstanceData(x=Plain())])


def test_instances_survive_copies_and_pickles() -> None:
    data = instances()
    assert entries(copy.deepcopy(data)) == [0, 1, 2, 3]
    assert entries(pickle.loads(pickle.dumps(data))) == [0, 1, 2, 3]
    assert [part.listed for part in data] == [[0], [1], [2], [3]]
