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

scope = 'mmdet'
test_dataset = {'test_mode': True}
visualizer = 'DetLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'DetDataPreprocessor'}
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


transforms = FORMATTING | {
    'LoadImageFromFile': loading,
    'LoadMultiChannelImageFromFiles': loading,
    'LoadAnnotations': loading,
    'LoadPanopticAnnotations': loading,
    'LoadProposals': {},
    'FilterAnnotations': {},
    'Resize': resize,
    'RandomFlip': FLIP,
    'RandomCrop': width_first,
    'RandomShift': {},
    'RandomAffine': width_first,
    'PhotoMetricDistortion': {},
    'Expand': {},
    'MinIoURandomCrop': {},
    'Corrupt': {},
    'Albu': {},
    'CutOut': {},
    'CopyPaste': {},
    'MixUp': width_first,
    'Mosaic': width_first,
    'Pad': _pad,
    'YOLOXHSVRandomAug': {},
    'SegRescale': {},
    'RandomCenterCropPad': width_first,
    'InstaBoost': {},
    'AutoAugment': {},
    'LoadImageFromWebcam': {},
    'Collect': pack('PackDetInputs'),
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
# Datasets in the manner of VOC look for images and annotations in folders below one.
_OF_VOC = {'keys': {**_PREFIXED['keys'], 'img_prefix': 'data_prefix.sub_data_root'}}
_LIKE_COCO = (
    'CocoDataset', 'CocoPanopticDataset', 'CityscapesDataset', 'LVISDataset', 'LVISV05Dataset',
    'LVISV1Dataset', 'DeepFashionDataset', 'Objects365V1Dataset', 'Objects365V2Dataset',
    'OpenImagesDataset', 'OpenImagesChallengeDataset', 'CustomDataset',
)  # fmt: skip
_LIKE_VOC = ('VOCDataset', 'XMLDataset', 'WIDERFaceDataset')
_WRAPPERS = ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset')
datasets: dict[str, Any] = {
    **dict.fromkeys(_LIKE_COCO, _PREFIXED),
    **dict.fromkeys(_LIKE_VOC, _OF_VOC),
    **{name: {} for name in _WRAPPERS},
}

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
_VOC = {
    'type': 'VOCMetric',
    'add': {'metric': 'mAP', 'eval_mode': '11points'},
    'keys': {'metric': 'metric', 'iou_thr': 'iou_thrs'},
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
_PANOPTIC = {
    'type': 'CocoPanopticMetric',
    'dataset_keys': {'ann_file': 'ann_file', 'seg_prefix': 'seg_prefix'},
    'takes': ['metric'],
    'prefix': 'coco_panoptic',
}
metrics: dict[str, Any] = {
    'CocoDataset': _COCO,
    'DeepFashionDataset': _COCO,
    'Objects365V1Dataset': _COCO,
    'Objects365V2Dataset': _COCO,
    'VOCDataset': _VOC,
    'WIDERFaceDataset': _VOC,
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
    'SyncNormHook': {},
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
