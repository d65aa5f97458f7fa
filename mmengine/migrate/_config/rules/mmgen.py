"""mmgeneration 0.x, whose successor is mmagic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmagic'
validates_by_default = False
data_preprocessor = {'type': 'DataPreprocessor'}
runners = {'DynamicIterBasedRunner': 'max_iters'}
eval_hooks: dict[str, Any] = {'GenerativeEvalHook': {}, 'TranslationEvalHook': {}}
transforms: dict[str, Any] = {
    **FORMATTING,
    'Collect': {'type': 'PackInputs', 'drop': ['keys', 'meta_keys']},
}
datasets: dict[str, Any] = {'RepeatDataset': {}, 'ConcatDataset': {}}
_METRICS = {
    'FID': 'FrechetInceptionDistance', 'IS': 'InceptionScore', 'PR': 'PrecisionAndRecall',
    'MS_SSIM': 'MultiScaleStructureSimilarity', 'SWD': 'SlicedWassersteinDistance',
    'PPL': 'PerceptualPathLength', 'EQ': 'Equivariance',
}  # fmt: skip


def _metrics(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = evaluation.get('metrics', [])
    listed = [asked] if isinstance(asked, Mapping) else list(asked)
    built = []
    for one in listed:
        kind = _METRICS.get(str(one.get('type')), one.get('type'))
        count = {'fake_nums': one['num_images']} if 'num_images' in one else {}
        built.append({'type': kind, 'prefix': f'{one.get("type")}-Full', **count})
    return built


metrics: dict[str, Any] = {
    '*': {'build': _metrics, 'takes': ['metrics', 'sample_kwargs'], 'prefix': None}
}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'CycleGAN', 'LSGAN', 'MSPIEStyleGAN2', 'Pix2Pix', 'ProgressiveGrowingGAN',
    'SinGAN', 'StaticTranslationGAN', 'StaticUnconditionalGAN', 'StyleGANV1',
    'BasicGaussianDiffusion',
))  # fmt: skip
