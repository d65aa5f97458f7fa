"""mmdet 2.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

scope = 'mmdet'
test_dataset = {'test_mode': True}
visualizer = 'DetLocalVisualizer'
data_preprocessor = {'type': 'DetDataPreprocessor'}
val_dataloader = {'drop_last': False}


def _resize(config: dict[str, Any]) -> dict[str, Any]:
    """One class became three: a fixed scale, one of several, or any between two."""
    scale = config.pop('img_scale', None)
    mode = config.pop('multiscale_mode', 'range')
    ratio_range = config.pop('ratio_range', None)
    config.pop('override', None)
    if ratio_range is not None:
        return {**config, 'type': 'RandomResize', 'scale': scale, 'ratio_range': ratio_range}
    several = isinstance(scale, list) and len(scale) > 1
    if isinstance(scale, list) and not several:
        scale = scale[0]
    if several and mode == 'value':
        shared = {key: value for key, value in config.items() if key != 'type'}
        return {'type': 'RandomChoiceResize', 'scales': scale, **shared}
    if several:
        return {**config, 'type': 'RandomResize', 'scale': scale}
    if scale is None:
        return config
    return {'type': config.pop('type'), 'scale': scale, **config}


def _flip(config: dict[str, Any]) -> dict[str, Any]:
    return {('prob' if key == 'flip_ratio' else key): value for key, value in config.items()}


def _mosaic(config: dict[str, Any]) -> dict[str, Any]:
    """Sizes were (height, width), and are (width, height)."""
    for key in ('img_scale', 'size', 'crop_size', 'input_size'):
        value = config.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 2:
            height, width = value
            config[key] = (width, height)
    return config


_LOADED = {'drop': ['file_client_args'], 'keys': {}}
transforms = {
    'LoadImageFromFile': {},
    'LoadMultiChannelImageFromFiles': {},
    'LoadAnnotations': {},
    'LoadPanopticAnnotations': {},
    'LoadProposals': {},
    'FilterAnnotations': {},
    'Resize': _resize,
    'RandomFlip': _flip,
    'RandomCrop': {},
    'RandomShift': {},
    'RandomAffine': {'keys': {'border': 'border'}},
    'PhotoMetricDistortion': {},
    'Expand': {},
    'MinIoURandomCrop': {},
    'Corrupt': {},
    'Albu': {'keys': {'update_pad_shape': 'update_pad_shape'}},
    'CutOut': {},
    'CopyPaste': {},
    'MixUp': {},
    'Mosaic': _mosaic,
    'YOLOXHSVRandomAug': {},
    'SegRescale': {'keys': {'scale_factor': 'scale_factor'}},
    'RandomCenterCropPad': {},
    'InstaBoost': {},
    'AutoAugment': {},
    'DefaultFormatBundle': None,
    'ImageToTensor': None,
    'Collect': {'type': 'PackDetInputs', 'drop': ['keys']},
}

_PREFIXED = {
    'keys': {
        'img_prefix': 'data_prefix.img',
        'seg_prefix': 'data_prefix.seg',
        'proposal_file': 'proposal_file',
        'classes': 'metainfo.classes',
        'filter_empty_gt': 'filter_cfg.filter_empty_gt',
        'min_size': 'filter_cfg.min_size',
    }
}
datasets = dict.fromkeys(
    (
        'CocoDataset',
        'CocoPanopticDataset',
        'CityscapesDataset',
        'VOCDataset',
        'LVISDataset',
        'LVISV05Dataset',
        'LVISV1Dataset',
        'DeepFashionDataset',
        'WIDERFaceDataset',
        'XMLDataset',
        'Objects365V1Dataset',
        'Objects365V2Dataset',
        'CustomDataset',
    ),
    _PREFIXED,
) | {
    'RepeatDataset': {},
    'ConcatDataset': {},
    'ClassBalancedDataset': {},
    'MultiImageMixDataset': {},
}


def _coco_metric(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    metric = {'type': 'CocoMetric', 'metric': evaluation.get('metric', 'bbox')}
    if 'ann_file' in dataset:
        metric['ann_file'] = dataset['ann_file']
    for key in ('classwise', 'proposal_nums', 'iou_thrs', 'metric_items'):
        if key in evaluation:
            metric[key] = evaluation[key]
    return metric


def _voc_metric(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    metric = {
        'type': 'VOCMetric',
        'metric': evaluation.get('metric', 'mAP'),
        'eval_mode': '11points',
    }
    if 'iou_thr' in evaluation:
        metric['iou_thrs'] = evaluation['iou_thr']
    return metric


_COCO = {
    'build': _coco_metric,
    'takes': ['metric', 'classwise', 'proposal_nums', 'iou_thrs', 'metric_items'],
    'prefix': 'coco',
}
_VOC = {'build': _voc_metric, 'takes': ['metric', 'iou_thr'], 'prefix': 'pascal_voc'}
metrics = {
    'CocoDataset': _COCO,
    'DeepFashionDataset': _COCO,
    'Objects365V1Dataset': _COCO,
    'Objects365V2Dataset': _COCO,
    'VOCDataset': _VOC,
    'WIDERFaceDataset': _VOC,
    'LVISDataset': {**_COCO, 'type': 'LVISMetric', 'prefix': 'lvis'},
    'LVISV1Dataset': {**_COCO, 'type': 'LVISMetric', 'prefix': 'lvis'},
}

hooks: dict[str, Any] = {
    'NumClassCheckHook': {},
    'YOLOXModeSwitchHook': {},
    'SyncNormHook': {},
    'SyncRandomSizeHook': None,
    'CheckInvalidLossHook': {},
    'SetEpochInfoHook': {},
    'MemoryProfilerHook': {},
}
constructors = {
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
    'LayerDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
}
