"""Attributes of CheckpointHook that subclasses of projects read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.fileio import FileClient
from mmengine.hooks._best import IS_BETTER
from mmengine.hooks._best_checkpoints import BestCheckpoints


class NamesOfSubclasses:
    """Views of what a :class:`CheckpointHook` has under other names."""

    out_dir: str | Path | None
    file_client_args: dict[str, Any] | None = None
    _backend: Any
    _best: dict[str, BestCheckpoints]

    @property
    def args(self) -> dict[str, Any]:
        """Arguments that are passed on to ``save_checkpoint``: none."""
        return {}

    @property
    def file_backend(self) -> Any:
        """The file backend of ``out_dir``, from ``before_train`` on."""
        return self._backend

    @property
    def file_client(self) -> FileClient:
        """The old form of :attr:`file_backend`."""
        return FileClient.infer_client(self.file_client_args, self.out_dir)

    @property
    def is_better_than(self) -> dict[str, Callable[[float, float], bool]]:
        """For each watched metric, whether a first value is better than a second one."""
        return {key: IS_BETTER[best.rule] for key, best in self._best.items()}
