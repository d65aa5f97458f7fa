"""Facts about a dataset as a whole, such as its class names."""

from __future__ import annotations

import copy
import logging
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.logging import print_log

_LOOKS_LIKE_A_FILE = re.compile(r'\.(txt|names|csv|list)$', re.IGNORECASE)


def resolve_metainfo(
    defaults: Mapping[str, Any], given: Mapping[str, Any] | Config | None
) -> dict[str, Any]:
    """``defaults`` updated by ``given``; a string that names a text file stands for its lines.

    Raises:
        TypeError: If ``given`` is not a mapping.
    """
    metainfo = copy.deepcopy(dict(defaults))
    if given is None:
        return metainfo
    if not isinstance(given, (Mapping, Config)):
        raise TypeError(f'metainfo must be a mapping or a Config, got {type(given).__name__}.')
    for key, value in given.items():
        metainfo[key] = (
            _read_if_file(key, value) if isinstance(value, str) else copy.deepcopy(value)
        )
    return metainfo


def _read_if_file(key: str, value: str) -> Any:
    remote = '://' in value and _LOOKS_LIKE_A_FILE.search(value)
    if remote or os.path.isfile(value):
        return list_from_file(value)
    if _LOOKS_LIKE_A_FILE.search(value):
        print_log(
            f'metainfo[{key!r}]={value!r} looks like a text file but there is none; it is kept as '
            'a string.',
            logger='current',
            level=logging.WARNING,
        )
    return value


def same_value(first: Any, second: Any) -> bool:
    """Whether two entries of metainfo are equal, arrays and tensors inside them included."""
    arrays = (np.ndarray, torch.Tensor)
    if isinstance(first, arrays) or isinstance(second, arrays):
        return type(first) is type(second) and bool(np.array_equal(first, second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(
            same_value(value, second[key]) for key, value in first.items()
        )
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return (
            isinstance(first, list) == isinstance(second, list)
            and len(first) == len(second)
            and all(map(same_value, first, second))
        )
    return bool(first == second)
