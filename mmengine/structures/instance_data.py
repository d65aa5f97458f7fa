"""InstanceData: one entry an instance in every field."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from typing_extensions import Self

from mmengine.structures.base_data_element import BaseDataElement
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Index: TypeAlias = int | slice | str | list[int] | list[bool] | torch.Tensor | NDArray[Any]


class InstanceData(BaseDataElement):
    """Data of the instances in one sample: every field has one entry for each of them.

    A field can be a tensor, an array, a list, tuple or string, or an object of any class with
    ``__len__`` and ``__getitem__`` (and a static ``cat`` of a list, to be concatenated).

    Example:
        >>> found = InstanceData(scores=torch.tensor([0.9, 0.2, 0.7]), names=['cat', 'dog', 'cow'])
        >>> len(found), found[found.scores > 0.5].names
        (3, ['cat', 'cow'])
        >>> InstanceData.cat([found[:1], found[2]]).scores
        tensor([0.9000, 0.7000])
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ('_metainfo_fields', '_data_fields'):
            self._check_length(name, value)
        super().__setattr__(name, value)

    __setitem__ = __setattr__

    def _check_length(self, name: str, value: Any) -> None:
        if not hasattr(value, '__len__'):
            raise ArgumentError(
                f'{type(self).__name__}.{name} must have a length, one entry an instance, '
                f'got {value!r} of type {type(value).__name__}.'
            )
        # Fields without entries do not count: a result that found nothing is often filled field by
        # field.
        expected = len(self)
        if expected and len(value) != expected:
            raise ArgumentError(
                f'{type(self).__name__}.{name} must have one entry for each of the {expected} '
                f'instances, got {len(value)}.'
            )

    def __len__(self) -> int:
        fields = self._data_fields
        for name, value in self.__dict__.items():
            if name in fields:
                return len(value)
        return len(self.values()[0]) if fields else 0

    def __getitem__(self, item: Index) -> Self:
        """Some of the instances, in the given order.

        Args:
            item: A position, a slice, or positions or a mask as list, tensor or array. The name of
                a field returns that field.

        Returns:
            An element of the same class. For a single position it has length 1.

        Raises:
            IndexError: If a position is out of range.
            ArgumentError: If ``item`` is of another kind, or a mask of another length.
        """
        if isinstance(item, str):
            return getattr(self, item)  # type: ignore[no-any-return] # a field can be anything
        return self._mapped(_selector(item, len(self)))

    @staticmethod
    def cat(instances_list: Sequence[InstanceData]) -> InstanceData:
        """All instances of a list of elements, one after the other.

        Args:
            instances_list: At least one element; all have the same metainfo and data fields.

        Returns:
            An element with the class and metainfo of the first one. For a list of one, that
            element itself.

        Raises:
            ArgumentError: If the list is empty, holds something else or elements of different
                fields, or a field's class has no ``cat``.
        """
        if not instances_list:
            raise ArgumentError('InstanceData.cat needs at least one element, got an empty list.')
        for index, element in enumerate(instances_list):
            if not isinstance(element, InstanceData):
                raise ArgumentError(
                    f'InstanceData.cat joins InstanceData, but element {index} is of type '
                    f'{type(element).__name__}.'
                )
        first, *others = instances_list
        if not others:
            return first
        names = set(first.all_keys())
        for index, element in enumerate(others, 1):
            different = names.symmetric_difference(element.all_keys())
            if different:
                raise ArgumentError(
                    'InstanceData.cat joins elements with the same fields, but elements 0 and '
                    f'{index} differ in {sorted(different)}.'
                )
        joined = first._empty_twin()
        first._copy_metainfo_to(joined)
        for name, value in first.items():
            values = [value, *(getattr(element, name) for element in others)]
            setattr(joined, name, _joined(name, values))
        return joined


def _selector(item: Any, length: int) -> Callable[[Any], Any]:
    """A function that selects the entries given by ``item`` from a field of this length."""
    if isinstance(item, (int, np.integer)):
        position = int(item)
        if not -length <= position < length:
            raise IndexError(f'Index {position} is out of range for {length} instances.')
        position %= length
        item = slice(position, position + 1)
    if isinstance(item, slice):
        if item.step is None or item.step > 0:
            return lambda field: field[item]
        # Tensors cannot be sliced backwards.
        item = torch.tensor(range(*item.indices(length)), dtype=torch.int64)
    return _Selection(_positions(item, length))


def _positions(item: Any, length: int) -> torch.Tensor:
    """The int64 vector of positions that a list, array or tensor (maybe a mask) selects."""
    if isinstance(item, list):
        item = np.asarray(item) if item else np.zeros(0, dtype=np.int64)
    if isinstance(item, np.ndarray):
        if item.dtype.kind not in 'biu' or item.dtype == np.uint8:
            raise _not_an_index(f'an array of {item.dtype}')
        item = torch.from_numpy(item if item.dtype == bool else item.astype(np.int64))
    if not isinstance(item, torch.Tensor):
        raise _not_an_index(f'type {type(item).__name__}')
    if item.ndim != 1:
        raise ArgumentError(
            'InstanceData has one axis, so its index must be a vector, got shape '
            f'{tuple(item.shape)}.'
        )
    if item.dtype == torch.bool:
        if len(item) != length:
            raise ArgumentError(
                f'A mask over {length} instances needs {length} entries, got {len(item)}.'
            )
        # Found once here, not once in every field: on a GPU each search makes the host wait.
        return item.nonzero().squeeze(1)
    if item.dtype not in (torch.int64, torch.int32, torch.int16):
        raise _not_an_index(f'a tensor of {item.dtype}')
    return item.long()


def _not_an_index(what: str) -> ArgumentError:
    return ArgumentError(
        'InstanceData is indexed by an integer, a slice, a field name, or integer positions or a '
        f'bool mask as list, tensor or array; got {what}.'
    )


class _Selection:
    """Takes the entries at some positions out of fields of any type."""

    def __init__(self, positions: torch.Tensor) -> None:
        self._positions = positions

    @cached_property
    def _as_list(self) -> list[int]:
        return self._positions.tolist()

    @cached_property
    def _as_array(self) -> NDArray[Any]:
        return self._positions.cpu().numpy()

    def __call__(self, field: Any) -> Any:
        if isinstance(field, torch.Tensor):
            return field[self._positions]
        if isinstance(field, np.ndarray):
            return field[self._as_array]
        if isinstance(field, InstanceData):
            return field[self._positions]
        if isinstance(field, str):
            return ''.join([field[position] for position in self._as_list])
        if isinstance(field, (list, tuple)):
            return type(field)([field[position] for position in self._as_list])
        return self._by_slices(field)

    def _by_slices(self, field: Any) -> Any:
        """Select from an instance of another class, which needs only slicing and ``cat``."""
        if not hasattr(field, 'cat'):
            raise ArgumentError(
                f'A field of type {type(field).__name__} has no static method cat(list), so '
                'InstanceData can take only slices of it, not single positions or a mask.'
            )
        length = len(field)
        runs: list[list[int]] = []  # [first, last + 1] of positions that follow each other
        for position in self._as_list:
            if not -length <= position < length:
                raise IndexError(f'Index {position} is out of range for {length} instances.')
            position %= length
            if runs and runs[-1][1] == position:
                runs[-1][1] += 1
            else:
                runs.append([position, position + 1])
        if not runs:
            return field[0:0]
        return type(field).cat([field[first:end] for first, end in runs])


def _joined(name: str, values: list[Any]) -> Any:
    """One field of several elements, as one value of the type of the first."""
    kind = values[0]
    if isinstance(kind, torch.Tensor):
        return torch.cat(values)
    if isinstance(kind, np.ndarray):
        return np.concatenate(values)
    if isinstance(kind, str):
        return ''.join(values)
    if isinstance(kind, (list, tuple)):
        return type(kind)(itertools.chain.from_iterable(values))
    if not hasattr(kind, 'cat'):
        raise ArgumentError(
            f'The field {name!r} is of type {type(kind).__name__}, which has no static method '
            'cat(list) to join several of them.'
        )
    return type(kind).cat(values)
