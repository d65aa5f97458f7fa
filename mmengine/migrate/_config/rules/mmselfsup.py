"""mmselfsup 0.x."""

from __future__ import annotations

from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmselfsup'
validates_by_default = False
data_preprocessor: dict[str, Any] = {}
transforms: dict[str, Any] = {
    **FORMATTING,
    'RandomGrayscale': {'keys': {'p': 'prob'}},
    'CenterCrop': {'keys': {'size': 'crop_size'}},
}
datasets: dict[str, Any] = {'RepeatDataset': {}, 'ConcatDataset': {}}
metrics: dict[str, Any] = {
    name: {
        'type': 'mmcls.Accuracy', 'keys': {'topk': 'topk'}, 'prefix': 'accuracy',
        'names': {'head0_top1': 'accuracy/top1', 'head0_top5': 'accuracy/top5'},
    }
    for name in ('SingleViewDataset', 'RelativeLocDataset', 'RotationPredDataset')
}  # fmt: skip
hooks: dict[str, Any] = {'SimSiamHook': {}, 'SwAVHook': {}, 'DenseCLHook': {}, 'ODCHook': {}}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'BYOL', 'BarlowTwins', 'CAE', 'DeepCluster', 'DenseCL', 'InterCLRMoCo', 'MAE',
    'MMClsImageClassifierWrapper',
    'MoCo', 'MoCoV3', 'NPID', 'ODC', 'RelativeLoc', 'RotationPred', 'SimCLR', 'SimMIM', 'SimSiam',
    'SwAV',
))  # fmt: skip
