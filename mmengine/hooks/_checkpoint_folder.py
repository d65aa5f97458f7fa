"""The folder of CheckpointHook, and whether the run can write its checkpoints there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend

if TYPE_CHECKING:
    from mmengine.hooks.checkpoint_hook import CheckpointHook
    from mmengine.hooks.run import Run


def settle_folder(hook: CheckpointHook, runner: Run) -> None:
    """Set the output folder and its file backend when a training begins.

    Raises:
        ArgumentError: If the checkpoints of the run cannot be written there, or in their form.
        OSError: If the folder cannot be made.
    """
    hook._backend = get_file_backend(
        hook.out_dir or runner.work_dir, backend_args=hook.backend_args
    )
    if hook.out_dir is None:
        hook.out_dir = runner.work_dir
    elif str(hook.out_dir) != runner.work_dir and hook._settled_dir is None:
        name = os.path.basename(runner.work_dir.rstrip(os.sep))
        hook.out_dir = hook._backend.join_path(hook.out_dir, name)
    hook._settled_dir = str(hook.out_dir)
    if hook.interval > 0 or hook.save_last or hook.save_best is not None:
        readers = [
            type(each).__name__
            for each in runner.hooks
            if getattr(each, 'changes_saved_weights', False)
        ]
        if hook.published_keys is not None:
            readers.append('published_keys of CheckpointHook')
        hook._io.check_saves(str(hook.out_dir), hook.backend_args, hook.save_optimizer, readers)
        if is_main_process() and not hook.backend_args and '://' not in hook._settled_dir:
            os.makedirs(hook._settled_dir, exist_ok=True)  # fails now, not at the first save
    runner.logger.info(f'Checkpoints will be saved to {hook.out_dir}.')
