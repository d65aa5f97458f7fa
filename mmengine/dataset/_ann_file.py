"""Reading annotation files, of which those in pickle format can run code."""

import logging
import os
from typing import Any

from mmengine.fileio import load
from mmengine.logging import print_log

_PICKLES = ('.pkl', '.pickle')
_warned: set[str] = set()


def load_annotations(ann_file: str, data_root: str, allow_pickle: bool) -> Any:
    """The content of an annotation file.

    A pickle from elsewhere than ``data_root`` and the working folder, where users keep what they
    made themselves, is warned about once.

    Raises:
        pickle.UnpicklingError: If the file is a pickle of more than plain values and arrays, and
            ``allow_pickle`` is False.
    """
    if not ann_file.lower().endswith(_PICKLES):
        return load(ann_file)
    if allow_pickle and ann_file not in _warned and not _is_under(ann_file, data_root, os.getcwd()):
        _warned.add(ann_file)
        print_log(
            f'{ann_file!r} is a pickle from outside data_root and the working folder. Reading it '
            'runs any code that its author put in. allow_pickle=False reads plain values alone.',
            logger='current',
            level=logging.WARNING,
        )
    return load(ann_file, allow_pickle=allow_pickle)


def _is_under(path: str, *folders: str) -> bool:
    if '://' in path:
        return any(folder and path.startswith(folder) for folder in folders)
    real = os.path.realpath(path)
    roots = [os.path.realpath(folder) for folder in folders if folder and '://' not in folder]
    return any(os.path.commonpath([real, root]) == root for root in roots)
