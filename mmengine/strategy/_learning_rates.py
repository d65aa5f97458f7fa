"""Scaling of learning rates by the batch size."""

from __future__ import annotations

from logging import Logger
from typing import Any

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.utils.errors import ArgumentError


def scale_learning_rates(
    optim_wrapper: BaseOptimWrapper,
    settings: dict[str, Any] | None,
    batch_size: int | None,
    num_ranks: int,
    logger: Logger,
) -> None:
    """Multiply all learning rates by ``num_ranks * batch_size / base_batch_size``.

    The linear scaling rule of Goyal et al. 2017, arXiv:1706.02677.

    Args:
        optim_wrapper: Changed in place.
        settings: ``base_batch_size`` and ``enable``; nothing changes unless ``enable`` is True.
        batch_size: Number of samples in a batch of one rank; None if unknown.
        num_ranks: Number of ranks that read different data.
        logger: Logs the ratio.

    Raises:
        ArgumentError: If one of the batch sizes or a learning rate is unknown.
    """
    if not settings or not settings.get('enable', False):
        return
    base = settings.get('base_batch_size')
    if not base or base < 0:
        raise ArgumentError(
            'auto_scale_lr needs a positive base_batch_size: the batch size for which the '
            f'learning rates were tuned; got {base!r}.'
        )
    if batch_size is None:
        raise ArgumentError(
            'auto_scale_lr needs the batch size of the training data, but its dataloader has no '
            'batch_size.'
        )
    groups = [group for wrapper in wrappers_of(optim_wrapper) for group in wrapper.param_groups]
    if any(group.get('lr') is None for group in groups):
        raise ArgumentError(
            'auto_scale_lr scales lr, but an optimizer has a group without a learning rate. Remove '
            'auto_scale_lr, or set lr.'
        )
    real = num_ranks * batch_size
    ratio = real / base
    logger.info(f'LR is scaled by {ratio:g}: batch size {real} instead of {base}.')
    for group in groups:
        group['lr'] = group['lr'] * ratio
