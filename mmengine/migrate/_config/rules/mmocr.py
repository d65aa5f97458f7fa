"""mmocr 0.x: its names tell the project; its data had to be prepared anew for later versions."""

from __future__ import annotations

from typing import Any

from mmengine.migrate._config.rules.shared import FORMATTING

scope = 'mmocr'
test_dataset = {'test_mode': True}
validates_by_default = True
transforms: dict[str, Any] = {
    **FORMATTING,
    'LoadTextAnnotations': {'type': 'LoadOCRAnnotations', 'add': {'with_polygon': True}},
    'Collect': {'type': 'PackTextDetInputs', 'drop': ['keys']},
}
datasets: dict[str, Any] = {'RepeatDataset': {}, 'ConcatDataset': {}}
_RECOGNITION = {
    'build': lambda evaluation, dataset: [
        {'type': 'WordMetric', 'mode': ['exact', 'ignore_case', 'ignore_case_symbol']},
        {'type': 'CharMetric'},
    ],
    'takes': ['metric'],
    'prefix': 'recog',
}
metrics: dict[str, Any] = {
    'OCRDataset': _RECOGNITION,
    'OCRSegDataset': _RECOGNITION,
    'IcdarDataset': {'type': 'HmeanIOUMetric', 'takes': ['metric'], 'prefix': 'icdar'},
    'TextDetDataset': {'type': 'HmeanIOUMetric', 'takes': ['metric'], 'prefix': 'icdar'},
}
hooks: dict[str, Any] = {}
constructors: dict[str, str] = {}
model_types = dict.fromkeys((
    'ABINet', 'CRNNNet', 'CRNN', 'DBNet', 'DRRG', 'FCENet', 'MASTER', 'NRTR', 'OCRMaskRCNN',
    'PANet', 'PSENet', 'RobustScanner', 'SARNet', 'SATRN', 'SDMGR', 'SegRecognizer', 'TextSnake',
    'TPSNet',
))  # fmt: skip
