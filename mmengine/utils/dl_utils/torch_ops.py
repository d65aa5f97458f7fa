"""Operations of torch whose defaults have changed."""

import torch


def torch_meshgrid(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """:func:`torch.meshgrid` with matrix indexing: the first tensor runs along the first dim."""
    return torch.meshgrid(*tensors, indexing='ij')
