"""Datasets made of other datasets: joined, repeated, balanced by class."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from torch.utils.data import ConcatDataset as TorchConcatDataset

from mmengine.dataset._metainfo import same_value
from mmengine.dataset.base_dataset import BaseDataset, force_full_init
from mmengine.registry import DATASETS
from mmengine.utils.errors import ArgumentError

_NEEDED = ('full_init', 'get_data_info', 'metainfo', '__getitem__', '__len__')


class _Wrapper:
    """What the wrappers share. :meth:`_locate` maps a sample to one of a wrapped dataset."""

    _metainfo: dict[str, Any]
    _fully_initialized: bool = False

    @property
    def metainfo(self) -> dict[str, Any]:
        """A copy of the metainfo."""
        return copy.deepcopy(self._metainfo)

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The record of a sample; its ``sample_idx`` is the position in the wrapped dataset."""
        dataset, position = self._locate(idx)
        return cast('dict[str, Any]', dataset.get_data_info(position))

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Categories in a sample, as the wrapped dataset returns them."""
        dataset, position = self._locate(idx)
        return cast('list[int]', dataset.get_cat_ids(position))

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        dataset, position = self._locate(idx)
        return dataset[position]

    def get_subset(self, indices: list[int] | int) -> NoReturn:
        """Not for wrappers, see :meth:`get_subset_`."""
        self._refuse_subset()

    def get_subset_(self, indices: list[int] | int) -> NoReturn:
        """Not for wrappers: should a subset keep how samples were joined, repeated or weighted?

        Raises:
            NotImplementedError: Always.
        """
        self._refuse_subset()

    def _refuse_subset(self) -> NoReturn:
        name = type(self).__name__
        raise NotImplementedError(
            f'{name} has no subsets. Take the subset of the wrapped dataset (its indices '
            f'argument, or get_subset), then wrap that in {name}.'
        )

    def _locate(self, idx: int) -> tuple[Any, int]:
        """The wrapped dataset that contains a sample, and the position in it."""
        raise NotImplementedError

    def _position(self, idx: int, length: int) -> int:
        """A negative ``idx`` counted from the start."""
        if not -length <= idx < length:
            raise IndexError(f'{type(self).__name__} has {length} samples, none at index {idx}.')
        return int(idx) % length


@DATASETS.register_module()
class ConcatDataset(_Wrapper, TorchConcatDataset[Any]):
    """Several datasets concatenated.

    Args:
        datasets: Configs, which are built from ``DATASETS``, or datasets.
        lazy_init: Leave loading the annotations to :meth:`full_init`, or to the first use.
        ignore_keys: Keys of the metainfo that may differ; the first dataset's values are used.

    Raises:
        ArgumentError: If there is not a single dataset, or their metainfo differs.
        TypeError: If something given is of the wrong kind.
    """

    datasets: list[Any]

    def __init__(
        self,
        datasets: Sequence[BaseDataset | dict[str, Any]],
        lazy_init: bool = False,
        ignore_keys: str | list[str] | None = None,
    ) -> None:
        if isinstance(datasets, Mapping) or not isinstance(datasets, Sequence):
            raise TypeError(
                f'ConcatDataset needs a list of datasets, got {type(datasets).__name__}.'
            )
        if not datasets:
            raise ArgumentError('ConcatDataset needs at least one dataset, got an empty list.')
        self.datasets = [_built(dataset) for dataset in datasets]
        self.ignore_keys = _as_keys(ignore_keys)
        self._metainfo = self.datasets[0].metainfo
        for number, dataset in enumerate(self.datasets[1:], 1):
            self._check_metainfo(number, dataset.metainfo)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations of all datasets."""
        if self._fully_initialized:
            return
        for dataset in self.datasets:
            dataset.full_init()
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        """Index of the dataset that contains a sample, and the position in it."""
        position = self._position(idx, len(self))
        number = bisect.bisect_right(self.cumulative_sizes, position)
        return number, position - (self.cumulative_sizes[number - 1] if number else 0)

    def _locate(self, idx: int) -> tuple[Any, int]:
        number, position = self._get_ori_dataset_idx(idx)
        return self.datasets[number], position

    def _check_metainfo(self, number: int, other: dict[str, Any]) -> None:
        """Refuse metainfo that differs from the first dataset's."""
        keys = (self._metainfo.keys() | other.keys()) - set(self.ignore_keys)
        for key in sorted(keys, key=str):
            lacking = [i for i, facts in ((0, self._metainfo), (number, other)) if key not in facts]
            if lacking:
                detail = f'dataset {lacking[0]} has none'
            elif not same_value(self._metainfo[key], other[key]):
                detail = f'{_short(self._metainfo[key])} and {_short(other[key])}'
            else:
                continue
            raise ArgumentError(
                f'Datasets 0 and {number} of ConcatDataset differ in metainfo[{key!r}]: {detail}. '
                f'Make them equal, or pass ignore_keys={[*self.ignore_keys, key]} to go by '
                'dataset 0.'
            )


@DATASETS.register_module()
class RepeatDataset(_Wrapper):
    """A dataset repeated several times, to make the epochs of a small dataset longer.

    Args:
        dataset: A config, which is built from ``DATASETS``, or a dataset.
        times: How many times, a whole number.
        lazy_init: Leave loading the annotations to :meth:`full_init`, or to the first use.

    Raises:
        ArgumentError: If ``times`` is negative.
        TypeError: If something given is of the wrong kind.
    """

    def __init__(
        self, dataset: BaseDataset | dict[str, Any], times: int, lazy_init: bool = False
    ) -> None:
        if isinstance(times, bool) or not isinstance(times, int):
            raise TypeError(f'times must be a whole number, got {type(times).__name__}.')
        if times < 0:
            raise ArgumentError(f'times must be 0 or more, got {times}.')
        self.dataset = _built(dataset)
        self.times = times
        self._metainfo = self.dataset.metainfo
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations of the dataset."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        self._ori_len = len(self.dataset)
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        return self.times * self._ori_len

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> int:
        """Position of a sample in the dataset."""
        return self._position(idx, len(self)) % self._ori_len

    def _locate(self, idx: int) -> tuple[Any, int]:
        return self.dataset, self._get_ori_dataset_idx(idx)


@DATASETS.register_module()
class ClassBalancedDataset(_Wrapper):
    """A dataset in which samples with rare categories occur several times.

    With ``f(c)`` the share of samples that have category ``c`` and ``t`` the threshold, a sample
    occurs ``ceil(max over its categories of max(1, sqrt(t / f(c))))`` times, and once if it has
    none (Gupta et al. 2019, arXiv:1908.03195).

    Args:
        dataset: A config, which is built from ``DATASETS``, or a dataset. It must have
            ``get_cat_ids``.
        oversample_thr: The threshold ``t``: categories in a smaller share of the samples are
            repeated.
        lazy_init: Leave loading the annotations to :meth:`full_init`, or to the first use.

    Raises:
        ArgumentError: If the threshold is negative.
        TypeError: If ``dataset`` is of the wrong kind.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict[str, Any],
        oversample_thr: float,
        lazy_init: bool = False,
    ) -> None:
        if oversample_thr < 0:
            raise ArgumentError(
                f'oversample_thr is a share of the samples, 0 or more, got {oversample_thr}.'
            )
        self.dataset = _built(dataset)
        self.oversample_thr = oversample_thr
        self._metainfo = self.dataset.metainfo
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations of the dataset and compute how often each sample occurs."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        factors = self._get_repeat_factors(self.dataset, self.oversample_thr)
        self.repeat_indices = [
            position for position, factor in enumerate(factors) for _ in range(math.ceil(factor))
        ]
        self._fully_initialized = True

    @force_full_init
    def __len__(self) -> int:
        return len(self.repeat_indices)

    def _get_repeat_factors(self, dataset: Any, repeat_thr: float) -> list[float]:
        """The factor of each sample, before rounding up."""
        categories = [set(dataset.get_cat_ids(position)) for position in range(len(dataset))]
        num_samples_with = Counter(itertools.chain.from_iterable(categories))
        factor_of = {
            category: max(1.0, math.sqrt(repeat_thr / (count / len(categories))))
            for category, count in num_samples_with.items()
        }
        return [
            max((factor_of[category] for category in of_sample), default=1.0)
            for of_sample in categories
        ]

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> int:
        """Position of a sample in the dataset."""
        return self.repeat_indices[self._position(idx, len(self))]

    def _locate(self, idx: int) -> tuple[Any, int]:
        return self.dataset, self._get_ori_dataset_idx(idx)


def _built(dataset: Any) -> Any:
    if isinstance(dataset, Mapping):
        dataset = DATASETS.build(dataset)
    missing = [name for name in _NEEDED if not hasattr(dataset, name)]
    if missing:
        raise TypeError(
            'A dataset to wrap must be a config, or a BaseDataset or one like it; '
            f'{type(dataset).__name__} has no {missing[0]}.'
        )
    return dataset


def _as_keys(ignore_keys: str | list[str] | None) -> list[str]:
    if ignore_keys is None:
        return []
    if isinstance(ignore_keys, str):
        return [ignore_keys]
    if not isinstance(ignore_keys, (list, tuple)):
        raise TypeError(
            f'ignore_keys must be a key or a list of keys, got {type(ignore_keys).__name__}.'
        )
    return list(ignore_keys)


def _short(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f'{text[: limit - 3]}...'
