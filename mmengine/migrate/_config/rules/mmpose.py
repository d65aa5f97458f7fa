"""mmpose 0.x: top-down and bottom-up datasets, and the pipelines of heat maps.

Its data pipelines were designed anew. What a transform once read from the dataset's ``data_cfg`` is
a separate argument now; targets are made by an encoder, which the model's head needs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING, loading

scope = 'mmpose'
test_dataset = {'test_mode': True}
visualizer = 'PoseLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'PoseDataPreprocessor'}
same_batch_size = True

Config = dict[str, Any]


def _load(config: Config) -> Config:
    config = loading(config)
    config['type'] = 'LoadImage'
    # Channels are put in order by the data preprocessor.
    config.pop('channel_order', None)
    return config


def _size(dataset: Mapping[str, Any], key: str) -> Any:
    sizes = dataset.get('data_cfg')
    value = sizes.get(key) if isinstance(sizes, Mapping) else None
    return tuple(value) if isinstance(value, list) else value


def _affine(config: Config, dataset: Mapping[str, Any]) -> Config:
    converted = {'type': 'TopdownAffine', 'input_size': _size(dataset, 'image_size')}
    return converted | ({'use_udp': True} if config.get('use_udp') else {})


def _target(config: Config, dataset: Mapping[str, Any]) -> Any:
    """Heat maps of one Gaussian; other encodings have too many choices to be guessed."""
    if set(config) - {'type', 'sigma'}:
        return config
    sizes = {'input_size': 'image_size', 'heatmap_size': 'heatmap_size'}
    encoder: Config = {'type': 'MSRAHeatmap'}
    encoder |= {new: _size(dataset, old) for new, old in sizes.items()}
    return {'type': 'GenerateTarget', 'encoder': {**encoder, 'sigma': config.get('sigma', 2)}}


def _shift(config: Config) -> Config:
    return {
        'type': 'RandomBBoxTransform',
        'shift_factor': config.get('shift_factor', 0.16),
        'shift_prob': config.get('prob', 0.3),
        'scale_prob': 0.0,
        'rotate_prob': 0.0,
    }


def _scale_and_rotate(config: Config) -> Config:
    """Scales were 1 plus or minus the factor, and rotations reached twice theirs."""
    scale, rotation = config.get('scale_factor', 0.5), config.get('rot_factor', 40)
    return {
        'type': 'RandomBBoxTransform',
        'shift_prob': 0.0,
        'scale_factor': (1 - scale, 1 + scale),
        'rotate_factor': 2 * rotation,
        'rotate_prob': config.get('rot_prob', 0.6),
    }


transforms: dict[str, Any] = {
    **FORMATTING,
    'LoadImageFromFile': _load,
    'TopDownGetBboxCenterScale': {'type': 'GetBBoxCenterScale'},
    'TopDownRandomShiftBboxCenter': _shift,
    'TopDownRandomFlip': {
        'type': 'RandomFlip',
        'keys': {'flip_prob': 'prob'},
        'add': {'direction': 'horizontal'},
    },
    'TopDownHalfBodyTransform': {
        'type': 'RandomHalfBody',
        'keys': {'num_joints_half_body': 'min_total_keypoints', 'prob_half_body': 'prob'},
    },
    'TopDownGetRandomScaleRotation': _scale_and_rotate,
    'TopDownAffine': _affine,
    'TopDownGenerateTarget': _target,
    'Collect': {'type': 'PackPoseInputs', 'drop': ['keys', 'meta_keys']},
}


def _dataset(kind: str, mode: str) -> Any:
    def rule(config: Config, stage: str) -> Config:
        converted: Config = {'type': kind, 'data_mode': mode}
        for key, value in config.items():
            if key == 'img_prefix':
                converted['data_prefix'] = {'img': value}
            elif key == 'data_cfg':
                # Detected boxes are for tests only.
                converted |= {} if stage == 'train' else _of_data_cfg(value)
            elif key not in ('type', 'dataset_info'):
                converted[key] = value
        return converted

    return rule


def _of_data_cfg(data_cfg: Any) -> Config:
    """Of its many entries the one that a dataset still takes; sizes went to the transforms."""
    boxes = data_cfg.get('bbox_file') if isinstance(data_cfg, Mapping) else None
    uses_truth = not isinstance(data_cfg, Mapping) or data_cfg.get('use_gt_bbox', True)
    return {} if uses_truth or not boxes else {'bbox_file': boxes}


_KINDS = {
    name: f'{name}Dataset'
    for name in ('Coco', 'CocoWholeBody', 'CrowdPose', 'Aic', 'Mpii', 'Jhmdb', 'OCHuman')
}
datasets: dict[str, Any] = {
    **{f'TopDown{name}Dataset': _dataset(kind, 'topdown') for name, kind in _KINDS.items()},
    **{f'BottomUp{name}Dataset': _dataset(kind, 'bottomup') for name, kind in _KINDS.items()},
    **{
        f'{old}Dataset': _dataset(f'{new}Dataset', 'topdown')
        for old, new in {
            'FreiHand': 'FreiHand',
            'InterHand2D': 'InterHand2D',
            'OneHand10K': 'OneHand10K',
            'Rhd2D': 'Rhd2D',
            'Face300W': 'Face300W',
            'FaceAFLW': 'AFLW',
            'FaceCOFW': 'COFW',
            'FaceWFLW': 'WFLW',
            'FaceCocoWholeBody': 'CocoWholeBodyFace',
            'DeepFashion': 'DeepFashion',
            'AnimalAP10K': 'AP10K',
            'AnimalMacaque': 'Macaque',
            'AnimalHorse10': 'Horse10',
            'AnimalPose': 'AnimalPose',
            'HandCocoWholeBody': 'CocoWholeBodyHand',
        }.items()
    },
    'TopDownPoseTrack18Dataset': _dataset('PoseTrack18Dataset', 'topdown'),
    'TopDownMhpDataset': _dataset('MhpDataset', 'topdown'),
    'BottomUpMhpDataset': _dataset('MhpDataset', 'bottomup'),
    'RepeatDataset': {},
    'ConcatDataset': {},
}

_COCO = {
    'type': 'CocoMetric',
    'dataset_keys': {'ann_file': 'ann_file'},
    'takes': ['metric'],
    'prefix': 'coco',
}
_NAMES_OF_METRICS = {'PCK': 'PCKAccuracy', 'PCKh': 'MpiiPCKAccuracy', 'AUC': 'AUC', 'EPE': 'EPE',
                     'NME': 'NME', 'tPCK': 'JhmdbPCKAccuracy'}  # fmt: skip


def _by_names(**options: Any) -> Config:
    """Metrics by the names in ``evaluation.metric``, each a separate class.

    Args:
        **options: Arguments by the name of the class.
    """

    def build(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
        asked = evaluation.get('metric', [])
        names = [asked] if isinstance(asked, str) else list(asked)
        kinds = [_NAMES_OF_METRICS[name] for name in names if name in _NAMES_OF_METRICS]
        built = [{'type': kind, **options.get(kind, {})} for kind in kinds]
        return built[0] if len(built) == 1 else built

    return {'build': build, 'takes': ['metric'], 'prefix': None}


_HANDS = _by_names()
metrics: dict[str, Any] = {
    **{
        f'{way}{name}Dataset': _COCO
        for way in ('TopDown', 'BottomUp')
        for name in ('Coco', 'OCHuman', 'Aic', 'CrowdPose', 'Mhp')
    },
    **{
        f'{way}CocoWholeBodyDataset': {**_COCO, 'type': 'CocoWholeBodyMetric'}
        for way in ('TopDown', 'BottomUp')
    },
    'TopDownPoseTrack18Dataset': {**_COCO, 'type': 'PoseTrack18Metric', 'prefix': 'posetrack18'},
    'TopDownMpiiDataset': {'type': 'MpiiPCKAccuracy', 'takes': ['metric'], 'prefix': None},
    'TopDownJhmdbDataset': _by_names(),
    'AnimalAP10KDataset': _COCO,
    'AnimalMacaqueDataset': _COCO,
    **{
        f'{name}Dataset': _HANDS
        for name in ('FreiHand', 'InterHand2D', 'OneHand10K', 'Panoptic', 'Rhd2D', 'DeepFashion')
    },
    **{
        f'{name}Dataset': _by_names(NME={'norm_mode': 'keypoint_distance'})
        for name in ('Face300W', 'FaceAFLW', 'FaceCOFW', 'FaceWFLW', 'FaceCocoWholeBody')
    },
}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
models = {
    'TopDown': 'the detector is a TopdownPoseEstimator now, with a head instead of keypoint_head.',
    'TopdownHeatmapSimpleHead': 'a HeatmapHead now; its decoder is the encoder of GenerateTarget.',
    'BottomUp': 'the detector is a BottomupPoseEstimator now.',
    'JointsMSELoss': 'a KeypointMSELoss now.',
}
model_types = dict.fromkeys((
    'TopDown', 'BottomUp', 'AssociativeEmbedding', 'ParametricMesh', 'PoseLifter', 'MultiTask',
    'Interhand3D', 'VoxelPose', 'DetectAndRegress', 'CID',
))  # fmt: skip
