"""Model utilities: stacking images, sync batch norm, parameters without gradient."""

import sys
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError


def padded_size(size: int, divisor: int) -> int:
    """The smallest multiple of ``divisor`` that is at least ``size``."""
    return -(-size // divisor) * divisor


def stack_batch(
    tensor_list: list[Tensor], pad_size_divisor: int = 1, pad_value: int | float = 0
) -> Tensor:
    """Stack tensors of different sizes, padded at the end of every dim except the first.

    Args:
        tensor_list: Tensors with the same number of dims and the same first dim, such as CHW
            images.
        pad_size_divisor: The sizes are padded to multiples of this number.
        pad_value: Value of the padding.

    Returns:
        A tensor with an additional first dim of size ``len(tensor_list)``.

    Raises:
        ArgumentError: If ``tensor_list`` is not a list of tensors, is empty, or its tensors cannot
            be stacked.

    Example:
        >>> stack_batch([torch.ones(3, 4, 5), torch.ones(3, 6, 2)], pad_size_divisor=4).shape
        torch.Size([2, 3, 8, 8])
    """
    _check_stackable(tensor_list)
    first = tensor_list[0]
    largest = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensor_list), strict=True)]
    shape = [largest[0], *(padded_size(size, pad_size_divisor) for size in largest[1:])]
    if all(list(tensor.shape) == shape for tensor in tensor_list):
        return torch.stack(tensor_list)
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensor_list))
    batch = torch.full((len(tensor_list), *shape), pad_value, dtype=dtype, device=first.device)
    for row, tensor in enumerate(tensor_list):
        corner: tuple[int | slice, ...] = (row, *(slice(size) for size in tensor.shape))
        batch[corner] = tensor
    return batch


def _check_stackable(tensor_list: object) -> None:
    if not isinstance(tensor_list, list):
        raise ArgumentError(
            f'stack_batch needs a list of tensors, got {type(tensor_list).__name__}.'
        )
    if not tensor_list:
        raise ArgumentError('stack_batch got an empty list; a batch needs at least one tensor.')
    for index, tensor in enumerate(tensor_list):
        if not isinstance(tensor, Tensor):
            raise ArgumentError(
                f'stack_batch needs tensors, but element {index} is a {type(tensor).__name__}.'
            )
    shapes = [tuple(tensor.shape) for tensor in tensor_list]
    if len({len(shape) for shape in shapes}) > 1:
        raise ArgumentError(
            f'Tensors to stack need the same number of dims, got the shapes {shapes}.'
        )
    if not shapes[0] or len({shape[0] for shape in shapes}) > 1:
        raise ArgumentError(
            f'Tensors to stack need the same first dim (it is not padded), got the shapes {shapes}.'
        )


def merge_dict(*args: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge several dicts; for equal keys the last dict wins.

    Raises:
        ArgumentError: If an argument is not a dict.
    """
    merged: dict[Any, Any] = {}
    for position, arg in enumerate(args, start=1):
        if not isinstance(arg, Mapping):
            raise ArgumentError(
                f'merge_dict needs dicts, but argument {position} is a {type(arg).__name__}.'
            )
        merged.update(arg)
    return merged


def detect_anomalous_params(loss: Tensor, model: nn.Module) -> None:
    """Log every trainable parameter of ``model`` that ``loss`` does not depend on.

    Such a parameter gets no gradient, and distributed training may wait for it forever. The names
    are logged as errors.

    Args:
        loss: The loss before its backward pass.
        model: The model, or its wrapper.
    """
    reached = {id(parameter) for parameter in _leaves(loss)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in reached:
            print_log(
                f'The loss does not depend on the parameter {name} of shape '
                f'{tuple(parameter.shape)}: it gets no gradient.',
                logger='current',
                level='ERROR',
            )


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """The leaf tensors of the graph of ``loss``, without recursion: graphs can be very deep."""
    if loss.grad_fn is None:
        if loss.requires_grad:
            yield loss
        return
    waiting: list[Any] = [loss.grad_fn]
    seen = {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, 'variable', None)
        if leaf is not None:
            yield leaf
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append(parent)


class _BatchNormXd(_BatchNorm):
    """Batch norm for inputs with any number of dims, because SyncBatchNorm does not fix it."""

    def _check_input_dim(self, input: Tensor) -> None:
        return


def revert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Convert synchronised batch norms to plain batch norms, to run on one device or on the CPU.

    The new layers hold the same parameter objects, buffers, hooks and flags, so an existing
    optimizer stays valid. Layers of mmcv are converted too.

    Args:
        module: Changed in place, unless it is itself such a layer.

    Returns:
        ``module``, or the layer that replaces it.
    """
    sync_classes: tuple[type[nn.Module], ...] = (nn.SyncBatchNorm,)
    mmcv_ops = sys.modules.get(
        'mmcv.ops'
    )  # A model can contain a layer of mmcv only if mmcv was imported.
    if hasattr(mmcv_ops, 'SyncBatchNorm'):
        sync_classes += (mmcv_ops.SyncBatchNorm,)  # type: ignore[union-attr]  # has the attribute
    return _replace_layers(module, sync_classes, _as_plain_batchnorm)


def convert_sync_batchnorm(module: nn.Module, implementation: str = 'torch') -> nn.Module:
    """Replace every batch norm in ``module`` by one that shares its statistics among all ranks.

    Args:
        module: Changed in place, unless it is itself such a layer.
        implementation: ``'torch'`` or ``'mmcv'``.

    Returns:
        ``module``, or the layer that replaces it.

    Raises:
        ArgumentError: If ``implementation`` is neither ``'torch'`` nor ``'mmcv'``.
        ImportError: If ``implementation`` is ``'mmcv'`` and mmcv is not installed.
    """
    if implementation == 'torch':
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-any-return, no-untyped-call]  # untyped in torch
    if implementation != 'mmcv':
        raise ArgumentError(f"implementation must be 'torch' or 'mmcv', got {implementation!r}.")
    try:
        from mmcv.ops import SyncBatchNorm  # type: ignore[import-not-found]  # optional
    except ImportError as error:
        raise ImportError(
            "implementation='mmcv' needs the full mmcv: pip install mmcv. implementation='torch' "
            'needs no other package.'
        ) from error
    return _replace_layers(
        module, (_BatchNorm,), lambda layer: _as_mmcv_sync_batchnorm(layer, SyncBatchNorm)
    )


def _replace_layers(
    module: nn.Module, kinds: tuple[type[nn.Module], ...], replace: Any
) -> nn.Module:
    """Replace each layer of ``kinds`` by ``replace(layer)``, called once per layer."""
    if isinstance(module, kinds):
        return replace(module)  # type: ignore[no-any-return]  # a layer
    replacements: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, kinds):
                if child not in replacements:
                    replacements[child] = replace(child)
                parent._modules[name] = replacements[child]
    return module


def _as_plain_batchnorm(layer: nn.Module) -> nn.Module:
    plain = _BatchNormXd.__new__(_BatchNormXd)
    # All state is moved: parameters and buffers by reference, the training flag, hooks and
    # attributes set by users.
    plain.__dict__.update(layer.__dict__)
    plain.__dict__.pop('process_group', None)
    return plain


def _as_mmcv_sync_batchnorm(layer: _BatchNorm, sync_class: type[nn.Module]) -> nn.Module:
    synced = sync_class(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    own_state = {
        '_parameters',
        '_buffers',
        'training',
        *(name for name in layer.__dict__ if name.endswith('_hooks')),
    }
    synced.__dict__.update({name: layer.__dict__[name] for name in own_state})
    return synced
