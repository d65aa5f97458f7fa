"""mmrotate 0.x: rotated boxes on top of detection."""

from __future__ import annotations

from typing import Any

from mmengine.migrate._config.rules import mmdet
from mmengine.migrate._config.rules.shared import pack, resize

scope = 'mmrotate'
test_dataset = mmdet.test_dataset
visualizer = 'RotLocalVisualizer'
validates_by_default = True
data_preprocessor = {**mmdet.data_preprocessor, 'boxtype2tensor': False}
val_dataloader = mmdet.val_dataloader
train_dataset = {'filter_cfg': {'filter_empty_gt': True}}


def _flip(config: dict[str, Any]) -> dict[str, Any]:
    """The probability was of a flip, shared by the directions that are named."""
    ratio, direction = config.pop('flip_ratio', None), config.pop('direction', 'horizontal')
    config.pop('version', None)
    return {'type': 'RandomFlip', 'prob': ratio, 'direction': direction, **_rest(config)}


def _rest(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != 'type'}


def _resize(config: dict[str, Any]) -> Any:
    return resize({**config, 'type': 'Resize'})


transforms: dict[str, Any] = {
    **mmdet.transforms,
    'RResize': _resize,
    'RRandomFlip': _flip,
    'Collect': pack('PackDetInputs'),
}
_PREFIXED = {'keys': {'img_prefix': 'data_prefix.img_path'}, 'drop': ['version']}
datasets: dict[str, Any] = {
    **dict.fromkeys(('DOTADataset', 'SARDataset', 'HRSCDataset'), _PREFIXED),
    **{name: {} for name in ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset')},
}
metrics: dict[str, Any] = {
    '*': {
        'type': 'DOTAMetric',
        'add': {'metric': 'mAP'},
        'keys': {'metric': 'metric', 'iou_thr': 'iou_thrs'},
        'takes': ['nproc'],
        'prefix': 'dota',
    }
}
hooks = mmdet.hooks
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'GlidingVertex', 'OrientedRCNN', 'R3Det', 'ReDet', 'RoITransformer', 'RotatedBaseDetector',
    'RotatedFCOS', 'RotatedFasterRCNN', 'RotatedRepPoints', 'RotatedRetinaNet',
    'RotatedSingleStageDetector', 'RotatedTwoStageDetector', 'S2ANet',
))  # fmt: skip
