"""Writes a checkpoint folder, all ranks together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import (
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.futures import Future

from mmengine._checkpoint._digest import Digest
from mmengine._checkpoint._stored_tensor import read_values
from mmengine._checkpoint.dtensor import local_part
from mmengine._checkpoint.folder._manifest import (
    Files,
    measured,
    stated_digest,
    total_bytes,
    write_manifest,
)
from mmengine._checkpoint.folder._metadata import METADATA
from mmengine._checkpoint.folder._tree import STATE, take_apart
from mmengine.dist import all_gather_object, get_rank
from mmengine.fileio import atomic_write
from mmengine.fileio._atomic import replace_folder, sync_folder, temporary_beside

_T = TypeVar('_T')


def write_folder(
    checkpoint: Callable[[], dict[str, Any]],
    path: str | Path,
    group: Any = None,
    finished: Callable[[Digest], None] | None = None,
    *,
    max_bytes: int = 2**30,
) -> Digest:
    """Write ``checkpoint`` as the folder ``path``; a crash leaves the old or the whole new folder.

    Of a ``DTensor`` each rank writes its part. Plain tensors and everything else are written by
    rank 0. All ranks of ``group`` must call this with the same keys, in the main thread or in
    another one: it communicates through ``group`` only.

    Args:
        checkpoint: Returns a checkpoint of plain types; a tensor may be a ``StoredTensor``, which
            is read when it is written.
        path: A local path, on a file system that all ranks share.
        group: Process group for the host memory of all ranks; None for a single process.
        finished: Called on rank 0 when the folder is there; if it fails, all ranks fail.
        max_bytes: Size of the tensors in one file; a larger tensor has a separate file. As much
            memory is needed for tensors that are not in host memory.

    Returns:
        The size and the hash of the folder.

    Raises:
        OSError: If it cannot be written. Ranks that have not failed raise a RuntimeError with the
            reason.
    """
    target = Path(path)
    rank = 0 if group is None else get_rank(group)
    ranks = _Ranks(group, rank, target)
    draft = Path(ranks.together(lambda: _begin(target, rank))[0])
    rest: dict[str, Any] = {}
    try:
        planner, writer = _Planner(flatten_state_dict=False), _Writer(draft, max_bytes)

        def plan() -> SavePlan:
            nonlocal rest
            rest, tensors = take_apart(checkpoint(), is_main=rank == 0)
            planner.set_up_planner(tensors, writer.storage_meta(), is_coordinator=rank == 0)
            writer.set_up_storage_writer(rank == 0)
            return writer.prepare_local_plan(planner.create_local_plan())

        # Every rank computes the plan of all, which depends on nothing but the gathered plans.
        plans, metadata = planner.create_global_plan(ranks.together(plan))
        own = writer.prepare_global_plan(plans)[rank]

        def write_own() -> tuple[Any, Files]:
            written = writer.write_data(planner.finish_plan(own), planner).wait()
            files = {one.storage_data.relative_path for one in written}
            return written, measured(draft, sorted(files))

        results, parts = zip(*ranks.together(write_own), strict=True)

        def finish() -> Digest:
            digest = Digest()
            if rank:
                return digest
            files: Files = {}
            for own_files in parts:
                files |= own_files
            writer.finish(metadata, list(results))
            files |= _write_rest(draft, rest)
            _check_shared(draft, files)
            write_manifest(draft, files)
            sync_folder(draft)
            replace_folder(draft, target)
            digest.size, digest.xxh3 = total_bytes(files), stated_digest(files)
            if finished is not None:
                finished(digest)
            return digest

        return ranks.together(finish)[0]
    except BaseException:
        if rank == 0:
            with suppress(OSError):
                shutil.rmtree(draft)
        raise


class _Ranks:
    """Lets all ranks go on, or fail, together."""

    def __init__(self, group: Any, rank: int, target: Path) -> None:
        self._group, self._rank, self._target = group, rank, target

    def together(self, work: Callable[[], _T]) -> list[_T]:
        """The results of ``work`` of all ranks.

        Raises:
            Exception: What ``work`` has raised on this rank.
            RuntimeError: If it has raised on another rank.
        """
        result: Any = None
        error: Exception | None = None
        try:
            result = work()
        except Exception as raised:
            error = raised
        if self._group is None:
            if error is not None:
                raise error
            return [result]
        told = None if error is None else f'{type(error).__name__}: {error}'
        outcomes = all_gather_object((told, None if error else result), self._group)
        if error is not None:
            raise error
        for rank, (reason, _) in enumerate(outcomes):
            if reason is not None:
                raise RuntimeError(
                    f'Rank {rank} could not write its part of {self._target}. {reason}'
                )
        return [value for _, value in outcomes]


class _Planner(DefaultSavePlanner):
    """Plans one item for each tensor: the whole, or the part that this rank has."""

    def create_local_plan(self) -> SavePlan:
        """The items of this rank."""
        parts: Mapping[str, Tensor] = self.state_dict
        self.plan = SavePlan([item for key, one in parts.items() for item in _items(key, one)])
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        """The values of an item."""
        value: Tensor = self.state_dict[write_item.index.fqn]
        values: Tensor = read_values(local_part(value)[0])
        return values.contiguous()


class _Writer(FileSystemWriter):
    """Begins a new file when one is full, because torch keeps the tensors of a file in memory."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        super().__init__(folder)
        self._max_bytes = max_bytes

    def write_data(self, plan: SavePlan, planner: Any) -> Any:
        """Write the items of this rank."""
        written: list[Any] = []
        for number, items in enumerate(_divided(plan.items, self._max_bytes)):
            prefix = replace(plan.storage_data, prefix=f'{plan.storage_data.prefix}{number}_')
            part = replace(plan, items=items, storage_data=prefix)
            written += super().write_data(part, planner).wait()
        done: Future[list[Any]] = Future()
        done.set_result(written)
        return done


def _divided(items: list[WriteItem], max_bytes: int) -> list[list[WriteItem]]:
    files: list[list[WriteItem]] = []
    size = max_bytes + 1
    for item in items:
        assert item.tensor_data is not None  # all items are tensors
        dtype = item.tensor_data.properties.dtype
        own = item.tensor_data.chunk.sizes.numel() * dtype.itemsize
        if size + own > max_bytes:
            files.append([])
            size = 0
        files[-1].append(item)
        size += own
    return files


def _items(key: str, tensor: Tensor) -> list[WriteItem]:
    local, offsets = local_part(tensor)
    if not local.numel():
        return []  # there are more ranks than rows
    sizes, start = torch.Size(local.shape), torch.Size(offsets)
    properties = TensorProperties(dtype=tensor.dtype)
    chunk = ChunkStorageMetadata(offsets=start, sizes=sizes)
    data = TensorWriteData(chunk=chunk, properties=properties, size=torch.Size(tensor.shape))
    return [WriteItem(MetadataIndex(key, start), WriteItemType.SHARD, tensor_data=data)]


def _begin(target: Path, rank: int) -> str:
    """Make the folder that becomes ``target``; returns its name on rank 0."""
    if rank:
        return ''
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_beside(os.path.abspath(target))
    os.mkdir(draft)
    return draft


def _write_rest(draft: Path, rest: dict[str, Any]) -> Files:
    with atomic_write(draft / STATE) as file:
        torch.save(rest, file)
    return measured(draft, [STATE, METADATA])


def _check_shared(draft: Path, files: Files) -> None:
    """Raise if rank 0 does not see what other ranks have written."""
    for name, written in files.items():
        path = draft / name
        if not path.is_file() or path.stat().st_size != written['bytes']:
            raise OSError(
                f'{name} of another rank is not in {draft.parent} on rank 0. Sharded checkpoints '
                'need a folder that all ranks share.'
            )
