"""A private project on MMCV 1.x: lines through points."""

from .datasets import DATASETS, build_dataset
from .hooks import ClampHook, NoteHook
from .models import LineNet
from .optimizing import CappedOptimizerHook
from .schedules import StairsLrUpdaterHook

__all__ = [
    'DATASETS',
    'CappedOptimizerHook',
    'ClampHook',
    'LineNet',
    'NoteHook',
    'StairsLrUpdaterHook',
    'build_dataset',
]
