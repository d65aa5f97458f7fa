"""mmselfsup 0.x: a data source, and views of its images, became a dataset with one pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING, of_unit_images
from mmengine.migrate._config.trace import edited

scope = 'mmselfsup'
validates_by_default = False

Config = dict[str, Any]


def _normalize(config: Mapping[str, Any]) -> Config:
    """Images were read as RGB and divided by 255."""
    return {**of_unit_images(config), 'bgr_to_rgb': True}


preprocessing: dict[str, Any] = {'Normalize': _normalize}


def data_preprocessor(legacy: Mapping[str, Any]) -> Config:
    """With ``prefetch``, the loader normalized, by the values of a variable."""
    found: Config = {'type': 'SelfSupDataPreprocessor'}
    norm = legacy.get('img_norm_cfg')
    if legacy.get('prefetch') and isinstance(norm, Mapping):
        found |= _normalize(norm)
    return found


_INTERPOLATIONS = {0: 'nearest', 2: 'bilinear', 3: 'bicubic'}


def _interpolated(config: Config) -> Config:
    way = config.get('interpolation')
    if isinstance(way, int):
        return {**config, 'interpolation': _INTERPOLATIONS.get(way, way), 'backend': 'pillow'}
    return config


def _resize(config: Config) -> Config:
    """One number was the length of the shorter edge."""
    rest = _interpolated({key: value for key, value in config.items() if key != 'size'})
    size = config.get('size')
    if isinstance(size, (list, tuple)):
        return {**rest, 'type': 'Resize', 'scale': tuple(size[::-1])}
    return {**rest, 'type': 'mmcls.ResizeEdge', 'scale': size, 'edge': 'short'}


_CHANCE = {'keys': {'p': 'prob'}}
transforms: dict[str, Any] = {
    **FORMATTING,
    'RandomGrayscale': {**_CHANCE, 'add': {'keep_channels': True}},
    'CenterCrop': {'keys': {'size': 'crop_size'}},
    'RandomCrop': {'keys': {'size': 'crop_size'}},
    'RandomResizedCrop': _interpolated,
    'Resize': _resize,
    'RandomAppliedTrans': {'type': 'RandomApply', **_CHANCE},
    'GaussianBlur': {'type': 'RandomGaussianBlur', **_CHANCE},
    'Solarization': {'type': 'RandomSolarize', 'keys': {'p': 'prob', 'threshold': 'thr'}},
    'RandomHorizontalFlip': {'type': 'RandomFlip', **_CHANCE, 'add': {'prob': 0.5}},
    'RandomVerticalFlip': {
        'type': 'RandomFlip',
        **_CHANCE,
        'add': {'prob': 0.5, 'direction': 'vertical'},
    },
    'BlockwiseMaskGenerator': {'type': 'SimMIMMaskGenerator'},
    **{
        name: {}
        for name in (
            'BEiTMaskGenerator', 'ColorJitter', 'Lighting', 'RandomRotation',
            'RandomResizedCropAndInterpolationWithTwoPic',
        )
    },
    'RandomAug': {'type': 'mmcls.RandAugment', 'keys': {'input_size': 'size'}},
}  # fmt: skip

_OF_LOADING = ('color_type', 'file_client_args')
_SOURCES = {'ImageNet': 'mmcls.ImageNet', 'ImageNet21k': 'mmcls.ImageNet21k',
            'CIFAR10': 'mmcls.CIFAR10', 'CIFAR100': 'mmcls.CIFAR100'}  # fmt: skip


def _dataset(config: Config, steps: list[Any], pack: Config, kind: str | None = None) -> Config:
    source = config.get('data_source')
    source = dict(source) if isinstance(source, Mapping) else {}
    name = source.pop('type', None)
    load: Config = {'type': 'LoadImageFromFile'}
    if 'color_type' in source:
        load['color_type'] = source['color_type']
    client = source.get('file_client_args')
    if client is not None and client != {'backend': 'disk'}:
        load['backend_args'] = client
    rest = {key: value for key, value in source.items()
            if key not in (*_OF_LOADING, 'channel_order', 'return_label')}  # fmt: skip
    if 'classes' in rest:
        rest['metainfo'] = {'classes': rest.pop('classes')}
    return {
        'type': kind or _SOURCES.get(str(name), name or config['type']),
        **rest,
        'pipeline': [load, *steps, pack],
    }


_PACK: Config = {'type': 'PackSelfSupInputs', 'meta_keys': ['img_path']}


def _views(config: Config) -> Config:
    counts, pipelines = config.get('num_views', [1]), config.get('pipelines', [])
    counts = counts[0] if isinstance(counts, (list, tuple)) and len(counts) == 1 else counts
    return _dataset(
        config, [{'type': 'MultiView', 'num_views': counts, 'transforms': pipelines}], _PACK
    )


def _one_view(config: Config, stage: str, legacy: Mapping[str, Any]) -> Config:
    """With labels where a classifier learns from it."""
    model = legacy.get('model')
    classifies = isinstance(model, Mapping) and str(model.get('type')) in _CLASSIFIERS
    pack = {'type': 'mmcls.PackClsInputs'} if classifies or stage != 'train' else _PACK
    return _dataset(config, list(config.get('pipeline') or ()), pack)


_CLASSIFIERS = ('Classification', 'ImageClassifier', 'MMClsImageClassifierWrapper')


def _with_labels(*steps: Config, keys: list[str], kind: str | None = None) -> Any:
    """The task's own labels, which the dataset made."""

    def rule(config: Config) -> Config:
        given = [*(config.get('pipeline') or ()), *steps, *(config.get('format_pipeline') or ())]
        return _dataset(config, given, {**_PACK, 'pseudo_label_keys': keys}, kind)

    return rule


datasets: dict[str, Any] = {
    'MultiViewDataset': _views,
    'SingleViewDataset': _one_view,
    'RelativeLocDataset': _with_labels(
        {'type': 'RandomPatchWithLabels'}, keys=['patch_box', 'patch_label', 'unpatched_img']
    ),
    'RotationPredDataset': _with_labels({'type': 'RotationWithLabels'}, keys=['rot_label']),
    'DeepClusterDataset': _with_labels(keys=['clustering_label'], kind='DeepClusterImageNet'),
    'RepeatDataset': {},
    'ConcatDataset': {},
}
metrics: dict[str, Any] = {
    name: {
        'type': 'mmcls.Accuracy', 'keys': {'topk': 'topk'}, 'prefix': 'accuracy',
        'names': {'head0_top1': 'accuracy/top1', 'head0_top5': 'accuracy/top5'},
    }
    for name in ('SingleViewDataset', 'RelativeLocDataset', 'RotationPredDataset')
}  # fmt: skip
_NEW_LOADER = 'what it read features from is an extract_dataloader now, like the others here.'
hooks: dict[str, Any] = {
    'SimSiamHook': {},
    'SwAVHook': {},
    'DenseCLHook': {},
    'ODCHook': {},
    'DeepClusterHook': {'note': _NEW_LOADER},
    'InterCLRHook': {'note': _NEW_LOADER},
    # Models raise their momentum themselves now.
    'MomentumUpdateHook': None,
}
constructors = {
    'TransformerFinetuneConstructor': 'mmcls.LearningRateDecayOptimWrapperConstructor',
    'LearningRateDecayOptimizerConstructor': 'mmcls.LearningRateDecayOptimWrapperConstructor',
}


def _classifier(config: Config) -> Config:
    head = config.get('head')
    changed: Config = {**config, 'type': 'mmcls.ImageClassifier'}
    if isinstance(head, Mapping) and head.get('type') == 'ClsHead':
        kept = {key: value for key, value in head.items() if key not in ('type', 'with_avg_pool')}
        changed['head'] = edited(head, {'type': 'mmcls.LinearClsHead', **kept})
        if head.get('with_avg_pool'):
            changed.setdefault('neck', {'type': 'mmcls.GlobalAveragePooling'})
    return changed


models: dict[str, Any] = {'Classification': _classifier}
model_types = dict.fromkeys((
    'BYOL', 'BarlowTwins', 'CAE', 'Classification', 'DeepCluster', 'DenseCL', 'InterCLRMoCo', 'MAE',
    'MMClsImageClassifierWrapper', 'MaskFeat', 'MILAN', 'BEiT',
    'MoCo', 'MoCoV3', 'NPID', 'ODC', 'RelativeLoc', 'RotationPred', 'SimCLR', 'SimMIM', 'SimSiam',
    'SwAV',
))  # fmt: skip
