"""mmaction2 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING
from mmengine.migrate._config.trace import edited

scope = 'mmaction'
test_dataset = {'test_mode': True}
visualizer = 'ActionVisualizer'
validates_by_default = True
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
        'PyAVDecodeMotionVector', 'ArrayDecode', 'ImageDecode', 'AudioDecode',
        'AudioFeatureSelector', 'LoadAudioFeature', 'MelSpectrogram', 'AudioAmplify',
        'BuildPseudoClip', 'PaddingWithLoop', 'PoseNormalize', 'JointToBone', 'ToMotion',
        'MergeSkeFeat', 'GenSkeFeat', 'PreNormalize2D', 'PreNormalize3D', 'FormatGCNInput',
        'FormatAudioShape', 'Fuse', 'Rename', 'LoadHVULabel', 'LoadLocalizationFeature',
        'GenerateLocalizationLabels', 'LoadProposals', 'LoadRGBFromFile',
    )
}  # fmt: skip


def _collect(config: Config, dataset: Mapping[str, Any]) -> Config:
    """Videos that are cut in time are packed with the names of what their models take."""
    if dataset.get('type') != 'ActivityNetDataset':
        return {'type': 'PackActionInputs'}
    keys = tuple(key for key in config.get('keys', ()) if key != 'raw_feature')
    packed: Config = {'type': 'PackLocalizationInputs', 'keys': keys}
    metas = config.get('meta_keys')
    return packed | ({'meta_keys': tuple(metas)} if metas else {})


transforms |= {
    'Collect': _collect,
    'Imgaug': {'type': 'ImgAug'},
    'TorchvisionTrans': {'type': 'TorchVisionWrapper', 'keys': {'op': 'op'}},
    'PytorchVideoTrans': {'type': 'PytorchVideoWrapper', 'keys': {'op': 'op'}},
}


def _normalize(config: Mapping[str, Any]) -> Config:
    """Frames were decoded as RGB, and are."""
    found = {key: config[key] for key in ('mean', 'std') if key in config}
    return found | ({'to_rgb': True} if config.get('to_bgr') else {})


preprocessing = {
    'Normalize': _normalize,
    'FormatShape': lambda config: {'format_shape': config.get('input_format', 'NCHW')},
}


def data_preprocessor(legacy: Mapping[str, Any]) -> Config:
    """It blends clips now, which the model's ``train_cfg`` asked for."""
    found: Config = {'type': 'ActionDataPreprocessor'}
    model = legacy.get('model')
    settings = model.get('train_cfg') if isinstance(model, Mapping) else None
    blending = settings.get('blending') if isinstance(settings, Mapping) else None
    return found if blending is None else {**found, 'blending': blending}


def _recognizer(kind: str) -> Any:
    """The blending is the data preprocessor's, and averaging over clips the head's."""

    def rule(config: Config) -> Config:
        changed: Config = {**config, 'type': kind}
        blended, tested = config.get('train_cfg'), config.get('test_cfg')
        if isinstance(blended, Mapping) and 'blending' in blended:
            changed['train_cfg'] = {key: blended[key] for key in blended if key != 'blending'}
        head = config.get('cls_head')
        if isinstance(tested, Mapping) and isinstance(head, Mapping) and 'average_clips' in tested:
            changed['test_cfg'] = {key: tested[key] for key in tested if key != 'average_clips'}
            changed['cls_head'] = edited(head, {**head, 'average_clips': tested['average_clips']})
        return changed

    return rule


models: dict[str, Any] = {
    'Recognizer2D': _recognizer('Recognizer2D'),
    'Recognizer3D': _recognizer('Recognizer3D'),
    'AudioRecognizer': _recognizer('RecognizerAudio'),
    'SkeletonGCN': _recognizer('RecognizerGCN'),
}


def _of_frames(config: Config) -> Config:
    return _with_prefix(config, 'img')


def _of_videos(config: Config) -> Config:
    return _with_prefix(config, 'video')


def _of_audio(config: Config) -> Config:
    return _with_prefix(config, 'audio')


def _with_prefix(config: Config, name: str) -> Config:
    prefix = config.pop('data_prefix', None)
    return {**config, **({'data_prefix': {name: prefix}} if prefix is not None else {})}


datasets: dict[str, Any] = {
    'RawframeDataset': _of_frames,
    'VideoDataset': _of_videos,
    'AVADataset': _of_frames,
    'AVAKineticsDataset': _of_frames,
    'ActivityNetDataset': _of_videos,
    'PoseDataset': {},
    'AudioDataset': _of_audio,
    'AudioFeatureDataset': lambda config: {**_of_audio(config), 'type': 'AudioDataset'},
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
_AVA = {
    'type': 'AVAMetric',
    'takes': ['metrics'],
    'dataset_keys': {
        name: name
        for name in ('ann_file', 'exclude_file', 'label_file', 'num_classes', 'custom_classes')
    },
    'prefix': None,
    'names': {'mAP@0.5IOU': 'mAP/overall'},
}
metrics: dict[str, Any] = {
    'RawframeDataset': _ACCURACY,
    'VideoDataset': _ACCURACY,
    'PoseDataset': _ACCURACY,
    'AudioDataset': _ACCURACY,
    'AudioFeatureDataset': _ACCURACY,
    'ImageDataset': _ACCURACY,
    'HVUDataset': _ACCURACY,
    'AVAKineticsDataset': _AVA,
    'AVADataset': _AVA,
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
