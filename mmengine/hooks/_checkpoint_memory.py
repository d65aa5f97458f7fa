"""What CheckpointHook remembers: taken over from a resumed run, and put back if a save fails."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.hooks.checkpoint_hook import CheckpointHook
    from mmengine.hooks.run import Run

_FIELDS = ('last_ckpt', '_kept', '_saved_at', '_moment', '_unvalidated', '_record', '_best',
           'best_ckpt_path_dict')  # fmt: skip
_INFOS = ('keep_ckpt_ids', 'last_ckpt', 'interim_ckpt')


@dataclass(frozen=True)
class Memory:
    """Fields of a hook, and its entries in the message hub, before a save."""

    fields: dict[str, Any]
    infos: dict[str, Any]

    def put_back(self, hook: CheckpointHook, runner: Run) -> None:
        """Forget the save."""
        for name, value in self.fields.items():
            setattr(hook, name, value)
        for name, value in self.infos.items():
            if value is None:
                runner.message_hub.pop_info(name, None)
            else:
                runner.message_hub.update_info(name, value)


def remember(hook: CheckpointHook, runner: Run) -> Memory:
    """The present memory of ``hook``."""
    names = [*_INFOS, *(name for key in hook._best for name in info_names(hook, key))]
    hub = runner.message_hub
    return Memory(
        {name: copy.deepcopy(getattr(hook, name)) for name in _FIELDS},
        {name: copy.deepcopy(hub.get_info(name)) for name in names},
    )


def recall(hook: CheckpointHook, runner: Run) -> None:
    """Read the saved checkpoints of a resumed run from its state and its message hub."""
    hub = runner.message_hub
    if runner.iter == 0:
        return
    if runner.state.resumed_at is not hook._resumed_at:
        hook._resumed_at = hook._saved_at = runner.state.resumed_at
        hook._record = None  # this hook did not write the resumed checkpoint
    last = os.path.basename(str(hub.get_info('last_ckpt') or ''))
    if hook.last_ckpt is None and last and hook._has(last):
        hook.last_ckpt = hook._path(last)
        hub.update_info('last_ckpt', hook.last_ckpt)
    hook._kept = hook._kept or list(hub.get_info('keep_ckpt_ids') or [])
    for key, best in hook._best.items():
        if best.best_score is not None:
            continue  # another call of `train` goes on
        score, path = (hub.get_info(name) for name in info_names(hook, key))
        missing = best.recall(hook._resumed.pop(key, None), score, path, hook._has)
        if missing is None:
            continue  # The best value belongs to another metric, which the saved run watched.
        if missing:
            runner.logger.warning(
                f'The best checkpoints of the resumed run are not all in {hook.out_dir}; '
                f'missing: {", ".join(missing)}.'
            )
        publish_best(hook, runner, key)


def publish_best(hook: CheckpointHook, runner: Run, key: str) -> None:
    """Write score and path of the best checkpoint to the attributes and the message hub."""
    score_name, path_name = info_names(hook, key)
    best = hook._best[key]
    path = hook._path(best.entries[0][1]) if best.entries else None
    hook.best_ckpt_path_dict[key] = path
    runner.message_hub.update_info(score_name, best.best_score)
    if path is not None:
        runner.message_hub.update_info(path_name, path)


def info_names(hook: CheckpointHook, key: str) -> tuple[str, str]:
    """Names in the message hub; they contain ``key`` only if several metrics are watched."""
    suffix = f'_{key}' if len(hook.key_indicators) > 1 else ''
    return f'best_score{suffix}', f'best_ckpt{suffix}'
