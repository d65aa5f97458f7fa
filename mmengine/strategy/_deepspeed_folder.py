"""Checkpoints in a folder of DeepSpeed, to which each rank writes its part."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from mmengine._checkpoint.files import is_remote, read_checkpoint, write_hashed
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.strategy.checkpoint_io import BackendArgs, Checkpoint, FileCheckpointIO
from mmengine.utils.errors import ArgumentError

# What is of the run, not of the engine. It is written last: a folder without it is not whole.
RUN_FILE = 'run.pth'
_TAG = 'engine'


class DeepSpeedFolderIO(FileCheckpointIO):
    """Checkpoints that are one file, or a folder of DeepSpeed with a file ``run.pth``."""

    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """What the folder holds of the run: all but weights and optimizer; or the whole file."""
        if not is_folder(path):
            return super().read(path, map_location)
        run_file = Path(os.path.expanduser(path), RUN_FILE)
        if not run_file.is_file():
            raise ArgumentError(
                f'{path} is not a whole checkpoint of DeepSpeedStrategy: it has no {RUN_FILE}, '
                'which is written last.'
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
    """Whether ``path`` is a local folder."""
    return not is_remote(path) and os.path.isdir(os.path.expanduser(path))


def save_folder(
    engine: Any, path: str, checkpoint: Checkpoint, *, exclude_frozen_parameters: bool
) -> None:
    """Write the engine and ``checkpoint``, which holds the rest of the run, to the folder ``path``.

    All ranks must call it.
    """
    if is_remote(path):
        raise ArgumentError(
            f"checkpoint_format='folder' writes to a local or shared disk; got {path}. Use 'file'."
        )
    if is_main_process():
        if os.path.isdir(path):
            shutil.rmtree(path)
        os.makedirs(path)
    barrier()
    engine.save_checkpoint(
        path,
        tag=_TAG,
        save_latest=False,
        exclude_frozen_parameters=exclude_frozen_parameters,
    )
    barrier()
    if is_main_process():
        layout = {'ranks': get_world_size(), 'stage': int(engine.zero_optimization_stage())}
        whole = {**checkpoint, 'deepspeed': layout}
        write_hashed(plain_checkpoint(whole), str(Path(path, RUN_FILE)), None)
    barrier()


def load_folder(
    engine: Any, path: str, checkpoint: Checkpoint, *, weights_only: bool
) -> None:
    """Load the parts of the engine from the folder. All ranks must call it.

    Raises:
        ArgumentError: If another number of ranks, or another stage of ZeRO, has written the folder.
    """
    layout = checkpoint.pop('deepspeed', {})
    now = {'ranks': get_world_size(), 'stage': int(engine.zero_optimization_stage())}
    if layout and layout != now and not (weights_only and layout['stage'] < 3 and now['stage'] < 3):
        raise ArgumentError(
            f'{path} was written by {layout["ranks"]} ranks with stage {layout["stage"]} of ZeRO, '
            f'and this run has {now["ranks"]} ranks with stage {now["stage"]}. Resume it as it was '
            "written, and save with checkpoint_format='file': any strategy and any number of ranks "
            'resume such a file.'
        )
    engine.load_checkpoint(
        path,
        tag=_TAG,
        load_module_only=weights_only,
        load_optimizer_states=not weights_only,
        load_lr_scheduler_states=False,
    )


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
