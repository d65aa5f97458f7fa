"""The cost of a model, as tables and next to its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.analysis._table import _format_size, indented, text_table
from mmengine.analysis.complexity_analysis import (
    ActivationAnalyzer,
    FlopAnalyzer,
    parameter_count,
)
from mmengine.analysis.jit_analysis import JitModelAnalysis
from mmengine.utils.errors import ArgumentError

Stats = dict[str, dict[str, Any]]
"""Module name -> name of the statistic -> its value."""

_NOTE = (
    'N/A: not counted, because the module was not called, or only its forward(). What it ran is '
    "part of its caller's numbers.\n"
)


def get_model_complexity_info(
    model: nn.Module,
    input_shape: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None,
    inputs: Tensor | tuple[Any, ...] | None = None,
    show_table: bool = True,
    show_arch: bool = True,
) -> dict[str, Any]:
    """Multiply-adds, activations and parameters of a model.

    Args:
        model: The model, called in the mode it is in.
        input_shape: Shape of the input without its batch dimension, or a tuple of such shapes for
            several inputs; the model gets random numbers, a batch of one.
        inputs: The inputs, instead of their shape: a tensor, or a tuple of all positional
            arguments.
        show_table: Also give the table by module.
        show_arch: Also give the layers of the model with their numbers.

    Returns:
        ``flops``, ``activations`` and ``params`` as numbers, and short as ``flops_str``,
        ``activations_str`` and ``params_str``; ``out_table`` and ``out_arch``, texts, empty if not
        requested.

    Raises:
        ValueError: If not exactly one of ``input_shape`` and ``inputs`` is given, or the shape is
            not a shape.
    """
    if (input_shape is None) == (inputs is None):
        given = 'both' if inputs is not None else 'neither'
        raise ArgumentError(f'Pass either input_shape or inputs; got {given}.')
    if inputs is None:
        inputs = _random_inputs(model, input_shape)
    flops = FlopAnalyzer(model, inputs)
    # One list of what is not counted is enough.
    activations = ActivationAnalyzer(model, inputs).unsupported_ops_warnings(False)
    activations.uncalled_modules_warnings(False)
    counts = {
        'flops': flops.total(),
        'activations': activations.total(),
        'params': parameter_count(model)[''],
    }
    result: dict[str, Any] = {}
    for name, count in counts.items():
        result[name] = count
        result[f'{name}_str'] = _format_size(count)
    result['out_table'] = (
        '\n' + complexity_stats_table(flops, activations=activations) if show_table else ''
    )
    result['out_arch'] = '\n' + complexity_stats_str(flops, activations) if show_arch else ''
    return result


def _random_inputs(model: nn.Module, input_shape: Any) -> tuple[Tensor, ...]:
    shapes = input_shape if _is_tuple_of(tuple, input_shape) else (input_shape,)
    if not all(_is_tuple_of(int, shape) for shape in shapes):
        raise ArgumentError(
            'input_shape is a tuple of numbers, (3, 224, 224), or a tuple of such tuples for '
            f'several inputs; got {input_shape!r}.'
        )
    first = next(model.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else None
    return tuple(torch.randn(1, *shape, dtype=dtype, device=first.device) for shape in shapes)


def _is_tuple_of(kind: type, value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, kind) for v in value)


def complexity_stats_table(
    flops: JitModelAnalysis,
    max_depth: int = 3,
    activations: JitModelAnalysis | None = None,
    show_param_shapes: bool = True,
) -> str:
    """A table of a model's modules with their parameters, multiply-adds and activations.

    A module that only contains one other module with the same numbers is left out.

    Args:
        flops: The analysis of the model.
        max_depth: How many levels of names are shown below the model.
        activations: An analysis for one column more.
        show_param_shapes: Also list the parameters with their shapes.
    """
    model = flops._model
    columns: dict[str, Mapping[str, Any]] = {
        '#parameters': parameter_count(model),
        '#flops': flops.by_module(),
    }
    if activations is not None:
        columns['#activations'] = activations.by_module()
    statistics = _module_statistics(model, columns)
    for analysis, column in ((flops, '#flops'), (activations, '#activations')):
        if analysis is not None:
            _indicate_uncalled_modules(statistics, column, analysis.uncalled_modules(), '')
    statistics = _remove_zero_statistics(statistics, require_trivial_children=True)
    for values in statistics.values():
        if not values['#parameters']:
            values['#parameters'] = ''
    statistics = _pretty_statistics(statistics)
    if not show_param_shapes:
        return _stats_table_format(statistics, max_depth, list(columns))
    heading = '#parameters or shape'
    shapes = {name: str(tuple(param.shape)) for name, param in model.named_parameters()}
    with_shapes: Stats = {}
    for name, values in statistics.items():
        with_shapes[name] = {heading: values['#parameters'], **values}
    with_shapes.update({name: {heading: shape} for name, shape in shapes.items()})
    return _stats_table_format(
        _in_order_of(model, with_shapes), max_depth, [heading, *list(columns)[1:]]
    )


def complexity_stats_str(
    flops: JitModelAnalysis, activations: JitModelAnalysis | None = None
) -> str:
    """The model as ``print`` shows it, with the numbers of each module.

    Args:
        flops: The analysis of the model.
        activations: An analysis for one number more.
    """
    model = flops._model
    columns: dict[str, Mapping[str, Any]] = {
        '#params': parameter_count(model),
        '#flops': flops.by_module(),
    }
    if activations is not None:
        columns['#acts'] = activations.by_module()
    statistics = _module_statistics(model, columns)
    uncalled: set[str] = set()
    for analysis, column in ((flops, '#flops'), (activations, '#acts')):
        if analysis is not None:
            uncalled |= analysis.uncalled_modules()
            _indicate_uncalled_modules(statistics, column, analysis.uncalled_modules())
    statistics = _remove_zero_statistics(statistics, force_keep=uncalled)
    text = _model_stats_str(model, _pretty_statistics(statistics, sig_figs=2))
    return (_NOTE if uncalled else '') + text


# Numbers


def _pretty_statistics(statistics: Stats, sig_figs: int = 3, hide_zero: bool = False) -> Stats:
    """The statistics with numbers as short texts; texts stay."""
    return {
        name: {
            stat: value if isinstance(value, str) else _format_size(value, sig_figs, hide_zero)
            for stat, value in values.items()
        }
        for name, values in statistics.items()
    }


# Statistics of modules


def _module_statistics(model: nn.Module, columns: Mapping[str, Mapping[str, Any]]) -> Stats:
    """Each module with its value in each column, 0 where it has none."""
    filled = _fill_missing_statistics(model, columns)
    grouped = _group_by_module(filled)
    return {name: grouped[name] for name, _ in model.named_modules()}


def _group_by_module(statistics: Mapping[str, Mapping[str, Any]]) -> Stats:
    """Statistics by module, from modules by statistic."""
    modules: Stats = {}
    for stat, by_module in statistics.items():
        for name, value in by_module.items():
            modules.setdefault(name, {})[stat] = value
    return modules


def _fill_missing_statistics(
    model: nn.Module, statistics: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Modules by statistic, with 0 for each module of the model that a statistic leaves out."""
    zeros = {name: 0 for name, _ in model.named_modules()}
    return {stat: {**zeros, **by_module} for stat, by_module in statistics.items()}


def _indicate_uncalled_modules(
    statistics: Stats,
    stat_name: str,
    uncalled_modules: Collection[str],
    uncalled_indicator: str = 'N/A',
) -> Stats:
    """Put the indicator in the place of a statistic of uncalled modules; changes ``statistics``."""
    for name in uncalled_modules:
        statistics.setdefault(name, {})[stat_name] = uncalled_indicator
    return statistics


def _remove_zero_statistics(
    statistics: Stats,
    force_keep: Collection[str] | None = None,
    require_trivial_children: bool = False,
) -> Stats:
    """The statistics without modules that have nothing but zeros.

    Args:
        statistics: Values by module; the model '' always stays.
        force_keep: Modules that stay as well.
        require_trivial_children: Let a module also stay if something inside it does.
    """
    kept = {'', *(force_keep or ())}
    kept |= {
        name for name, values in statistics.items() if any(_counts(v) for v in values.values())
    }
    if require_trivial_children:
        kept |= {outer for name in kept for outer in _outer_names(name)}
    return {name: values for name, values in statistics.items() if name in kept}


def _counts(value: Any) -> bool:
    return value not in (0, '')


def _outer_names(name: str) -> Iterable[str]:
    while name:
        name = name.rpartition('.')[0]
        yield name


def _in_order_of(model: nn.Module, statistics: Stats) -> Stats:
    """Statistics of modules and parameters in the order in which the model has them."""
    order: list[str] = []

    def visit(module: nn.Module, prefix: str) -> None:
        order.append(prefix[:-1])
        order.extend(prefix + name for name in module._parameters)
        for name, child in module.named_children():
            visit(child, f'{prefix}{name}.')

    visit(model, '')
    return {name: statistics[name] for name in order if name in statistics}


def _get_input_sizes(iterable: Iterable[Any]) -> list[Any]:
    """The shapes of tensors, in lists nested as the tensors are; None for what is not a tensor."""
    return [
        list(item.shape)
        if isinstance(item, Tensor)
        else _get_input_sizes(item)
        if isinstance(item, (list, tuple))
        else None
        for item in iterable
    ]


# Tables


def _get_single_child(name: str, statistics: Mapping[str, Any]) -> str | None:
    """The one entry directly inside ``name``; None if there are none or several."""
    inside = [other for other in statistics if other and other.rpartition('.')[0] == name]
    return inside[0] if len(inside) == 1 else None


def _try_combine(stats1: Mapping[str, str], stats2: Mapping[str, str]) -> dict[str, str] | None:
    """Both at once, if they have the same names and no two different texts for one of them."""
    if stats1.keys() != stats2.keys():
        return None
    if any(stats1[key] and stats2[key] and stats1[key] != stats2[key] for key in stats1):
        return None
    return {key: stats1[key] or stats2[key] for key in stats1}


def _fastforward(
    name: str, statistics: Mapping[str, Mapping[str, str]]
) -> tuple[str, dict[str, str]]:
    """Follow modules that hold one module of the same numbers; the innermost, with its numbers."""
    values = dict(statistics[name])
    while (child := _get_single_child(name, statistics)) is not None:
        combined = _try_combine(values, statistics[child])
        if combined is None:
            break
        name, values = child, combined
    return name, values


def _stats_table_format(
    statistics: Mapping[str, Mapping[str, str]],
    max_depth: int = 3,
    stat_columns: Sequence[str] | None = None,
) -> str:
    """A table of statistics, indented by depth.

    Args:
        statistics: Texts by name of the statistic, by module.
        max_depth: How many levels below the model are shown; skipped modules do not count.
        stat_columns: Which statistics, in which order; all when None.
    """
    if stat_columns is None:
        stat_columns = list(
            dict.fromkeys(stat for values in statistics.values() for stat in values)
        )
    rows: list[list[str]] = []

    def visit(name: str, depth: int) -> None:
        if depth > max_depth:
            return
        name, values = _fastforward(name, statistics)
        cells = [values.get(column, '') for column in stat_columns]
        rows.append(indented(depth, name or 'model', *cells))
        for other in statistics:
            if other and other.rpartition('.')[0] == name:
                visit(other, depth + 1)

    visit('', 0)
    return text_table(['module', *stat_columns], rows)


# Layers


def _model_stats_str(model: nn.Module, statistics: Mapping[str, Mapping[str, str]]) -> str:
    """The model as ``print`` shows it, with ``name: value`` for the statistics of each module."""

    def described(module: nn.Module, name: str) -> str:
        values = ', '.join(f'{stat}: {value}' for stat, value in statistics.get(name, {}).items())
        own = module.extra_repr().splitlines()
        inside = []
        for child_name, child in module.named_children():
            path = f'{name}.{child_name}' if name else child_name
            inside += f'({child_name}): {described(child, path)}'.splitlines()
        lines = [*own, *([values] if values else []), *inside]
        # A single line of the module's own stays on the line of its name.
        if not inside and len(lines) <= 1:
            return f'{type(module).__name__}({"".join(lines)})'
        return '\n'.join([f'{type(module).__name__}(', *(f'  {line}' for line in lines), ')'])

    return described(model, '')
