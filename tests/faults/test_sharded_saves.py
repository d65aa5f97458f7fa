"""Ranks that are killed, or whose disk breaks, within the save of a sharded checkpoint."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import RankProcesses

from mmengine._checkpoint._verify import fault_of

sys.path.insert(0, str(Path(__file__).parents[1] / 'strategy'))
from fsdp_toy import by_hand, compare

LIMIT_S = 120.0
pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX'),
]


def _run(work_dir: Path, **settings: Any) -> tuple[list[int], str]:
    """Exit codes of the two ranks, and what they have written."""
    script = Path(__file__).with_name('sharded_saves.py')
    with RankProcesses(script, work_dir, 2, settings, LIMIT_S) as run:
        codes = [process.wait(LIMIT_S) for process in run.processes]
        return codes, '\n'.join(output.read_text() for output in run.outputs)


def _folders(work_dir: Path) -> list[str]:
    names = sorted(path.name for path in work_dir.glob('iter_*'))
    assert all(fault_of(work_dir / name) is None for name in names)
    return names


def test_a_kill_at_any_moment_leaves_the_last_whole_checkpoint(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    # Rank 1 dies in a thread, when half of its second part is written.
    dies = {'rank': 1, 'save': 2, 'at': 'part'}
    codes, text = _run(work_dir, async_save=True, dies=dies)
    assert codes[1] == -signal.SIGKILL, text
    assert codes[0] != 0, text
    assert _folders(work_dir) == ['iter_4.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_4.pth')

    # Rank 0 dies when all parts of its second save (iteration 12) are whole, but have no name yet.
    dies = {'rank': 0, 'save': 2, 'at': 'name'}
    codes, text = _run(work_dir, async_save=False, dies=dies, resume=True)
    assert codes[0] == -signal.SIGKILL, text
    assert codes[1] != 0, text
    assert _folders(work_dir) == ['iter_4.pth', 'iter_8.pth']
    assert list(work_dir.glob('.*.tmp'))

    # A broken disk of rank 1 costs all ranks that save (iteration 12), and nothing else.
    codes, text = _run(
        work_dir, async_save=True, resume=True,
        fails={'rank': 1, 'save': 1}, on_save_error='warn',
    )  # fmt: skip
    assert codes == [0, 0], text
    assert 'the run goes on (on_save_error). Rank 1 could not write its part of' in text
    assert 'a broken disk' in text
    assert _folders(work_dir) == ['iter_16.pth', 'iter_20.pth']
    assert not list(work_dir.glob('.*'))
    state = torch.load(work_dir / 'state.pt', weights_only=True)
    compare(state, by_hand({'type': 'AdamW', 'lr': 0.001}))
