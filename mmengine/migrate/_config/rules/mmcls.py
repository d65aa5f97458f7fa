"""mmcls 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING, loading, pack

scope = 'mmpretrain'
test_dataset = {'test_mode': True}
visualizer = 'UniversalVisualizer'
validates_by_default = True
data_preprocessor: dict[str, Any] = {}
same_batch_size = True


def _resize(config: dict[str, Any]) -> dict[str, Any]:
    size = config.pop('size', None)
    if isinstance(size, (list, tuple)) and len(size) == 2 and size[1] == -1:
        return {**config, 'type': 'ResizeEdge', 'scale': size[0], 'edge': 'short'}
    if isinstance(size, (list, tuple)) and len(size) == 2:
        size = (size[1], size[0])  # (height, width) before, (width, height) now
    return {'type': config.pop('type'), 'scale': size, **config}


transforms = FORMATTING | {
    'LoadImageFromFile': loading,
    'RandomResizedCrop': {
        'keys': {'size': 'scale', 'scale': 'crop_ratio_range', 'ratio': 'aspect_ratio_range'}
    },
    'RandomCrop': {'keys': {'size': 'crop_size'}},
    'CenterCrop': {},
    'RandomFlip': {'keys': {'flip_prob': 'prob'}},
    'RandomGrayscale': {'keys': {'gray_prob': 'prob'}},
    'RandomErasing': {},
    'ColorJitter': {},
    'Lighting': {},
    'AutoAugment': {},
    'RandAugment': {},
    'Albumentations': {},
    'Resize': _resize,
    'Collect': pack('PackInputs'),
}
_NAMED = {'keys': {'classes': 'metainfo.classes'}}
datasets = dict.fromkeys(
    (
        'ImageNet',
        'ImageNet21k',
        'CIFAR10',
        'CIFAR100',
        'MNIST',
        'FashionMNIST',
        'VOC',
        'CUB',
        'StanfordCars',
        'CustomDataset',
    ),
    _NAMED,
) | {'RepeatDataset': {}, 'ConcatDataset': {}, 'ClassBalancedDataset': {}, 'KFoldDataset': {}}


def _accuracy(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    wanted = evaluation.get('metric', 'accuracy')
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    options = evaluation.get('metric_options') or {}
    built: list[dict[str, Any]] = []
    if 'accuracy' in names:
        built.append({'type': 'Accuracy', 'topk': options.get('topk', (1, 5))})
    if 'mAP' in names:
        built.append({'type': 'AveragePrecision'})
    items = [{'f1_score': 'f1-score'}.get(n, n) for n in names if n not in ('accuracy', 'mAP')]
    if items:
        average = {'average': options['average_mode']} if 'average_mode' in options else {}
        built.append({'type': 'SingleLabelMetric', 'items': items, **average})
    return built[0] if len(built) == 1 else built


metrics = {
    '*': {
        'build': _accuracy,
        'takes': ['metric', 'metric_options'],
        'prefix': None,
        'names': {'accuracy_top-1': 'accuracy/top1', 'accuracy_top-5': 'accuracy/top5'},
    }
}
hooks: dict[str, Any] = {'ClassNumCheckHook': {}, 'PreciseBNHook': {}, 'SetAdaptiveMarginsHook': {}}
constructors: dict[str, str] = {}
model_types = dict.fromkeys(('ImageClassifier', 'KnowledgeDistillationClassifier'))
