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


def _resize(config: dict[str, Any]) -> Any:
    """A shortest edge of at least ``min_size`` is a class now."""
    smallest = config.pop('min_size', None)
    if smallest is None or config.get('ratio_range') or isinstance(config.get('img_scale'), list):
        return resize(config)
    return {'type': 'ResizeShortestEdge', 'scale': smallest, 'max_size': _longest(config)}


def _longest(config: dict[str, Any]) -> Any:
    scale = config.get('img_scale')
    return max(scale) if isinstance(scale, tuple) else 2**31


transforms: dict[str, Any] = FORMATTING | {
    'LoadImageFromFile': loading,
    'LoadAnnotations': loading,
    'Resize': _resize,
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
    'LoadImageFromNDArray': loading,
    'Albu': {},
    'Collect': pack('PackSegInputs'),
}
_PREFIXED = {
    'keys': {
        'img_dir': 'data_prefix.img_path',
        'ann_dir': 'data_prefix.seg_map_path',
        'split': 'ann_file',
        'classes': 'metainfo.classes',
        'palette': 'metainfo.palette',
        'file_client_args': 'backend_args',
    },
    'drop': ['gt_seg_map_loader_cfg'],
}
datasets: dict[str, Any] = dict.fromkeys(
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
        'FaceOccludedDataset',
        'ImageNetSDataset',
    ),
    _PREFIXED,
) | {
    'CustomDataset': {**_PREFIXED, 'type': 'BaseSegDataset'},
    'RepeatDataset': {},
    'ConcatDataset': {},
    'MultiImageMixDataset': {},
}


def _iou_metric(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    """Areas in common by their names, and the benchmark of Cityscapes, which wants files."""
    wanted = evaluation.get('metric', 'mIoU')
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    areas = [name for name in names if name != 'cityscapes']
    options = {key: evaluation[key] for key in ('nan_to_num', 'beta') if key in evaluation}
    built: list[dict[str, Any]] = []
    if areas:
        built.append({'type': 'IoUMetric', 'iou_metrics': areas, **options})
    if 'cityscapes' in names:
        folder = evaluation.get('imgfile_prefix', './work_dirs/cityscapes_metric')
        built.append({'type': 'CityscapesMetric', 'output_dir': folder})
    return built[0] if len(built) == 1 else built


metrics = {
    '*': {
        'build': _iou_metric,
        'takes': ['metric', 'efficient_test', 'imgfile_prefix', 'nan_to_num', 'beta'],
        'prefix': None,
    }
}
hooks: dict[str, Any] = {}
constructors = {
    'LearningRateDecayOptimizerConstructor': 'LearningRateDecayOptimizerConstructor',
    'LayerDecayOptimizerConstructor': 'LayerDecayOptimizerConstructor',
}
model_types = dict.fromkeys(('EncoderDecoder', 'CascadeEncoderDecoder'))
