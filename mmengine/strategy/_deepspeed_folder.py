"""Checkpoints in a folder of DeepSpeed, to which each rank writes its part."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from mmengine._checkpoint._forms import DeepSpeedFolder, is_stored
from mmengine._checkpoint.files import is_remote, read_checkpoint, write_hashed
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.strategy._deepspeed_engine import import_deepspeed
from mmengine.strategy.checkpoint_io import (
    FILE,
    BackendArgs,
    Checkpoint,
    FileCheckpointIO,
    check_is_local,
)
from mmengine.utils.errors import ArgumentError

# What is of the run, not of the engine.
RUN_FILE = DeepSpeedFolder.RUN_FILE
_TAG = 'engine'


class DeepSpeedFolderIO(FileCheckpointIO):
    """Checkpoints that are one file, or a folder of DeepSpeed with a file ``run.pth``.

    Attributes:
        setting: Why folders are written, as the user wrote it; None if files are.
    """

    setting: str | None = None

    def check_saves(
        self,
        out_dir: str,
        backend_args: BackendArgs = None,
        with_optimizer: bool = True,
        readers: Sequence[str] = (),
    ) -> None:
        """See the base: a folder is local, and its weights are in a form of DeepSpeed."""
        if self.setting is None or not with_optimizer:
            return
        check_is_local(out_dir, backend_args, self.setting)
        if readers:
            raise ArgumentError(
                f'{" and ".join(readers)} needs whole weights in a checkpoint, but with '
                f'{self.setting} DeepSpeed writes them in its form. Use {FILE}.'
            )

    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """What the folder holds of the run: all but weights and optimizer; or the whole file."""
        if not is_folder(path):
            return super().read(path, map_location)
        run_file = Path(os.path.expanduser(path), RUN_FILE)
        if not run_file.is_file():
            raise ArgumentError(
                f'{path} is not a checkpoint of DeepSpeedStrategy: the folder has no {RUN_FILE}.'
            )
        return read_checkpoint(run_file, map_location)  # type: ignore[no-any-return]  # what the file holds

    def exists(self, path: str, backend_args: BackendArgs = None) -> bool:
        """Whether there is a file, or a whole folder."""
        if is_folder(path):
            return Path(path, RUN_FILE).is_file()
        return super().exists(path, backend_args)

    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the folder; first the file without which it is not a checkpoint."""
        if not is_folder(path):
            super().remove(path, backend_args)
            return
        Path(path, RUN_FILE).unlink(missing_ok=True)
        shutil.rmtree(path)

    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Make a second folder with links to the same files."""
        if not is_folder(source):
            super().link(source, target, backend_args)
            return
        if is_folder(target):
            self.remove(target)
        shutil.copytree(source, target, copy_function=_link_or_copy)


def is_folder(path: str) -> bool:
    """Whether ``path`` is a local folder in a form that only the engine reads."""
    local = os.path.expanduser(path)
    return not is_remote(path) and os.path.isdir(local) and not is_stored(local)


def save_folder(
    engine: Any, path: str, checkpoint: Checkpoint, *, exclude_frozen_parameters: bool
) -> None:
    """Write the engine and ``checkpoint``, which holds the rest of the run, to the folder ``path``.

    All ranks must call it.
    """
    draft = f'{path}.part'  # gets its name when all ranks have written
    if is_main_process():
        shutil.rmtree(draft, ignore_errors=True)
        os.makedirs(draft)
    barrier()
    engine.save_checkpoint(
        draft,
        tag=_TAG,
        save_latest=False,
        exclude_frozen_parameters=exclude_frozen_parameters,
    )
    barrier()
    if is_main_process():
        whole = {**checkpoint, 'deepspeed': _layout_of(engine)}
        write_hashed(plain_checkpoint(whole), str(Path(draft, RUN_FILE)), None)
        if is_folder(path):
            old = f'{path}.old'
            os.rename(path, old)
            os.rename(draft, path)
            shutil.rmtree(old)
        else:
            os.rename(draft, path)
    barrier()


def load_engine(engine: Any, path: str, layout: dict[str, int]) -> None:
    """Load weights and optimizer from the folder; each rank reads its part.

    All ranks must call it.

    Args:
        engine: The engine.
        path: The folder.
        layout: Number of ranks and stage of the engine that has written the folder.

    Raises:
        ArgumentError: If ``engine`` has another number of ranks, or another stage of ZeRO.
    """
    now = _layout_of(engine)
    if layout != now:
        raise ArgumentError(
            f'{path} was written by {layout["ranks"]} ranks with stage {layout["stage"]} of ZeRO, '
            f'and this run has {now["ranks"]} ranks with stage {now["stage"]}. Resume it as it was '
            f'written, and save with {FILE}: any strategy and any number of ranks resume such a '
            'file. load_from without resume takes the weights alone.'
        )
    engine.load_checkpoint(path, tag=_TAG, load_lr_scheduler_states=False)


def weights_in(path: str, layout: dict[str, int]) -> dict[str, Any]:
    """The whole float32 weights in a folder, merged from the parts of all ranks."""
    import_deepspeed()
    if layout['stage'] == 0:
        file = Path(os.path.expanduser(path), _TAG, 'mp_rank_00_model_states.pt')
        weights: dict[str, Any] = torch.load(file, map_location='cpu', weights_only=False)['module']
        return weights
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it shows its progress
        merged: dict[str, Any] = get_fp32_state_dict_from_zero_checkpoint(path, tag=_TAG)
    return merged


def _layout_of(engine: Any) -> dict[str, int]:
    return {'ranks': get_world_size(), 'stage': int(engine.zero_optimization_stage())}


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
