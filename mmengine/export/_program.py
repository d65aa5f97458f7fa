"""Captures the steps of a model with torch.export."""

from __future__ import annotations

import inspect
import io
import keyword
import re
import sys
import warnings
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from mmengine.export._errors import ExportError, reason_of
from mmengine.export._target import Target, flat_names, tensors_of, without

BATCH = 'batch'
_BATCH_SIZE = torch.export.Dim(BATCH, min=1)


class _Call(nn.Module):
    """Calls a target with its inputs by position."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.module = target.module
        self._names = target.names
        self._call = target.call
        self._entries = target.entries

    def forward(self, *values: Any) -> Any:
        return self._call(self.module, self._entries(dict(zip(self._names, values, strict=True))))


def capture(target: Target, sizes: tuple[int, ...]) -> tuple[Any, Target, list[str]]:
    """The steps of a target, as a program without Python.

    Args:
        target: The target.
        sizes: One batch size, which the program then has; or several, the first of which is the
            example. What differs between the first and the last one may have any size, as what
            ``target.free`` has.

    Returns:
        The program, the target with the inputs that the output depends on, and the names of those
        that are left out.

    Raises:
        ExportError: If it cannot be captured; the message says why.
    """
    program = _captured(target, sizes)
    unused = _unused(program, target, sizes[0])
    if not unused or len(unused) == len(target.names):
        return program, target, []
    smaller, left_out = _smaller(target, unused, sizes[0])
    return (_captured(smaller, sizes) if left_out else program), smaller, left_out


def _smaller(target: Target, unused: list[str], size: int) -> tuple[Target, list[str]]:
    """The target without the unused inputs that it can do without, and their names."""
    expected = tensors_of(target.run(size), target.title)
    whole = without(target, unused, expected)
    if whole is not None:
        return whole, unused
    left_out = []
    for name in unused:
        smaller = without(target, [name], expected)
        if smaller is not None:
            target = smaller
            left_out.append(name)
    return target, left_out


def example_of(target: Target, size: int) -> tuple[Any, ...]:
    """The values of the inputs for one batch size."""
    return tuple(target.inputs[size].values())


def shapes_of(target: Target, sizes: tuple[int, ...]) -> list[tuple[str, str]]:
    """For each flat input its name, and its dtype and shape in words."""
    names = flat_names(target.inputs[sizes[0]])
    tensors = tree_leaves(example_of(target, sizes[0]))
    found = []
    for name, tensor, dims in zip(names, tensors, axes_of(target, sizes), strict=True):
        shape = [dims.get(dim, str(size)) for dim, size in enumerate(tensor.shape)]
        found.append((name, _form(tensor, shape)))
    return found


def axes_of(target: Target, sizes: tuple[int, ...]) -> list[dict[int, str]]:
    """For each flat input the names of its dimensions that may have any size."""
    marked = tree_leaves(_varying(target, sizes), is_leaf=lambda one: isinstance(one, dict))
    names = flat_names(target.inputs[sizes[0]])
    return [
        {dim: BATCH if dims[dim] is _BATCH_SIZE else f'{name}_{dim}' for dim in sorted(dims)}
        for name, dims in zip(names, marked, strict=True)
    ]


def output_shapes_of(program: Any, axes: list[dict[int, str]]) -> list[str]:
    """Dtype and shape of each tensor of the output, in words.

    Args:
        program: The program.
        axes: For each flat input the names of its dimensions that may have any size.
    """
    forms = {node.name: node.meta.get('val') for node in program.graph.nodes}
    known: dict[str, str] = {}
    for name, dims in zip(program.graph_signature.user_inputs, axes, strict=True):
        known.update({str(forms[name].shape[dim]): title for dim, title in dims.items()})
    found = []
    for name in program.graph_signature.user_outputs:
        form = forms.get(name)
        if isinstance(form, Tensor):
            shape = [
                str(size) if isinstance(size, int) else known.get(str(size), 'any')
                for size in form.shape
            ]
            found.append(_form(form, shape))
    return found


def _form(tensor: Tensor, shape: list[str]) -> str:
    return f'{str(tensor.dtype).removeprefix("torch.")} [{", ".join(shape)}]'


def _captured(target: Target, sizes: tuple[int, ...]) -> Any:
    shapes = _varying(target, sizes)
    is_dynamic = len(sizes) > 1 or bool(target.free)
    caller = _Call(target)
    values = example_of(target, sizes[0])
    _name_arguments(caller, target.names)
    printed = io.StringIO()  # torch prints the whole program when it fails
    try:
        with torch.no_grad(), warnings.catch_warnings(), redirect_stderr(printed):
            warnings.simplefilter('ignore')  # remarks of torch about its own modules
            program = torch.export.export(
                caller, values, dynamic_shapes=shapes if is_dynamic else None, strict=False
            )
    except Exception as error:  # torch raises errors of many classes
        reason = reason_of(error, is_dynamic)
        raise ExportError(f'{target.title} cannot be exported: {reason}') from error
    sys.stderr.write(printed.getvalue())
    return program


def _name_arguments(caller: _Call, names: list[str]) -> None:
    """Give the inputs of the program the names of the entries."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD

    def forward(self: _Call, *values: Any) -> Any:
        return _Call.forward(self, *values)

    parameters = [inspect.Parameter(name, kind) for name in ('self', *_identifiers(names))]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
    caller.__class__ = type('_Call', (_Call,), {'forward': forward})


def _identifiers(names: list[str]) -> list[str]:
    """The names as different names of arguments."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r'\W', '_', name)
        if not plain.isidentifier() or keyword.iskeyword(plain) or plain in ('self', *found):
            plain = f'input_{len(found)}_{plain}'
        found.append(plain)
    return found


def _varying(target: Target, sizes: tuple[int, ...]) -> Any:
    """For each tensor of the inputs, what its dimensions are that may have any size.

    The batch size; what depends on it, and is a constant if the model makes it one; or a size that
    was freed on request, which is never a constant.
    """
    first, last = (example_of(target, size) for size in (sizes[0], sizes[-1]))
    free = iter([target.free.get(name, ()) for name in flat_names(target.inputs[sizes[0]])])

    def dims(one: Tensor, other: Tensor) -> dict[int, Any]:
        found = {
            dim: _BATCH_SIZE if size == sizes[0] else torch.export.Dim.AUTO
            for dim, (size, other_size) in enumerate(zip(one.shape, other.shape, strict=True))
            if size != other_size
        }
        return found | dict.fromkeys(next(free), torch.export.Dim.DYNAMIC)

    try:
        return tree_map(dims, first, last)
    except ValueError as error:
        raise ExportError(
            f'{target.title} takes a list with a tensor for each sample, so a file has one batch '
            'size: pass --batch-size N, or batch_size=N.'
        ) from error


def _unused(program: Any, target: Target, size: int) -> list[str]:
    """Inputs of which the program uses no values; it may use their sizes."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == 'placeholder'}
    sizes = torch.ops.aten.sym_size.int
    flags = [
        all(user.target is sizes for user in nodes[name].users)
        for name in program.graph_signature.user_inputs
    ]
    unused = []
    for name, value in target.inputs[size].items():
        count = len(tree_leaves(value))
        if all(flags[:count]):
            unused.append(name)
        flags = flags[count:]
    return unused
