"""Trains on two ranks with sharded checkpoints: python sharded_saves.py WORK_DIR SETTINGS(JSON).

Settings: ``dies``: the rank that kills itself with SIGKILL within its ``save``-th save, when half
of its part is written ('part') or before the folder gets its name ('name'); ``fails``: the rank
whose disk breaks in its ``save``-th save. Rank 0 writes its final state to ``state.pt``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / 'strategy'))

from fsdp_toy import config, trained

import mmengine.process.env
from mmengine._checkpoint.folder import _write
from mmengine.runner import Runner


def on_call(function: Any, number: int, action: Any) -> Any:
    """``function``, but ``action`` instead of its ``number``-th call."""
    left = number

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        return (function if left else action)(*args, **kwargs)

    return call


def die_with_half(writer: Any, plan: Any, planner: Any) -> None:
    """Write half of a file as torch names it."""
    Path(writer.path, '__1_0_0.distcp').write_bytes(b'half')
    die()


def die(*args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(*args: Any) -> None:
    raise OSError(5, 'a broken disk')


def main(work_dir: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    mmengine.process.env.collect_env = dict  # it starts compilers to ask for their versions
    rank = int(os.environ['RANK'])
    dies, fails = settings.get('dies', {}), settings.get('fails', {})
    if dies.get('rank') == rank and dies['at'] == 'part':
        _write._Writer.write_data = on_call(_write._Writer.write_data, dies['save'], die_with_half)
    if dies.get('rank') == rank and dies['at'] == 'name':
        _write.replace_folder = on_call(_write.replace_folder, dies['save'], die)
    if fails.get('rank') == rank:
        _write._Writer.write_data = on_call(_write._Writer.write_data, fails['save'], fail)
    hook = {
        'type': 'CheckpointHook', 'by_epoch': False, 'interval': 4, 'max_keep_ckpts': 2,
        'on_save_error': settings.get('on_save_error', 'raise'),
    }  # fmt: skip
    arguments = config(
        work_dir,
        {'optimizer': {'type': 'AdamW', 'lr': 0.001}},
        default_hooks={'checkpoint': hook},
        resume=settings.get('resume', False),
        log_level='WARNING',
    )
    checkpoint = {'format': 'sharded', 'async_save': settings['async_save']}
    strategy = {'type': 'FSDPStrategy', 'blocks': ['Block']}
    state = trained(Runner(**arguments, cfg={'strategy': strategy, 'checkpoint': checkpoint}))
    if rank == 0:
        torch.save(state, Path(work_dir, 'state.pt'))


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
