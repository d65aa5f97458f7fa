"""Functions that set the weight and bias of one layer."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError

Fill = Callable[[Tensor], object]


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Set the weight of a layer to ``val`` and its bias to ``bias``, if the layer has them."""
    _fill(module, partial(nn.init.constant_, val=val), bias)


def xavier_init(
    module: nn.Module, gain: float = 1, bias: float = 0, distribution: str = 'normal'
) -> None:
    """Initialise a layer's weight as in Glorot and Bengio 2010, and set its bias to ``bias``.

    Args:
        module: A layer whose weight has at least two dims.
        gain: Scales the weights.
        bias: Value of the bias.
        distribution: ``'normal'`` or ``'uniform'``.
    """
    fills = {'normal': nn.init.xavier_normal_, 'uniform': nn.init.xavier_uniform_}
    _fill(module, partial(_chosen(fills, distribution), gain=gain), bias)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Draw a layer's weight from a normal distribution and set its bias to ``bias``."""
    _fill(module, partial(nn.init.normal_, mean=mean, std=std), bias)


def trunc_normal_init(
    module: nn.Module, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, bias: float = 0
) -> None:
    """Draw a layer's weight with :func:`trunc_normal_` and set its bias to ``bias``."""
    _fill(module, partial(trunc_normal_, mean=mean, std=std, a=a, b=b), bias)


def uniform_init(module: nn.Module, a: float = 0, b: float = 1, bias: float = 0) -> None:
    """Draw a layer's weight uniformly from ``[a, b)`` and set its bias to ``bias``."""
    _fill(module, partial(nn.init.uniform_, a=a, b=b), bias)


def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: str = 'fan_out',
    nonlinearity: str = 'relu',
    bias: float = 0,
    distribution: str = 'normal',
) -> None:
    """Initialise a layer's weight as in He et al. 2015, and set its bias to ``bias``.

    Args:
        module: A layer whose weight has at least two dims.
        a: Negative slope of the leaky ReLU after this layer; used with
            ``nonlinearity='leaky_relu'`` only.
        mode: ``'fan_out'`` preserves the magnitude of gradients, ``'fan_in'`` the magnitude of
            activations.
        nonlinearity: Name of the function after this layer, as in
            :func:`torch.nn.init.calculate_gain`.
        bias: Value of the bias.
        distribution: ``'normal'`` or ``'uniform'``.
    """
    fills = {'normal': nn.init.kaiming_normal_, 'uniform': nn.init.kaiming_uniform_}
    fill = partial(_chosen(fills, distribution), a=a, mode=mode, nonlinearity=nonlinearity)
    _fill(module, fill, bias)


def caffe2_xavier_init(module: nn.Module, bias: float = 0) -> None:
    """Initialise a layer's weight like XavierFill of Caffe2 (uniform, by fan-in), and its bias."""
    kaiming_init(
        module, a=1, mode='fan_in', nonlinearity='leaky_relu', bias=bias, distribution='uniform'
    )


def bias_init_with_prob(prior_prob: float) -> float:
    """The bias for which a sigmoid returns ``prior_prob``: its logit (arXiv:1708.02002).

    Example:
        >>> bias_init_with_prob(0.5)
        0.0
    """
    if not 0 < prior_prob < 1:
        raise ArgumentError(f'prior_prob must be between 0 and 1, got {prior_prob}.')
    return math.log(prior_prob) - math.log1p(-prior_prob)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    r"""Fill ``tensor`` in place from a normal distribution truncated to ``[a, b]``.

    Each value is computed from one uniform number as :math:`\mu + \sigma \Phi^{-1}(u)`, so the same
    seed gives the same values with every version of torch.

    Args:
        tensor: A tensor of any shape and floating-point dtype.
        mean: Mean of the distribution before truncation.
        std: Standard deviation of the distribution before truncation.
        a: Minimum value.
        b: Maximum value.

    Returns:
        ``tensor``.
    """
    return _no_grad_trunc_normal_(tensor, mean, std, a, b)


@torch.no_grad()
def _no_grad_trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    if not a - 2 * std <= mean <= b + 2 * std:
        print_log(
            f'trunc_normal_: the mean {mean} is more than 2 std away from [{a}, {b}], so most '
            'values are close to one end of the interval.',
            logger='current',
            level='WARNING',
        )
    # The numbers drawn below are uniform in erf, because torch can invert erf.
    lowest, highest = (math.erf((end - mean) / (std * math.sqrt(2.0))) for end in (a, b))
    quantile = tensor.uniform_(lowest, highest).erfinv_()
    return quantile.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)


def _fill(module: nn.Module, fill_weight: Fill, bias: float) -> None:
    weight, own_bias = getattr(module, 'weight', None), getattr(module, 'bias', None)
    if weight is not None:
        fill_weight(weight)
    if own_bias is not None:
        nn.init.constant_(own_bias, bias)


def _chosen(fills: Mapping[str, Callable[..., object]], distribution: str) -> Callable[..., object]:
    if distribution not in fills:
        raise ArgumentError(f'distribution must be one of {list(fills)}, got {distribution!r}.')
    return fills[distribution]
