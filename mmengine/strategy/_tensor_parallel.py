"""Splits layers of a model over ranks that compute one batch together (tensor parallel)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch.distributed as torch_dist
from torch import nn

from mmengine.dist import broadcast
from mmengine.dist._dtensor import is_dtensor
from mmengine.strategy._tensor_plan import LayerPlan
from mmengine.utils.errors import ArgumentError


def split_layers(model: nn.Module, layers: Mapping[str, LayerPlan], mesh: Any) -> None:
    """Split ``layers`` of ``model`` over ``mesh``, in place. All ranks of ``mesh`` must call it.

    Args:
        model: The model, with equal parameters on all ranks.
        layers: See :func:`~mmengine.strategy._tensor_plan.find_layers`.
        mesh: A device mesh with one axis.
    """
    from torch.distributed.tensor.parallel import parallelize_module

    for name, layer in layers.items():
        module = model.get_submodule(name)
        for style in _styles_of(module, layer):
            parallelize_module(module, mesh, style)
        dim = _split_dim_of_output(layer)
        if dim is not None:
            check = partial(_check_divides, name, dim, mesh.size())
            # Before the hook that makes the part of this rank of the output.
            module.register_forward_hook(check, prepend=True)


def share_over(model: nn.Module, mesh: Any) -> None:
    """Copy what ``mesh`` does not split from its first rank. All ranks of ``mesh`` must call it.

    Args:
        model: A model after :func:`split_layers` over ``mesh``.
        mesh: A device mesh with the axis ``tensor`` only.
    """
    group = mesh.get_group()
    first = torch_dist.get_global_rank(group, 0)
    for tensor in (*model.parameters(), *model.buffers()):
        spread: Any = tensor
        if not is_dtensor(tensor):
            broadcast(tensor.detach(), first, group)
        elif not is_split(spread):
            broadcast(spread.to_local().detach(), first, group)


def is_split(param: Any) -> bool:
    """Whether the axis ``tensor`` of a device mesh splits the ``DTensor`` ``param``."""
    names = param.device_mesh.mesh_dim_names or ()
    return 'tensor' in names and not param.placements[names.index('tensor')].is_replicate()


def _styles_of(module: nn.Module, layer: LayerPlan) -> list[Any]:
    """The styles of torch that make up ``layer``, in the order in which they are applied.

    Between two layers a tensor is whole on all ranks, unless the layouts of a plan say otherwise.
    torch's ``SequenceParallel`` takes its input for a part of the sequence; here it is split first.
    """
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        PrepareModuleOutput,
        RowwiseParallel,
        SequenceParallel,
    )

    is_local = layer.use_local_output
    if layer.style == 'colwise':
        return [
            ColwiseParallel(
                input_layouts=_placement(layer, layer.input, 'replicate'),
                output_layouts=_placement(layer, layer.output, 'last'),
                use_local_output=is_local,
            )
        ]
    if layer.style == 'rowwise':
        # The input of an embedding is indices, which have no features to split.
        usual = 'replicate' if isinstance(module, nn.Embedding) else 'last'
        return [
            RowwiseParallel(
                input_layouts=_placement(layer, layer.input, usual),
                output_layouts=_placement(layer, layer.output, 'replicate'),
                use_local_output=is_local,
            )
        ]
    if layer.style != 'sequence':
        return [layer.style]
    inside = Shard(layer.sequence_dim)
    given = _placement(layer, layer.input, 'replicate')
    wanted = _placement(layer, layer.output, 'replicate')
    styles: list[Any] = []
    if given != inside:
        styles.append(PrepareModuleInput(input_layouts=given, desired_input_layouts=inside))
    ends = wanted == inside
    styles.append(
        SequenceParallel(sequence_dim=layer.sequence_dim, use_local_output=is_local and ends)
    )
    if not ends:
        styles.append(
            PrepareModuleOutput(
                output_layouts=inside, desired_output_layouts=wanted, use_local_output=is_local
            )
        )
    return styles


def _placement(layer: LayerPlan, layout: Any, usual: str) -> Any:
    from torch.distributed.tensor import Replicate, Shard

    layout = usual if layout is None else layout
    if isinstance(layout, int):
        return Shard(layout)
    named = {
        'replicate': Replicate(),
        'sequence': Shard(layer.sequence_dim),
        'last': Shard(-1),
    }
    return named[layout] if isinstance(layout, str) else layout


def _split_dim_of_output(layer: LayerPlan) -> int | None:
    """The dimension of which a module after ``layer`` gets a plain part, if it is not the last."""
    if not isinstance(layer.style, str) or not layer.use_local_output or layer.output is None:
        return None
    placement = _placement(layer, layer.output, 'replicate')
    return placement.dim if placement.is_shard() and placement.dim != -1 else None


def _check_divides(
    name: str, dim: int, num_ranks: int, module: nn.Module, args: Any, out: Any
) -> None:
    """Raise if the parts of the ranks would not be equal: a later layer takes them for equal."""
    size = out.shape[dim]
    if size % num_ranks:
        raise ArgumentError(
            f'The output of {name} has {size} entries in dimension {dim}, which {num_ranks} ranks '
            f"cannot divide equally. Pad the sequence, or use output='replicate' in tp_plan."
        )
