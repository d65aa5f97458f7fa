"""What each operator costs: multiply-adds and activations from the shapes of a traced call.

A handle is called with the inputs and the outputs of an operator, values of a traced graph, and
returns a number, or a Counter when the count goes under a name that is not the operator's.
One multiplication with the addition that follows it counts as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

Count = Counter[str] | int | float
Handle = Callable[[list[Any], list[Any]], Count]


def get_shape(val: Any) -> list[int] | None:
    """The shape of a traced value; None if it is not a tensor, or one of unknown shape.

    Args:
        val: A ``torch._C.Value``.
    """
    return list(val.type().sizes()) if val.isCompleteTensor() else None


def _shape(value: Any) -> list[int]:
    """The shape of a value that must be a tensor."""
    shape = get_shape(value)
    if shape is None:
        raise ValueError(
            f'An operator was traced with a {value.type()} of unknown shape, so its cost cannot be '
            'counted. Set a custom handle for it with set_op_handle.'
        )
    return shape


# Products of matrices


def matmul_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``matmul``, ``mm``, ``mv`` or ``dot`` of any ranks, broadcasting included."""
    return prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def bmm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``bmm``: one matrix product for each entry of the batch."""
    return matmul_flop_jit(inputs, outputs)


def addmm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``addmm``, ``addmv`` or ``baddbmm``: a sum, and two factors."""
    return prod(_shape(outputs[0])) * _shape(inputs[1])[-1]


def addbmm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``addbmm``: the matrix products of a batch, summed up."""
    batch, _, contracted = _shape(inputs[1])
    return prod(_shape(outputs[0])) * batch * contracted


def linear_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``linear``: every input vector times every row of the weight."""
    return prod(_shape(inputs[0])) * prod(_shape(inputs[1])[:-1])


def outer_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``outer``: one multiplication per output."""
    return prod(_shape(outputs[0]))


def bilinear_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``bilinear``: the left input times every matrix, then that times the right input."""
    features, left, right = _shape(inputs[2])
    rows = prod(_shape(outputs[0])[:-1])
    return rows * features * right * (left + 1)


def scaled_dot_product_attention_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """Attention: queries times keys, then weights times values. A mask saves nothing."""
    query, key, value = (_shape(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


# Einsum


def einsum_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``einsum``: the pairwise products it is carried out as, in the order it is carried out.

    A pair costs the product of the sizes of all its labels. A single operand is only summed and
    rearranged, which costs no multiplication.
    """
    equation = inputs[0].toIValue()
    shapes = [_shape(operand) for operand in inputs[1].node().inputs()]
    path = _integers(inputs[2]) if len(inputs) > 2 else []
    terms, result = _labels(equation, [len(shape) for shape in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            # An operand of size 1 is stretched to the size of the others.
            sizes[label] = max(sizes.get(label, 1), size)

    left = [set(term) for term in terms]
    flops = 0
    pairs = list(zip(path[::2], path[1::2], strict=True))
    while len(left) > 1:
        first, second = sorted(pairs.pop(0)) if pairs else (0, 1)
        met = left[first] | left[second]
        flops += prod(sizes[label] for label in met)
        others = [labels for place, labels in enumerate(left) if place not in (first, second)]
        product = met & set(result).union(*others)
        # Along a given path products go to the end; by default, left to right.
        left = [*others, product] if path else [product, *others]
    return flops


def _labels(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of the dimensions of each operand and of the result."""
    written, _, result = equation.replace(' ', '').partition('->')
    terms = written.split(',')
    wildcards = [
        rank - len(term.replace('...', '')) for term, rank in zip(terms, ranks, strict=True)
    ]
    widest = max(wildcards)

    def spelled(term: str, wildcard: int) -> list[str]:
        before, dots, after = term.partition('...')
        # Broadcasting aligns from the right.
        middle = [f'...{place}' for place in range(widest - wildcard, widest)] if dots else []
        return [*before, *middle, *after]

    if '->' not in equation:
        letters = Counter(label for term in terms for label in term.replace('...', ''))
        result = '...' + ''.join(sorted(label for label, times in letters.items() if times == 1))
    operands = [spelled(term, number) for term, number in zip(terms, wildcards, strict=True)]
    return operands, spelled(result, widest)


def _integers(value: Any) -> list[int]:
    node = value.node()
    if node.kind() == 'prim::ListConstruct':
        return [int(item.toIValue()) for item in node.inputs()]
    return list(value.toIValue() or ())


# Convolution


def conv_flop_count(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    out_shape: Sequence[int],
    transposed: bool = False,
) -> int:
    """Multiply-adds of a convolution of any number of dimensions and groups.

    Args:
        x_shape: Shape of the input, ``(batch, channels, *space)``.
        w_shape: Shape of the weight; its second entry is divided by the groups already.
        out_shape: Shape of the output.
        transposed: The weight is applied at every position of the input instead of the output.
    """
    places = x_shape if transposed else out_shape
    return x_shape[0] * prod(w_shape) * prod(places[2:])


def conv_flop_jit(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """``_convolution``, or ``_convolution_mode`` with its padding by name."""
    # A padding by name exists for ordinary convolutions only.
    transposed = len(inputs) > 7 and bool(inputs[6].toIValue())
    x, weight, out = _shape(inputs[0]), _shape(inputs[1]), _shape(outputs[0])
    return Counter({'conv': conv_flop_count(x, weight, out, transposed)})


# Recurrent layers


def rnn_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``lstm``, ``gru`` and the plain RNNs, of any number of layers and directions.

    Each weight matrix, also of a projection, is multiplied with each vector of the sequence once.
    """
    data = _shape(inputs[0])
    lists = [value.node() for value in inputs if value.node().kind() == 'prim::ListConstruct']
    # The initial states come in a list too, before the parameters.
    parameters = [_shape(parameter) for parameter in lists[-1].inputs()]
    return prod(data[:-1]) * sum(prod(shape) for shape in parameters if len(shape) == 2)


# Normalization, interpolation


def norm_flop_counter(affine_arg_index: int) -> Handle:
    """A handle for a normalization by the statistics of the data.

    Mean, variance, difference and quotient are one each an element, weight and bias one more.

    Args:
        affine_arg_index: Which input is the weight, which is None without one.
    """

    def flops(inputs: list[Any], outputs: list[Any]) -> int:
        is_affine = get_shape(inputs[affine_arg_index]) is not None
        return prod(_shape(inputs[0])) * (5 if is_affine else 4)

    return flops


def rms_norm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``rms_norm``: mean square and quotient, and the weight where there is one."""
    has_weight = get_shape(inputs[2]) is not None
    return prod(_shape(inputs[0])) * (3 if has_weight else 2)


def batchnorm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``batch_norm`` or ``instance_norm``; by recorded statistics it is one scale and one shift."""
    if inputs[5].toIValue():
        return int(_norm_by_data(inputs, outputs))  # type: ignore[arg-type]  # it gives numbers
    is_affine = get_shape(inputs[1]) is not None
    return prod(_shape(inputs[0])) * (2 if is_affine else 1)


_norm_by_data = norm_flop_counter(1)


def elementwise_flop_counter(input_scale: float = 1, output_scale: float = 0) -> Handle:
    """A handle for an operator whose cost is a multiple of its size.

    Args:
        input_scale: Cost of each element of the first input.
        output_scale: Cost of each element of the first output.
    """

    def flops(inputs: list[Any], outputs: list[Any]) -> float:
        cost = 0.0 if isinstance(input_scale + output_scale, float) else 0
        if input_scale:
            cost += input_scale * prod(_shape(inputs[0]))
        if output_scale:
            cost += output_scale * prod(_shape(outputs[0]))
        return cost

    return flops


def grid_sampler_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """``grid_sampler``: as many terms an output as the interpolation has corners."""
    space = len(_shape(inputs[0])) - 2
    bilinear, nearest, bicubic = 2**space, 1, 4**space
    corners = (bilinear, nearest, bicubic)[inputs[2].toIValue()]
    return int(corners) * prod(_shape(outputs[0]))


# Activations


def generic_activation_jit(op_name: str | None = None) -> Handle:
    """A handle that counts the elements of the first output.

    Args:
        op_name: The name to count under; the operator's own when None.
    """

    def activations(inputs: list[Any], outputs: list[Any]) -> Count:
        elements = prod(_shape(outputs[0]))
        return elements if op_name is None else Counter({op_name: elements})

    return activations
