"""Multiply-adds, activations and parameters of a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmengine.analysis._table import _format_size, indented, text_table
from mmengine.analysis.jit_analysis import JitModelAnalysis
from mmengine.analysis.jit_handles import (
    Handle,
    addbmm_flop_jit,
    addmm_flop_jit,
    batchnorm_flop_jit,
    bilinear_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    einsum_flop_jit,
    elementwise_flop_counter,
    generic_activation_jit,
    grid_sampler_flop_jit,
    linear_flop_jit,
    matmul_flop_jit,
    norm_flop_counter,
    outer_flop_jit,
    rms_norm_flop_jit,
    rnn_flop_jit,
    scaled_dot_product_attention_flop_jit,
)

# Operators that multiply by weights or by other data; both analyses count these.
_PRODUCTS: dict[str, Handle] = {
    'aten::_convolution': conv_flop_jit,
    'aten::_convolution_mode': conv_flop_jit,
    'aten::convolution': conv_flop_jit,
    'aten::linear': linear_flop_jit,
    'aten::bilinear': bilinear_flop_jit,
    'aten::matmul': matmul_flop_jit,
    'aten::mm': matmul_flop_jit,
    'aten::mv': matmul_flop_jit,
    'aten::dot': matmul_flop_jit,
    'aten::bmm': bmm_flop_jit,
    'aten::outer': outer_flop_jit,
    'aten::addmm': addmm_flop_jit,
    'aten::addmv': addmm_flop_jit,
    'aten::baddbmm': addmm_flop_jit,
    'aten::addbmm': addbmm_flop_jit,
    'aten::einsum': einsum_flop_jit,
    'aten::scaled_dot_product_attention': scaled_dot_product_attention_flop_jit,
    'aten::lstm': rnn_flop_jit,
    'aten::gru': rnn_flop_jit,
    'aten::rnn_tanh': rnn_flop_jit,
    'aten::rnn_relu': rnn_flop_jit,
}

_PER_OUTPUT = {
    'upsample_nearest1d': 1,
    'upsample_nearest2d': 1,
    'upsample_nearest3d': 1,
    '_upsample_nearest_exact1d': 1,
    '_upsample_nearest_exact2d': 1,
    '_upsample_nearest_exact3d': 1,
    'upsample_linear1d': 2,
    'upsample_bilinear2d': 4,
    'upsample_trilinear3d': 8,
    'upsample_bicubic2d': 16,
}

_FLOP_HANDLES: dict[str, Handle] = {
    **_PRODUCTS,
    'aten::batch_norm': batchnorm_flop_jit,
    'aten::instance_norm': batchnorm_flop_jit,
    'aten::layer_norm': norm_flop_counter(2),
    'aten::group_norm': norm_flop_counter(2),
    'aten::rms_norm': rms_norm_flop_jit,
    'aten::adaptive_avg_pool1d': elementwise_flop_counter(1, 0),
    'aten::adaptive_avg_pool2d': elementwise_flop_counter(1, 0),
    'aten::adaptive_avg_pool3d': elementwise_flop_counter(1, 0),
    'aten::grid_sampler': grid_sampler_flop_jit,
    **{f'aten::{op}': elementwise_flop_counter(0, scale) for op, scale in _PER_OUTPUT.items()},
}

_ACTIVATION_HANDLES: dict[str, Handle] = {
    op: generic_activation_jit('conv' if handle is conv_flop_jit else None)
    for op, handle in _PRODUCTS.items()
}


class FlopAnalyzer(JitModelAnalysis):
    """Multiply-adds of a model; one multiplication and one addition count as one.

    Products (linear, convolution, matrix products, einsum, attention, recurrent layers),
    normalization, interpolation and average pooling to a size are counted. Other arithmetic is
    cheap, and reported by :meth:`unsupported_ops`.

    Args:
        model: The model, called in the mode it is in.
        inputs: Its positional arguments as a tuple, or its only one.

    Example:
        >>> import torch
        >>> FlopAnalyzer(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)).total()
        3888
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__(model=model, inputs=inputs)
        self.set_op_handle(**_FLOP_HANDLES)


class ActivationAnalyzer(JitModelAnalysis):
    """Number of output elements of the products of a model (linear, convolution, attention ...).

    It predicts the time and memory of a model better than the multiply-adds do
    (Radosavovic et al. 2020, arXiv:2003.13678).

    Args:
        model: The model, called in the mode it is in.
        inputs: Its positional arguments as a tuple, or its only one.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__(model=model, inputs=inputs)
        self.set_op_handle(**_ACTIVATION_HANDLES)


def flop_count(
    model: nn.Module, inputs: Any, supported_ops: Mapping[str, Handle] | None = None
) -> tuple[defaultdict[str, float], Counter[str]]:
    """Giga multiply-adds of a model by operation, and the operators left out.

    Args:
        model: The model.
        inputs: Its positional arguments as a tuple, or its only one.
        supported_ops: Handles by operator name, in addition to the known ones, or instead of them.
    """
    return _in_units(FlopAnalyzer(model, inputs), supported_ops, 1e9)


def activation_count(
    model: nn.Module, inputs: Any, supported_ops: Mapping[str, Handle] | None = None
) -> tuple[defaultdict[str, float], Counter[str]]:
    """Mega activations of a model by operation, and the operators left out.

    Args:
        model: The model.
        inputs: Its positional arguments as a tuple, or its only one.
        supported_ops: Handles by operator name, in addition to the known ones, or instead of them.
    """
    return _in_units(ActivationAnalyzer(model, inputs), supported_ops, 1e6)


def _in_units(
    analysis: JitModelAnalysis, handles: Mapping[str, Handle] | None, unit: float
) -> tuple[defaultdict[str, float], Counter[str]]:
    analysis.set_op_handle(**(handles or {}))
    counts: defaultdict[str, float] = defaultdict(float)
    counts.update({name: count / unit for name, count in analysis.by_operator().items()})
    return counts, analysis.unsupported_ops()


def parameter_count(model: nn.Module) -> defaultdict[str, int]:
    """Number of elements of each parameter, and of each module; '' is the model.

    A parameter with several names counts under its first one.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        place = ''
        for part in name.split('.'):
            counts[place] += parameter.numel()
            place = f'{place}.{part}' if place else part
        counts[place] += parameter.numel()
    return counts


def parameter_count_table(model: nn.Module, max_depth: int = 3) -> str:
    """A table of the parameters of a model: elements of modules, shapes of parameters.

    Args:
        model: The model.
        max_depth: How many levels of names are shown below the model.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    rows = []
    for name, count in parameter_count(model).items():
        depth = name.count('.') + 1 if name else 0
        if depth <= max_depth:
            value = str(shapes[name]) if name in shapes else _format_size(count)
            rows.append(indented(depth, name or 'model', value))
    title = f'parameter count of {type(model).__name__}'
    return text_table(['name', '#elements or shape'], rows, title)
