"""The argument ``tp_plan`` of a strategy: which layers are split over several ranks, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from mmengine.utils.errors import ArgumentError, did_you_mean

STYLES = ('colwise', 'rowwise', 'sequence')
_LAYOUTS = ('replicate', 'sequence', 'last')
_KEYS = ('style', 'input', 'output', 'sequence_dim', 'use_local_output')


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is split.

    Attributes:
        style: ``'colwise'``, ``'rowwise'``, ``'sequence'``, or a ``ParallelStyle`` of torch.
        input: Layout of the input: ``'replicate'``, ``'sequence'``, ``'last'``, a dimension or a
            placement of torch. None is the usual one of the style.
        output: Layout of the output, in the same way.
        sequence_dim: The dimension of the sequence.
        use_local_output: Return plain tensors; else DTensors.
    """

    style: Any
    input: Any = None
    output: Any = None
    sequence_dim: int = 1
    use_local_output: bool = True


def read_plan(tp_plan: Any, num_ranks: int) -> dict[str, LayerPlan]:
    """The plan by patterns, as a user writes it.

    Args:
        tp_plan: None or a dict; see ``FSDPStrategy``.
        num_ranks: Ranks along the axis ``tensor`` of the mesh.

    Raises:
        ArgumentError: If an entry is wrong, or only one of plan and axis is given.
    """
    if tp_plan is None or tp_plan == {}:
        if num_ranks > 1:
            raise ArgumentError(
                f'mesh has tensor={num_ranks}, but tp_plan does not say which layers are split '
                "over these ranks. Give one, such as tp_plan={'blocks.*.fc1': 'colwise', "
                "'blocks.*.fc2': 'rowwise'}."
            )
        return {}
    if not isinstance(tp_plan, Mapping):
        raise ArgumentError(
            f'tp_plan is a dict from names of layers to styles, got {type(tp_plan).__name__}.'
        )
    if num_ranks == 1:
        raise ArgumentError(
            'tp_plan splits layers over the ranks of the axis tensor of mesh, which has one rank. '
            'Give mesh=dict(tensor=2), for example, or leave tp_plan out.'
        )
    return {str(pattern): _read_entry(pattern, entry) for pattern, entry in tp_plan.items()}


def _check_parts_are_taken(plan: Mapping[str, LayerPlan]) -> None:
    """Raise if layers give parts of their features, and no layer of the plan takes parts."""
    giving = [
        pattern
        for pattern, layer in plan.items()
        if layer.style == 'colwise' and layer.output is None
    ]
    is_taken = any(
        layer.style == 'rowwise' or layer.input is not None or not isinstance(layer.style, str)
        for layer in plan.values()
    )
    if giving and not is_taken:
        raise ArgumentError(
            f"tp_plan[{giving[0]!r}] is 'colwise', which gives each rank a part of the features, "
            "but no layer of tp_plan takes parts. Make the layer behind it 'rowwise', or write "
            "dict(style='colwise', output='replicate') for whole features, or output='last' if "
            'the model itself computes with parts.'
        )


def find_layers(
    model: nn.Module, plan: Mapping[str, LayerPlan], num_ranks: int
) -> dict[str, LayerPlan]:
    """The layers of ``model`` by name that ``plan`` splits over ``num_ranks`` ranks.

    A ``*`` in a pattern stands for any characters between two dots.

    Raises:
        ArgumentError: If a pattern matches nothing, a layer cannot be split, a layer matches
            several patterns, it shares a parameter, or no layer takes the parts that one gives.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    owners: dict[nn.Module, tuple[str, str]] = {}
    found: dict[str, LayerPlan] = {}
    for pattern, layer in plan.items():
        names = [name for name in modules if name and _matches(name, pattern)]
        if not names:
            raise ArgumentError(
                f'{pattern!r} of tp_plan matches no layer of {type(model).__name__}.'
                + did_you_mean(pattern, sorted(set(map(_general, modules))))
            )
        for name in names:
            module = modules[name]
            known = owners.setdefault(module, (name, pattern))
            if known != (name, pattern):
                if known[1] == pattern:
                    continue  # a second name of the same layer
                raise ArgumentError(
                    f'The layer {name} matches {known[1]!r} and {pattern!r} of tp_plan; it can '
                    'have one of them only.'
                )
            _check_layer(name, module, layer, num_ranks)
            found[name] = layer
    _check_not_shared(modules, owners)
    _check_parts_are_taken(plan)
    return found


def _read_entry(pattern: Any, entry: Any) -> LayerPlan:
    where = f'tp_plan[{pattern!r}]'
    settings = dict(entry) if isinstance(entry, Mapping) else {'style': entry}
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        raise ArgumentError(
            f'{where} has the unknown key {unknown[0]!r}; it may have {", ".join(_KEYS)}.'
            + did_you_mean(str(unknown[0]), _KEYS)
        )
    style = settings.get('style')
    if isinstance(style, str):
        if style not in STYLES:
            raise ArgumentError(
                f'{where} has the style {style!r}; it should be one of {", ".join(STYLES)}, or a '
                'ParallelStyle of torch.' + did_you_mean(style, STYLES)
            )
    else:
        from torch.distributed.tensor.parallel.style import ParallelStyle

        if not isinstance(style, ParallelStyle):
            raise ArgumentError(
                f'{where} needs a style: one of {", ".join(STYLES)}, or a ParallelStyle of torch; '
                f'got {style!r}.'
            )
        if len(settings) > 1:
            raise ArgumentError(
                f'{where} is a {type(style).__name__}, which has its own layouts: leave out '
                f'{", ".join(key for key in settings if key != "style")}.'
            )
    for key in ('input', 'output'):
        _check_layout(f'{where}[{key!r}]', settings.get(key))
    return LayerPlan(**settings)


def _check_layout(where: str, layout: Any) -> None:
    if layout is None or (isinstance(layout, int) and not isinstance(layout, bool)):
        return
    if isinstance(layout, str):
        if layout in _LAYOUTS:
            return
    else:
        from torch.distributed.tensor import Placement

        if isinstance(layout, Placement):
            return
    raise ArgumentError(
        f'{where} should be one of {", ".join(_LAYOUTS)}, the dimension that is split, or a '
        f'Placement of torch; got {layout!r}.' + did_you_mean(str(layout), _LAYOUTS)
    )


def _check_layer(name: str, module: nn.Module, layer: LayerPlan, num_ranks: int) -> None:
    """Raise if ``module`` cannot be split as ``layer`` says; torch checks its own styles."""
    kind = type(module).__name__
    if layer.style == 'sequence':
        inner = next((key for key, _ in module.named_parameters() if '.' in key), None)
        if inner is not None:
            raise ArgumentError(
                f"The style 'sequence' of tp_plan is for a layer such as LayerNorm, but {name} is "
                f'a {kind} with the parameter {inner} in another layer.'
            )
        return
    if not isinstance(layer.style, str):
        return
    if not isinstance(module, (nn.Linear, nn.Embedding)):
        raise ArgumentError(
            f'The style {layer.style!r} of tp_plan splits Linear and Embedding, but {name} is a '
            f'{kind}. Name the layers in it.'
        )
    size, words = _split_size(module, layer.style)
    if size % num_ranks:
        raise ArgumentError(
            f'{name} has {size} {words}, which {num_ranks} ranks cannot divide equally. Take '
            f'{name} out of tp_plan, or change its size or tensor of mesh.'
        )


def _split_size(module: nn.Linear | nn.Embedding, style: str) -> tuple[int, str]:
    if isinstance(module, nn.Embedding):
        if style == 'colwise':
            return module.embedding_dim, 'output features'
        return module.num_embeddings, 'embeddings'
    if style == 'colwise':
        return module.out_features, 'output features'
    return module.in_features, 'input features'


def _check_not_shared(
    modules: Mapping[str, nn.Module], owners: Mapping[nn.Module, tuple[str, str]]
) -> None:
    """Raise if a parameter of a planned layer is in another layer, which would keep it whole."""
    users: dict[int, tuple[nn.Module, str]] = {}
    for name, module in modules.items():
        for key, param in module.named_parameters(recurse=False):
            first, known = users.setdefault(id(param), (module, f'{name}.{key}'))
            if first is not module and (first in owners or module in owners):
                raise ArgumentError(
                    f'{known} and {name}.{key} are the same parameter, so tp_plan cannot split one '
                    'of these layers. Take it out of tp_plan.'
                )


def _matches(name: str, pattern: str) -> bool:
    parts, patterns = name.split('.'), pattern.split('.')
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _general(name: str) -> str:
    """``name`` as the pattern of all layers of its kind: ``blocks.*.attn``."""
    return re.sub(r'(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)', '*', name)
