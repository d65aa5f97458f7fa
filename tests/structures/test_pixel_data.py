"""Maps over the pixels of one image."""

from typing import Any

import numpy as np
import pytest
import torch

from mmengine.structures import PixelData
from mmengine.utils.errors import ArgumentError


@pytest.fixture
def maps() -> PixelData:
    return PixelData(
        metainfo={'id': 1},
        image=torch.arange(24).reshape(2, 3, 4),
        depth=np.arange(12).reshape(3, 4),
    )


def test_the_shape_is_height_and_width(maps: PixelData) -> None:
    assert maps.shape == (3, 4)
    assert PixelData(metainfo={'id': 1}).shape is None


def test_a_flat_map_gets_a_channel_axis(maps: PixelData) -> None:
    assert maps.depth.shape == (1, 3, 4)
    maps.mask = torch.ones(3, 4)
    assert maps.mask.shape == (1, 3, 4)
    assert maps.image.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        pytest.param(torch.ones(2, 4), '3 high and 4 wide', id='height'),
        pytest.param(np.ones((3, 4, 2)), '3 high and 4 wide', id='channels last'),
        pytest.param(torch.ones(1, 1, 3, 4), r'must have shape \(C, H, W\)', id='four axes'),
        pytest.param(torch.ones(4), r'must have shape \(C, H, W\)', id='one axis'),
        pytest.param([[1]], 'must be a tensor or an array, got list', id='list'),
    ],
)
def test_other_maps_are_refused(maps: PixelData, value: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        maps.more = value
    assert 'more' not in maps


@pytest.mark.parametrize(
    ('index', 'rows', 'columns'),
    [
        ((slice(0, 2), slice(1, 3)), [0, 1], [1, 2]),
        ((1, 2), [1], [2]),
        ((-1, -1), [2], [3]),
        ((1, slice(None)), [1], [0, 1, 2, 3]),
        ((slice(None, None, 2), slice(0, 4, 3)), [0, 2], [0, 3]),
        ((np.int64(2), slice(0, 0)), [2], []),
    ],
    ids=repr,
)
def test_all_maps_are_cut_alike(maps: PixelData, index: Any, rows: list, columns: list) -> None:
    cut = maps[index]
    # Row r, column c of channel k holds 12k + 4r + c.
    expected = [[4 * r + c for c in columns] for r in rows]
    assert cut.image.tolist() == [expected, [[12 + v for v in row] for row in expected]]
    assert cut.depth.tolist() == [expected]
    assert cut.id == 1
    assert maps.shape == (3, 4)


@pytest.mark.parametrize('index', [1, slice(1), [1, 2], 'image', torch.ones(3, 4) > 0], ids=type)
def test_only_pairs_cut(maps: PixelData, index: Any) -> None:
    with pytest.raises(TypeError, match='indexed by rows and columns'):
        maps[index]


@pytest.mark.parametrize('index', [(1.0, 2), ([1], [2]), (slice(None), None)], ids=repr)
def test_only_integers_and_slices_cut(maps: PixelData, index: Any) -> None:
    with pytest.raises(TypeError, match='integers and slices'):
        maps[index]


def test_three_indices_are_refused(maps: PixelData) -> None:
    with pytest.raises(ArgumentError, match='got 3 indices'):
        maps[1, 1, 1]


@pytest.mark.parametrize('index', [(3, 0), (0, 4), (-4, 0)], ids=repr)
def test_a_position_out_of_range_is_an_index_error(maps: PixelData, index: Any) -> None:
    with pytest.raises(IndexError, match='out of range'):
        maps[index]


def test_no_maps_can_be_cut_to_no_maps() -> None:
    assert PixelData(metainfo={'id': 1})[1:2, 0].all_keys() == ['id']
