"""mmdet3d 0.x and 1.0 (release candidates)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules import mmdet
from mmengine.migrate._config.rules.shared import FORMATTING, loading
from mmengine.migrate._config.trace import edited

scope = 'mmdet3d'
test_dataset = {'test_mode': True}
visualizer = 'Det3DLocalVisualizer'
validates_by_default = True

Config = dict[str, Any]
_POINTS = {'voxel_layer', 'pts_voxel_layer'}


def data_preprocessor(legacy: Mapping[str, Any]) -> Config:
    """It makes the voxels, which the model made."""
    found: Config = {'type': 'Det3DDataPreprocessor'}
    model = legacy.get('model')
    for name in _POINTS & set(model if isinstance(model, Mapping) else ()):
        found |= {'voxel': True, 'voxel_layer': model[name]}  # type: ignore[index]  # a dict here
        if str(model.get('type')).startswith('Dynamic'):  # type: ignore[union-attr]  # as above
            found['voxel_type'] = 'dynamic'
    return found


_KEYS = {'gt_labels': 'gt_bboxes_labels'}


def _pack(config: Config) -> Config:
    keys = config.get('keys', ())
    return {'type': 'Pack3DDetInputs', 'keys': [_KEYS.get(key, key) for key in keys]}


def _is_packing(step: Any) -> bool:
    return isinstance(step, Mapping) and step.get('type') == 'Pack3DDetInputs'


def _views(config: Config) -> list[Config]:
    """Packing comes after the augmentation."""
    inner = config.get('transforms', [])
    packed = [one for one in inner if _is_packing(one)]
    left = [one for one in inner if not _is_packing(one)]
    return [{**config, 'transforms': edited(inner, left)}, *packed]


def _object_sample(config: Config) -> Config:
    sampler = config.get('db_sampler')
    if not isinstance(sampler, Mapping):
        return config
    loader = sampler.get('points_loader')
    changed = loading(dict(sampler))
    if isinstance(loader, Mapping):
        changed['points_loader'] = edited(loader, loading(dict(loader)))
    return {**config, 'db_sampler': edited(sampler, changed)}


transforms: dict[str, Any] = {
    **mmdet.transforms,
    **FORMATTING,
    'DefaultFormatBundle3D': None,
    **dict.fromkeys(
        (
            'LoadAnnotations3D', 'LoadImageFromFileMono3D', 'LoadMultiViewImageFromFiles',
            'LoadPointsFromFile', 'LoadPointsFromMultiSweeps',
        ),
        loading,
    ),
    **{
        name: {}
        for name in (
            'AffineResize', 'BackgroundPointsFilter', 'GlobalAlignment', 'GlobalRotScaleTrans',
            'IndoorPatchPointSample', 'LoadPointsFromDict', 'NormalizePointsColor',
            'ObjectNameFilter',
            'ObjectNoise', 'ObjectRangeFilter', 'PointSample', 'PointSegClassMapping',
            'PointShuffle', 'PointsRangeFilter', 'RandomDropPointsColor', 'RandomFlip3D',
            'RandomJitterPoints', 'RandomShiftScale', 'VoxelBasedPointSampler',
        )
    },
    'IndoorPointSample': {'type': 'PointSample'},
    'ObjectSample': _object_sample,
    'MultiScaleFlipAug3D': _views,
    'Collect3D': _pack,
}  # fmt: skip


def _dataset(prefixes: Config, **more: Any) -> Any:
    """Folders by what is in them; the file of annotations is below ``data_root``.

    Args:
        prefixes: The folders that the dataset had by itself.
        **more: Arguments that tell what its name told.
    """

    def rule(config: Config) -> Config:
        root = config.get('data_root')
        changed: Config = {}
        for key, value in config.items():
            if key == 'classes':
                changed['metainfo'] = {'classes': value}
            elif key in ('ann_file', 'ann_files'):
                changed[key] = _below(value, root)
            elif key not in _OF_PREFIXES:
                changed[key] = value
        found = {key: value.format(**_folders(config)) for key, value in prefixes.items()}
        return changed | ({'data_prefix': found} if found else {}) | more

    return rule


_OF_PREFIXES = ('split', 'pts_prefix', 'img_prefix', 'info_file', 'version', 'eval_version',
                'with_info', 'file_client_args')  # fmt: skip


def _folders(config: Config) -> Config:
    split = config.get('split', 'training')
    return {'split': split, 'points': config.get('pts_prefix', 'velodyne')}


def _below(value: Any, root: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_below(one, root) for one in value]
    if isinstance(value, str) and isinstance(root, str) and root and value.startswith(root):
        return value[len(root) :].lstrip('/')
    return value


_KITTI = {'pts': '{split}/{points}', 'img': '{split}/image_2'}
_NUSCENES = {'pts': 'samples/LIDAR_TOP', 'img': '', 'sweeps': 'sweeps/LIDAR_TOP'}
_PARTS = {
    'pts': 'points',
    'pts_instance_mask': 'instance_mask',
    'pts_semantic_mask': 'semantic_mask',
}
datasets: dict[str, Any] = {
    'KittiDataset': _dataset(_KITTI),
    'KittiMonoDataset': _dataset({'img': 'training/image_2'}, load_type='fov_image_based',
                                 type='KittiDataset'),
    'WaymoDataset': _dataset({'pts': '{split}/{points}', 'sweeps': '{split}/{points}'}),
    'NuScenesDataset': _dataset(_NUSCENES),
    'NuScenesMonoDataset': _dataset(
        {'pts': ''}, load_type='mv_image_based', type='NuScenesDataset'
    ),
    'LyftDataset': _dataset({'pts': 'v1.01-train/lidar', 'sweeps': 'v1.01-train/lidar'}),
    'ScanNetDataset': _dataset({**_PARTS, 'pts': 'points'}),
    'SUNRGBDDataset': _dataset({'pts': 'points', 'img': 'sunrgbd_trainval/image'}),
    'S3DISDataset': _dataset(_PARTS),
    'ScanNetSegDataset': _dataset(_PARTS),
    'S3DISSegDataset': _dataset(_PARTS),
    'ScanNetInstanceSegDataset': _dataset(_PARTS),
    'SemanticKITTIDataset': _dataset({'pts': ''}),
    **{name: {} for name in ('CBGSDataset', 'RepeatDataset', 'ConcatDataset')},
}  # fmt: skip
_GONE = ['metric', 'pipeline', 'show', 'out_dir', 'logger', 'jsonfile_prefix', 'result_names']
_FILES = {'dataset_keys': {'ann_file': 'ann_file', 'data_root': 'data_root'}, 'takes': _GONE}


def _of_kitti(name: str, *_: Any) -> str:
    return f'Kitti metric/pred_instances_3d/{name.removeprefix("pts_bbox/").lstrip("/")}'


def _of_nuscenes(name: str, *_: Any) -> str:
    """The name of the head's results, and what they are called now."""
    for head in ('pts_bbox_', 'img_bbox_'):
        if name.startswith(head):
            return f'NuScenes metric/pred_instances_3d_{name[len(head) :]}'
    return f'NuScenes metric/{name}'


def _waymo(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    """The file of all objects lies beside the folder in the form of KITTI."""
    root = str(dataset.get('data_root', 'data/waymo/kitti_format/')).rstrip('/')
    binary = root.removesuffix('kitti_format') + 'waymo_format/gt.bin'
    built: Config = {'type': 'WaymoMetric', 'waymo_bin_file': binary}
    return built | {key: dataset[key] for key in ('ann_file', 'data_root') if key in dataset}


_INDOOR = {'type': 'IndoorMetric', 'takes': _GONE, 'keys': {'iou_thr': 'iou_thr'}, 'prefix': None}
_SEGMENTS = {'type': 'SegMetric', 'takes': _GONE, 'prefix': None}
_NUSCENES_METRIC = {
    **_FILES, 'type': 'NuScenesMetric', 'add': {'metric': 'bbox'}, 'names': _of_nuscenes,
    'prefix': 'NuScenes metric',
}  # fmt: skip
_KITTI_METRIC = {
    'type': 'KittiMetric', 'dataset_keys': {'ann_file': 'ann_file'}, 'takes': _GONE,
    'add': {'metric': 'bbox'}, 'names': _of_kitti, 'prefix': 'Kitti metric',
}  # fmt: skip
metrics: dict[str, Any] = {
    'KittiDataset': _KITTI_METRIC,
    'KittiMonoDataset': _KITTI_METRIC,
    'WaymoDataset': {'build': _waymo, 'takes': _GONE, 'prefix': 'Waymo metric'},
    'NuScenesDataset': _NUSCENES_METRIC,
    'NuScenesMonoDataset': _NUSCENES_METRIC,
    'LyftDataset': {
        **_FILES, 'type': 'LyftMetric', 'add': {'metric': 'bbox'}, 'prefix': 'Lyft metric',
    },
    **dict.fromkeys(('ScanNetDataset', 'SUNRGBDDataset', 'S3DISDataset'), _INDOOR),
    **dict.fromkeys(('ScanNetSegDataset', 'S3DISSegDataset', 'SemanticKITTIDataset'), _SEGMENTS),
    'ScanNetInstanceSegDataset': {'type': 'InstanceSegMetric', 'takes': _GONE, 'prefix': None},
}  # fmt: skip
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'CenterPoint', 'DynamicVoxelNet', 'EncoderDecoder3D', 'FCOSMono3D', 'GroupFree3DNet', 'H3DNet',
    'ImVoteNet', 'ImVoxelNet', 'MVXFasterRCNN', 'DynamicMVXFasterRCNN', 'PartA2', 'PointRCNN',
    'SASSD', 'SMOKEMono3D', 'SSD3DNet', 'VoteNet', 'VoxelNet', 'MinkSingleStage3DDetector',
    'PGD', 'FreeAnchor3D',
))  # fmt: skip
_WITHOUT_VOXELS = {'moved': sorted(_POINTS)}
models: dict[str, Any] = dict.fromkeys(
    (
        'CenterPoint', 'DynamicMVXFasterRCNN', 'DynamicVoxelNet', 'MVXFasterRCNN', 'PartA2',
        'SASSD', 'VoxelNet',
    ),
    _WITHOUT_VOXELS,
)  # fmt: skip
