"""The base class of datasets: a list of annotation records and a pipeline of transforms."""

from __future__ import annotations

import copy
import functools
import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from torch.utils.data import Dataset

from mmengine.config import Config
from mmengine.dataset._ann_file import load_annotations
from mmengine.dataset._annotations import SharedRecords, pack, positions_of, take, unpack
from mmengine.dataset._compose import Compose
from mmengine.dataset._metainfo import resolve_metainfo
from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs
from mmengine.utils._shared_block import CAN_SHARE, is_starting_process
from mmengine.utils.errors import ArgumentError, did_you_mean

__all__ = ['BaseDataset', 'Compose', 'force_full_init']

_Method = TypeVar('_Method', bound=Callable[..., Any])

# Where a dataset keeps its records; all else in it is settings.
_RECORDS = ('data_list', 'data_bytes', 'data_address', '_shared_records')


def force_full_init(old_func: _Method) -> _Method:
    """Decorate a method of a dataset that needs the annotations, so that they are loaded first.

    Raises:
        AttributeError: At the call, if the object has no ``full_init`` method.
    """

    @functools.wraps(old_func)
    def initialized(obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(obj, '_fully_initialized', False):
            if not hasattr(obj, 'full_init'):
                raise AttributeError(
                    f'{type(obj).__name__}.{old_func.__name__} needs the annotations loaded, but '
                    'the class has no full_init method to load them.'
                )
            obj.full_init()
            obj._fully_initialized = True
        return old_func(obj, *args, **kwargs)

    return cast(_Method, initialized)


class BaseDataset(Dataset[Any]):
    """A list of annotation records, each turned into a sample by a pipeline.

    The annotation file is JSON, YAML or pickle and holds two keys::

        metainfo:  {classes: [cat, dog]}                 facts about the whole
        data_list: [{img_path: 1.jpg, label: 0}, ...]    one record a sample

    A subclass for another format overrides :meth:`load_data_list`, or only :meth:`parse_data_info`.
    Loading runs in :meth:`full_init`: load, filter, choose, pack into one shared array of bytes. It
    is deterministic, so all ranks and workers see the same samples at the same index.

    Args:
        ann_file: The annotation file, relative to ``data_root``.
        metainfo: Facts about the dataset. They replace values of the class (``METAINFO``), which
            replace values of the annotation file. A string that names a text file stands for
            the list of its lines.
        data_root: Folder that ``ann_file`` and the folders in ``data_prefix`` are in.
        data_prefix: Folder, for each key of a record that holds a path.
        filter_cfg: For the :meth:`filter_data` of a subclass.
        indices: Use the first ``n`` samples, the last ``-n``, or those at a sequence of positions.
        serialize_data: Keep the records as one array of bytes, which all workers share.
        pipeline: Transforms, as configs or callables.
        test_mode: A dropped sample is an error rather than replaced by another.
        lazy_init: Leave loading the annotations to :meth:`full_init`, or to the first use.
        max_refetch: How many other samples to try when the pipeline drops one.
        allow_pickle: Read an ``ann_file`` in pickle format as the API does. **A pickle runs any
            code that its author put in.** False reads plain values and arrays, and refuses others.
    """

    METAINFO: dict[str, Any] = dict()

    # Some subclasses set up their own state without calling this constructor.
    _fully_initialized: bool = False
    _indices: int | Sequence[int] | None = None
    allow_pickle: bool = True
    # The serialised records, once a worker was spawned.
    _shared_records: SharedRecords | None = None

    def __init__(
        self,
        ann_file: str = '',
        metainfo: Mapping[str, Any] | Config | None = None,
        data_root: str = '',
        data_prefix: dict[str, Any] = dict(img_path=''),  # noqa: B006  # only read
        filter_cfg: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: list[dict[str, Any] | Callable[..., Any]] = [],  # noqa: B006  # only read
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        *,
        allow_pickle: bool = True,
    ) -> None:
        self.ann_file = ann_file
        self._metainfo = self._load_metainfo(metainfo)
        self.data_root = data_root
        self.data_prefix: dict[str, Any] = dict(data_prefix or {})
        self.filter_cfg = copy.deepcopy(filter_cfg)
        self._indices = indices
        self.serialize_data = serialize_data
        self.test_mode = test_mode
        self.max_refetch = max_refetch
        self.allow_pickle = allow_pickle
        self.data_list: list[dict[str, Any]] = []
        self.data_bytes: np.ndarray[Any, Any]
        self.data_address: np.ndarray[Any, Any]

        self._join_prefix()
        self.pipeline = Compose(pipeline)
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """A copy of the metainfo."""
        return copy.deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Load the annotations, unless they are loaded already."""
        if self._fully_initialized:
            return
        self.data_list = self.load_data_list()
        found = len(self.data_list)
        self.data_list = self.filter_data()
        if found and not self.data_list:
            print_log(
                f'{type(self).__name__} has no sample left: filter_data, with '
                f'filter_cfg={self.filter_cfg}, drops all {found}.',
                logger='current',
                level=logging.WARNING,
            )
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read ``ann_file`` and parse its records.

        Returns:
            One dict a sample.

        Raises:
            ArgumentError: If ``ann_file`` is missing, or it lacks ``metainfo`` or ``data_list``.
            FileNotFoundError: If the file is not there.
            TypeError: If something in the file is of the wrong kind.
        """
        content = self._read_ann_file()
        # Values from the user or the class replace values of the file.
        self._metainfo = {**content['metainfo'], **self._metainfo}
        data_list: list[dict[str, Any]] = []
        for number, raw_data_info in enumerate(content['data_list']):
            parsed = self.parse_data_info(raw_data_info)
            samples = parsed if isinstance(parsed, list) else [parsed]
            for sample in samples:
                if not isinstance(sample, dict):
                    raise TypeError(
                        f'{type(self).__name__}.parse_data_info must return a dict, or a list of '
                        f'dicts (an empty one drops the record); record {number} of '
                        f'{self.ann_file!r} gave {type(sample).__name__}.'
                    )
            data_list += samples
        return data_list

    def parse_data_info(
        self, raw_data_info: dict[str, Any]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Turn a record of the annotation file into the record of one or several samples.

        Here the folders of ``data_prefix`` are put before the paths. Subclasses override it for
        their format.

        Raises:
            ArgumentError: If the record lacks a key of ``data_prefix``.
            TypeError: If the record is not a dict.
        """
        if not isinstance(raw_data_info, Mapping):
            raise TypeError(
                f'A record of data_list in {self.ann_file!r} must be a dict, got '
                f'{type(raw_data_info).__name__}. Other formats need a parse_data_info of their '
                'own.'
            )
        data_info = dict(raw_data_info)
        for key, prefix in self.data_prefix.items():
            if key not in data_info:
                raise ArgumentError(
                    f'data_prefix has the key {key!r}, but a record of {self.ann_file!r} has only '
                    f'{sorted(map(str, data_info))}.' + did_you_mean(key, map(str, data_info))
                )
            if prefix:
                data_info[key] = join_path(prefix, data_info[key])
        return data_info

    def filter_data(self) -> list[dict[str, Any]]:
        """The records to keep, by default all. Subclasses select by ``self.filter_cfg``."""
        return self.data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Categories in a sample, for :class:`ClassBalancedDataset`; defined by subclasses.

        Raises:
            NotImplementedError: If the subclass does not.
        """
        raise NotImplementedError(
            f'{type(self).__name__} must define get_cat_ids(idx) to be balanced by category.'
        )

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """A copy of a sample's record, with its position in it as ``sample_idx``.

        Args:
            idx: Position of the sample; negative ones count from the end.

        Raises:
            IndexError: If the sample does not exist.
        """
        length = self._num_records()
        position = operator.index(idx)
        if not -length <= position < length:
            raise IndexError(f'{type(self).__name__} has {length} samples, none at index {idx}.')
        position %= length
        data_info = cast(
            'dict[str, Any]',
            unpack((self.data_bytes, self.data_address), position)
            if self.serialize_data
            else copy.deepcopy(self.data_list[position]),
        )
        data_info['sample_idx'] = position
        return data_info

    @force_full_init
    def __len__(self) -> int:
        return self._num_records()

    def __getitem__(self, idx: int) -> Any:
        """The sample at ``idx`` from the pipeline, or a random other one if it is dropped.

        Raises:
            RuntimeError: If the pipeline drops a sample in test mode, or ``max_refetch`` others
                after one.
        """
        if not self._fully_initialized:
            print_log(
                f'{type(self).__name__} loads its annotations at the first sample. Call '
                'full_init() before workers start, or each of them loads its own.',
                logger='current',
                level=logging.WARNING,
            )
            self.full_init()
        sample = self.prepare_data(idx)
        if sample is not None:
            return sample
        if self.test_mode:
            raise RuntimeError(
                f'No sample may be dropped in test mode, but the sample of index {idx} '
                f'was{self._dropped_by()}.'
            )
        for _ in range(self.max_refetch):
            sample = self.prepare_data(self._rand_another())
            if sample is not None:
                return sample
        raise RuntimeError(
            f'{type(self).__name__} has no sample to give for index {idx}: the pipeline drops it '
            f'and {self.max_refetch} others tried after it (max_refetch). The last '
            f'was{self._dropped_by()}.'
        )

    def prepare_data(self, idx: int) -> Any:
        """The sample at ``idx`` from the pipeline; None if the pipeline drops it."""
        return self.pipeline(self.get_data_info(idx))

    @force_full_init
    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only some of the samples, in place.

        Args:
            indices: The first ``n`` samples, the last ``-n``, or those at a sequence of positions,
                in its order.

        Raises:
            ArgumentError: If an index is out of range.
            TypeError: If ``indices`` is neither a whole number nor a sequence of them.
        """
        if self.serialize_data:
            self.data_bytes, self.data_address = self._get_serialized_subset(indices)
        else:
            self.data_list = self._select(positions_of(indices, self._num_records(), clip=False))

    @force_full_init
    def get_subset(self, indices: Sequence[int] | int) -> BaseDataset:
        """A new dataset with some of the samples, selected as by :meth:`get_subset_`."""
        subset = self._copy_without_annotation()
        # Records are never changed in place, so both datasets may share them for a moment.
        for name in _RECORDS:
            if name in vars(self):
                setattr(subset, name, getattr(self, name))
        subset.get_subset_(indices)
        return subset

    # The names below are called or overridden by datasets of other projects.

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | Config | None = None) -> dict[str, Any]:
        """The metainfo of the class, updated by the given values."""
        return resolve_metainfo(cls.METAINFO, metainfo)

    def _join_prefix(self) -> None:
        """Put ``data_root`` before ``ann_file`` and the folders, unless they are absolute."""
        for key, prefix in self.data_prefix.items():
            if not isinstance(prefix, str):
                raise TypeError(
                    f'data_prefix[{key!r}] must be a string, got {type(prefix).__name__}.'
                )
        if not self.data_root:
            return
        if self.ann_file:
            self.ann_file = self._under_root(self.ann_file)
        self.data_prefix = {
            key: self._under_root(prefix) for key, prefix in self.data_prefix.items()
        }

    def _serialize_data(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The records as one array of bytes and the array of their ends; frees the list."""
        packed = pack(self.data_list)
        self.data_list = []
        return packed

    def _get_serialized_subset(
        self, indices: Sequence[int] | int
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        packed = (self.data_bytes, self.data_address)
        return take(packed, positions_of(indices, len(self.data_address), clip=False))

    def _get_unserialized_subset(self, indices: Sequence[int] | int) -> list[dict[str, Any]]:
        return self._select(positions_of(indices, len(self.data_list), clip=True))

    def _copy_without_annotation(self, memo: dict[int, Any] | None = None) -> BaseDataset:
        """A deep copy of the settings, without records."""
        memo = {} if memo is None else memo
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        for name, value in vars(self).items():
            if name not in _RECORDS:
                setattr(other, name, copy.deepcopy(value, memo))
        return other

    def _rand_another(self) -> int:
        return int(np.random.randint(len(self)))

    # Only ours.

    def __getstate__(self) -> dict[str, Any]:
        """The attributes; a worker that is being spawned shares the serialised records."""
        packed = vars(self).get('data_bytes'), vars(self).get('data_address')
        if CAN_SHARE and is_starting_process() and all(type(part) is np.ndarray for part in packed):
            shared = self._shared_records
            if shared is None or packed[0] is not shared.packed[0]:
                shared = self._shared_records = SharedRecords(cast(Any, packed))
                self.data_bytes, self.data_address = shared.packed
            packed = cast(Any, shared.for_new_process())
        state = {key: value for key, value in vars(self).items() if key != '_shared_records'}
        for name, part in zip(('data_bytes', 'data_address'), packed, strict=True):
            if name in state:
                state[name] = part
        return state

    def _num_records(self) -> int:
        return len(self.data_address) if self.serialize_data else len(self.data_list)

    def _select(self, positions: list[int]) -> list[dict[str, Any]]:
        return [self.data_list[position] for position in positions]

    def _under_root(self, path: str) -> str:
        return path if is_abs(path) else join_path(self.data_root, path)

    def _dropped_by(self) -> str:
        place = getattr(self.pipeline, '_dropped_by', None)
        return f', by {place}' if place else ''

    def _read_ann_file(self) -> dict[str, Any]:
        name = type(self).__name__
        if not self.ann_file:
            raise ArgumentError(
                f'{name} needs an ann_file, or its own load_data_list in a subclass.'
            )
        try:
            content = load_annotations(self.ann_file, self.data_root, self.allow_pickle)
        except FileNotFoundError as error:
            raise FileNotFoundError(self._no_ann_file()) from error
        if not isinstance(content, dict):
            raise TypeError(
                f'{self.ann_file!r} must hold a dict with metainfo and data_list, got '
                f'{type(content).__name__}. {name} needs its own load_data_list for other '
                'formats.'
            )
        missing = [key for key in ('metainfo', 'data_list') if key not in content]
        if missing:
            raise ArgumentError(
                f'{self.ann_file!r} must have the keys metainfo and data_list; it lacks '
                f'{" and ".join(missing)} and has {sorted(map(str, content))}.'
            )
        for key, kind in (('metainfo', dict), ('data_list', list)):
            if not isinstance(content[key], kind):
                raise TypeError(
                    f'{key} in {self.ann_file!r} must be a {kind.__name__}, got '
                    f'{type(content[key]).__name__}.'
                )
        return content

    def _no_ann_file(self) -> str:
        folder, file_name = os.path.split(self.ann_file)
        root = f' (data_root={self.data_root!r})' if self.data_root else ''
        message = f'{type(self).__name__} finds no ann_file {self.ann_file!r}{root}.'
        if '://' in self.ann_file:
            return message
        if not os.path.isdir(folder or '.'):
            return f'{message} Its folder is missing too.'
        return message + did_you_mean(file_name, os.listdir(folder or '.'))
