"""The device mesh over which a strategy shards and replicates a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError

_AXES = ('replicate', 'shard')


def build_mesh(device: str, sizes: Mapping[str, int] | str | None, world_size: int) -> Any:
    """A mesh of all ranks, with the axis ``shard`` last.

    Args:
        device: Device type.
        sizes: Ranks along ``replicate`` and ``shard``; one of them may be left out. ``'nodes'``:
            replicate over machines and shard inside each of them. None: shard over all ranks.
        world_size: Number of ranks.

    Raises:
        ArgumentError: If the sizes do not multiply to ``world_size``.
    """
    from torch.distributed.device_mesh import init_device_mesh

    if sizes is None:
        return init_device_mesh(device, (world_size,), mesh_dim_names=('shard',))
    if sizes == 'nodes':
        sizes = {'shard': int(os.environ.get('LOCAL_WORLD_SIZE', world_size))}
    if not isinstance(sizes, Mapping) or not sizes or set(sizes) - set(_AXES):
        raise ArgumentError(
            f"mesh is a dict with the keys 'replicate' and 'shard', or 'nodes'; got {sizes!r}."
        )
    known = 1
    for size in sizes.values():
        known *= size
    replicate = sizes.get('replicate', world_size // known)
    shard = sizes.get('shard', world_size // known)
    if replicate < 1 or shard < 1 or replicate * shard != world_size:
        raise ArgumentError(
            f'mesh={dict(sizes)} needs replicate x shard = the number of ranks, {world_size}.'
        )
    if replicate == 1:
        return init_device_mesh(device, (world_size,), mesh_dim_names=('shard',))
    return init_device_mesh(device, (replicate, shard), mesh_dim_names=_AXES)
