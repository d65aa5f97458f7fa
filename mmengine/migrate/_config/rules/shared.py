"""Transforms that changed alike in several projects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.migrate._config.trace import edited

Config = dict[str, Any]

# Steps of MMCV times that put arrays into tensors and containers; packing does that now.
FORMATTING: dict[str, None] = dict.fromkeys((
    'DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'ToDataContainer', 'Transpose',
    'WrapFieldsToLists',
))  # fmt: skip

META_KEYS = frozenset((
    'filename', 'ori_filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
    'flip_direction', 'img_norm_cfg', 'img_id', 'img_path', 'image_file', 'joints_3d',
    'joints_3d_visible', 'center', 'scale', 'rotation', 'bbox', 'bbox_id', 'bbox_score',
    'flip_pairs', 'dataset', 'lq_path', 'gt_path', 'ref_path', 'key', 'merged_path',
    'merged_ori_shape', 'ori_alpha', 'ori_merged', 'interpolation', 'real_img_path',
    'img_mask_path', 'resize_shape', 'valid_ratio', 'text', 'texts', 'scores', 'aug_index',
    'flip_index',
))  # fmt: skip
"""Meta keys of stock configs; what packs samples today has its own list of these."""


FLIP = {'keys': {'flip_ratio': 'prob'}}


def resize(config: Config) -> Config:
    """One class became three: a fixed scale, one of several, or any between two."""
    kind, scale = config.pop('type'), config.pop('img_scale', None)
    mode = config.pop('multiscale_mode', 'range')
    ratio_range = config.pop('ratio_range', None)
    config.pop('override', None)
    # The default was to keep the ratio, and is not now.
    keep_ratio = config.pop('keep_ratio', True)
    clips = config.pop('bbox_clip_border', None)
    rest: Config = {'keep_ratio': keep_ratio, **config}
    if clips is not None:
        rest['clip_object_border'] = clips
    if isinstance(scale, list) and len(scale) == 1:
        scale = scale[0]
    if ratio_range is not None:
        return {'type': 'RandomResize', 'scale': scale, 'ratio_range': ratio_range, **rest}
    if isinstance(scale, list) and mode == 'value':
        return {'type': 'RandomChoiceResize', 'scales': scale, **rest}
    if isinstance(scale, list):
        return {'type': 'RandomResize', 'scale': scale, **rest}
    return {'type': kind, **rest} if scale is None else {'type': kind, 'scale': scale, **rest}


def loading(config: Config) -> Config:
    """A file client became a backend; reading from disk is the default of both."""
    client = config.pop('file_client_args', None)
    if client is not None and client != {'backend': 'disk'}:
        config['backend_args'] = client
    return config


def renamed_in_keys(
    config: Config, names: Mapping[str, str], entries: Sequence[str] = ('keys', 'meta_keys', 'key')
) -> Config:
    """``config`` with today's ``names`` in its ``entries`` that name parts of a sample."""
    changed = dict(config)
    for entry in entries:
        value = changed.get(entry)
        if isinstance(value, (list, tuple)):
            changed[entry] = edited(value, type(value)(names.get(one, one) for one in value))
        elif isinstance(value, str):
            changed[entry] = names.get(value, value)
    return changed


def width_first(config: Config) -> Config:
    """Sizes were (height, width), and are (width, height)."""
    for key in ('img_scale', 'size', 'crop_size', 'input_size', 'border'):
        value = config.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] != value[1]:
            config[key] = value[::-1]
    return config


def pack(kind: str) -> Any:
    """A rule for ``Collect``: the keys are the packing's own; its meta keys got new names."""

    def rule(config: Config) -> Config:
        packed: Config = {'type': kind}
        if 'meta_keys' in config:
            names = (_META_KEYS.get(name, name) for name in config['meta_keys'])
            packed['meta_keys'] = tuple(name for name in names if name is not None)
        return packed

    return rule


_META_KEYS: dict[str, str | None] = {
    'filename': 'img_path',
    'ori_filename': None,
    'image_file': 'img_path',
    'img_norm_cfg': None,
}


def times_255(values: Iterable[float]) -> list[float]:
    """Means or deviations of images between 0 and 1, for images between 0 and 255."""
    return [round(255 * one, 6) for one in values]


def of_unit_images(transform: Mapping[str, Any]) -> Config:
    """Means and deviations of a ``Normalize`` that came after a division by 255."""
    return {key: times_255(transform[key]) for key in ('mean', 'std') if key in transform}
