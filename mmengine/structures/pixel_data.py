"""PixelData: maps over the pixels of one image."""

from typing import Any

import numpy as np
import torch
from typing_extensions import Self

from mmengine.structures.base_data_element import BaseDataElement
from mmengine.utils.errors import ArgumentError


class PixelData(BaseDataElement):
    """Maps over the pixels of one image: tensors or arrays (C, H, W) of one height and width.

    A map of shape (H, W) is kept as (1, H, W).

    Example:
        >>> maps = PixelData(depth=torch.zeros(1, 20, 40), mask=torch.ones(20, 40))
        >>> maps.shape, maps.mask.shape
        ((20, 40), torch.Size([1, 20, 40]))
        >>> maps[10:, 3].shape
        (10, 1)
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ('_metainfo_fields', '_data_fields'):
            value = self._checked(name, value)
        super().__setattr__(name, value)

    def _checked(self, name: str, value: Any) -> Any:
        if not isinstance(value, (torch.Tensor, np.ndarray)):
            raise ArgumentError(
                f'{type(self).__name__}.{name} must be a tensor or an array, got '
                f'{type(value).__name__}.'
            )
        if value.ndim not in (2, 3):
            raise ArgumentError(
                f'{type(self).__name__}.{name} must have shape (C, H, W) or (H, W), '
                f'got {tuple(value.shape)}.'
            )
        size = self.shape
        if size is not None and tuple(value.shape[-2:]) != size:
            raise ArgumentError(
                f'{type(self).__name__}.{name} must be {size[0]} high and {size[1]} wide like the '
                f'other maps, got shape {tuple(value.shape)}.'
            )
        return value[None] if value.ndim == 2 else value

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width; None if there are no maps."""
        for value in self.values():
            return tuple(value.shape[-2:])
        return None

    def __getitem__(self, item: tuple[int | slice, int | slice]) -> Self:
        """The maps cut to some rows and columns; an integer keeps its axis, with length 1.

        Raises:
            TypeError: If ``item`` is not a tuple of integers and slices.
            ArgumentError: If it is not two of them.
            IndexError: If an integer is out of range.
        """
        if not isinstance(item, tuple):
            raise TypeError(
                f'{type(self).__name__} is indexed by rows and columns, data[3:9, 5], '
                f'got {type(item).__name__}.'
            )
        if len(item) != 2:
            raise ArgumentError(
                f'{type(self).__name__} is indexed by rows and columns, data[3:9, 5], '
                f'got {len(item)} indices.'
            )
        size = self.shape
        if size is None:
            return self._mapped(_unchanged)
        rows, columns = (_as_slice(index, extent) for index, extent in zip(item, size, strict=True))
        return self._mapped(lambda value: value[..., rows, columns])


def _unchanged(value: Any) -> Any:
    return value


def _as_slice(index: Any, extent: int) -> slice:
    if isinstance(index, slice):
        return index
    if not isinstance(index, (int, np.integer)):
        raise TypeError(f'PixelData is indexed by integers and slices, got {type(index).__name__}.')
    position = int(index)
    if not -extent <= position < extent:
        raise IndexError(f'Index {position} is out of range for an axis of length {extent}.')
    position %= extent
    return slice(position, position + 1)
