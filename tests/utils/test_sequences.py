from collections import OrderedDict, namedtuple
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmengine import utils

Point = namedtuple('Point', 'x y')


@pytest.mark.parametrize(
    ('seq', 'expected_type', 'seq_type', 'answer'),
    [
        ([1, 2], int, None, True),
        ((1, 2), int, None, True),
        ([1, 'a'], int, None, False),
        ([1, 'a'], (int, str), None, True),
        ([], int, None, True),
        ('ab', str, None, True),
        ({1}, int, None, False),
        ([1], int, tuple, False),
        (3, int, None, False),
    ],
)
def test_is_seq_of(seq: Any, expected_type: Any, seq_type: Any, answer: bool) -> None:
    assert utils.is_seq_of(seq, expected_type, seq_type) is answer


def test_is_list_of_and_is_tuple_of_look_at_the_container_too() -> None:
    assert utils.is_list_of([1], int)
    assert not utils.is_list_of((1,), int)
    assert utils.is_tuple_of((1,), int)
    assert not utils.is_tuple_of([1], int)


def test_seq_type_must_be_a_type() -> None:
    with pytest.raises(utils.ArgumentError, match='seq_type must be a type'):
        utils.is_seq_of([1], int, 3)  # type: ignore[arg-type]


def test_is_str() -> None:
    assert utils.is_str('a')
    assert not utils.is_str(b'a')


def test_casts_convert_every_item() -> None:
    assert utils.list_cast(['1', '2'], int) == [1, 2]
    assert utils.tuple_cast([1, 2], str) == ('1', '2')
    assert list(utils.iter_cast((1.5,), int)) == [1]


def test_casts_refuse_what_they_cannot_convert() -> None:
    with pytest.raises(TypeError, match='inputs must be iterable, got int'):
        utils.list_cast(3, int)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='dst_type must be a type'):
        utils.list_cast([3], 'int')  # type: ignore[arg-type]


@given(st.lists(st.lists(st.integers())))
def test_slicing_undoes_joining(pieces: list[list[int]]) -> None:
    joined = utils.concat_list(pieces)
    assert joined == list(chain.from_iterable(pieces))
    assert utils.slice_list(joined, [len(piece) for piece in pieces]) == pieces


def test_slice_list_with_one_length_cuts_equal_pieces() -> None:
    assert utils.slice_list([1, 2, 3, 4], 2) == [[1, 2], [3, 4]]
    assert utils.slice_list((1, 2, 3, 4), [1, 3]) == [(1,), (2, 3, 4)]


@pytest.mark.parametrize(
    ('lens', 'error'), [(3, ValueError), ([1, 2], ValueError), ('a', TypeError)]
)
def test_slice_list_refuses_lengths_that_do_not_fit(lens: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        utils.slice_list([1, 2, 3, 4], lens)


def test_to_ntuple_repeats_single_values_only() -> None:
    assert utils.to_1tuple(5) == (5,)
    assert utils.to_2tuple(5) == (5, 5)
    assert utils.to_3tuple(None) == (None, None, None)
    assert utils.to_4tuple(0.5) == (0.5,) * 4
    assert utils.to_ntuple(5)(1) == (1,) * 5
    assert utils.to_2tuple([1, 2]) == [1, 2]
    assert utils.to_2tuple('ab') == 'ab'


def test_apply_to_replaces_matching_leaves_and_keeps_the_containers() -> None:
    data = OrderedDict(a=[1, 'x'], b=Point(2, (3, None)), c={4})
    result = utils.apply_to(data, lambda leaf: isinstance(leaf, int), lambda leaf: leaf * 10)
    assert result == OrderedDict(a=[10, 'x'], b=Point(20, (30, None)), c={4})
    assert type(result) is OrderedDict
    assert type(result['b']) is Point
    assert data['a'] == [1, 'x']


def test_apply_to_may_replace_a_whole_container() -> None:
    result = utils.apply_to({'a': [1, 2]}, lambda x: isinstance(x, list), len)
    assert result == {'a': 2}
