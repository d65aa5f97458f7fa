"""mmpose 0.x: the parts of its vocabulary that kept their meaning.

Its data pipelines were designed anew; their transforms are listed as left, with the classes that
took over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

scope = 'mmpose'
test_dataset = {'test_mode': True}
visualizer = 'PoseLocalVisualizer'
data_preprocessor = {'type': 'PoseDataPreprocessor'}
transforms = {
    'LoadImageFromFile': {'type': 'LoadImage'},
    'TopDownGetBboxCenterScale': {'type': 'GetBBoxCenterScale'},
    'TopDownRandomFlip': {
        'type': 'RandomFlip',
        'keys': {'flip_prob': 'prob'},
        'add': {'direction': 'horizontal'},
    },
    'TopDownHalfBodyTransform': {
        'type': 'RandomHalfBody',
        'keys': {'num_joints_half_body': 'min_total_keypoints', 'prob_half_body': 'prob'},
    },
    'ToTensor': None,
    'Collect': {'type': 'PackPoseInputs', 'drop': ['keys']},
}
_PREFIXED = {'keys': {'img_prefix': 'data_prefix.img'}, 'drop': ['dataset_info']}
datasets = {
    'TopDownCocoDataset': {**_PREFIXED, 'type': 'CocoDataset', 'add': {'data_mode': 'topdown'}},
    'BottomUpCocoDataset': {**_PREFIXED, 'type': 'CocoDataset', 'add': {'data_mode': 'bottomup'}},
    'TopDownMpiiDataset': {**_PREFIXED, 'type': 'MpiiDataset', 'add': {'data_mode': 'topdown'}},
    'RepeatDataset': {},
}


def _coco_metric(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    metric = {'type': 'CocoMetric'}
    return metric | ({'ann_file': dataset['ann_file']} if 'ann_file' in dataset else {})


_COCO = {'build': _coco_metric, 'takes': ['metric'], 'prefix': 'coco'}
metrics = {'TopDownCocoDataset': _COCO, 'BottomUpCocoDataset': _COCO}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
