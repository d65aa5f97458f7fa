"""Whether what CheckpointHook wrote is there, and what a killed run has left undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks._best_checkpoints import best_prefix
from mmengine.hooks._leftovers import Kept, leftovers

if TYPE_CHECKING:
    from mmengine.hooks.checkpoint_hook import CheckpointHook
    from mmengine.hooks.run import Run


def settle(hook: CheckpointHook, runner: Run, alone: bool = False) -> bool:
    """Wait until everything is written. If something failed, raise, or forget it and warn.

    Args:
        hook: The hook.
        runner: Its run.
        alone: This rank alone calls it, because it has failed. Otherwise all ranks call it, and
            hear of the error.

    Returns:
        Whether everything is written.
    """
    error = hook._queue.own_outcome() if alone else hook._queue.outcome()
    before, hook._before = hook._before, None
    if error is None:
        return True
    if hook.on_save_error == 'raise':
        raise error
    if before is not None:
        before.put_back(hook, runner)
    runner.logger.warning(
        f'A checkpoint could not be written, and the run goes on (on_save_error). {error}'
    )
    return False


def settle_unless_async(hook: CheckpointHook, runner: Run) -> bool:
    """:func:`settle`, where the work is done already; True if it is still done."""
    return True if hook.async_save else settle(hook, runner)


def remove_leftovers(hook: CheckpointHook, runner: Run) -> None:
    """Remove checkpoints that the run would have removed earlier, had it not been killed.

    All ranks call it, at the start and at the end of a training: at the start, a resumed run may
    not have reached the iteration of such a file again.
    """
    if hook.backend_args or '://' in str(hook.out_dir) or runner.iter == 0:
        return
    hook._queue.begin(runner.strategy.io)
    if is_main_process():
        kept = Kept(
            runner.state.run_id,
            runner.iter,
            hook.filename_tmpl,
            hook._kept if hook.max_keep_ckpts > 0 else (),
            runner.message_hub.get_info('interim_ckpt'),
            {
                best_prefix(key): [name for _, name in best.entries]
                for key, best in hook._best.items()
            },
        )
        names = leftovers(str(hook.out_dir), kept)
        for name in names:
            hook._remove(hook._path(name))
        if names:
            runner.logger.info(
                f'Removed {", ".join(names)}: the run was killed before it could do so.'
            )
    settle(hook, runner)
