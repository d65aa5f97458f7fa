"""mmaction2 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmaction'
test_dataset = {'test_mode': True}
visualizer = 'ActionVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'ActionDataPreprocessor'}
same_batch_size = True

Config = dict[str, Any]

transforms: dict[str, Any] = FORMATTING | {
    name: {}
    for name in (
        'DecordInit', 'DecordDecode', 'OpenCVInit', 'OpenCVDecode', 'PyAVInit', 'PyAVDecode',
        'RawFrameDecode', 'SampleFrames', 'DenseSampleFrames', 'UntrimmedSampleFrames',
        'SampleAVAFrames', 'Resize', 'RandomCrop', 'RandomResizedCrop', 'MultiScaleCrop', 'Flip',
        'CenterCrop', 'ThreeCrop', 'TenCrop', 'ColorJitter', 'RandomRescale', 'FormatShape',
        'UniformSampleFrames', 'PoseDecode', 'PoseCompact', 'GeneratePoseTarget',
    )
}  # fmt: skip
transforms['Collect'] = {'type': 'PackActionInputs', 'drop': ['keys', 'meta_keys', 'meta_name']}


def _of_frames(config: Config) -> Config:
    return _with_prefix(config, 'img')


def _of_videos(config: Config) -> Config:
    return _with_prefix(config, 'video')


def _with_prefix(config: Config, name: str) -> Config:
    prefix = config.pop('data_prefix', None)
    return {**config, **({'data_prefix': {name: prefix}} if prefix is not None else {})}


datasets: dict[str, Any] = {
    'RawframeDataset': _of_frames,
    'VideoDataset': _of_videos,
    'AVADataset': _of_frames,
    'ActivityNetDataset': _of_videos,
    'PoseDataset': {},
    'AudioDataset': {},
    'RepeatDataset': {},
    'ConcatDataset': {},
}


def _accuracy(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    asked = evaluation.get('metrics', 'top_k_accuracy')
    names = [asked] if isinstance(asked, str) else list(asked)
    built: Config = {'type': 'AccMetric', 'metric_list': tuple(names)}
    options = evaluation.get('metric_options')
    return {**built, 'metric_options': options} if options else built


_ACCURACY = {
    'build': _accuracy,
    'takes': ['metrics', 'metric_options'],
    'prefix': 'acc',
    'names': {'top1_acc': 'acc/top1', 'top5_acc': 'acc/top5', 'mean_class_accuracy': 'acc/mean1'},
}
metrics: dict[str, Any] = {
    'RawframeDataset': _ACCURACY,
    'VideoDataset': _ACCURACY,
    'PoseDataset': _ACCURACY,
    'AudioDataset': _ACCURACY,
    'AudioFeatureDataset': _ACCURACY,
    'ImageDataset': _ACCURACY,
    'AVADataset': {
        'type': 'AVAMetric',
        'takes': ['metrics'],
        'dataset_keys': {
            name: name for name in ('ann_file', 'exclude_file', 'label_file', 'num_classes')
        },
        'prefix': None,
        'names': {'mAP@0.5IOU': 'mAP/overall'},
    },
    'ActivityNetDataset': {
        'type': 'ANetMetric',
        'takes': ['metrics'],
        'add': {'metric_type': 'AR@AN'},
        'prefix': None,
    },
}
hooks: dict[str, Any] = {}
constructors = {'TSMOptimizerConstructor': 'TSMOptimWrapperConstructor'}
model_types = dict.fromkeys((
    'Recognizer2D', 'Recognizer3D', 'AudioRecognizer', 'BMN', 'BSN', 'PEM', 'TEM', 'SSN',
    'SkeletonGCN',
))  # fmt: skip
