"""Feature maps as pictures, against heat maps of channels that are chosen by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mmengine.utils.errors import ArgumentError
from mmengine.visualization import Visualizer
from mmengine.visualization.utils import convert_overlay_heatmap

# The first has the highest value, the second the highest mean.
MAPS = torch.tensor([[[100.0, 0, 0, 0]], [[30, 31, 33, 30]], [[-200, -100, -300, -100]]])
HEATS = [convert_overlay_heatmap(channel) for channel in MAPS]


def test_the_mean_of_the_channels_is_shown_by_default():
    shown = Visualizer.draw_featmap(MAPS)
    assert (shown == convert_overlay_heatmap((MAPS[0] + MAPS[1] + MAPS[2]) / 3)).all()


def test_the_channel_of_the_highest_mean_is_selected():
    assert (Visualizer.draw_featmap(MAPS, channel_reduction='select_max') == HEATS[1]).all()


def test_the_strongest_channels_come_first_and_free_places_are_white():
    white = np.full((1, 4, 3), 255)
    shown = Visualizer.draw_featmap(MAPS, channel_reduction=None, topk=2, arrangement=(2, 2))
    expected = np.vstack([np.hstack([HEATS[1], HEATS[0]]), np.hstack([white, white])])
    assert (shown == expected).all()


def test_more_channels_than_there_are_cannot_be_shown():
    shown = Visualizer.draw_featmap(MAPS, channel_reduction=None, topk=4, arrangement=(1, 4))
    assert (shown[:, :12] == np.hstack([HEATS[1], HEATS[0], HEATS[2]])).all()
    assert (shown[:, 12:] == 255).all()


def test_large_maps_are_labelled_in_their_corner():
    maps = torch.rand(2, 60, 120, generator=torch.Generator().manual_seed(0))
    maps[1] += 1
    shown = Visualizer.draw_featmap(maps, channel_reduction=None, topk=2, arrangement=(1, 2))
    expected = np.hstack([convert_overlay_heatmap(maps[1]), convert_overlay_heatmap(maps[0])])
    differs = (shown != expected).any(axis=-1)
    assert not differs[25:].any()
    for left in (0, 120):
        assert differs[:25, left : left + 90].any()
        assert not differs[:, left + 100 : left + 120].any()


@pytest.mark.parametrize('channels', [1, 3])
def test_without_topk_one_or_three_channels_are_a_picture(channels):
    maps = MAPS[:channels]
    shown = Visualizer.draw_featmap(maps, channel_reduction=None, topk=-1)
    assert (shown == convert_overlay_heatmap(maps)).all()


def test_a_map_is_scaled_to_the_image_it_is_laid_over():
    maps = torch.arange(24.0).reshape(2, 3, 4)
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    scaled = functional.interpolate(maps[None], (6, 8), mode='bilinear')[0].mean(dim=0)
    expected = convert_overlay_heatmap(scaled, image, 0.3)
    assert (Visualizer.draw_featmap(maps, image, alpha=0.3) == expected).all()
    tiles = Visualizer.draw_featmap(maps, image, None, topk=2, arrangement=(1, 2), alpha=0.0)
    assert (tiles == np.hstack([image, image])).all()


def test_a_map_and_its_image_are_scaled_to_the_shape_that_is_asked_for():
    maps = torch.arange(12.0).reshape(1, 3, 4)
    assert Visualizer.draw_featmap(maps, resize_shape=(6, 9)).shape == (6, 9, 3)
    columns = np.repeat(np.array([[[0], [90]]], np.uint8), 3, axis=2)
    shown = Visualizer.draw_featmap(maps, columns, resize_shape=(1, 4), alpha=0.0)
    # Between the middles of the two pixels, in quarters: 0, 0.25, 0.75, 1 times 90.
    assert shown[0, :, 0].tolist() == [0, 22, 68, 90]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.int64])
def test_maps_of_other_numbers_are_shown_too(dtype):
    assert (Visualizer.draw_featmap(MAPS.to(dtype), None, 'select_max') == HEATS[1]).all()


def test_a_map_of_a_graph_is_shown_and_kept():
    maps = MAPS.clone().requires_grad_()
    assert (Visualizer.draw_featmap(maps) == Visualizer.draw_featmap(MAPS)).all()
    assert maps.requires_grad


@pytest.mark.parametrize(
    ('featmap', 'options', 'message'),
    [
        (MAPS.numpy(), {}, 'is a tensor, got ndarray'),
        (MAPS[0], {}, r'\(C, H, W\), one sample'),
        (MAPS[None], {}, r'\(C, H, W\), one sample'),
        (MAPS, {'channel_reduction': 'select_mx'}, "Did you mean 'select_max'"),
        (MAPS, {'channel_reduction': None, 'topk': 3, 'arrangement': (1, 2)}, '2 places'),
        (MAPS[:2], {'channel_reduction': None, 'topk': 0}, '2 channels is not an image'),
        (MAPS, {'overlaid_image': np.zeros((1, 4, 3), np.uint8), 'alpha': 2}, 'alpha'),
    ],
)
def test_feature_maps_of_wrong_arguments_are_refused(featmap, options, message):
    with pytest.raises(ArgumentError, match=message):
        Visualizer.draw_featmap(featmap, **options)
