"""LabelData: labels of a whole sample."""

import torch

from mmengine.structures.base_data_element import BaseDataElement
from mmengine.utils.errors import ArgumentError


class LabelData(BaseDataElement):
    """Labels of a whole sample, of any shape; with conversions to and from 0/1 vectors."""

    @staticmethod
    def onehot_to_label(onehot: torch.Tensor) -> torch.Tensor:
        """Positions of the ones.

        Args:
            onehot: Vector of zeros and ones.

        Returns:
            int64 vector, ascending.

        Raises:
            ArgumentError: If ``onehot`` is not such a vector.

        Example:
            >>> LabelData.onehot_to_label(torch.tensor([1, 0, 1]))
            tensor([0, 2])
        """
        if not isinstance(onehot, torch.Tensor):
            raise ArgumentError(f'onehot must be a tensor, got {type(onehot).__name__}.')
        if onehot.ndim != 1 or not bool(((onehot == 0) | (onehot == 1)).all()):
            raise ArgumentError(
                f'onehot must be a vector of zeros and ones, got {_summary(onehot)}.'
            )
        return onehot.nonzero().flatten()

    @staticmethod
    def label_to_onehot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
        """A vector with a one at each label.

        Args:
            label: Vector of integers from 0 to ``num_classes - 1``; may be empty or hold one twice.
            num_classes: Length of the result.

        Returns:
            Vector of zeros and ones, with the dtype and device of ``label``.

        Raises:
            ArgumentError: If ``label`` is not such a vector.

        Example:
            >>> LabelData.label_to_onehot(torch.tensor([2, 0]), num_classes=4)
            tensor([1, 0, 1, 0])
        """
        if not isinstance(label, torch.Tensor):
            raise ArgumentError(f'label must be a tensor, got {type(label).__name__}.')
        if label.ndim != 1 or label.is_floating_point() or label.dtype == torch.bool:
            raise ArgumentError(f'label must be a vector of integers, got {_summary(label)}.')
        if label.numel() and not 0 <= int(label.min()) <= int(label.max()) < num_classes:
            raise ArgumentError(
                f'Labels must be from 0 to {num_classes - 1} for num_classes={num_classes}, '
                f'got {_summary(label)}.'
            )
        onehot = torch.zeros(num_classes, dtype=label.dtype, device=label.device)
        onehot[label.long()] = 1
        return onehot


def _summary(tensor: torch.Tensor) -> str:
    values = tensor.flatten()[:8].tolist()
    return (
        f'a {tensor.dtype} tensor of shape {tuple(tensor.shape)} that begins with {values}'
        if tensor.numel()
        else f'an empty {tensor.dtype} tensor of shape {tuple(tensor.shape)}'
    )
