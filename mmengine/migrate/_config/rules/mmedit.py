"""mmediting 0.x, whose successor is mmagic.

Low-quality images are ``img`` there, no longer ``lq``, in every list of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules.shared import (
    FORMATTING,
    loading,
    of_unit_images,
    renamed_in_keys,
)

scope = 'mmagic'
validates_by_default = False
data_preprocessor: dict[str, Any] = {'type': 'DataPreprocessor'}
eval_hooks: dict[str, Any] = {'EvalIterHook': {}, 'DistEvalIterHook': {}}

Config = dict[str, Any]
_NAMES = {'lq': 'img', 'lq_path': 'img_path', 'masked_img': 'img'}


def renamed_keys(config: Config) -> Config:
    """``config`` with today's names in its keys."""
    return renamed_in_keys(config, _NAMES, ('keys', 'meta_keys', 'key', 'images'))


def _load(config: Config) -> Config:
    changed = renamed_keys(loading(config))
    changed['type'] = 'LoadImageFromFile'
    backend = changed.pop('io_backend', 'disk')
    if backend != 'disk':
        changed['backend_args'] = {'backend': backend}
    if 'flag' in changed:
        changed['color_type'] = changed.pop('flag')
    if 'backend' in changed:
        changed['imdecode_backend'] = changed.pop('backend')
    if 'convert_to' in changed:
        changed['to_y_channel'] = str(changed.pop('convert_to')).lower() == 'y'
    return changed


def _collect(config: Config) -> Config:
    return {'type': 'PackInputs'}


transforms: dict[str, Any] = {
    **FORMATTING,
    'RescaleToZeroOne': None,
    'FramesToTensor': None,
    'Collect': _collect,
    **{
        name: {'function': _load, 'moved': ['io_backend']}
        for name in ('LoadImageFromFile', 'LoadImageFromFileList', 'LoadPairedImageFromFile')
    },
    'LoadMask': {},
    'RandomLoadResizeBg': {'drop': ['io_backend', 'flag']},
    **dict.fromkeys(
        (
            'AddMaskedImage', 'BinarizeImage', 'ColorJitter', 'CompositeFg', 'CopyValues', 'Crop',
            'CropAroundCenter', 'CropAroundFg', 'CropAroundUnknown', 'CropLike',
            'DegradationsWithShuffle', 'FixedCrop', 'Flip', 'FormatTrimap',
            'GenerateCoordinateAndCell', 'GenerateFrameIndices',
            'GenerateFrameIndiceswithPadding', 'GenerateHeatmap', 'GenerateSeg',
            'GenerateSegmentIndices', 'GenerateSoftSeg', 'GenerateTrimap',
            'GenerateTrimapWithDistTransform', 'GetMaskedImage', 'GetSpatialDiscountMask',
            'MATLABLikeResize', 'MergeFgAndBg', 'MirrorSequence', 'ModCrop', 'PairedRandomCrop',
            'PerturbBg', 'Pad', 'Quantize', 'RandomAffine', 'RandomBlur', 'RandomDownSampling',
            'RandomJPEGCompression', 'RandomJitter', 'RandomMaskDilation', 'RandomNoise',
            'RandomResize', 'RandomResizedCrop', 'RandomTransposeHW', 'RandomVideoCompression',
            'Resize', 'TemporalReverse', 'TransformTrimap', 'UnsharpMasking', 'UnsharpMask',
            'LoadFrames',
        ),
        renamed_keys,
    ),
}  # fmt: skip
preprocessing: dict[str, Any] = {
    'RescaleToZeroOne': lambda config: {'mean': [0.0] * 3, 'std': [255.0] * 3},
    'Normalize': lambda config: normalized(config),
}


def normalized(config: Mapping[str, Any]) -> Config:
    """Means and deviations, of images between 0 and 255; legacy images ended at 1."""
    values = [*config.get('mean', ()), *config.get('std', ())]
    is_of_units = bool(values) and max(values) <= 1
    found = of_unit_images(config) if is_of_units else {
        key: config[key] for key in ('mean', 'std') if key in config
    }  # fmt: skip
    return found | ({'output_channel_order': 'RGB'} if config.get('to_rgb') else {})


def _files(task: str, kind: str = 'BasicImageDataset') -> Any:
    """Folders by what is in them, below one root."""
    folders = {'lq_folder': 'img', 'gt_folder': 'gt', 'ref_folder': 'ref'}

    def rule(config: Config) -> Config:
        prefix = {new: config[old] for old, new in folders.items() if old in config}
        metainfo = {'dataset_type': str(config['type']), 'task_name': task}
        changed: Config = {'type': kind, 'metainfo': metainfo, 'data_prefix': prefix}
        for key, value in config.items():
            if key == 'filename_tmpl':
                changed[key] = value if isinstance(value, Mapping) else {'img': value}
            elif key not in ('type', 'scale', *folders):
                changed[key] = value
        return changed

    # Packing has no scale: the images tell it.
    return {'function': rule, 'gone': ['scale']}


def _frames(task: str) -> Any:
    files = _files(task, 'BasicFramesDataset')

    def rule(config: Config) -> Config:
        changed: Config = files['function'](config)
        # A file of annotations lists the sequences.
        return {key: changed[key] for key in changed if key != 'val_partition'}

    return {'note': _NEEDS_LIST, 'function': rule, 'gone': ['scale', 'val_partition']}


_NEEDS_LIST = (
    'BasicFramesDataset takes its sequences from ann_file, a text with a line each; make it where '
    'the folder was looked through before.'
)


def _of_masks(config: Config) -> Config:
    return {
        'type': 'BasicImageDataset',
        'metainfo': {'dataset_type': 'ImgInpaintingDataset', 'task_name': 'inpainting'},
        **{key: value for key, value in config.items() if key != 'type'},
    }


def _of_pairs(kind: str) -> Any:
    return {'type': kind, 'keys': {'dataroot': 'data_root'}}


datasets: dict[str, Any] = {
    **{
        f'SR{name}Dataset': _files('sisr')
        for name in ('Annotation', 'Folder', 'FolderGT', 'FolderRef', 'Lmdb', 'FacialLandmark')
    },
    **{
        f'SR{name}Dataset': _frames('vsr')
        for name in (
            'FolderMultipleGT', 'FolderVideo', 'REDS', 'REDSMultipleGT', 'TestMultipleGT', 'Vid4',
            'Vimeo90K', 'Vimeo90KMultipleGT',
        )
    },
    'VFIVimeo90KDataset': _frames('vfi'),
    'AdobeComp1kDataset': {'keys': {'data_prefix': 'data_root'}},
    'ImgInpaintingDataset': _of_masks,
    'GenerationPairedDataset': _of_pairs('PairedImageDataset'),
    'GenerationUnpairedDataset': _of_pairs('UnpairedImageDataset'),
    'RepeatDataset': {},
    'ConcatDataset': {},
}  # fmt: skip
_KNOWN = (
    'PSNR', 'SSIM', 'MAE', 'MSE', 'SAD', 'GradientError', 'ConnectivityError', 'NIQE', 'SNR',
    'EPE', 'L1',
)  # fmt: skip
_RENAMED = {'L1': 'MAE'}


def _metrics(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[Config]:
    """Those that the model's ``test_cfg`` or ``evaluation`` name, each a class."""
    asked = evaluation.get('metrics') or []
    names = [asked] if isinstance(asked, str) else list(asked)
    renamed = _OF_MATTING if dataset.get('type') in _MATTING else _RENAMED
    return [
        {'type': renamed.get(name, name), **_options(name, evaluation)}
        for name in names
        if name in _KNOWN
    ]


_MATTING = ('AdobeComp1kDataset',)
_OF_MATTING = {'MSE': 'MattingMSE'}


def _options(name: str, evaluation: Mapping[str, Any]) -> Config:
    found: Config = {}
    if name in ('PSNR', 'SSIM', 'NIQE') and evaluation.get('crop_border'):
        found['crop_border'] = evaluation['crop_border']
    if name in ('PSNR', 'SSIM') and str(evaluation.get('convert_to')).lower() == 'y':
        found['convert_to'] = 'Y'
    return found


metrics: dict[str, Any] = {
    '*': {
        'build': _metrics,
        'takes': ['metrics', 'save_image', 'save_path', 'iteration', 'crop_border', 'convert_to'],
        'prefix': None,
        'test_cfg': True,
    }
}
hooks: dict[str, Any] = {
    'VisualizationHook': {
        'type': 'BasicVisualizationHook',
        'keys': {'interval': 'interval'},
        'note': 'what it shows is chosen in the visualizer (fn_key, img_keys).',
    },
    'ExponentialMovingAverageHook': {
        'note': "an average is the model's own now: its ema_config, or EMAHook.",
    },
}
constructors: dict[str, str] = {}


def _edited_model(kind: str) -> Any:
    """Metrics are evaluators now, not entries of the model's ``test_cfg``."""

    def rule(config: Config) -> Config:
        changed = {**config, 'type': kind}
        tested = config.get('test_cfg')
        if isinstance(tested, Mapping):
            of_metrics = ('metrics', 'crop_border', 'convert_to')
            changed['test_cfg'] = {key: tested[key] for key in tested if key not in of_metrics}
        return changed

    return rule


_MODELS = (
    'AOTInpaintor', 'BasicVSR', 'CAIN', 'DeepFillv1Inpaintor', 'DIC', 'DIM', 'EDVR', 'ESRGAN',
    'FLAVR', 'GCA', 'GLInpaintor', 'GLEAN', 'IndexNet', 'LIIF', 'OneStageInpaintor',
    'PConvInpaintor', 'RealBasicVSR', 'RealESRGAN', 'SRGAN', 'TDAN', 'TTSR', 'TwoStageInpaintor',
    'Pix2Pix', 'CycleGAN',
)  # fmt: skip
models: dict[str, Any] = {
    **{name: _edited_model(name) for name in _MODELS},
    'BasicRestorer': _edited_model('BaseEditModel'),
    'BasicInterpolator': _edited_model('BasicInterpolator'),
    'SRCNN': {'type': 'SRCNNNet'},
    'EDSR': {'type': 'EDSRNet'},
    'RDN': {'type': 'RDNNet'},
}
model_types = dict.fromkeys(
    (*(name for name in _MODELS if name not in ('Pix2Pix', 'CycleGAN')), 'BasicRestorer',
     'BasicInterpolator'),
)  # fmt: skip
# Their generator is all that they train, by an optimizer that has no name now.
single_optimizer = dict.fromkeys((
    'BasicRestorer', 'BasicInterpolator', 'BasicVSR', 'CAIN', 'EDVR', 'FLAVR', 'LIIF', 'TDAN',
))  # fmt: skip
