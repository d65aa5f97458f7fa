"""The operators a model runs, as a graph: each under the modules that were being called."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.analysis._scopes import tracing_state
from mmengine.analysis._scripted import Interpreted
from mmengine.utils.errors import ArgumentError

TRACER_WARNING_MODES = ('all', 'no_tracer_warning', 'none')

# torch has no types for this part.
_jit: Any = torch.jit

# Under this node kind the tracer keeps what ran while one scope was open.
_SCOPE_KIND = 'prim::TracedModuleForward'


class TracedOp(NamedTuple):
    """One operator that ran."""

    kind: str
    """Its name: 'aten::linear'."""

    callers: tuple[str, ...]
    """Names of the modules being called at the time, outermost first."""

    inputs: list[Any]
    """Values of the graph (``torch._C.Value``)."""

    outputs: list[Any]
    """Values of the graph."""


class _GraphIsComplete(Exception):
    """Ends the tracing before torch removes operators that no output needs."""


def scoped_trace_graph(
    module: nn.Module,
    inputs: tuple[Any, ...],
    names: Mapping[nn.Module, str],
    warning_mode: str = 'no_tracer_warning',
) -> Any:
    """Call ``module(*inputs)`` and return the ``torch._C.Graph`` of every operator that ran.

    Nothing is dropped: an operator with an unused result did its work too. So the model may return
    anything. Mode, buffers and gradients of the model and the random state do not change.

    Args:
        module: Called in the mode (training or not) it is in.
        inputs: Positional arguments, tensors or not.
        names: The name of each module whose calls are recorded separately.
        warning_mode: 'all' shows every warning, 'no_tracer_warning' hides warnings of the
            tracer, 'none' hides all.
    """
    # One device and one process are enough; other ranks do not take part.
    module = unwrap_model(module)
    arguments = tuple(_without_gradients(value) for value in inputs)
    state = None

    def call_model() -> Tensor:
        nonlocal state
        state = tracing_state()
        runnable(*arguments)
        raise _GraphIsComplete

    with contextlib.ExitStack() as stack:
        stack.enter_context(_restored_afterwards(module))
        stack.enter_context(_plain_kernels())
        runnable = stack.enter_context(_interpreted_script_modules(module, names))
        stack.enter_context(_scopes_of_calls(names))
        stack.enter_context(_filtered_warnings(warning_mode))
        stack.enter_context(contextlib.suppress(_GraphIsComplete))
        try:
            _jit.trace(call_model, (), check_trace=False)
        except RuntimeError as error:
            if 'requires grad as a constant' not in str(error):
                raise
            raise RuntimeError(
                f'{type(module).__name__} calculates with a tensor that requires a gradient but is '
                'not one of its parameters. Register it as a parameter, or detach it.'
            ) from None
    assert state is not None
    return state.graph()


def traced_ops(graph: Any) -> Iterator[TracedOp]:
    """The operators of a graph from :func:`scoped_trace_graph`, in the order they ran.

    Each call of a module is an operator without inputs and outputs, before the operators it runs.
    """
    yield from _ops_of_block(graph, ())


def _ops_of_block(block: Any, callers: tuple[str, ...]) -> Iterator[TracedOp]:
    for node in block.nodes():
        kind = node.kind()
        if kind == _SCOPE_KIND:
            called = (*callers, node.s('scope'))
            yield TracedOp(kind, called, [], [])
            for inner in node.blocks():
                yield from _ops_of_block(inner, called)
            continue
        if kind == 'prim::PythonOp':
            kind = f'prim::PythonOp.{node.pyname()}'
        inner_ops = [op for inner in node.blocks() for op in _ops_of_block(inner, callers)]
        if inner_ops:
            yield from inner_ops
        else:
            yield TracedOp(kind, callers, list(node.inputs()), list(node.outputs()))


@contextlib.contextmanager
def _scopes_of_calls(names: Mapping[nn.Module, str]) -> Iterator[None]:
    """Open a scope around each call of a named module."""
    handles: list[Any] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda module, args: tracing_state().push_scope(name)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        state = tracing_state()
        if state is not None:  # an error has ended the trace
            state.pop_scope()

    try:
        for module, name in names.items():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # they support no hooks; their interpreter opens the scopes
            handles.append(module.register_forward_pre_hook(enter(name), prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _interpreted_script_modules(
    module: nn.Module, names: Mapping[nn.Module, str]
) -> Iterator[nn.Module]:
    """Replace compiled modules, which a trace does not look into, by interpreters."""
    if isinstance(module, torch.jit.ScriptModule):
        yield Interpreted(module, names)
        return
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for parent in list(module.modules()):
            if isinstance(parent, torch.jit.ScriptModule):
                continue
            for name, child in parent._modules.items():
                if isinstance(child, torch.jit.ScriptModule):
                    replaced.append((parent, name, child))
                    parent._modules[name] = Interpreted(child, names)
        yield module
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


@contextlib.contextmanager
def _restored_afterwards(module: nn.Module) -> Iterator[None]:
    """Restore the model afterwards: a trace updates batch norm and needs gradients switched off."""
    # Script modules have no such dict, and cannot register a buffer while they run.
    tables = [m._buffers for m in module.modules() if isinstance(m._buffers, dict)]
    registered = [dict(table) for table in tables]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    trained = [p for p in module.parameters() if p.requires_grad]
    accelerators = sorted({p.device.index for p in module.parameters() if p.is_cuda})
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.random.fork_rng(devices=accelerators):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for table, content in zip(tables, registered, strict=True):
            table.update(content)
        with torch.no_grad():
            for buffer, value in buffers:
                # Write only if needed, because it breaks a backward pass that needs the buffer.
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


@contextlib.contextmanager
def _plain_kernels() -> Iterator[None]:
    """Run attention layers operator by operator, and compiled models without compilation."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if 'torch._dynamo' in sys.modules:
            with torch.compiler.set_stance('force_eager'):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextlib.contextmanager
def _filtered_warnings(mode: str) -> Iterator[None]:
    if mode not in TRACER_WARNING_MODES:
        raise ArgumentError(
            f'The mode of tracer warnings is one of {TRACER_WARNING_MODES}, got {mode!r}.'
        )
    with warnings.catch_warnings():
        # Not of interest to users: nothing else in torch returns such a graph.
        deprecation = re.escape('`torch.jit.trace') + '.*is deprecated'
        warnings.filterwarnings('ignore', deprecation, DeprecationWarning)
        if mode == 'no_tracer_warning':
            warnings.simplefilter('ignore', _jit.TracerWarning)
        elif mode == 'none':
            warnings.simplefilter('ignore')
        yield


def _without_gradients(value: Any) -> Any:
    """``value`` with the tensors of its nested tuples, lists and dicts detached."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return type(value)((key, _without_gradients(item)) for key, item in value.items())
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(_without_gradients, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_gradients, value))
    return value
