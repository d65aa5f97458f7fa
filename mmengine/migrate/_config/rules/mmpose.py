"""mmpose 0.x: top-down and bottom-up datasets, and the pipelines of heat maps.

Its data pipelines were designed anew. What a transform once read from the dataset's ``data_cfg`` is
a separate argument now; targets are made by an encoder, which the model's head needs too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.migrate._config.rules import with_defaults
from mmengine.migrate._config.rules.shared import FORMATTING, loading

scope = 'mmpose'
test_dataset = {'test_mode': True}
visualizer = 'PoseLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'PoseDataPreprocessor'}
same_batch_size = True

Config = dict[str, Any]


def _load(config: Config, dataset: Mapping[str, Any]) -> Any:
    config = loading(config)
    config['type'] = 'LoadImage'
    # Channels are put in order by the data preprocessor.
    config.pop('channel_order', None)
    steps = dataset.get('pipeline')
    listed: Sequence[Any] = steps if isinstance(steps, (list, tuple)) else ()
    kinds = {one.get('type') for one in listed if isinstance(one, Mapping)}
    if 'TopDownAffine' in kinds and 'TopDownGetBboxCenterScale' not in kinds:
        # Older datasets gave the center and the scale of a box themselves.
        return [config, {'type': 'GetBBoxCenterScale'}]
    return config


def _size(dataset: Mapping[str, Any], key: str) -> Any:
    sizes = dataset.get('data_cfg')
    value = sizes.get(key) if isinstance(sizes, Mapping) else None
    return tuple(value) if isinstance(value, list) else value


def _affine(config: Config, dataset: Mapping[str, Any]) -> Config:
    converted = {'type': 'TopdownAffine', 'input_size': _size(dataset, 'image_size')}
    return converted | ({'use_udp': True} if config.get('use_udp') else {})


def _target(config: Config, dataset: Mapping[str, Any]) -> Any:
    """The encoder that a target stands for; several sizes of a Gaussian are several encoders."""
    sizes = {'input_size': 'image_size', 'heatmap_size': 'heatmap_size'}
    given = {new: _size(dataset, old) for new, old in sizes.items()}
    encoding = str(config.get('encoding', 'MSRA'))
    spread: Any = config.get('kernel') if encoding == 'Megvii' else config.get('sigma', 2)
    several = isinstance(spread, list) or _is_nested(spread)
    encoders = [_encoder(config, encoding, one, given) for one in (spread if several else [spread])]
    if None in encoders:
        return config
    levels = {'multilevel': True} if several else {}
    return {
        'type': 'GenerateTarget',
        **levels,
        'encoder': encoders if several else encoders[0],
    }


def _is_nested(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(one, (list, tuple)) for one in value)


def _encoder(config: Config, encoding: str, spread: Any, sizes: Config) -> Config | None:
    if encoding == 'Megvii':
        kernel = spread[0] if isinstance(spread, (list, tuple)) else spread
        return {'type': 'MegviiHeatmap', **sizes, 'kernel_size': kernel}
    if encoding == 'UDP':
        kind = {'GaussianHeatmap': 'gaussian', 'CombinedTarget': 'combined'}.get(
            str(config.get('target_type', 'GaussianHeatmap')).replace('GaussianHeatMap',
                                                                      'GaussianHeatmap')
        )  # fmt: skip
        combined: Config = {} if kind == 'gaussian' else {'heatmap_type': kind}
        if 'valid_radius_factor' in config:
            combined['radius_factor'] = config['valid_radius_factor']
        return {'type': 'UDPHeatmap', **sizes, **combined, 'sigma': spread}
    if encoding != 'MSRA':
        return None
    unbiased = {'unbiased': True} if config.get('unbiased_encoding') else {}
    return {'type': 'MSRAHeatmap', **sizes, 'sigma': spread, **unbiased}


def _regression(config: Config, dataset: Mapping[str, Any]) -> Config:
    encoder = {'type': 'RegressionLabel', 'input_size': _size(dataset, 'image_size')}
    return {'type': 'GenerateTarget', 'encoder': encoder}


def _translate(config: Config) -> Config:
    return {
        'type': 'RandomBBoxTransform',
        'shift_factor': config.get('trans_factor', 0.15),
        'shift_prob': config.get('trans_prob', 1.0),
        'scale_prob': 0.0,
        'rotate_prob': 0.0,
    }


def _square(dataset: Mapping[str, Any], key: str) -> Any:
    """A size of bottom-up data, which may be one number; the first of several."""
    size = _size(dataset, key)
    if key == 'heatmap_size' and isinstance(size, tuple) and size:
        size = size[0]
    return (size, size) if isinstance(size, int) else size


def _bottom_up_affine(config: Config, dataset: Mapping[str, Any]) -> Config:
    """A shift was in pixels of a person of 200."""
    converted: Config = {
        'type': 'BottomupRandomAffine',
        'input_size': _square(dataset, 'image_size'),
    }
    if 'rot_factor' in config:
        converted['rotate_factor'] = config['rot_factor']
    if 'scale_factor' in config:
        converted['scale_factor'] = tuple(config['scale_factor'])
    if 'scale_type' in config:
        converted['scale_type'] = config['scale_type']
    if 'trans_factor' in config:
        converted['shift_factor'] = config['trans_factor'] / 200
    return converted | ({'use_udp': True} if config.get('use_udp') else {})


def _bottom_up_target(config: Config, dataset: Mapping[str, Any]) -> Any:
    encoder: Config = {
        'type': 'AssociativeEmbedding',
        'input_size': _square(dataset, 'image_size'),
        'heatmap_size': _square(dataset, 'heatmap_size'),
        'sigma': config.get('sigma', 2),
        'decode_max_instances': config.get('max_num_people', 30),
    }
    if config.get('use_udp'):
        encoder['use_udp'] = True
    return [{'type': 'BottomupGetHeatmapMask'}, {'type': 'GenerateTarget', 'encoder': encoder}]


def _bottom_up_resize(config: Config, dataset: Mapping[str, Any]) -> Config:
    return {
        'type': 'BottomupResize',
        'input_size': _square(dataset, 'image_size'),
        'size_factor': 64,
        'resize_mode': 'expand',
    } | ({'use_udp': True} if config.get('use_udp') else {})


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


def _half_body(config: Config) -> Config:
    """More joints than a number were needed; now that many are enough."""
    renamed = {'num_joints_half_body': 'min_total_keypoints', 'prob_half_body': 'prob'}
    changed = {renamed.get(key, key): value for key, value in config.items()}
    if 'num_joints_half_body' in config:
        changed['min_total_keypoints'] = config['num_joints_half_body'] + 1
    return {**changed, 'type': 'RandomHalfBody'}


_FLIP: dict[str, Any] = {
    'type': 'RandomFlip',
    'keys': {'flip_prob': 'prob'},
    'add': {'direction': 'horizontal'},
}
transforms: dict[str, Any] = {
    **FORMATTING,
    'LoadImageFromFile': _load,
    'TopDownGetBboxCenterScale': {'type': 'GetBBoxCenterScale'},
    'TopDownRandomShiftBboxCenter': _shift,
    'TopDownRandomFlip': _FLIP,
    'TopDownHalfBodyTransform': _half_body,
    'TopDownGetRandomScaleRotation': _scale_and_rotate,
    'TopDownAffine': _affine,
    'TopDownGenerateTarget': _target,
    'TopDownGenerateTargetRegression': _regression,
    'TopDownRandomTranslation': _translate,
    'BottomUpRandomAffine': _bottom_up_affine,
    'BottomUpRandomFlip': _FLIP,
    'BottomUpGenerateTarget': _bottom_up_target,
    'BottomUpGetImgSize': {'function': _bottom_up_resize, 'gone': ['test_scale_factor']},
    # It made tensors of the sizes that BottomupResize makes now.
    'BottomUpResizeAlign': None,
    'Albumentation': {},
    'PhotometricDistortion': {},
    'GetRootCenteredPose': None,
    'PoseSequenceToTensor': None,
    'RenameKeys': None,
    'DiscardDuplicatedItems': None,
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
                found = {} if stage == 'train' else _of_data_cfg(value)
                converted = with_defaults(converted, found)
            elif key not in ('type', 'dataset_info'):
                converted[key] = value
        return converted

    return {'function': rule, 'moved': ['data_cfg', 'dataset_info'], 'note': _unknown_data}


def _of_data_cfg(data_cfg: Any) -> Config:
    """Of its many entries the one that a dataset still takes; sizes went to the transforms."""
    boxes = data_cfg.get('bbox_file') if isinstance(data_cfg, Mapping) else None
    uses_truth = not isinstance(data_cfg, Mapping) or data_cfg.get('use_gt_bbox', True)
    if uses_truth or not boxes:
        return {}
    least = data_cfg.get('det_bbox_thr')
    return {'bbox_file': boxes} | ({'filter_cfg': {'bbox_score_thr': least}} if least else {})


_OF_DATA = frozenset((
    'image_size', 'heatmap_size', 'base_size', 'base_sigma', 'num_joints', 'num_output_channels',
    'num_scales', 'scale_aware_sigma', 'dataset_channel', 'inference_channel', 'soft_nms',
    'nms_thr', 'oks_thr', 'vis_thr', 'use_gt_bbox', 'det_bbox_thr', 'bbox_file', 'bbox_thr',
    'image_thr', 'use_nms', 'joint_weights', 'use_different_joint_weights', 'heatmap3d_depth_bound',
    'heatmap_size_root', 'root_depth_bound', 'max_bound', 'cube_size',
))  # fmt: skip


def _unknown_data(config: Mapping[str, Any], legacy: Mapping[str, Any]) -> str:
    data_cfg = config.get('data_cfg')
    given = data_cfg if isinstance(data_cfg, Mapping) else {}
    unknown = [f'{key}={given[key]!r}' for key in given if key not in _OF_DATA]
    return f'data_cfg had {", ".join(unknown)}, for which there is no rule.' if unknown else ''


_KINDS = {
    name: f'{name}Dataset'
    for name in (
        'Coco', 'CocoWholeBody', 'CrowdPose', 'Aic', 'Mhp', 'Mpii', 'MpiiTrb', 'Jhmdb', 'OCHuman',
        'Halpe', 'PoseTrack18', 'PoseTrack18Video',
    )
}  # fmt: skip
_OTHERS = {
    'FreiHand': 'FreiHand', 'InterHand2D': 'InterHand2DDouble', 'InterHand3D': 'InterHand3D',
    'OneHand10K': 'OneHand10K', 'Panoptic': 'PanopticHand2D', 'Rhd2D': 'Rhd2D',
    'HandCocoWholeBody': 'CocoWholeBodyHand', 'Face300W': 'Face300W', 'FaceAFLW': 'AFLW',
    'FaceCOFW': 'COFW', 'FaceWFLW': 'WFLW', 'FaceCocoWholeBody': 'CocoWholeBodyFace',
    'DeepFashion': 'DeepFashion', 'AnimalAP10K': 'AP10K', 'AnimalATRW': 'ATRW', 'AnimalFly': 'Fly',
    'AnimalHorse10': 'Horse10', 'AnimalLocust': 'Locust', 'AnimalMacaque': 'Macaque',
    'AnimalPose': 'AnimalPose', 'AnimalZebra': 'Zebra', 'Body3DH36M': 'Human36m',
}  # fmt: skip
datasets: dict[str, Any] = {
    **{f'TopDown{name}Dataset': _dataset(kind, 'topdown') for name, kind in _KINDS.items()},
    **{f'BottomUp{name}Dataset': _dataset(kind, 'bottomup') for name, kind in _KINDS.items()},
    **{f'{old}Dataset': _dataset(f'{new}Dataset', 'topdown') for old, new in _OTHERS.items()},
    'RepeatDataset': {},
    'ConcatDataset': {},
}


def _coco(**options: Any) -> Config:
    """Average precision, with what the dataset said of suppressing doubles."""

    def build(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
        built: Config = {'type': 'CocoMetric'}
        if 'ann_file' in dataset:
            built['ann_file'] = dataset['ann_file']
        if str(dataset.get('type')).startswith('BottomUp'):
            return {**built, **options, 'nms_mode': 'none', 'score_mode': 'bbox'}
        given = dataset.get('data_cfg')
        settings = given if isinstance(given, Mapping) else {}
        if settings.get('soft_nms'):
            built['nms_mode'] = 'soft_oks_nms'
        if settings.get('oks_thr', 0.9) != 0.9:
            built['nms_thr'] = settings['oks_thr']
        if settings.get('vis_thr', 0.2) != 0.2:
            built['keypoint_score_thr'] = settings['vis_thr']
        return {**built, **options}

    prefix = options.get('prefix', 'coco')
    if options.get('type') == 'CocoWholeBodyMetric':
        prefix = 'coco-wholebody'
    return {'build': build, 'takes': _TAKEN, 'prefix': prefix}


_TAKEN = ['metric', 'res_folder', 'bbox_thr', 'use_gt_bbox', 'pck_thr', 'pckh_thr', 'auc_nor']
_NAMES_OF_METRICS = {
    'PCK': 'PCKAccuracy', 'PCKh': 'MpiiPCKAccuracy', 'AUC': 'AUC', 'EPE': 'EPE', 'NME': 'NME',
    'tPCK': 'JhmdbPCKAccuracy',
}  # fmt: skip
# Of each class, what evaluation says of it.
_LIMITS = {'PCKAccuracy': ('pck_thr', 'thr'), 'MpiiPCKAccuracy': ('pckh_thr', 'thr'),
           'AUC': ('auc_nor', 'norm_factor')}  # fmt: skip
_NAMES = {'PCKh': 'PCK', 'Mean PCK': 'PCK', 'Mean tPCK': 'tPCK'}


def _by_names(*default: str, **options: Any) -> Config:
    """Metrics by the names in ``evaluation.metric``, each a separate class.

    Args:
        *default: The names where there are none.
        **options: Arguments by the name of the class.
    """

    def build(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
        asked = evaluation.get('metric') or default
        names = [asked] if isinstance(asked, str) else list(asked)
        kinds = [_NAMES_OF_METRICS[name] for name in names if name in _NAMES_OF_METRICS]
        built = []
        for kind in kinds:
            old, new = _LIMITS.get(kind, ('', ''))
            limit = {new: evaluation[old]} if old in evaluation else {}
            built.append({'type': kind, **options.get(kind, {}), **limit})
        return built[0] if len(built) == 1 else built

    return {'build': build, 'takes': _TAKEN, 'prefix': None, 'names': _NAMES}


def _jhmdb(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    """Distances by the box (PCK) and by the torso (tPCK)."""
    asked = evaluation.get('metric') or 'PCK'
    names = [asked] if isinstance(asked, str) else list(asked)
    items = [item for name, item in (('PCK', 'bbox'), ('tPCK', 'torso')) if name in names]
    limit = {'thr': evaluation['pck_thr']} if 'pck_thr' in evaluation else {}
    return {'type': 'JhmdbPCKAccuracy', 'norm_item': items, **limit}


def _of_two_hands(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    asked = evaluation.get('metric') or ['MRRPE', 'MPJPE', 'Handedness acc']
    names = [asked] if isinstance(asked, str) else list(asked)
    modes = [{'Handedness acc': 'HandednessAcc'}.get(name, name) for name in names]
    return {'type': 'InterHandMetric', 'modes': modes}


def _of_bodies(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    asked = evaluation.get('metric') or 'mpjpe'
    names = [asked] if isinstance(asked, str) else list(asked)
    built = [{'type': 'MPJPE', 'mode': name} for name in names]
    return built[0] if len(built) == 1 else built


_HANDS = _by_names('PCK', 'AUC', 'EPE', PCKAccuracy={'thr': 0.2}, AUC={'norm_factor': 30})
_FACES = _by_names('NME', NME={'norm_mode': 'keypoint_distance'})
_POSE_TRACK = {
    'type': 'PoseTrack18Metric', 'dataset_keys': {'ann_file': 'ann_file'}, 'takes': _TAKEN,
    'prefix': 'posetrack18',
}  # fmt: skip
_CROWDS = {'use_area': False, 'iou_type': 'keypoints_crowd', 'prefix': 'crowdpose'}
metrics: dict[str, Any] = {
    **{
        f'{way}{name}Dataset': rule
        for way in ('TopDown', 'BottomUp')
        for name, rule in {
            'Coco': _coco(),
            'OCHuman': _coco(),
            'Halpe': _coco(),
            'Aic': _coco(use_area=False),
            'Mhp': _coco(use_area=False),
            'CrowdPose': _coco(**_CROWDS),
            'CocoWholeBody': _coco(type='CocoWholeBodyMetric'),
        }.items()
    },
    'TopDownPoseTrack18Dataset': _POSE_TRACK,
    'TopDownPoseTrack18VideoDataset': _POSE_TRACK,
    'TopDownMpiiDataset': _by_names('PCKh'),
    'TopDownMpiiTrbDataset': {
        'build': lambda evaluation, dataset: {
            'type': 'PCKAccuracy', 'norm_item': 'head', 'thr': evaluation.get('pckh_thr', 0.5),
        },
        'takes': _TAKEN, 'prefix': None, 'names': _NAMES,
    },
    'TopDownJhmdbDataset': {
        'build': _jhmdb, 'takes': _TAKEN, 'prefix': None, 'names': _NAMES,
    },
    **{
        f'Animal{name}Dataset': _coco() for name in ('AP10K', 'Macaque', 'Pose', 'ATRW')
    },
    'AnimalHorse10Dataset': _by_names(
        'PCK', 'NME', PCKAccuracy={'thr': 0.3}, NME={'norm_mode': 'keypoint_distance'}
    ),
    **{f'Animal{name}Dataset': _HANDS for name in ('Fly', 'Locust', 'Zebra')},
    **{
        f'{name}Dataset': _HANDS
        for name in (
            'FreiHand', 'HandCocoWholeBody', 'InterHand2D', 'OneHand10K', 'Panoptic', 'Rhd2D',
            'DeepFashion',
        )
    },
    **{
        f'Face{name}Dataset': _FACES for name in ('300W', 'COFW', 'WFLW', 'CocoWholeBody')
    },
    'FaceAFLWDataset': _by_names(
        'NME', NME={'norm_mode': 'use_norm_item', 'norm_item': 'bbox_size'}
    ),
    'InterHand3DDataset': {'build': _of_two_hands, 'takes': _TAKEN, 'prefix': None},
    'Body3DH36MDataset': {'build': _of_bodies, 'takes': _TAKEN, 'prefix': None},
}  # fmt: skip
better = {
    **dict.fromkeys(
        ('AP', 'AR', 'Total AP', 'PCK', 'PCKh', 'AUC', 'Mean PCK', 'Mean tPCK', '3DPCK', '3DAUC',
         'Handedness acc', 'mAP'), 'greater'
    ),
    **dict.fromkeys(
        ('EPE', 'NME', 'MPJPE', 'P-MPJPE', 'N-MPJPE', 'MRRPE', 'mpjpe', 'p-mpjpe', 'n-mpjpe'),
        'less',
    ),
}  # fmt: skip
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
