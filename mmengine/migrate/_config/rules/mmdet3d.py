"""mmdet3d 0.x and 1.0 (release candidates)."""

from __future__ import annotations

from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmdet3d'
test_dataset = {'test_mode': True}
visualizer = 'Det3DLocalVisualizer'
validates_by_default = True
data_preprocessor = {'type': 'Det3DDataPreprocessor'}

_PACK = {'type': 'Pack3DDetInputs', 'drop': ['meta_keys']}
transforms: dict[str, Any] = {
    **FORMATTING,
    'DefaultFormatBundle3D': None,
    **{
        name: {}
        for name in (
            'LoadPointsFromFile', 'LoadPointsFromMultiSweeps', 'LoadAnnotations3D',
            'LoadImageFromFileMono3D', 'ObjectSample', 'ObjectNoise', 'ObjectRangeFilter',
            'ObjectNameFilter', 'PointsRangeFilter', 'PointShuffle', 'RandomFlip3D',
            'GlobalRotScaleTrans', 'GlobalAlignment', 'PointSegClassMapping',
            'IndoorPatchPointSample',
            'NormalizePointsColor', 'PointSample', 'BackgroundPointsFilter',
            'RandomDropPointsColor',
            'RandomJitterPoints', 'VoxelBasedPointSampler', 'AffineResize', 'RandomShiftScale',
        )
    },
    'Collect3D': _PACK,
}  # fmt: skip
datasets: dict[str, Any] = {
    name: {}
    for name in (
        'KittiDataset', 'LyftDataset', 'WaymoDataset', 'ScanNetDataset', 'SUNRGBDDataset',
        'S3DISDataset', 'ScanNetSegDataset', 'S3DISSegDataset', 'SemanticKITTIDataset',
        'CBGSDataset', 'RepeatDataset', 'ConcatDataset',
    )
} | {'NuScenesDataset': {}}  # fmt: skip
_FILES = {'dataset_keys': {'ann_file': 'ann_file', 'data_root': 'data_root'}}
metrics: dict[str, Any] = {
    'KittiDataset': {
        'type': 'KittiMetric', 'dataset_keys': {'ann_file': 'ann_file'},
        'add': {'metric': 'bbox'}, 'keys': {'metric': 'metric'}, 'prefix': 'Kitti metric',
    },
    'NuScenesDataset': {
        **_FILES, 'type': 'NuScenesMetric', 'add': {'metric': 'bbox'}, 'takes': ['pipeline'],
        'keys': {'metric': 'metric'}, 'prefix': 'NuScenes metric',
    },
    'LyftDataset': {
        **_FILES, 'type': 'LyftMetric', 'add': {'metric': 'bbox'}, 'keys': {'metric': 'metric'},
        'takes': ['pipeline'], 'prefix': 'Lyft metric',
    },
    'ScanNetDataset': {'type': 'IndoorMetric', 'takes': ['metric', 'pipeline'], 'prefix': None},
    'SUNRGBDDataset': {'type': 'IndoorMetric', 'takes': ['metric', 'pipeline'], 'prefix': None},
    'S3DISDataset': {'type': 'IndoorMetric', 'takes': ['metric', 'pipeline'], 'prefix': None},
    'ScanNetSegDataset': {'type': 'SegMetric', 'takes': ['metric', 'pipeline'], 'prefix': None},
    'S3DISSegDataset': {'type': 'SegMetric', 'takes': ['metric', 'pipeline'], 'prefix': None},
}  # fmt: skip
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'CenterPoint', 'DynamicVoxelNet', 'EncoderDecoder3D', 'FCOSMono3D', 'GroupFree3DNet', 'H3DNet',
    'ImVoteNet', 'ImVoxelNet', 'MVXFasterRCNN', 'DynamicMVXFasterRCNN', 'PartA2', 'PointRCNN',
    'SASSD', 'SMOKEMono3D', 'SSD3DNet', 'VoteNet', 'VoxelNet',
))  # fmt: skip
