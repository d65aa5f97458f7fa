"""mmcls 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING, loading, pack
from mmengine.migrate._config.trace import edited

Config = dict[str, Any]

scope = 'mmpretrain'
test_dataset = {'test_mode': True}
visualizer = 'UniversalVisualizer'
validates_by_default = True


def data_preprocessor(legacy: Mapping[str, Any]) -> dict[str, Any]:
    """What mixes images within a batch needs the number of classes, which it had itself."""
    model = legacy.get('model')
    settings = model.get('train_cfg') if isinstance(model, Mapping) else None
    settings = legacy.get('train_cfg') if settings is None else settings
    counts = [one['num_classes'] for one in augments_of(settings) if 'num_classes' in one]
    return {'num_classes': counts[0]} if counts else {}


same_batch_size = True


def augments_of(settings: Any) -> list[Mapping[str, Any]]:
    """The augmentations of batches in the ``train_cfg`` of a classifier."""
    given = settings.get('augments') if isinstance(settings, Mapping) else None
    listed = [given] if isinstance(given, Mapping) else list(given or [])
    return [one for one in listed if isinstance(one, Mapping)]


_AUGMENTS = {'BatchMixup': 'Mixup', 'BatchCutMix': 'CutMix', 'BatchResizeMix': 'ResizeMix'}


def _classifier(config: Config) -> Config:
    """Each augmentation had its probability; all have theirs in one list now."""
    settings = config.get('train_cfg')
    before = augments_of(settings)
    if not before:
        return config
    mixing = [one for one in before if one.get('type') != 'Identity']
    augments, chances = [], []
    for one in mixing:
        left = {key: value for key, value in one.items() if key not in ('num_classes', 'prob')}
        kind = left.get('type')
        augments.append({**left, 'type': _AUGMENTS.get(str(kind), kind)})
        chances.append(one.get('prob', 1.0 if len(before) == 1 else None))
    rest = {key: value for key, value in dict(settings or {}).items() if key != 'augments'}
    told = {} if None in chances or chances == [1.0] else {'probs': chances}
    return {**config, 'train_cfg': edited(settings, {**rest, 'augments': augments, **told})}


models: dict[str, Any] = {'ImageClassifier': _classifier}


def _resize(config: Config) -> Config:
    size, side = config.pop('size', None), config.pop('adaptive_side', 'short')
    if isinstance(size, (list, tuple)) and len(size) == 2 and size[1] in (-1, None):
        return {**config, 'type': 'ResizeEdge', 'scale': size[0], 'edge': side}
    if isinstance(size, (list, tuple)) and len(size) == 2:
        size = (size[1], size[0])  # (height, width) before, (width, height) now
    return {'type': config.pop('type'), 'scale': size, **config}


def _center_crop(config: Config) -> Config:
    """The way of EfficientNet is a class now."""
    if config.pop('efficientnet_style', False):
        return {**config, 'type': 'EfficientNetCenterCrop'}
    return {key: value for key, value in config.items() if key != 'crop_padding'}


def _resized_crop(config: Config) -> Config:
    size = config.pop('size', None)
    if isinstance(size, (list, tuple)) and len(size) == 2:
        size = (size[1], size[0])
    renamed = {'scale': 'crop_ratio_range', 'ratio': 'aspect_ratio_range'}
    is_of_efficientnet = config.pop('efficientnet_style', False)
    rest = {renamed.get(key, key): value for key, value in config.items() if key != 'type'}
    if is_of_efficientnet:
        return {'type': 'EfficientNetRandomCrop', 'scale': size, **rest}
    rest = {key: rest[key] for key in rest if key not in ('min_covered', 'crop_padding')}
    return {'type': 'RandomResizedCrop', 'scale': size, **rest}


def _pad(config: Config) -> Config:
    size = config.get('size')
    if isinstance(size, (list, tuple)) and len(size) == 2:
        config['size'] = (size[1], size[0])
    if isinstance(config.get('pad_val'), (int, float, list, tuple)):
        config['pad_val'] = {'img': config['pad_val']}
    return config


transforms: dict[str, Any] = FORMATTING | {
    'LoadImageFromFile': loading,
    'RandomResizedCrop': _resized_crop,
    'RandomCrop': {'keys': {'size': 'crop_size'}},
    'CenterCrop': _center_crop,
    'RandomFlip': {'keys': {'flip_prob': 'prob'}},
    'RandomGrayscale': {'keys': {'gray_prob': 'prob'}},
    'Resize': _resize,
    'Pad': _pad,
    'Collect': pack('PackInputs'),
    **{
        name: {}
        for name in (
            'RandomErasing', 'ColorJitter', 'Lighting', 'AutoAugment', 'RandAugment',
            'Albumentations', 'AutoContrast', 'Brightness', 'ColorTransform', 'Contrast', 'Cutout',
            'Equalize', 'Invert', 'Posterize', 'Rotate', 'Sharpness', 'Shear', 'Solarize',
            'SolarizeAdd', 'Translate',
        )
    },
}  # fmt: skip
_NAMED = {'keys': {'classes': 'metainfo.classes', 'file_client_args': 'backend_args'}}


def _voc_dataset(config: Config) -> Config:
    """Images and annotations lie in folders below one, and the list of a set as well."""
    root, listed = config.pop('data_prefix', None), config.pop('ann_file', None)
    if root is None:
        return config | ({} if listed is None else {'image_set_path': listed})
    if isinstance(listed, str) and listed.startswith(root):
        listed = listed[len(root) :].lstrip('/')
    return {**config, 'data_root': root} | ({} if listed is None else {'image_set_path': listed})


datasets: dict[str, Any] = {
    **dict.fromkeys(
        (
            'ImageNet', 'ImageNet21k', 'CIFAR10', 'CIFAR100', 'MNIST', 'FashionMNIST', 'CUB',
            'StanfordCars', 'CustomDataset', 'MultiTaskDataset',
        ),
        _NAMED,
    ),
    'VOC': _voc_dataset,
    **{
        name: {}
        for name in ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset', 'KFoldDataset')
    },
}  # fmt: skip
samplers: dict[str, Any] = {'RepeatAugSampler': {}}


def _accuracy(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    """One class for accuracy, and one for all of precision, recall and their like."""
    wanted = evaluation.get('metric', 'accuracy')
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    options = evaluation.get('metric_options') or {}
    limits = {'thrs': options['thrs']} if 'thrs' in options else {}
    built: list[Config] = []
    if 'accuracy' in names:
        built.append({'type': 'Accuracy', 'topk': options.get('topk', (1, 5)), **limits})
    items = [{'f1_score': 'f1-score'}.get(n, n) for n in names if n not in ('accuracy', 'mAP')]
    if items:
        average = {'average': options['average_mode']} if 'average_mode' in options else {}
        built.append({'type': 'SingleLabelMetric', 'items': items, **average, **limits})
    if 'mAP' in names:
        built.append({'type': 'AveragePrecision'})
    return built[0] if len(built) == 1 else built


def _of_labels(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Any:
    """Metrics of several labels an image: by class (CP, CR, CF1), and over all (OP, OR, OF1)."""
    wanted = evaluation.get('metric', 'mAP')
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    options = evaluation.get('metric_options') or evaluation
    limits = {new: options[old] for old, new in {'thr': 'thr', 'k': 'topk'}.items()
              if options.get(old) is not None}  # fmt: skip
    prefix = 'VOC' if dataset.get('type') == 'VOC' else ''
    built: list[Config] = []
    if 'mAP' in names:
        built.append({'type': f'{prefix}AveragePrecision'})
    for letter, average in (('C', 'macro'), ('O', 'micro')):
        items = [full for short, full in _ITEMS.items() if letter + short in names]
        if items:
            built.append(
                {
                    'type': f'{prefix}MultiLabelMetric',
                    'average': average,
                    'items': items,
                    **limits,
                }
            )
    return built[0] if len(built) == 1 else built


_ITEMS = {'P': 'precision', 'R': 'recall', 'F1': 'f1-score'}
_NAMES = {
    'accuracy_top-1': 'accuracy/top1', 'accuracy_top-5': 'accuracy/top5',
    'accuracy': 'accuracy/top1', 'mAP': 'multi-label/mAP', 'precision': 'single-label/precision',
    'recall': 'single-label/recall', 'f1_score': 'single-label/f1-score',
    'support': 'single-label/support',
    **{f'C{short}': f'multi-label/{full}' for short, full in _ITEMS.items()},
    **{f'O{short}': f'multi-label/{full}_micro' for short, full in _ITEMS.items()},
}  # fmt: skip
_LABELS = {
    'build': _of_labels,
    'takes': ['metric', 'metric_options', 'thr', 'k'],
    'prefix': None,
    'names': _NAMES,
}
metrics: dict[str, Any] = {
    '*': {
        'build': _accuracy,
        'takes': ['metric', 'metric_options'],
        'prefix': None,
        'names': _NAMES,
    },
    'VOC': _LABELS,
    'MultiLabelDataset': _LABELS,
    # Its metrics are by task, which its annotations name.
    'MultiTaskDataset': None,
}
hooks: dict[str, Any] = {
    name: {}
    for name in ('ClassNumCheckHook', 'PreciseBNHook', 'SetAdaptiveMarginsHook', 'ProfilerHook')
}
constructors: dict[str, str] = {}
model_types = dict.fromkeys(('ImageClassifier', 'KnowledgeDistillationClassifier'))
