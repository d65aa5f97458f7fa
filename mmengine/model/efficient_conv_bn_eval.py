"""Convolution and batch norm in one kernel, for layers whose batch norm is in evaluation mode.

A batch norm with fixed statistics scales and shifts each channel, so it can be folded into the
weights of the convolution before it. The weights are folded again at every call, so both layers
stay differentiable. Training with frozen norms therefore also needs less memory and time: the
output of the convolution is not stored for the backward pass (You et al. 2024, arXiv:2305.11624).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_PLAIN_FORWARDS = {layer.forward for layer in (nn.Conv1d, nn.Conv2d, nn.Conv3d)}
_TRANSPOSED = {
    nn.ConvTranspose1d.forward: torch.conv_transpose1d,
    nn.ConvTranspose2d.forward: torch.conv_transpose2d,
    nn.ConvTranspose3d.forward: torch.conv_transpose3d,
}


def efficient_conv_bn_eval_forward(bn: _BatchNorm, conv: _ConvNd, x: Tensor) -> Tensor:
    """Compute ``bn(conv(x))`` with the running statistics of ``bn`` as one convolution.

    Args:
        bn: A batch norm with running statistics.
        conv: A convolution of torch, transposed or not.
        x: Input of ``conv``.
    """
    if bn.running_mean is None or bn.running_var is None:
        raise ArgumentError(
            'Folding a batch norm needs its running statistics; build it with '
            'track_running_stats=True.'
        )
    scale = torch.rsqrt(bn.running_var + bn.eps)
    if bn.weight is not None:
        scale = scale * bn.weight
    offset = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
    bias = scale * offset
    if bn.bias is not None:
        bias = bias + bn.bias
    if not isinstance(conv, _ConvTransposeNd):
        weight = conv.weight * scale.reshape(-1, *[1] * (conv.weight.dim() - 1))
        return conv._conv_forward(x, weight, bias)
    # The output channels of group g are dim 1 of the rows of group g.
    by_group = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])
    per_channel = scale.reshape(conv.groups, 1, -1, *[1] * (conv.weight.dim() - 2))
    weight = (by_group * per_channel).reshape(conv.weight.shape)
    convolve: Any = _TRANSPOSED[type(conv).forward]
    output: Tensor = convolve(
        x, weight, bias, conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation
    )
    return output


def efficient_conv_bn_eval_control(bn: _BatchNorm, conv: _ConvNd, x: Tensor) -> Tensor:
    """Compute ``bn(conv(x))``, as one convolution if the result is the same.

    The result is the same for fixed statistics, a convolution of torch, and no hooks on the layers.
    """
    watched = (
        conv._forward_hooks or conv._forward_pre_hooks or bn._forward_hooks or bn._forward_pre_hooks
    )
    if bn.training or bn.running_mean is None or watched or not _is_of_torch(conv):
        return bn(conv(x))  # type: ignore[no-any-return]  # a layer returns a tensor
    return efficient_conv_bn_eval_forward(bn, conv, x)


def efficient_conv_bn_eval_graph_transform(fx_model: 'GraphModule') -> None:
    """Replace each batch norm directly after a convolution by a call that folds it if possible.

    Args:
        fx_model: Changed in place.
    """
    graph = fx_model.graph
    modules = dict(fx_model.named_modules())
    for node in list(graph.nodes):
        conv_node = _convolution_before(node, modules)
        if conv_node is None:
            continue
        with graph.inserting_before(node):
            layers = tuple(graph.get_attr(str(layer.target)) for layer in (node, conv_node))
            folded = graph.call_function(efficient_conv_bn_eval_control, (*layers, *conv_node.args))
        node.replace_all_uses_with(folded)
        graph.erase_node(node)
        graph.erase_node(conv_node)
    graph.lint()
    fx_model.recompile()


def turn_on_efficient_conv_bn_eval_for_single_model(model: nn.Module) -> None:
    """Make the ``forward`` of ``model`` fold batch norms into convolutions where possible.

    Args:
        model: Changed in place. Its control flow must not depend on tensor values; it is traced
            once for training and once for evaluation.

    Raises:
        RuntimeError: If ``model`` cannot be traced.
    """
    folding = _FoldingForward(model)
    folding.trace()
    model.forward = folding  # on the instance only


def turn_on_efficient_conv_bn_eval(model: nn.Module, modules: list[str] | str) -> None:
    """Turn on folding in parts of ``model``.

    Args:
        model: Changed in place.
        modules: Dotted names of sub-modules, such as ``'backbone'``; the empty name means the model
            itself.

    Raises:
        ArgumentError: If ``model`` has no such sub-module.
        RuntimeError: If a sub-module cannot be traced.
    """
    known = dict(model.named_modules())
    for name in [modules] if isinstance(modules, str) else modules:
        if name not in known:
            raise ArgumentError(
                f'{type(model).__name__} has no module {name!r} to fold.{did_you_mean(name, known)}'
            )
        turn_on_efficient_conv_bn_eval_for_single_model(known[name])


class _FoldingForward:
    """Replaces ``model.forward``.

    Traced code contains the value of `self.training` as a constant, so there is one trace per mode.
    The trace runs on the model that this object refers to, so that a deep copy of the model (an
    EMA) computes with its own weights.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._code_by_mode: dict[bool, Callable[..., Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        code = self._code_by_mode.get(self._model.training) or self.trace()
        return code(self._model, *args, **kwargs)

    def trace(self) -> Callable[..., Any]:
        """The traced ``forward`` for the present mode of the model, with folded batch norms."""
        from torch.fx import GraphModule, Tracer

        class LayerTracer(Tracer):
            def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
                return isinstance(m, (_ConvNd, _BatchNorm)) or super().is_leaf_module(
                    m, module_qualified_name
                )

        model = self._model
        try:
            traced = GraphModule(model, LayerTracer().trace(model))
        except Exception as error:  # the user's forward can raise anything for a symbolic value
            raise RuntimeError(
                f'{type(model).__name__} cannot be traced, so its batch norms cannot be folded: '
                f'{error}. Pass a part of it whose control flow depends on no value, such as the '
                'backbone.'
            ) from error
        efficient_conv_bn_eval_graph_transform(traced)
        code: Callable[..., Any] = type(traced).forward
        self._code_by_mode[model.training] = code
        return code


def _convolution_before(node: 'Node', modules: dict[str, nn.Module]) -> 'Node | None':
    """The node of a convolution whose result is used only by the batch norm at ``node``."""
    from torch.fx import Node

    if (
        node.op != 'call_module'
        or not isinstance(modules[str(node.target)], _BatchNorm)
        or len(node.args) != 1
    ):
        return None
    source = node.args[0]
    if (
        not isinstance(source, Node)
        or source.op != 'call_module'
        or not isinstance(modules[str(source.target)], _ConvNd)
    ):
        return None
    return (
        source if len(source.users) == 1 and len(source.args) == 1 and not source.kwargs else None
    )


def _is_of_torch(conv: _ConvNd) -> bool:
    """Whether ``conv`` is a layer of torch itself; a subclass may compute something else."""
    forward: Any = type(conv).forward
    return forward in _PLAIN_FORWARDS or forward in _TRANSPOSED
