"""Runs a TorchScript module piece by piece, so that a trace shows which submodule runs what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.analysis._scopes import open_scope

# torch has no types for this part.
_C: Any = torch._C

# Nodes that the interpreter runs itself: they use modules, or contain blocks that do.
_MODULE_KINDS = frozenset({'prim::GetAttr', 'prim::SetAttr', 'prim::CallMethod'})


class Interpreted(nn.Module):
    """Replaces a script module while a trace is made.

    A script module runs as one call, and a trace does not show what happens inside. This module
    walks the graph of the script module: calls of submodules are walked in turn, each in a separate
    scope, and the nodes between them are run by TorchScript's interpreter, which the trace shows.
    """

    def __init__(self, script_module: Any, names: Mapping[nn.Module, str]) -> None:
        super().__init__()
        # Not a submodule: the trace must find no second way to it.
        self._target = [script_module]
        self._names = names

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        module = self._target[0]
        schema = module._c._get_method('forward').schema
        by_name = schema.arguments[1 + len(args) :]
        rest = [kwargs.get(argument.name, argument.default_value) for argument in by_name]
        return self._call(module, 'forward', [*args, *rest])

    def _call(self, module: Any, method: str, args: Sequence[Any]) -> Any:
        name = self._names.get(module)
        # Overloads, and repeated calls of a traced module, are called forward__0, forward1 ...
        if name is None or not method.startswith('forward'):
            return self._run_method(module, method, args)
        with open_scope(name):
            return self._run_method(module, method, args)

    def _run_method(self, module: Any, method: str, args: Sequence[Any]) -> Any:
        graph = module._c._get_method(method).graph
        inputs = zip(graph.inputs(), [module, *args], strict=True)
        values = {value.unique(): given for value, given in inputs}
        (result,) = self._run_block(graph, values)
        return result

    def _run_block(self, block: Any, values: dict[int, Any]) -> list[Any]:
        """Run the nodes of a graph or block; ``values`` has the known values by id."""
        pending: list[Any] = []
        for node in block.nodes():
            if node.kind() == 'prim::Constant':
                continue
            if not _deals_with_modules(node):
                pending.append(node)
                continue
            _run_plain(pending, values)
            pending = []
            results = self._run_node(node, values)
            for output, result in zip(node.outputs(), results, strict=True):
                values[output.unique()] = result
        _run_plain(pending, values)
        outputs = block.outputs()
        return [_value_of(output, values) for output in outputs]

    def _run_node(self, node: Any, values: dict[int, Any]) -> list[Any]:
        inputs = list(node.inputs())
        kind = node.kind()
        if kind == 'prim::If':
            taken = 0 if _value_of(inputs[0], values) else 1
            return self._run_block(list(node.blocks())[taken], values)
        if kind == 'prim::Loop':
            return self._run_loop(node, [_value_of(value, values) for value in inputs], values)
        target = _value_of(inputs[0], values)
        if kind == 'prim::GetAttr':
            found = getattr(target, node.s('name'))
            needs_detaching = isinstance(found, Tensor) and found.requires_grad
            return [found.detach() if needs_detaching else found]
        arguments = [_value_of(value, values) for value in inputs[1:]]
        if kind == 'prim::SetAttr':
            setattr(target, node.s('name'), arguments[0])
            return []
        return [self._call(target, node.s('name'), arguments)]

    def _run_loop(self, node: Any, inputs: list[Any], values: dict[int, Any]) -> list[Any]:
        limit, go_on, *carried = inputs
        (body,) = node.blocks()
        round_number = 0
        while go_on and round_number < limit:
            for value, given in zip(body.inputs(), [round_number, *carried], strict=True):
                values[value.unique()] = given
            go_on, *carried = self._run_block(body, values)
            round_number += 1
        return carried


def _deals_with_modules(node: Any) -> bool:
    if node.kind() in _MODULE_KINDS:
        return True
    return any(_deals_with_modules(inner) for block in node.blocks() for inner in block.nodes())


def _value_of(value: Any, values: Mapping[int, Any]) -> Any:
    node = value.node()
    return value.toIValue() if node.kind() == 'prim::Constant' else values[value.unique()]


def _run_plain(nodes: Sequence[Any], values: dict[int, Any]) -> None:
    """Run consecutive nodes by TorchScript's interpreter, and record their results."""
    if not nodes:
        return
    graph = _C.Graph()
    copies: dict[int, Any] = {}
    arguments: list[Any] = []

    def copy_of(value: Any) -> Any:
        key = value.unique()
        if key not in copies:
            node = value.node()
            if node.kind() == 'prim::Constant':
                constant = graph.createClone(node, lambda unused: unused)
                graph.prependNode(constant)
                copies[key] = constant.output()
            else:
                parameter = graph.addInput()
                parameter.setType(value.type())
                copies[key] = parameter
                arguments.append(values[key])
        return copies[key]

    given: list[int] = []
    for node in nodes:
        clone = graph.createClone(node, copy_of)
        graph.appendNode(clone)
        for output, copied in zip(node.outputs(), clone.outputs(), strict=True):
            copies[output.unique()] = copied
            given.append(output.unique())
    for key in given:
        graph.registerOutput(copies[key])
    _C._jit_pass_inline(graph)
    results = _C._jit_interpret_graph(graph, tuple(arguments))
    values.update(zip(given, _as_results(results, len(given)), strict=True))


def _as_results(results: Any, number: int) -> Iterable[Any]:
    # TorchScript returns one result without a tuple, and None without results.
    return results if number > 1 else [results][:number]
