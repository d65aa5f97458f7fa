"""mmgeneration 0.x, whose successor is mmagic.

Real images are ``gt`` there, no longer ``real_img``, in every list of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.mmedit import normalized
from mmengine.migrate._config.rules.shared import FORMATTING, loading, renamed_in_keys

scope = 'mmagic'
validates_by_default = False
data_preprocessor: dict[str, Any] = {'type': 'DataPreprocessor'}
preprocessing: dict[str, Any] = {'Normalize': normalized}
runners = {'DynamicIterBasedRunner': 'max_iters'}
eval_hooks: dict[str, Any] = {'GenerativeEvalHook': {}, 'TranslationEvalHook': {}}

Config = dict[str, Any]
_NAMES = {'real_img': 'gt', 'real_img_path': 'gt_path'}


def _renamed_keys(config: Config) -> Config:
    return renamed_in_keys(config, _NAMES)


def _load(config: Config) -> Config:
    changed = _renamed_keys(loading(config))
    backend = changed.pop('io_backend', 'disk')
    if backend != 'disk':
        changed['backend_args'] = {'backend': backend}
    if 'flag' in changed:
        changed['color_type'] = changed.pop('flag')
    return changed


def _collect(config: Config) -> Config:
    keys = [key for key in config.get('keys', ()) if key not in _NAMES]
    return {'type': 'PackInputs'} | ({'keys': keys} if keys else {})


transforms: dict[str, Any] = {
    **FORMATTING,
    'Collect': _collect,
    'LoadImageFromFile': {'function': _load, 'moved': ['io_backend']},
    'LoadPairedImageFromFile': {'function': _load, 'moved': ['io_backend']},
    **dict.fromkeys(
        (
            'CenterCropLongEdge', 'Crop', 'FixedCrop', 'Flip', 'NumpyPad', 'RandomCropLongEdge',
            'RandomImgNoise', 'RandomResizedCrop', 'RandomLongEdgeCrop', 'CenterCrop', 'Resize',
        ),
        _renamed_keys,
    ),
}  # fmt: skip


def _folders(config: Config) -> Config:
    changed = {key: value for key, value in config.items() if key not in ('type', 'imgs_root')}
    root: Config = {}
    if 'imgs_root' in config:
        root = {'data_root': config['imgs_root'], 'data_prefix': {'gt': ''}}
    return {'type': 'BasicImageDataset', **root, **changed}


_ROOT = {'keys': {'dataroot': 'data_root'}}
datasets: dict[str, Any] = {
    'UnconditionalImageDataset': _folders,
    'GrowScaleImgDataset': {'keys': {'imgs_roots': 'data_roots'}},
    'PairedImageDataset': _ROOT,
    'UnpairedImageDataset': _ROOT,
    'SinGANDataset': {'keys': {'img_path': 'data_root'}},
    'mmcls.ImageNet': {'type': 'ImageNet'},
    'mmcls.CIFAR10': {'type': 'CIFAR10'},
    'RepeatDataset': {},
    'ConcatDataset': {},
}
_METRICS = {
    'FID': 'FrechetInceptionDistance', 'IS': 'InceptionScore', 'PR': 'PrecisionAndRecall',
    'MS_SSIM': 'MultiScaleStructureSimilarity', 'SWD': 'SlicedWassersteinDistance',
    'PPL': 'PerceptualPathLength', 'EQ': 'Equivariance',
}  # fmt: skip
# Of translation between domains, each image has a source.
_OF_TRANSLATION = {'FID': 'TransFID', 'IS': 'TransIS'}


def _metrics(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[Config]:
    asked = evaluation.get('metrics', [])
    listed = [asked] if isinstance(asked, Mapping) else list(asked)
    target = evaluation.get('target_domain')
    known = _METRICS if target is None else {**_METRICS, **_OF_TRANSLATION}
    built = []
    for one in listed:
        name = str(one.get('type'))
        metric: Config = {'type': known.get(name, name), 'prefix': f'{name}-Full'}
        if 'num_images' in one:
            metric['fake_nums'] = one['num_images']
        if target is not None:
            metric['fake_key'] = f'fake_{target}'
        inception = one.get('inception_args')
        if isinstance(inception, Mapping) and 'type' in inception:
            metric['inception_style'] = inception['type']
        metric |= {key: one[key] for key in ('inception_pkl', 'k', 'space', 'sampling')
                   if key in one}  # fmt: skip
        sampled = evaluation.get('sample_kwargs')
        if isinstance(sampled, Mapping) and 'sample_model' in sampled:
            metric['sample_model'] = sampled['sample_model']
        built.append(metric)
    return built


def _name(name: str, *_: Any) -> str:
    """Of the values that a metric reports, where its name is a number as well."""
    kind = {'pr': 'PR', 'ppl': 'PPL', 'swd': 'SWD', 'ms_ssim': 'MS_SSIM'}.get(name, name.upper())
    return f'{kind}-Full/{name}'


metrics: dict[str, Any] = {
    '*': {
        'build': _metrics,
        'takes': ['metrics', 'sample_kwargs', 'target_domain', 'data_keys'],
        'prefix': None,
        'names': _name,
    }
}


better = {
    **dict.fromkeys(('fid', 'swd', 'ppl', 'ppl_wend'), 'less'),
    **dict.fromkeys(('is', 'precision', 'recall', 'ms_ssim', 'pr'), 'greater'),
}


_OF_SAMPLES = {'num_samples': 'n_samples', 'nrow': 'n_row', 'priority': 'priority'}


def _visualization(config: Config) -> Config:
    return {
        'type': 'VisualizationHook',
        'interval': config.get('interval', 1),
        'fixed_input': config.get('fixed_input', True),
        'vis_kwargs_list': {'type': 'GAN', 'name': 'fake_img'},
    } | {new: config[old] for old, new in _OF_SAMPLES.items() if old in config}


def _of_translations(config: Config) -> Config:
    names = config.get('res_name_list') or ['fake_img']
    shown = [{'type': 'Translation', 'name': name} for name in names]
    return {
        'type': 'VisualizationHook',
        'interval': config.get('interval', 1),
        'fixed_input': True,
        'vis_kwargs_list': shown,
    }


hooks: dict[str, Any] = {
    # Images are written below the folder of the run.
    'VisualizeUnconditionalSamples': {'function': _visualization, 'gone': ['output_dir']},
    'MMGenVisualizationHook': {'function': _of_translations, 'gone': ['output_dir']},
    'PGGANFetchDataHook': {},
    'PickleDataHook': {},
    'AdjustGammaHook': {},
}


def _averaging(legacy: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The hook of the config that averaged, the first of several."""
    listed = legacy.get('custom_hooks')
    for hook in listed if isinstance(listed, (list, tuple)) else ():
        if isinstance(hook, Mapping) and hook.get('type') == 'ExponentialMovingAverageHook':
            return hook
    return None


def _average(legacy: Mapping[str, Any]) -> Config | None:
    """``ema_config`` for the averages that a hook of the config made."""
    hook = _averaging(legacy)
    if hook is None:
        return None
    found: Config = {'type': 'ExponentialMovingAverage', 'interval': hook.get('interval', -1)}
    settings = hook.get('interp_cfg')
    settings = settings if isinstance(settings, Mapping) else {}
    if 'momentum' in settings:
        # It was the share of the average, and is the share of the new weights.
        found['momentum'] = round(1 - settings['momentum'], 12)
    if 'start_iter' in hook:
        found['start_iter'] = hook['start_iter']
    return found


def _averaged(config: Config, legacy: Mapping[str, Any]) -> Config:
    found = _average(legacy)
    return config if found is None else {**config, 'ema_config': found}


constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'CycleGAN', 'LSGAN', 'MSPIEStyleGAN2', 'Pix2Pix', 'ProgressiveGrowingGAN',
    'SinGAN', 'StaticTranslationGAN', 'StaticUnconditionalGAN', 'StyleGANV1', 'StyleGANV2',
    'StyleGANv3', 'BasicConditionalGAN', 'BasiccGAN', 'BasicGaussianDiffusion',
))  # fmt: skip
models: dict[str, Any] = dict.fromkeys(
    (
        'MSPIEStyleGAN2', 'ProgressiveGrowingGAN', 'SinGAN', 'StaticUnconditionalGAN', 'StyleGANV1',
        'StyleGANV2', 'StyleGANv3', 'BasicConditionalGAN', 'BasiccGAN', 'BasicGaussianDiffusion',
    ),
    _averaged,
)  # fmt: skip


def _is_averaged(config: Mapping[str, Any], legacy: Mapping[str, Any]) -> bool:
    """Whether the model has the averages of this hook as its own now."""
    model = legacy.get('model')
    kind = model.get('type') if isinstance(model, Mapping) else None
    return kind in models and config == _averaging(legacy)


def _averaging_hook(config: Config, place: Any, legacy: Mapping[str, Any]) -> Config | None:
    """Nothing where the model averages; for any other model the hook stays."""
    if not _is_averaged(config, legacy):
        return config
    return None


def _of_averaging(config: Mapping[str, Any], legacy: Mapping[str, Any]) -> str:
    given = config.get('interp_cfg')
    settings: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    others = [key for key in settings if key != 'momentum']
    if _is_averaged(config, legacy):
        left = ', '.join(f'{key}={settings[key]!r}' for key in others)
        return f"interp_cfg had {left}, which the model's ema_config has not." if left else ''
    return (
        "averages of a generator are the ema_config of the project's own models now, and this is "
        'none of them, or has another hook already; left as it is.'
    )


hooks['ExponentialMovingAverageHook'] = {
    'function': _averaging_hook,
    'note': _of_averaging,
    'drop': ['module_keys', 'priority'],
    'moved': ['interval', 'start_iter', 'interp_cfg'],
}
