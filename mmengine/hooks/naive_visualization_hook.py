"""NaiveVisualizationHook: shows test images with their predictions, for any task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class NaiveVisualizationHook(Hook):
    """Passes test images and predictions to ``add_datasample`` of the visualizer.

    The image is taken from the batch: its padding is removed by the sample's ``img_shape``, and it
    is resized to ``ori_shape``. Its name is the file name in ``img_path``.

    Args:
        interval: Batches between two batches that are shown.
        draw_gt: Show annotations.
        draw_pred: Show predictions.

    Raises:
        ArgumentError: If ``interval`` is not positive.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 1, draw_gt: bool = True, draw_pred: bool = True) -> None:
        if interval < 1:
            raise ArgumentError(f'interval must be at least 1 batch, got {interval}.')
        self._interval = interval
        self.draw_gt = draw_gt
        self.draw_pred = draw_pred
        self._num_seen = 0

    def before_test(self, runner: Run) -> None:
        """Reset the sample count."""
        self._num_seen = 0

    def after_test_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Show the samples of every ``interval``-th batch."""
        samples = list(outputs or [])
        first, self._num_seen = self._num_seen, self._num_seen + len(samples)
        if not self.every_n_inner_iters(batch_idx, self._interval):
            return
        is_bgr = _reads_bgr(runner.model)
        for offset, (image, sample) in enumerate(zip(_inputs(data_batch), samples, strict=False)):
            step = first + offset
            runner.visualizer.add_datasample(
                _name(sample, f'test_{step}'),
                _as_shown(image, sample, is_bgr),
                data_sample=sample,
                draw_gt=self.draw_gt,
                draw_pred=self.draw_pred,
                step=step,
            )


def _inputs(data_batch: Any) -> list[Tensor]:
    """The images of a batch, (C, H, W) each."""
    images = data_batch.get('inputs') if isinstance(data_batch, Mapping) else None
    if images is None and isinstance(data_batch, Sequence) and data_batch:
        first = data_batch[0]
        if isinstance(first, Mapping):  # a list of samples, not collated
            return [sample['inputs'] for sample in data_batch]
        images = first
    if images is None:
        raise ArgumentError(
            'NaiveVisualizationHook finds no images: a batch must be a dict with inputs, or a list '
            f'whose first item is the inputs; got {type(data_batch).__name__}.'
        )
    return list(images)


def _as_shown(image: Tensor, sample: Any, is_bgr: bool) -> np.ndarray[Any, Any]:
    """Convert to uint8 (H, W, 3) in RGB, in the original size of the image."""
    height, width = tuple(getattr(sample, 'img_shape', image.shape[-2:]))[:2]
    shown = image.detach().cpu()[..., :height, :width]
    if is_bgr and shown.shape[0] == 3:
        shown = shown.flip(0)
    original = tuple(getattr(sample, 'ori_shape', shown.shape[-2:]))[:2]
    if original != tuple(shown.shape[-2:]):
        as_float = shown[None].float()
        resized = functional.interpolate(as_float, original, mode='bilinear', antialias=True)[0]
        shown = resized.round().to(shown.dtype) if not shown.is_floating_point() else resized
    if shown.is_floating_point():
        # Float pixels are in the range 0 to 1 or 0 to 255.
        shown = shown * 255 if float(shown.max()) <= 1 else shown
        shown = shown.round().clamp(0, 255)
    if shown.shape[0] == 1:
        shown = shown.expand(3, -1, -1)
    pixels: np.ndarray[Any, Any] = shown.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


def _reads_bgr(model: Any) -> bool:
    """Whether the images of a batch are BGR: the model converts them to RGB."""
    preprocessor = getattr(unwrap_model(model), 'data_preprocessor', None)
    return bool(getattr(preprocessor, '_channel_conversion', False))


def _name(sample: Any, otherwise: str) -> str:
    path = getattr(sample, 'img_path', None)
    return PurePath(path).name if isinstance(path, str) else otherwise
