"""Trains, and is killed at one place of a save after another: python killed_saves.py DIR JSON.

Each start of the run is a forked process. It kills itself with SIGKILL before its n-th call that
changes a file (fsync, rename, unlink, link), for growing n, until a start gets to its end without
so many calls. So every moment between two changes of a file is tried once. Settings: ``hook``, of
CheckpointHook; ``halves``: starts that are killed in the middle of writing bytes first.
The last line of the output is the number of kills.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from stoppable_run import make, state_of

import mmengine.process.env

CALLS = ('fsync', 'replace', 'rename', 'unlink', 'remove', 'link')


def die_before(count: int) -> None:
    """End this process with SIGKILL instead of its ``count``-th change of a file."""
    left = count

    def replaced(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, replaced(getattr(os, name)))


def die_within(count: int) -> None:
    """End this process with SIGKILL after half of the ``count``-th checkpoint is written."""
    save, left = torch.save, count

    def half(checkpoint: Any, file: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            save(checkpoint, file)
            return
        save(checkpoint, '/dev/null')
        file.write(b'half')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half


def start(work_dir: str, settings: dict[str, Any], prepare: Any, count: int) -> bool:
    """Run in a forked process; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            runner = make(work_dir, settings)
            prepare(count)
            runner.train()
            Path(work_dir, 'state.json').write_text(json.dumps(state_of(runner)))
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, 'a start failed; see the log in the work dir'
    return False


def main(work_dir: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    mmengine.process.env.collect_env = dict  # it starts compilers to ask for their versions
    # What a run imports late is imported before the forks, not in each of them.
    with tempfile.TemporaryDirectory() as folder:
        make(folder, {**settings, 'halves': None, 'epochs': 1}).train()
    kills = 0
    settings = {**settings, 'resume': True}
    for count in range(1, settings.pop('halves', 0) + 1):
        kills += start(work_dir, settings, die_within, count)
    count = 1
    while start(work_dir, settings, die_before, count):
        kills += 1
        count += 1
    print('KILLS', kills, flush=True)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
