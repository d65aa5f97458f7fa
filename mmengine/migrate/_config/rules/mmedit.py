"""mmediting 0.x, whose successor is mmagic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmagic'
validates_by_default = False
data_preprocessor = {'type': 'DataPreprocessor'}
eval_hooks: dict[str, Any] = {'EvalIterHook': {}, 'DistEvalIterHook': {}}
transforms: dict[str, Any] = {
    **FORMATTING,
    'RescaleToZeroOne': None,
    'FramesToTensor': None,
    'Collect': {'type': 'PackInputs', 'drop': ['keys', 'meta_keys']},
    **{name: {} for name in ('PairedRandomCrop', 'RandomTransposeHW', 'MirrorSequence')},
}
datasets: dict[str, Any] = {'RepeatDataset': {}, 'ConcatDataset': {}}
_KNOWN = ('PSNR', 'SSIM', 'MAE', 'MSE', 'SAD', 'GradientError', 'ConnectivityError', 'NIQE', 'SNR')


def _metrics(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = evaluation.get('metrics', [])
    names = [asked] if isinstance(asked, str) else list(asked)
    renamed = _OF_MATTING if dataset.get('type') in _MATTING else {}
    border = evaluation.get('crop_border')
    return [
        {'type': renamed.get(name, name), **_border(name, border)}
        for name in names
        if name in _KNOWN
    ]


_MATTING = ('AdobeComp1kDataset',)
_OF_MATTING = {'MSE': 'MattingMSE'}


def _border(name: str, border: Any) -> dict[str, Any]:
    return {'crop_border': border} if border and name in ('PSNR', 'SSIM') else {}


metrics: dict[str, Any] = {
    '*': {'build': _metrics, 'takes': ['metrics'], 'prefix': None, 'test_cfg': True}
}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'BasicRestorer', 'BasicVSR', 'CAIN', 'DeepFillv1Inpaintor', 'DIM', 'EDVR', 'ESRGAN', 'GCA',
    'GLInpaintor', 'GLEAN', 'IndexNet', 'LIIF', 'OneStageInpaintor', 'PConvInpaintor', 'RealESRGAN',
    'RealBasicVSR', 'SRGAN', 'TDAN', 'TTSR', 'TwoStageInpaintor',
))  # fmt: skip
