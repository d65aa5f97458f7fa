"""mmrotate 0.x: rotated boxes on top of detection, whose names need its scope before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules import Rule, apply_rule, mmdet
from mmengine.migrate._config.rules.shared import pack, resize

scope = 'mmrotate'
test_dataset = mmdet.test_dataset
visualizer = 'RotLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'mmdet.DetDataPreprocessor', 'boxtype2tensor': False}
val_dataloader = mmdet.val_dataloader
train_dataset = {'filter_cfg': {'filter_empty_gt': True}}
listed = mmdet.listed
test_pack = mmdet.test_pack

Config = dict[str, Any]


def _of_detection(rule: Rule) -> Rule:
    """What a rule of detection makes, found in that project."""
    if rule is None:
        return None

    def prefixed(config: Config) -> Any:
        changed = apply_rule(rule, config)
        if isinstance(changed, list):
            return [{**one, 'type': f'mmdet.{one["type"]}'} for one in changed]
        return changed and {**changed, 'type': f'mmdet.{changed["type"]}'}

    told = (
        {key: rule[key] for key in ('note', 'gone', 'drop', 'moved') if key in rule}
        if isinstance(rule, Mapping)
        else {}
    )
    return {'function': prefixed, **told}


def _flip(config: Config) -> Config:
    """The probability was of a flip, shared by the directions that are named."""
    ratio, direction = config.pop('flip_ratio', None), config.pop('direction', 'horizontal')
    rest = {key: value for key, value in config.items() if key not in ('type', 'version')}
    return {'type': 'mmdet.RandomFlip', 'prob': ratio, 'direction': direction, **rest}


_AS_ROTATED: Config = {'type': 'ConvertBoxType', 'box_type_mapping': {'gt_bboxes': 'rbox'}}


def _annotations(config: Config) -> list[Config]:
    loaded = apply_rule(mmdet.transforms['LoadAnnotations'], config)
    return [{**loaded, 'type': 'mmdet.LoadAnnotations', 'box_type': 'qbox'}, _AS_ROTATED]


test_annotations: list[Config] = [
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'box_type': 'qbox'},
    _AS_ROTATED,
]


def _rotate(config: Config) -> Config:
    """By any angle of a range, or by one of several."""
    chance = {'prob': config['rotate_ratio']} if 'rotate_ratio' in config else {}
    labels = {'rect_obj_labels': config['rect_classes']} if config.get('rect_classes') else {}
    angles = config.get('angles_range', 180)
    if config.get('mode', 'range') == 'range':
        return {'type': 'RandomRotate', **chance, 'angle_range': angles, **labels}
    return {'type': 'RandomChoiceRotate', **chance, 'angles': angles, **labels}


def _without_version(rule: Rule, kind: str) -> Any:
    def changed(config: Config) -> Any:
        gone = ('version', 'iof_thr')
        left = {key: value for key, value in config.items() if key not in gone}
        return apply_rule(rule, {**left, 'type': kind})

    return {'function': changed, 'drop': ['version'], 'gone': ['iof_thr']}


transforms: dict[str, Any] = {
    **{name: _of_detection(rule) for name, rule in mmdet.transforms.items()},
    'LoadAnnotations': _annotations,
    'RResize': _of_detection(_without_version(resize, 'Resize')),
    'RRandomFlip': {'function': _flip, 'drop': ['version']},
    'RRandomCrop': _of_detection(_without_version(mmdet.transforms['RandomCrop'], 'RandomCrop')),
    'RMosaic': _of_detection(_without_version(mmdet.transforms['Mosaic'], 'Mosaic')),
    'PolyRandomRotate': {'function': _rotate, 'drop': ['version'], 'gone': ['auto_bound']},
    'LoadPatchFromImage': {'type': 'mmdet.LoadImageFromFile'},
    'Collect': pack('mmdet.PackDetInputs'),
}
_KEYS = {'classes': 'metainfo.classes', 'filter_empty_gt': 'filter_cfg.filter_empty_gt'}
_GONE = ['version', 'difficulty', 'samples_per_gpu']
_PREFIXED = {'keys': {**_KEYS, 'img_prefix': 'data_prefix.img_path'}, 'drop': _GONE}


def _ships(config: Config) -> Config:
    changed: Config = apply_rule(_PREFIXED, config)
    return {**changed, 'type': 'DOTADataset', 'metainfo': {'classes': ('ship',)}}


datasets: dict[str, Any] = {
    'DOTADataset': _PREFIXED,
    'SARDataset': _ships,
    'HRSCDataset': {'keys': {**_KEYS, 'img_prefix': 'data_prefix.sub_data_root'}, 'drop': _GONE},
    **{name: {} for name in ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset')},
    'MultiImageMixDataset': {'type': 'mmdet.MultiImageMixDataset'},
}


def _mean_precision(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    """At eleven points, but for HRSC where ``use_07_metric`` was off."""
    given = {new: evaluation[old] for old, new in _OPTIONS.items() if old in evaluation}
    area = {} if evaluation.get('use_07_metric', True) else {'eval_mode': 'area'}
    return {'type': 'DOTAMetric', 'metric': 'mAP', **given, **area}


_OPTIONS = {'metric': 'metric', 'iou_thr': 'iou_thrs', 'scale_ranges': 'scale_ranges',
            'proposal_nums': 'proposal_nums'}  # fmt: skip
metrics: dict[str, Any] = {
    '*': {
        'build': _mean_precision,
        'takes': [*_OPTIONS, 'nproc', 'use_07_metric'],
        'prefix': 'dota',
    }
}
hooks: dict[str, Any] = {name: _of_detection(rule) for name, rule in mmdet.hooks.items()}
hooks['LinearMomentumEMAHook'] = mmdet.hooks['LinearMomentumEMAHook']
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'GlidingVertex', 'OrientedRCNN', 'R3Det', 'ReDet', 'RoITransformer', 'RotatedBaseDetector',
    'RotatedFCOS', 'RotatedFasterRCNN', 'RotatedRepPoints', 'RotatedRetinaNet',
    'RotatedSingleStageDetector', 'RotatedTwoStageDetector', 'S2ANet',
))  # fmt: skip
