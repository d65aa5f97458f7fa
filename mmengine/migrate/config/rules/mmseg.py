"""mmseg 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

scope = 'mmseg'
test_dataset = {'test_mode': True}
visualizer = 'SegLocalVisualizer'
data_preprocessor = {'type': 'SegDataPreProcessor', 'pad_val': 0, 'seg_pad_val': 255}
train_dataloader = {'drop_last': True}


def _resize(config: dict[str, Any]) -> dict[str, Any]:
    scale = config.pop('img_scale', None)
    ratio_range = config.pop('ratio_range', None)
    mode = config.pop('multiscale_mode', 'range')
    if ratio_range is not None:
        return {**config, 'type': 'RandomResize', 'scale': scale, 'ratio_range': ratio_range}
    if isinstance(scale, list) and len(scale) > 1:
        kind, key = (
            ('RandomChoiceResize', 'scales') if mode == 'value' else ('RandomResize', 'scale')
        )
        return {**config, 'type': kind, key: scale}
    return config if scale is None else {'type': config.pop('type'), 'scale': scale, **config}


transforms = {
    'LoadImageFromFile': {},
    'LoadAnnotations': {},
    'Resize': _resize,
    'RandomCrop': {},
    'RandomFlip': {},
    'PhotoMetricDistortion': {},
    'RandomRotate': {},
    'RandomCutOut': {},
    'RGB2Gray': {},
    'AdjustGamma': {},
    'CLAHE': {},
    'SegRescale': {},
    'RandomMosaic': {},
    'ResizeToMultiple': {},
    'Rerange': {},
    'DefaultFormatBundle': None,
    'ImageToTensor': None,
    'Collect': {'type': 'PackSegInputs', 'drop': ['keys']},
}
_PREFIXED = {
    'keys': {
        'img_dir': 'data_prefix.img_path',
        'ann_dir': 'data_prefix.seg_map_path',
        'split': 'ann_file',
        'classes': 'metainfo.classes',
        'palette': 'metainfo.palette',
    }
}
datasets = dict.fromkeys(
    (
        'ADE20KDataset',
        'CityscapesDataset',
        'PascalVOCDataset',
        'PascalContextDataset',
        'PascalContextDataset59',
        'COCOStuffDataset',
        'ChaseDB1Dataset',
        'DRIVEDataset',
        'HRFDataset',
        'STAREDataset',
        'DarkZurichDataset',
        'NightDrivingDataset',
        'LoveDADataset',
        'PotsdamDataset',
        'ISPRSDataset',
        'iSAIDDataset',
        'CustomDataset',
    ),
    _PREFIXED,
) | {'RepeatDataset': {}, 'ConcatDataset': {}, 'MultiImageMixDataset': {}}


def _iou_metric(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    wanted = evaluation.get('metric', 'mIoU')
    return {
        'type': 'IoUMetric',
        'iou_metrics': [wanted] if isinstance(wanted, str) else list(wanted),
    }


metrics = {'*': {'build': _iou_metric, 'takes': ['metric'], 'prefix': None}}
hooks: dict[str, Any] = {}
constructors = {
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
    'LayerDecayOptimizerConstructor': 'LayerDecayOptimizerConstructor',
}
