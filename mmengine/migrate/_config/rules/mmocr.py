"""mmocr 0.x: text detection, text recognition, and key information."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.rules import mmdet
from mmengine.migrate._config.rules.shared import FORMATTING, loading, of_unit_images, resize

scope = 'mmocr'
test_dataset = {'test_mode': True}
validates_by_default = True
test_annotations = {'type': 'LoadOCRAnnotations', 'with_polygon': True, 'with_bbox': True,
                    'with_label': True}  # fmt: skip
test_pack = {'meta_keys': ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')}

Config = dict[str, Any]
_DETECTORS = ('DBNet', 'DRRG', 'FCENet', 'OCRMaskRCNN', 'PANet', 'PSENet', 'TextSnake')
_RECOGNIZERS = ('ABINet', 'CRNN', 'CRNNNet', 'MASTER', 'NRTR', 'RobustScanner', 'SARNet', 'SATRN',
                'SegRecognizer', 'TPSNet')  # fmt: skip


def _task(legacy: Mapping[str, Any]) -> str:
    model = legacy.get('model')
    kind = str(model.get('type')) if isinstance(model, Mapping) else ''
    if kind in _DETECTORS:
        return 'detection'
    return 'information' if kind == 'SDMGR' else 'recognition' if kind in _RECOGNIZERS else ''


def data_preprocessor(legacy: Mapping[str, Any]) -> Config:
    """One for each task."""
    kinds = {'detection': 'TextDet', 'recognition': 'TextRecog'}
    task = _task(legacy)
    return {'type': f'{kinds[task]}DataPreprocessor' if task in kinds else 'ImgDataPreprocessor'}


preprocessing: dict[str, Any] = {'NormalizeOCR': of_unit_images}


def _to_height(config: Config) -> Any:
    """A height, and a width that follows from it or is given."""
    height, widest = config.get('height'), config.get('max_width')
    ratio = config.get('width_downsample_ratio')
    divisor = {'width_divisor': round(1 / ratio)} if ratio else {}
    if config.get('keep_aspect_ratio', True):
        limits = {key: config[key] for key in ('min_width', 'max_width') if config.get(key)}
        steps = [{'type': 'RescaleToHeight', 'height': height, **limits, **divisor}]
        pads = widest and config.get('min_width') != widest
        return [*steps, {'type': 'PadToWidth', 'width': widest}] if pads else steps
    return {'type': 'Resize', 'scale': (widest or config.get('min_width'), height)}


_METAS = {'filename': 'img_path', 'resize_shape': 'img_shape', 'text': None, 'label': None,
          'img_norm_cfg': None}  # fmt: skip


def _collect(config: Config, dataset: Mapping[str, Any], legacy: Mapping[str, Any]) -> Config:
    kinds = {'detection': 'TextDet', 'information': 'KIE', 'recognition': 'TextRecog'}
    # A fragment has no model, but names what its task takes.
    has_text = 'text' in config.get('meta_keys', ()) or 'valid_ratio' in config.get('meta_keys', ())
    task = _task(legacy) or ('recognition' if has_text else 'detection')
    packed: Config = {'type': f'Pack{kinds[task]}Inputs'}
    if 'meta_keys' in config:
        names = [_METAS.get(name, name) for name in config['meta_keys']]
        packed['meta_keys'] = tuple(dict.fromkeys(name for name in names if name is not None))
    return packed


def _load(config: Config, dataset: Mapping[str, Any], legacy: Mapping[str, Any]) -> Any:
    """Of recognition, with the text, which the dataset gave."""
    loaded = loading(config)
    if _task(legacy) != 'recognition':
        return loaded
    return [loaded, {'type': 'LoadOCRAnnotations', 'with_text': True}]


def _annotations(config: Config) -> Config:
    masks = config.get('with_mask', True)
    return {'type': 'LoadOCRAnnotations', 'with_polygon': masks, 'with_bbox': True,
            'with_label': True}  # fmt: skip


def _plain(config: Config) -> Any:
    """The view that is not turned."""
    return list(config.get('transforms', ()))


def _jitter(config: Config) -> Config:
    rest = {key: value for key, value in config.items() if key != 'type'}
    return {'type': 'TorchVisionWrapper', 'op': 'ColorJitter', **rest}


def _wrapped(config: Config) -> Config:
    return {'type': 'ImgAugWrapper', 'args': config.get('args')}


def _crop(config: Config) -> Any:
    """A crop that keeps texts whole, brought to a size and padded."""
    size = config.get('target_size', (640, 640))
    size = (size[1], size[0])
    return [
        {'type': 'RandomCrop', 'min_side_ratio': config.get('min_crop_side_ratio', 0.1)},
        {'type': 'Resize', 'scale': size, 'keep_ratio': True},
        {'type': 'Pad', 'size': size},
    ]


def _aspect_jitter(config: Config) -> Config:
    rest: Config = {key: config[key] for key in ('ratio_range', 'keep_ratio') if key in config}
    scale = config.get('img_scale')
    scale = scale[0] if isinstance(scale, list) and len(scale) == 1 else scale
    return {'type': 'RandomResize', 'scale': scale, **rest}


def _square(config: Config) -> Any:
    size = config.get('target_size')
    return [
        {'type': 'Resize', 'scale': (size, size), 'keep_ratio': True},
        {'type': 'Pad', 'size': (size, size)},
    ]


# The models make their targets themselves now.
_TARGETS = dict.fromkeys(('DBNetTargets', 'DRRGTargets', 'FCENetTargets', 'OCRSegTargets',
                          'PANetTargets', 'PSENetTargets', 'TextSnakeTargets'))  # fmt: skip
transforms: dict[str, Any] = {
    **FORMATTING,
    **_TARGETS,
    **dict.fromkeys(
        ('CustomFormatBundle', 'KIEFormatBundle', 'OpencvToPil', 'PilToOpencv', 'ToTensorOCR')
    ),
    'LoadImageFromFile': _load,
    'LoadImageFromNdarray': {'type': 'LoadImageFromNDArray'},
    'LoadTextAnnotations': _annotations,
    'LoadAnnotations': lambda config: {
        'type': 'LoadKIEAnnotations' if config.get('with_relation') else 'LoadOCRAnnotations',
        'with_bbox': config.get('with_bbox', True),
        'with_label': config.get('with_label', True),
        'with_text': True,
    },
    'ResizeOCR': _to_height,
    'MultiRotateAugOCR': {
        'function': _plain,
        'note': 'texts were also read when turned; that takes a tta_pipeline.',
    },
    'ColorJitter': _jitter,
    'ImgAug': _wrapped,
    'EastRandomCrop': _crop,
    'ScaleAspectJitter': _aspect_jitter,
    'SquareResizePad': _square,
    'RandomScaling': lambda config: {
        'type': 'RandomResize', 'scale': config.get('size', (800, 800)),
        'ratio_range': config.get('scale', (0.75, 2.5)), 'keep_ratio': True,
    },
    'RandomRotateTextDet': {
        'type': 'RandomRotate', 'keys': {'rotate_ratio': 'prob', 'max_angle': 'max_angle'},
    },
    'RandomRotatePolyInstances': {
        'type': 'RandomRotate', 'keys': {'rotate_ratio': 'prob'},
    },
    'RandomCropInstances': {'type': 'TextDetRandomCrop', 'keys': {'target_size': 'target_size'},
                            'drop': ['instance_key', 'mask_type', 'positive_sample_ratio']},
    'RandomCropPolyInstances': {
        'type': 'RandomCrop', 'keys': {'min_side_ratio': 'min_side_ratio'},
        'drop': ['instance_key', 'crop_ratio'],
    },
    'RandomCropFlip': {'type': 'TextDetRandomCropFlip', 'drop': ['iter_num', 'area_ratio']},
    'ResizeNoImg': {'type': 'Resize', 'keys': {'img_scale': 'scale'}},
    'Resize': resize,
    'Collect': _collect,
    'RandomFlip': mmdet.transforms['RandomFlip'],
    'Pad': mmdet.transforms['Pad'],
    'TorchVisionWrapper': {},
    'Albu': {'type': 'ImgAugWrapper'},
    'FancyPCA': {},
    'RandomPaddingOCR': {},
    'OnlineCropOCR': {'type': 'CropHeight'},
    'RandomRotateImageBox': {},
    'RandomWrapper': {'type': 'RandomApply', 'keys': {'p': 'prob'}},
    'OneOfWrapper': {'type': 'RandomChoice'},
}  # fmt: skip


def _dataset(config: Config, stage: str, legacy: Mapping[str, Any]) -> Config:
    """A loader and its parser became a dataset each, with a parser for lists of texts."""
    changed: Config = {'ann_file': config['ann_file']} if 'ann_file' in config else {}
    if config.get('img_prefix') is not None:
        changed['data_prefix'] = {'img_path': config['img_prefix']}
    changed['pipeline'] = config.get('pipeline')
    given = config.get('loader')
    loader: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if str(loader.get('type')).startswith('Lmdb') or loader.get('file_format') == 'lmdb':
        return {'type': 'RecogLMDBDataset', **changed}
    parser = loader.get('parser')
    if isinstance(parser, Mapping):
        changed['parser_cfg'] = {key: value for key, value in parser.items() if key != 'keys_idx'}
        indices, keys = parser.get('keys_idx'), parser.get('keys')
        if isinstance(indices, (list, tuple)) and isinstance(keys, (list, tuple)):
            changed['parser_cfg']['keys'] = [keys[index] for index in range(len(indices))]
    dataset: Config = {'type': 'RecogTextDataset', **changed}
    times = loader.get('repeat', 1)
    return dataset if times == 1 else {'type': 'RepeatDataset', 'times': times, 'dataset': dataset}


_PREPARED = 'its annotations have to be prepared anew (mmocr has a tool for each data set).'
_OF_IMAGES = {'keys': {'img_prefix': 'data_prefix.img_path', 'classes': 'metainfo.classes'},
              'drop': ['loader', 'select_first_k', 'dict_file', 'directed']}  # fmt: skip
datasets: dict[str, Any] = {
    'OCRDataset': _dataset,
    'OCRSegDataset': {'type': 'OCRDataset', **_OF_IMAGES, 'note': _PREPARED},
    'IcdarDataset': _OF_IMAGES,
    'TextDetDataset': {'type': 'OCRDataset', **_OF_IMAGES, 'note': _PREPARED},
    'KIEDataset': {'type': 'WildReceiptDataset', **_OF_IMAGES},
    'OpensetKIEDataset': {'type': 'WildReceiptDataset', **_OF_IMAGES},
    'UniformConcatDataset': {
        'type': 'ConcatDataset',
        'drop': ['separate_eval', 'show_mean_scores', 'force_apply', 'get_mean_scores'],
    },
    'RepeatDataset': {},
    'ConcatDataset': {},
}


def _words(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[Config]:
    return [
        {'type': 'WordMetric', 'mode': ['exact', 'ignore_case', 'ignore_case_symbol']},
        {'type': 'CharMetric'},
    ]


def _boxes(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    """Scores from one to another in steps; rank lists are no more."""
    names = {'min_score_thr': 'start', 'max_score_thr': 'stop', 'step': 'step'}
    scores = {new: evaluation[old] for old, new in names.items() if old in evaluation}
    return {'type': 'HmeanIOUMetric'} | ({'pred_score_thrs': scores} if scores else {})


def _of_fields(evaluation: Mapping[str, Any], dataset: Mapping[str, Any]) -> Config:
    options = evaluation.get('metric_options')
    options = options.get('macro_f1') if isinstance(options, Mapping) else None
    built: Config = {'type': 'F1Metric', 'mode': 'macro', 'key': 'labels', 'num_classes': 26}
    ignored = options.get('ignores') if isinstance(options, Mapping) else None
    return built | ({'ignored_classes': ignored} if ignored else {})


def _name(name: str, *_: Any) -> str:
    """The number before it counted test sets; ``hmean-iou:`` was the metric."""
    number, _line, rest = name.partition('_')
    name = rest if number.isdigit() else name
    if ':' in name:
        return f'icdar/{name.rpartition(":")[2]}'
    known = {'1-N.E.D': '1-N.E.D', 'macro_f1': 'kie/macro_f1'}
    return known.get(name, f'recog/{name}')


_RECOGNITION = {'build': _words, 'takes': ['metric'], 'prefix': 'recog', 'names': _name}
_DETECTION = {
    'build': _boxes,
    'takes': ['metric', 'rank_list', 'min_score_thr', 'max_score_thr', 'step', 'score_thr'],
    'prefix': 'icdar',
    'names': _name,
}
_FIELDS = {
    'build': _of_fields, 'takes': ['metric', 'metric_options'], 'prefix': 'kie', 'names': _name,
}  # fmt: skip
metrics: dict[str, Any] = {
    'OCRDataset': _RECOGNITION,
    'OCRSegDataset': _RECOGNITION,
    'IcdarDataset': _DETECTION,
    'TextDetDataset': _DETECTION,
    'KIEDataset': _FIELDS,
}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((*_DETECTORS, *_RECOGNIZERS, 'SDMGR'))
models: dict[str, Any] = {
    'CRNNNet': {'type': 'CRNN'},
    'SARNet': {'type': 'SAR'},
    'OCRMaskRCNN': {'type': 'MMDetWrapper'},
}
