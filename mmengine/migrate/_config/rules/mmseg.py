"""mmseg 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FLIP, FORMATTING, loading, pack, resize

scope = 'mmseg'
test_dataset = {'test_mode': True}
visualizer = 'SegLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'SegDataPreProcessor', 'pad_val': 0, 'seg_pad_val': 255}
train_dataloader = {'drop_last': True}
listed = ['img_dir', 'ann_dir', 'split']
test_annotations = True
tta_model = {'type': 'SegTTAModel'}


transforms = FORMATTING | {
    'LoadImageFromFile': loading,
    'LoadAnnotations': loading,
    'Resize': resize,
    'RandomCrop': {},
    'RandomFlip': FLIP,
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
    'Collect': pack('PackSegInputs'),
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


metrics = {'*': {'build': _iou_metric, 'takes': ['metric', 'efficient_test'], 'prefix': None}}
hooks: dict[str, Any] = {}
constructors = {
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
    'LayerDecayOptimizerConstructor': 'LayerDecayOptimizerConstructor',
}
model_types = dict.fromkeys(('EncoderDecoder', 'CascadeEncoderDecoder'))
