"""The device mesh over which a strategy shards, replicates and splits the layers of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError

_AXES = ('replicate', 'shard', 'tensor')


def tensor_ranks(sizes: Mapping[str, int] | str | None) -> int:
    """The ranks along the axis ``tensor`` of a mesh with these ``sizes``; 1 without that axis.

    Raises:
        ArgumentError: If it is not a positive integer.
    """
    size = sizes.get('tensor', 1) if isinstance(sizes, Mapping) else 1
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(f'tensor of mesh is a positive integer, got {size!r}.')
    return size


def build_mesh(device: str, sizes: Mapping[str, int] | str | None, world_size: int) -> Any:
    """A mesh of all ranks: ``replicate`` first, then ``shard``, then ``tensor``.

    It has the axis ``shard`` always, and the others if they have several ranks.

    Args:
        device: Device type.
        sizes: Ranks along the axes. ``replicate`` and ``shard`` may be left out: the ranks that
            the others leave shard, or replicate if ``shard`` is given. ``'nodes'``: replicate over
            machines and shard inside each of them. None: shard over all ranks.
        world_size: Number of ranks.

    Raises:
        ArgumentError: If the sizes do not multiply to ``world_size``.
    """
    from torch.distributed.device_mesh import init_device_mesh

    if sizes is None:
        sizes = {'shard': world_size}
    if sizes == 'nodes':
        sizes = {'shard': int(os.environ.get('LOCAL_WORLD_SIZE', world_size))}
    if not isinstance(sizes, Mapping) or not sizes or set(sizes) - set(_AXES):
        raise ArgumentError(
            f"mesh is a dict with the keys 'replicate', 'shard' and 'tensor', or 'nodes'; got "
            f'{sizes!r}.'
        )
    known = 1
    for size in sizes.values():
        known *= size
    rest = world_size // known if known > 0 else 0
    shard = sizes.get('shard', rest)
    replicate = sizes.get('replicate', rest if 'shard' in sizes else 1)
    tensor = tensor_ranks(sizes)
    if min(replicate, shard) < 1 or replicate * shard * tensor != world_size:
        product = 'replicate x shard' + (' x tensor' if 'tensor' in sizes else '')
        raise ArgumentError(
            f'mesh={dict(sizes)} needs {product} = the number of ranks, {world_size}.'
        )
    axes = {'replicate': replicate, 'shard': shard, 'tensor': tensor}
    kept = {name: size for name, size in axes.items() if size > 1 or name == 'shard'}
    return init_device_mesh(device, tuple(kept.values()), mesh_dim_names=tuple(kept))


def data_mesh(mesh: Any) -> Any:
    """The part of ``mesh`` whose ranks have different data."""
    names = tuple(name for name in mesh.mesh_dim_names if name != 'tensor')
    return mesh if len(names) == mesh.ndim else mesh[names]
