"""Counting over the operators that a model runs, module by module."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from mmengine.analysis._tracing import (
    TRACER_WARNING_MODES,
    TracedOp,
    scoped_trace_graph,
    traced_ops,
)
from mmengine.analysis.jit_handles import Handle
from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError, did_you_mean

T = TypeVar('T', bound='JitModelAnalysis')

ANCESTOR_MODES = ('owner', 'caller')

# They create, copy, move, select, compare or rearrange, without arithmetic.
_FREE_NAMES = {
    'numbers and booleans': """
        __and__ __getitem__ __not__ __or__ __xor__ all any bitwise_and bitwise_not bitwise_or
        Bool dim eq Float FloatImplicit ge gt Int IntImplicit is_nonzero item le len logical_and
        logical_not logical_or lt ne numel ScalarImplicit size sym_size
    """,
    'new tensors': """
        arange bernoulli bernoulli_ empty empty_like eye full full_like linspace new_empty
        new_full new_ones new_zeros ones ones_like rand rand_like randint randn randn_like
        randperm scalar_tensor tensor zeros zeros_like
    """,
    'copies and casts': """
        alias clone contiguous copy_ cpu cuda detach detach_ dropout dropout_ feature_dropout
        feature_dropout_ fill_ lift_fresh to type_as zero_
    """,
    'views and arrangement': """
        as_strided atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to
        cat channel_shuffle chunk col2im concat concatenate constant_pad_nd diagonal dstack
        expand expand_as flatten flip hstack im2col matrix_H meshgrid mH moveaxis movedim mT
        narrow numpy_T pad permute pixel_shuffle pixel_unshuffle real reflection_pad1d
        reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
        replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg roll
        rot90 select slice split split_with_sizes squeeze squeeze_ stack swapaxes swapdims t
        tensor_split tile transpose transpose_ tril triu unbind unflatten unfold unsafe_chunk
        unsafe_split unsqueeze unsqueeze_ view view_as vstack
    """,
    'picking and comparing': """
        argmax argmin argsort clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ embedding
        gather hardtanh hardtanh_ index index_copy index_fill index_put index_put_ index_select
        masked_fill masked_fill_ masked_scatter masked_select max maximum min minimum nonzero
        nonzero_numpy one_hot relu relu6 relu6_ relu_ scatter scatter_ sort take take_along_dim
        threshold threshold_ topk unique_consecutive where
    """,
}
_FREE_OPS = frozenset(f'aten::{name}' for names in _FREE_NAMES.values() for name in names.split())


@dataclass
class Statistics:
    """The results of one trace of a model."""

    counts: dict[str, Counter[str]]
    """Module name -> name of the operation -> its count."""

    unsupported_ops: dict[str, Counter[str]]
    """Module name -> operator without a handle -> how often it ran."""

    uncalled_mods: set[str]
    """Modules that were not called."""


class JitModelAnalysis:
    """Counts something over the operators that ``model`` runs on ``inputs``.

    Handles (:meth:`set_op_handle`) define how much an operator counts. The model is called once,
    when a result is first read, in its current mode, and is not changed. A module with several
    names is counted under the first one, once per call. Compiled (scripted or traced) modules are
    counted like others.

    The methods that configure return the analysis itself, so that calls can be chained.

    Args:
        model: The model.
        inputs: Its positional arguments as a tuple, or its only one.

    Example:
        >>> import torch
        >>> from mmengine.analysis.jit_handles import linear_flop_jit
        >>> analysis = JitModelAnalysis(torch.nn.Linear(4, 3), torch.zeros(2, 4))
        >>> analysis.set_op_handle('aten::linear', linear_flop_jit).total()
        24
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._model = model
        self._inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self._op_handles: dict[str, Handle | None] = {}
        self._ancestor_mode = 'owner'
        self._tracer_warnings = 'no_tracer_warning'
        self._warns_of_unsupported_ops = True
        self._warns_of_uncalled_modules = True
        self._names: dict[nn.Module, str] = {}
        self._aliases: dict[str, str] = {}
        self._statistics: Statistics | None = None
        self._name_modules()

    # Results

    def total(self, module_name: str = '') -> Any:
        """The count of one module with all inside it; of the model, by default."""
        return sum(self.by_operator(module_name).values())

    def by_operator(self, module_name: str = '') -> Counter[str]:
        """The count of one module by operation."""
        return Counter(self._analyze().counts[self.canonical_module_name(module_name)])

    def by_module_and_operator(self) -> dict[str, Counter[str]]:
        """The count of each module by operation."""
        return {name: Counter(counts) for name, counts in self._analyze().counts.items()}

    def by_module(self) -> Counter[str]:
        """The count of each module with all inside it; '' is the model."""
        by_operator = self._analyze().counts
        return Counter({name: sum(counts.values()) for name, counts in by_operator.items()})

    def unsupported_ops(self, module_name: str = '') -> Counter[str]:
        """How often operators with arithmetic but without a handle ran in one module."""
        return Counter(self._analyze().unsupported_ops[self.canonical_module_name(module_name)])

    def uncalled_modules(self) -> set[str]:
        """Names of the modules that were not called, nor anything inside them.

        Calling ``module.forward`` is not a call of the module: what it runs counts for the caller
        of ``forward``. With ancestor mode 'caller' a container counts as called only if it is
        called itself.
        """
        return set(self._analyze().uncalled_mods)

    def canonical_module_name(self, name: str) -> str:
        """The name under which the results have the module called ``name``.

        Raises:
            KeyError: If the model has no such module.
        """
        if name not in self._aliases:
            raise KeyError(
                f'{type(self._model).__name__} has no module {name!r}.'
                f'{did_you_mean(name, self._aliases)}'
            )
        return self._aliases[name]

    # Configuration

    def set_op_handle(self: T, *args: str | Handle | None, **kwargs: Handle | None) -> T:
        """Set how operators are counted.

        Args:
            args: Names and handles in turn: ``'aten::add', handle, 'aten::mul', None``. A handle
                is called with lists of the operator's inputs and outputs (``torch._C.Value``; see
                :func:`~mmengine.analysis.jit_handles.get_shape`) and returns a number, or a Counter
                of numbers by name. With None the operator counts nothing, and is not reported.
            kwargs: Handles by operator name: ``**{'aten::add': handle}``.

        Raises:
            TypeError: If names and handles do not come in pairs.
        """
        if len(args) % 2:
            raise TypeError(
                'set_op_handle takes pairs of an operator name and a handle, '
                f'got {len(args)} arguments.'
            )
        pairs = [*zip(args[::2], args[1::2], strict=True), *kwargs.items()]
        for name, handle in pairs:
            if not isinstance(name, str) or not (handle is None or callable(handle)):
                raise TypeError(
                    "set_op_handle takes an operator name such as 'aten::add' and a function or "
                    f'None, got {name!r} and {handle!r}.'
                )
            self._op_handles[name] = handle
        self._statistics = None
        return self

    def clear_op_handles(self: T) -> T:
        """Remove all handles, so that nothing is counted."""
        self._op_handles = {}
        self._statistics = None
        return self

    def ancestor_mode(self: T, mode: str) -> T:
        """Set which modules an operator counts for.

        Args:
            mode: 'owner': for the innermost module that was being called, and those whose names
                lead to it. 'caller': for all that were being called. They differ where a module
                calls one that is not inside it.

        Raises:
            ValueError: If it is neither.
        """
        if mode not in ANCESTOR_MODES:
            raise ArgumentError(f'The ancestor mode is one of {ANCESTOR_MODES}, got {mode!r}.')
        self._ancestor_mode = mode
        self._statistics = None
        return self

    def unsupported_ops_warnings(self: T, enabled: bool) -> T:
        """Turn the warning about operators that no handle counts on or off."""
        self._warns_of_unsupported_ops = enabled
        return self

    def uncalled_modules_warnings(self: T, enabled: bool) -> T:
        """Turn the warning about modules that were not called on or off."""
        self._warns_of_uncalled_modules = enabled
        return self

    def tracer_warnings(self: T, mode: str) -> T:
        """Set which Python warnings are shown while the model is traced.

        Args:
            mode: 'all', 'no_tracer_warning' (all but warnings of the tracer) or 'none'.

        Raises:
            ValueError: If it is none of them.
        """
        if mode not in TRACER_WARNING_MODES:
            raise ArgumentError(
                f'The mode of tracer warnings is one of {TRACER_WARNING_MODES}, got {mode!r}.'
            )
        self._tracer_warnings = mode
        return self

    def copy(self: T, new_model: nn.Module | None = None, new_inputs: Any = None) -> T:
        """The same analysis, with its handles and settings, of another model or other inputs."""
        other = copy.copy(self)
        other._op_handles = dict(self._op_handles)
        other._statistics = None
        if new_model is not None:
            other._model = new_model
            other._name_modules()
        if new_inputs is not None:
            other._inputs = new_inputs if isinstance(new_inputs, tuple) else (new_inputs,)
        return other

    # The work

    def _name_modules(self) -> None:
        self._names = {module: name for name, module in _named_modules_without_dup(self._model)}
        self._aliases = {
            alias: self._names[module] for alias, module in _named_modules_with_dup(self._model)
        }

    def _analyze(self) -> Statistics:
        if self._statistics is None:
            graph = scoped_trace_graph(
                self._model, self._inputs, self._names, self._tracer_warnings
            )
            self._statistics = self._count(traced_ops(graph))
            self._warn(self._statistics)
        return self._statistics

    def _count(self, ops: Iterable[TracedOp]) -> Statistics:
        counts: dict[str, Counter[str]] = {name: Counter() for name in self._names.values()}
        unsupported: dict[str, Counter[str]] = {name: Counter() for name in self._names.values()}
        called = {''}
        for op in ops:
            modules = self._modules_of(op)
            called |= modules
            handle = self._op_handles.get(op.kind)
            if handle is not None:
                result = handle(op.inputs, op.outputs)
                if not isinstance(result, Mapping):
                    result = Counter({op.kind.rpartition('::')[2]: result})
                for module in modules:
                    counts[module].update(result)
            elif op.kind not in self._op_handles and _calculates(op):
                for module in modules:
                    unsupported[module][op.kind] += 1
        return Statistics(counts, unsupported, set(counts) - called)

    def _modules_of(self, op: TracedOp) -> set[str]:
        if self._ancestor_mode == 'caller':
            return {'', *op.callers}
        owner = op.callers[-1] if op.callers else ''
        return {'', *_names_leading_to(owner)}

    def _warn(self, statistics: Statistics) -> None:
        unsupported = statistics.unsupported_ops['']
        if unsupported and self._warns_of_unsupported_ops:
            listed = ', '.join(f'{name} ({times}x)' for name, times in unsupported.most_common())
            _warn_of(f'{type(self).__name__} has no handle for these operators: {listed}.')
        uncalled = _without_insides(statistics.uncalled_mods)
        if uncalled and self._warns_of_uncalled_modules:
            _warn_of(
                f'These modules of {type(self._model).__name__} were not called, so nothing is '
                f'counted for them: {", ".join(uncalled)}. Where only their forward() was called, '
                'it is counted for the caller.'
            )


def _calculates(op: TracedOp) -> bool:
    """Whether an operator does arithmetic on tensors: a missing handle makes the count too low."""
    if op.kind.startswith(('prim::PythonOp', 'prim::CallFunction')):
        return True  # the trace does not show what it does
    if op.kind in _FREE_OPS or op.kind.startswith('prim::'):
        return False
    # The sizes of tensors are numbers to a model, but tensors without dimensions to a trace.
    return any(map(_has_dimensions, (*op.inputs, *op.outputs)))


def _has_dimensions(value: Any) -> bool:
    if value.isCompleteTensor():
        return bool(value.type().sizes())
    return bool(value.type().kind() == 'TensorType')


def _warn_of(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def _names_leading_to(name: str) -> Iterator[str]:
    """'a.b.c', 'a.b', 'a'."""
    while name:
        yield name
        name = name.rpartition('.')[0]


def _without_insides(names: Collection[str]) -> list[str]:
    """The sorted names without those inside another one of them."""
    return sorted(
        name
        for name in names
        if not any(outer in names for outer in _names_leading_to(name.rpartition('.')[0]))
    )


def _named_modules_with_dup(model: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    """All modules by all their names, unlike ``named_modules``."""
    yield from model.named_modules(prefix=prefix, remove_duplicate=False)


def _named_modules_without_dup(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Each module by the first of its names."""
    yield from model.named_modules()


def _get_scoped_trace_graph(
    module: nn.Module, inputs: tuple[Any, ...], aliases: Mapping[nn.Module, str]
) -> Any:
    """See :func:`mmengine.analysis._tracing.scoped_trace_graph`."""
    return scoped_trace_graph(module, inputs, aliases)
