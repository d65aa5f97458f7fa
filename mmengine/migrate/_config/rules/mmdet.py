"""mmdet 2.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import (
    FLIP,
    FORMATTING,
    loading,
    pack,
    resize,
    width_first,
)
from mmengine.migrate._config.trace import edited

scope = 'mmdet'
test_dataset = {'test_mode': True}
visualizer = 'DetLocalVisualizer'
validates_by_default = True


def data_preprocessor(legacy: Mapping[str, Any]) -> dict[str, Any]:
    """Of a YOLOX, the sizes that its batches were brought to; it took the counts of 32 pixels."""
    found: dict[str, Any] = {'type': 'DetDataPreprocessor'}
    model = legacy.get('model')
    sizes = model.get('random_size_range') if isinstance(model, Mapping) else None
    if isinstance(model, Mapping) and isinstance(sizes, (list, tuple)):
        step = model.get('size_multiplier', 32)
        found['batch_augments'] = [
            {
                'type': 'BatchSyncRandomResize',
                'random_size_range': tuple(step * size for size in sizes),
                'size_divisor': step,
                'interval': model.get('random_size_interval', 10),
            }
        ]
        found['pad_size_divisor'] = step
    return found


# Its training sampler made batches of images that are all wide or all high.
train_dataloader = {'batch_sampler': {'type': 'AspectRatioBatchSampler'}}
val_dataloader = {'drop_last': False}
train_dataset = {'filter_cfg': {'filter_empty_gt': True, 'min_size': 32}}
listed = ['ann_file', 'img_prefix', 'seg_prefix', 'proposal_file']
test_annotations = {'type': 'LoadAnnotations', 'with_bbox': True}
test_pack = {'meta_keys': ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')}
tta_model = {
    'type': 'DetTTAModel',
    'tta_cfg': {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100},
}


def _pad(config: dict[str, Any]) -> dict[str, Any]:
    value = config.get('pad_val')
    if isinstance(value, (int, float)):
        config['pad_val'] = {'img': (value, value, value)}
    return width_first(config)


def _without(*names: str, then: Any = None) -> dict[str, Any]:
    """A rule that drops arguments that are gone, and does what else there is to do."""

    def rule(config: dict[str, Any]) -> dict[str, Any]:
        left = {key: value for key, value in config.items() if key not in names}
        changed: dict[str, Any] = then(left) if then else left
        return changed

    return {'function': rule, 'gone': list(names)}


# Boxes that an augmentation made too small were dropped by itself; FilterAnnotations does that.
_OF_SMALL_BOXES = ('min_bbox_size', 'min_area_ratio', 'max_aspect_ratio', 'skip_filter')


def _along(name: str, largest: str) -> Any:
    """A shift or shear of a level, whose direction is the class's now."""

    def rule(config: dict[str, Any]) -> dict[str, Any]:
        axis = 'Y' if config.get('direction') == 'vertical' else 'X'
        changed: dict[str, Any] = _leveled(f'{name}{axis}', largest)(config)
        return changed

    return rule


def _leveled(name: str, largest: str = '') -> Any:
    renamed = {'random_negative_prob': 'reversal_prob', 'img_fill_val': 'img_border_value',
               'level': 'level', 'prob': 'prob', 'seg_ignore_label': 'seg_ignore_label',
               'interpolation': 'interpolation', largest: 'max_mag'}  # fmt: skip

    def rule(config: dict[str, Any]) -> dict[str, Any]:
        kept = {renamed[key]: value for key, value in config.items() if key in renamed}
        return {'type': name, **kept}

    return rule


transforms = FORMATTING | {
    'LoadImageFromFile': loading,
    'LoadMultiChannelImageFromFiles': loading,
    'LoadAnnotations': _without('denorm_bbox', then=loading),
    'LoadPanopticAnnotations': _without('denorm_bbox', then=loading),
    'LoadProposals': {},
    'LoadImageFromNDArray': loading,
    'FilterAnnotations': {},
    'Resize': resize,
    'RandomFlip': FLIP,
    'RandomCrop': width_first,
    'RandomShift': {'keys': {'shift_ratio': 'prob'}},
    'RandomAffine': _without(*_OF_SMALL_BOXES, then=width_first),
    'PhotoMetricDistortion': {},
    'Expand': {},
    'MinIoURandomCrop': {},
    'Corrupt': {},
    'Albu': {'drop': ['update_pad_shape']},
    'CutOut': {},
    'CopyPaste': {},
    'MixUp': _without(*_OF_SMALL_BOXES, then=width_first),
    'Mosaic': _without(*_OF_SMALL_BOXES, then=width_first),
    'Pad': _pad,
    'YOLOXHSVRandomAug': {},
    'SegRescale': {},
    'RandomCenterCropPad': width_first,
    'InstaBoost': {},
    'AutoAugment': {},
    'Shear': _along('Shear', 'max_shear_magnitude'),
    'Translate': _along('Translate', 'max_translate_offset'),
    'Rotate': _leveled('Rotate', 'max_rotate_angle'),
    'ColorTransform': _leveled('Color'),
    'EqualizeTransform': _leveled('Equalize'),
    'BrightnessTransform': _leveled('Brightness'),
    'ContrastTransform': _leveled('Contrast'),
    'LoadImageFromWebcam': {},
    'Collect': pack('PackDetInputs'),
}

_PREFIXED: dict[str, Any] = {
    'keys': {
        'img_prefix': 'data_prefix.img',
        'seg_prefix': 'data_prefix.seg',
        'proposal_file': 'proposal_file',
        'classes': 'metainfo.classes',
        'filter_empty_gt': 'filter_cfg.filter_empty_gt',
        'min_size': 'filter_cfg.min_size',
        'file_client_args': 'backend_args',
    }
}
_LIKE_COCO = (
    'CocoDataset', 'CityscapesDataset', 'LVISDataset', 'LVISV05Dataset', 'LVISV1Dataset',
    'DeepFashionDataset', 'Objects365V1Dataset', 'Objects365V2Dataset',
)  # fmt: skip
_LIKE_VOC = ('VOCDataset', 'XMLDataset', 'WIDERFaceDataset')
_WRAPPERS = ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset')
_OPEN_IMAGES_DATASET: dict[str, Any] = {
    'keys': {**_PREFIXED['keys'], 'meta_file': 'meta_file'},
    'drop': ['load_image_level_labels', 'get_supercategory', 'get_metas', 'load_from_file',
             'filter_labels'],
}  # fmt: skip
# Datasets in the manner of VOC look for images and annotations in folders below one.
_OF_VOC = {'keys': {**_PREFIXED['keys'], 'img_prefix': 'data_prefix.sub_data_root'}}
datasets: dict[str, Any] = {
    **dict.fromkeys(_LIKE_COCO, _PREFIXED),
    'CocoPanopticDataset': {**_PREFIXED, 'moved': ['ins_ann_file']},
    'OpenImagesDataset': _OPEN_IMAGES_DATASET,
    'OpenImagesChallengeDataset': _OPEN_IMAGES_DATASET,
    'CustomDataset': {
        **_PREFIXED,
        'type': 'BaseDetDataset',
        'note': 'BaseDetDataset reads annotations of another form: {"metainfo": ..., "data_list": '
        '[...]}.',
    },
    **dict.fromkeys(_LIKE_VOC, _OF_VOC),
    **{name: {} for name in _WRAPPERS},
}
samplers: dict[str, Any] = {'ClassAwareSampler': {}}

_COCO = {
    'type': 'CocoMetric',
    'add': {'metric': 'bbox'},
    'keys': {
        **{key: key for key in ('metric', 'classwise', 'proposal_nums', 'iou_thrs')},
        'metric_items': 'metric_items',
        'jsonfile_prefix': 'outfile_prefix',
    },
    'dataset_keys': {'ann_file': 'ann_file'},
    'prefix': 'coco',
}


def _voc(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Precision at eleven points for VOC2007 alone, and the area under the curve for others."""
    is_2007 = dataset.get('type') == 'VOCDataset' and 'VOC2007' in repr(dataset.get('img_prefix'))
    names = {'metric': 'metric', 'iou_thr': 'iou_thrs', 'proposal_nums': 'proposal_nums',
             'scale_ranges': 'scale_ranges'}  # fmt: skip
    given = {new: evaluation[old] for old, new in names.items() if old in evaluation}
    mode = '11points' if is_2007 else 'area'
    return {'type': 'VOCMetric', 'metric': 'mAP', 'eval_mode': mode, **given}


_VOC = {
    'build': _voc,
    'takes': ['metric', 'iou_thr', 'proposal_nums', 'scale_ranges', 'nproc'],
    'prefix': 'pascal_voc',
}


def _cityscapes(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    """Boxes and masks as of COCO, and the benchmark's own where the config has it."""
    asked = evaluation.get('metric', 'bbox')
    names = [asked] if isinstance(asked, str) else list(asked)
    built: list[dict[str, Any]] = []
    others = [name for name in names if name != 'cityscapes']
    if others:
        metric = others[0] if len(others) == 1 else others
        built.append({'type': 'CocoMetric', 'metric': metric})
        if 'ann_file' in dataset:
            built[-1]['ann_file'] = dataset['ann_file']
    if 'cityscapes' in names:
        prefix = evaluation.get('outfile_prefix', './work_dirs/cityscapes_metric')
        built.append({'type': 'CityScapesMetric', 'outfile_prefix': prefix})
        if 'img_prefix' in dataset:
            built[-1]['seg_prefix'] = dataset['img_prefix'].replace('leftImg8bit', 'gtFine')
    return built[0] if len(built) == 1 else built


_CITYSCAPES = {'build': _cityscapes, 'takes': ['metric', 'outfile_prefix'], 'prefix': 'coco'}
_OPEN_IMAGES = {
    'type': 'OpenImagesMetric',
    'takes': ['metric'],
    'keys': {'iou_thr': 'iou_thrs', 'ioa_thr': 'ioa_thrs', 'use_group_of': 'use_group_of'},
    'prefix': 'openimages',
}
_LVIS = {**_COCO, 'type': 'LVISMetric', 'prefix': 'lvis'}


def _panoptic(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    """The panoptic quality, and boxes and masks of COCO where ``metric`` names them as well."""
    asked = evaluation.get('metric', 'PQ')
    names = ['PQ'] if asked is None else [asked] if isinstance(asked, str) else list(asked)
    files = {key: dataset[key] for key in ('ann_file', 'seg_prefix') if key in dataset}
    options = {
        new: evaluation[old]
        for old, new in {'classwise': 'classwise', 'nproc': 'nproc'}.items()
        if old in evaluation
    }
    built: list[dict[str, Any]] = []
    if 'PQ' in names or 'pq' in names:
        built.append({'type': 'CocoPanopticMetric', **files, **options})
    others = [name for name in names if name.lower() != 'pq']
    if others:
        metric = others[0] if len(others) == 1 else others
        built.append({'type': 'CocoMetric', 'metric': metric})
        if 'ins_ann_file' in dataset:
            built[-1]['ann_file'] = dataset['ins_ann_file']
    return built[0] if len(built) == 1 else built


def _name_of_panoptic(name: str, *_: Any) -> str:
    is_of_boxes = name.startswith(('bbox_', 'segm_'))
    return f'coco/{name}' if is_of_boxes else f'coco_panoptic/{name}'


_PANOPTIC = {
    'build': _panoptic,
    'takes': ['metric', 'classwise', 'nproc'],
    'names': _name_of_panoptic,
    'prefix': 'coco_panoptic',
}
metrics: dict[str, Any] = {
    'CocoDataset': _COCO,
    'DeepFashionDataset': _COCO,
    'Objects365V1Dataset': _COCO,
    'Objects365V2Dataset': _COCO,
    'VOCDataset': _VOC,
    'WIDERFaceDataset': _VOC,
    'CustomDataset': _VOC,
    'XMLDataset': _VOC,
    'CityscapesDataset': _CITYSCAPES,
    'OpenImagesDataset': _OPEN_IMAGES,
    'OpenImagesChallengeDataset': _OPEN_IMAGES,
    'LVISV05Dataset': _LVIS,
    'LVISDataset': _LVIS,
    'LVISV1Dataset': _LVIS,
    'CocoPanopticDataset': _PANOPTIC,
}

hooks: dict[str, Any] = {
    'NumClassCheckHook': {},
    'YOLOXModeSwitchHook': {},
    'SyncNormHook': {'drop': ['num_last_epochs', 'interval']},
    # The data preprocessor changes the size of whole batches (BatchSyncRandomResize).
    'SyncRandomSizeHook': None,
    'LinearMomentumEMAHook': {
        'type': 'LegacyEMAHook',
        'drop': ['skip_buffers', 'resume_from'],
        'note': 'LegacyEMAHook does not average buffers; it did unless skip_buffers was set.',
    },
    'CheckInvalidLossHook': {},
    'SetEpochInfoHook': {},
    'MemoryProfilerHook': {},
}
constructors = {
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
    'LayerDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
}
model_types = dict.fromkeys((
    'ATSS', 'AutoAssign', 'CascadeRCNN', 'CenterNet', 'CornerNet', 'DDOD', 'DETR',
    'DeformableDETR', 'DetectoRS', 'FCOS', 'FOVEA', 'FSAF', 'FastRCNN', 'FasterRCNN', 'GFL',
    'GridRCNN', 'HybridTaskCascade', 'KnowledgeDistillationSingleStageDetector', 'LAD',
    'Mask2Former',
    'MaskFormer', 'MaskRCNN', 'MaskScoringRCNN', 'NASFCOS', 'PAA', 'PISA', 'PanopticFPN',
    'PointRend', 'QueryInst', 'RPN', 'RepPointsDetector', 'RetinaNet', 'SCNet', 'SOLO', 'SOLOv2',
    'SingleStageDetector', 'SingleStageInstanceSegmentor', 'SparseRCNN', 'TOOD',
    'TridentFasterRCNN',
    'TwoStageDetector', 'TwoStagePanopticSegmentor', 'VFNet', 'YOLACT', 'YOLOF', 'YOLOV3', 'YOLOX',
))  # fmt: skip


def _pretrained(config: dict[str, Any]) -> dict[str, Any]:
    """Weights to begin with were the detector's, and are its backbone's."""
    given, backbone = config.get('pretrained'), config.get('backbone')
    left = {key: value for key, value in config.items() if key != 'pretrained'}
    if given is None or not isinstance(backbone, Mapping) or 'init_cfg' in backbone:
        return left
    start = {'type': 'Pretrained', 'checkpoint': given}
    return {**left, 'backbone': edited(backbone, {**backbone, 'init_cfg': start})}


_OF_TRANSFORMERS = {
    'function': _pretrained,
    'note': "encoder, decoder and positional_encoding are the detector's now, outside "
    'bbox_head.transformer.',
}
models: dict[str, Any] = {
    **dict.fromkeys(model_types, _pretrained),
    'YOLOX': {
        'moved': ['input_size', 'size_multiplier', 'random_size_range', 'random_size_interval']
    },
    'DETR': _OF_TRANSFORMERS,
    'DeformableDETR': _OF_TRANSFORMERS,
}
