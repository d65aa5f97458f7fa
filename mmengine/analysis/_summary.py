"""summary: the layers of a model with their shapes, parameters and multiply-adds."""

from __future__ import annotations

import copy
import inspect
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.analysis._tracing import _plain_kernels, _restored_afterwards
from mmengine.analysis.complexity_analysis import FlopAnalyzer
from mmengine.utils.errors import ArgumentError

_MODES = ('tensor', 'loss', 'predict')


@dataclass
class LayerSummary:
    """One module of a model, with all that is inside it.

    Attributes:
        name: Dotted path in the model, empty for the model itself.
        kind: Name of its class.
        depth: Levels below the model.
        inputs: Shapes of the tensors in its first call; None if it was not called.
        outputs: Shapes of the tensors that this call returned.
        calls: How often it was called.
        parameters: Numbers in its parameters; each parameter counts once.
        trainable: How many of them have ``requires_grad``.
        repeated: How many of them an earlier layer outside it has too, as with tied weights.
        flops: Multiply-adds of all its calls; a multiplication with an addition counts as one.
    """

    name: str
    kind: str
    depth: int
    inputs: list[tuple[int, ...]] | None
    outputs: list[tuple[int, ...]] | None
    calls: int
    parameters: int
    trainable: int
    repeated: int
    flops: int

    @property
    def frozen(self) -> int:
        """Numbers in parameters without ``requires_grad``."""
        return self.parameters - self.trainable


@dataclass
class ModelSummary:
    """What :func:`summary` returns; ``print`` shows it as a table.

    Attributes:
        layers: The model and its modules, in order of their names in the model; a module with
            several names is there once. All depths.
        depth: How many levels the table shows.
        parameters: Numbers in the parameters of the model; shared ones count once.
        trainable: How many of them have ``requires_grad``.
        buffers: Numbers in buffers, such as the statistics of batch norm.
        parameter_bytes: Memory of the parameters.
        flops: Multiply-adds of the call; a multiplication with an addition counts as one.
        uncounted: Operators with arithmetic that ``flops`` leaves out, and how often they ran.
    """

    layers: list[LayerSummary]
    depth: int
    parameters: int
    trainable: int
    buffers: int
    parameter_bytes: int
    flops: int
    uncounted: dict[str, int] = field(default_factory=dict)

    @property
    def frozen(self) -> int:
        """Numbers in parameters without ``requires_grad``."""
        return self.parameters - self.trainable

    @property
    def total_line(self) -> str:
        """The totals in one line."""
        frozen = f', {self.frozen:,} frozen' if self.frozen else ''
        return (
            f'{self.parameters:,} parameters ({self.trainable:,} trainable{frozen}; '
            f'{self.parameter_bytes / 1e6:.3g} MB), {self.flops:,} FLOPs'
        )

    def __str__(self) -> str:
        from rich.console import Console

        # No codes for colours: the text may go anywhere.
        width = shutil.get_terminal_size((100, 24)).columns
        console = Console(color_system=None, width=width)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip('\n')

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """The table and the totals, for rich."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column('layer', overflow='fold')
        for heading in ('input', 'output'):
            table.add_column(heading, overflow='fold')
        frozen = bool(self.frozen)
        for heading in ('parameters', *(['frozen'] if frozen else []), 'FLOPs'):
            table.add_column(heading, justify='right', no_wrap=True)
        for layer in self.layers:
            is_empty = not layer.calls and not layer.parameters  # such as a data preprocessor
            if layer.depth <= self.depth and not is_empty:
                table.add_row(*_cells(layer, frozen))
        yield table
        yield self.total_line
        yield 'FLOPs: a multiplication with an addition counts as one.'
        if self.uncounted:
            names = ', '.join(f'{name} ({times}x)' for name, times in self.uncounted.items())
            yield f'Not counted in FLOPs: {names}'


def summary(model: nn.Module, batch: Any, *, depth: int = 3, mode: str = 'tensor') -> ModelSummary:
    """The layers of ``model``: shapes, parameters and FLOPs in a call with ``batch``.

    The model is called twice, in evaluation mode and without gradients. Its modes, buffers,
    gradients and the random state are what they were afterwards.

    Args:
        model: A module, also inside a distributed wrapper.
        batch: A tensor is passed on as the only argument, a tuple or list as several, a dict by
            name. A model with a ``data_preprocessor`` gets a dict, a tuple or a list through it, as
            a batch of a dataloader; a tensor goes to ``forward`` as it is. Tensors are moved to the
            device of the model.
        depth: Levels below the model in the printed table.
        mode: Passed to a ``forward`` that takes ``mode``: 'tensor', 'loss' or 'predict'.

    Raises:
        ArgumentError: If the model has lazy modules that have not been called, or a value is wrong.

    Example:
        >>> found = summary(nn.Linear(4, 3), torch.zeros(2, 4))
        >>> found.parameters, found.flops, found.layers[0].outputs
        (15, 24, [(2, 3)])
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ArgumentError(f'depth is a number of levels, 0 or more, got {depth!r}.')
    if mode not in _MODES:
        raise ArgumentError(f'mode is one of {", ".join(_MODES)}, got {mode!r}.')
    model = unwrap_model(model)
    lazy = [name for name, param in model.named_parameters() if is_lazy(param)]
    if lazy:
        raise ArgumentError(
            f'{lazy[0]} has no shape yet, because a lazy module gets it from its first batch. Call '
            'the model once before.'
        )
    with _evaluating(model):
        # A model may change its batch, so each of the two calls has a copy.
        calls = _record_calls(model, _Call(model, copy.deepcopy(batch), mode))
        analyzer = FlopAnalyzer(_Call(model, copy.deepcopy(batch), mode), ())
        analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analyzer.tracer_warnings('none')
        flops = analyzer.by_module()
        uncounted = dict(analyzer.unsupported_ops().most_common())
    parameters = list(model.parameters())
    return ModelSummary(
        layers=list(_layers(model, calls, flops)),
        depth=depth,
        parameters=sum(each.numel() for each in parameters),
        trainable=sum(each.numel() for each in parameters if each.requires_grad),
        buffers=sum(each.numel() for each in model.buffers()),
        parameter_bytes=sum(each.numel() * each.element_size() for each in parameters),
        flops=int(flops['']),
        uncounted=uncounted,
    )


class _Call(nn.Module):
    """A model with the arguments of its call."""

    def __init__(self, model: nn.Module, batch: Any, mode: str) -> None:
        super().__init__()
        self.model = model
        self.training = model.training
        preprocessor = getattr(model, 'data_preprocessor', None)
        self._arguments: tuple[Any, ...] = ()
        self._named: dict[str, Any] = {}
        if isinstance(preprocessor, nn.Module) and isinstance(batch, (Mapping, list, tuple)):
            with torch.no_grad(), _restored_afterwards(model):
                batch = preprocessor(batch, False)
        device = next((each.device for each in model.parameters()), None)
        batch = _detached(batch, device)
        if isinstance(batch, Mapping):
            self._named = dict(batch)
        else:
            self._arguments = tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)
        if _takes_mode(model):
            self._named.setdefault('mode', mode)

    def forward(self) -> Any:
        """Call the model."""
        return self.model(*self._arguments, **self._named)


@dataclass
class _Calls:
    count: int
    inputs: list[tuple[int, ...]]
    outputs: list[tuple[int, ...]]


def _record_calls(model: nn.Module, call: _Call) -> dict[nn.Module, _Calls]:
    """Call the model, and note the shapes that go in and out of its modules."""
    found: dict[nn.Module, _Calls] = {}

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module in found:
            found[module].count += 1
        else:
            found[module] = _Calls(1, _shapes((args, kwargs)), _shapes(output))

    handles = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad(), _restored_afterwards(model), _plain_kernels():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _layers(
    model: nn.Module, calls: Mapping[nn.Module, _Calls], flops: Mapping[str, int]
) -> Iterator[LayerSummary]:
    seen: dict[Tensor, str] = {}
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        # An outer module has the same parameters; they are not repeated there.
        repeated = [
            each
            for each in parameters
            if each in seen
            and not _is_inside(name, seen[each])
            and not _is_inside(seen[each], name)
        ]
        for each in module.parameters(recurse=False):
            seen.setdefault(each, name)
        called = calls.get(module)
        yield LayerSummary(
            name=name,
            kind=type(module).__name__,
            depth=name.count('.') + 1 if name else 0,
            inputs=None if called is None else called.inputs,
            outputs=None if called is None else called.outputs,
            calls=0 if called is None else called.count,
            parameters=sum(each.numel() for each in parameters),
            trainable=sum(each.numel() for each in parameters if each.requires_grad),
            repeated=sum(each.numel() for each in repeated),
            flops=int(flops.get(f'model.{name}' if name else 'model', 0)),
        )


def _is_inside(name: str, outer: str) -> bool:
    return not outer or name == outer or name.startswith(f'{outer}.')


def _cells(layer: LayerSummary, frozen: bool) -> list[str]:
    path = layer.name.rpartition('.')[2]
    title = '  ' * layer.depth + (f'{path} ({layer.kind})' if path else layer.kind)
    if layer.calls > 1:
        title += f' x{layer.calls}'
    shared = ' (shared)' if layer.repeated else ''
    numbers = [f'{layer.parameters:,}{shared}' if layer.parameters else '']
    if frozen:
        numbers.append(f'{layer.frozen:,}' if layer.frozen else '')
    numbers.append(f'{layer.flops:,}' if layer.flops else '')
    return [title, _shape_text(layer.inputs), _shape_text(layer.outputs), *numbers]


def _shape_text(shapes: list[tuple[int, ...]] | None) -> str:
    if shapes is None:
        return 'not called'
    return ', '.join('x'.join(map(str, shape)) if shape else 'scalar' for shape in shapes)


def _shapes(value: Any) -> list[tuple[int, ...]]:
    """Shapes of the tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [tuple(int(size) for size in value.shape)]
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    return [shape for part in parts for shape in _shapes(part)]


def _detached(value: Any, device: torch.device | None) -> Any:
    """``value`` with the tensors of its lists, tuples and dicts detached, and on ``device``."""
    if isinstance(value, Tensor):
        return value.detach().to(device or value.device)
    if isinstance(value, dict):
        return {key: _detached(part, device) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_detached(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, '_fields') else type(value)(parts)
    return value


def _takes_mode(model: nn.Module) -> bool:
    """Whether ``forward`` has an argument ``mode``, as models of the engine do."""
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return 'mode' in parameters or (takes_any and hasattr(model, 'data_preprocessor'))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
