"""Feature maps as images: which channels are shown, at what size, and in what order."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmengine.utils.errors import ArgumentError, did_you_mean

from ._canvas import Canvas
from .utils import as_rgb, convert_overlay_heatmap

_WHITE = 255
# A map smaller than this would vanish behind its label.
_LABEL_NEEDS_HW = (48, 96)


def draw_featmap(
    featmap: Tensor,
    overlaid_image: np.ndarray | None,
    channel_reduction: str | None,
    topk: int,
    arrangement: Sequence[int],
    resize_shape: Sequence[int] | None,
    alpha: float,
) -> np.ndarray:
    """What :meth:`Visualizer.draw_featmap` returns."""
    maps_CHW = _as_maps(featmap)
    image = None if overlaid_image is None else as_rgb(overlaid_image)
    if image is not None and resize_shape is not None:
        image = _resize_image(image, resize_shape)
    target = image.shape[:2] if image is not None else resize_shape
    if target is not None and tuple(target) != tuple(maps_CHW.shape[1:]):
        maps_CHW = _resize(maps_CHW, target)

    if channel_reduction is not None:
        return convert_overlay_heatmap(_reduce(maps_CHW, channel_reduction), image, alpha)
    if topk > 0:
        return _tile(maps_CHW, image, topk, arrangement, alpha)
    if maps_CHW.shape[0] not in (1, 3):
        raise ArgumentError(
            f'A feature map of {maps_CHW.shape[0]} channels is not an image, which has 1 or 3: '
            'pass a positive topk, or channel_reduction="squeeze_mean" or "select_max".'
        )
    return convert_overlay_heatmap(maps_CHW, image, alpha)


def _as_maps(featmap: Tensor) -> Tensor:
    if not isinstance(featmap, Tensor):
        raise ArgumentError(f'featmap is a tensor, got {type(featmap).__name__}.')
    if featmap.ndim != 3:
        raise ArgumentError(
            f'featmap is of shape (C, H, W), one sample, got {tuple(featmap.shape)}.'
        )
    return featmap.detach().float().cpu()


def _reduce(maps_CHW: Tensor, how: str) -> Tensor:
    if how == 'squeeze_mean':
        return maps_CHW.mean(dim=0)
    if how == 'select_max':
        return maps_CHW[maps_CHW.mean(dim=(1, 2)).argmax()]
    hint = did_you_mean(how, ('squeeze_mean', 'select_max'))
    raise ArgumentError(
        f'channel_reduction is "squeeze_mean", "select_max" or None, got {how!r}.{hint}'
    )


def _tile(
    maps_CHW: Tensor,
    image: np.ndarray | None,
    topk: int,
    arrangement: Sequence[int],
    alpha: float,
) -> np.ndarray:
    """The channels of the highest means, row by row, with their numbers where there is room.

    Places that are left over stay white.
    """
    rows, columns = arrangement
    if rows * columns < topk:
        raise ArgumentError(
            f'arrangement={tuple(arrangement)} has {rows * columns} places, fewer than '
            f'topk={topk}: give it more rows or columns, or a lower topk.'
        )
    channels, height, width = maps_CHW.shape
    strongest = maps_CHW.mean(dim=(1, 2)).topk(min(topk, channels)).indices.tolist()
    sheet = np.full((rows * height, columns * width, 3), _WHITE, np.uint8)
    for place, channel in enumerate(strongest):
        top, left = place // columns * height, place % columns * width
        tile = convert_overlay_heatmap(maps_CHW[channel], image, alpha)
        sheet[top : top + height, left : left + width] = tile
    if height < _LABEL_NEEDS_HW[0] or width < _LABEL_NEEDS_HW[1]:
        return sheet
    return _label(sheet, strongest, columns, height, width)


def _label(
    sheet: np.ndarray, channels: Sequence[int], columns: int, height: int, width: int
) -> np.ndarray:
    """Write the channel's number in the upper left corner of each map."""
    from matplotlib.patheffects import withStroke

    canvas = Canvas({'frameon': False})
    canvas.clear(sheet)
    for place, channel in enumerate(channels):
        canvas.axes.text(
            place % columns * width + 2,
            place // columns * height + 2,
            f'channel: {channel}',
            verticalalignment='top',
            path_effects=[withStroke(linewidth=2, foreground='w')],
        )
    return canvas.pixels()


def _resize(maps_CHW: Tensor, shape: Sequence[int]) -> Tensor:
    height, width = shape
    return functional.interpolate(maps_CHW[None], (height, width), mode='bilinear')[0]


def _resize_image(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    maps_CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()
    pixels: np.ndarray = _resize(maps_CHW, shape).round().byte().permute(1, 2, 0).numpy()
    return pixels
