"""Predictions as lines of JSON, with large arrays in files beside them."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmengine.fileio import atomic_write
from mmengine.fileio._atomic import remove_path, replace_folder, temporary_beside
from mmengine.structures import BaseDataElement

LINES, ARRAYS = 'predictions.jsonl', 'predictions_arrays'
_MAX_NUMBERS = 1000  # in a line; larger arrays are files
_WITHOUT_NUMPY = (torch.bfloat16,)


class RecordWriter:
    """Writes one line for each prediction.

    Attributes:
        count: Lines written.
        num_arrays: Arrays written to files.
        as_text: Names of the types whose values are written as text, because JSON has no form for
            them.
    """

    def __init__(self, lines: Any, arrays: Path) -> None:
        self.count = 0
        self.num_arrays = 0
        self.as_text: set[str] = set()
        self._lines = lines
        self._arrays = arrays

    def write(self, source: Mapping[str, Any], prediction: Any) -> str:
        """Write a line with the entries of ``source`` and ``prediction``; returns the line."""
        record = {**source, 'prediction': self._plain(prediction, f'{self.count:06}')}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        self._lines.write(line + '\n')
        self.count += 1
        return line

    def _plain(self, value: Any, name: str) -> Any:
        """``value`` in the types of JSON; ``name`` is for the files of arrays in it."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, enum.Enum):
            return value.name
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return self._array(_as_array(value), name)
        if isinstance(value, BaseDataElement):
            value = dict(value.all_items())
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {str(key): self._plain(one, f'{name}.{key}') for key, one in value.items()}
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=str)
        if isinstance(value, (list, tuple)):
            return [self._plain(one, f'{name}.{index}') for index, one in enumerate(value)]
        if not isinstance(value, PurePath):
            self.as_text.add(type(value).__name__)
        return str(value)

    def _array(self, array: np.ndarray, name: str) -> Any:
        kind = array.dtype.kind
        if kind == 'O':
            return self._plain(array.tolist(), name)
        if kind not in 'biufcU':  # bytes and times
            array = array.astype(str)
        if array.size > _MAX_NUMBERS or kind == 'c':
            return self._saved(array, name)
        if kind == 'f':
            return self._plain(_shortest(array).tolist(), name)
        return array.tolist()

    def _saved(self, array: np.ndarray, name: str) -> dict[str, Any]:
        """Write ``array`` to a file; returns what names it in a line."""
        self._arrays.mkdir(exist_ok=True)
        file = f'{_file_name(name)}.npy'
        if (self._arrays / file).exists():
            file = f'{_file_name(name)}_{self.num_arrays}.npy'
        np.save(self._arrays / file, array, allow_pickle=False)
        self.num_arrays += 1
        shape = list(array.shape)
        return {'file': f'{ARRAYS}/{file}', 'shape': shape, 'dtype': str(array.dtype)}


@contextmanager
def writing_records(folder: Path) -> Iterator[RecordWriter]:
    """Context that writes :data:`LINES` and the folder :data:`ARRAYS` within ``folder``.

    They take the place of earlier ones when the block ends without an error, and not before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(temporary_beside(folder / ARRAYS))
    try:
        with atomic_write(folder / LINES, 'w') as lines:
            writer = RecordWriter(lines, draft)
            yield writer
            if draft.is_dir():
                replace_folder(draft, folder / ARRAYS)
            else:
                remove_path(folder / ARRAYS)
    finally:
        remove_path(draft)


def _as_array(value: Tensor | np.ndarray | np.generic) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        if value.dtype in _WITHOUT_NUMPY:
            value = value.float()
        return value.numpy()
    return np.asarray(value)


def _shortest(array: np.ndarray) -> np.ndarray:
    """``array`` in numbers that print with the digits of its precision: 0.1, not 0.100000001."""
    return array if array.itemsize >= 8 else array.astype(str).astype(np.float64)


def _file_name(name: str) -> str:
    """``name`` without what the name of a file cannot have."""
    kept = ''.join(letter if letter.isalnum() or letter in '._-' else '_' for letter in name)
    return kept[:120]
