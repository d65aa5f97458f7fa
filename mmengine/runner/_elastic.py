"""A run whose ranks were started again by the agent of torchrun, maybe with fewer machines.

When a rank fails or a machine goes, the agents end the other ranks and start all of them again with
the same command. Such a start goes on from the newest checkpoint that its launch has saved,
whatever ``resume`` says; without one it begins as the first start did.

A start is recognized by its agent, the process that started the ranks of a machine: one of them was
there before. The file ``launch.json`` in the work dir has the agents of the latest launch.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.files import LAST_CHECKPOINT
from mmengine.dist import all_gather_object, broadcast_object_list, get_world_size, is_main_process
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.fileio._atomic import atomic_write
from mmengine.runner._elastic_step import keep_samples
from mmengine.utils._process_identity import parent_process, this_process

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

NOTE = 'launch.json'
# Set by torchrun.
_LAUNCH_VARIABLE = 'TORCHELASTIC_RUN_ID'


@dataclass(frozen=True)
class Launch:
    """What the starts of one launch have in common.

    Attributes:
        agents: Processes that have started ranks.
        first_rank: The process of rank 0 in the latest start.
        num_ranks: Data-parallel ranks of the first start, for which the config says the
            accumulation.
        pointer_time: Time of change of the pointer to the newest checkpoint before the first start;
            None without such a file.
    """

    agents: list[str]
    first_rank: str
    num_ranks: int
    pointer_time: int | None


def join_launch(runner: Runner) -> None:
    """Find out whether this start of a training is a further one of its launch.

    If so, the run resumes what the launch has saved, and keeps the samples of an iteration. All
    ranks call it before training data and optimizer are built.
    """
    state = runner.state
    if _LAUNCH_VARIABLE not in os.environ or state.launch is not None:
        return
    own = (str(parent_process()), str(this_process()))
    agents, processes = zip(*all_gather_object(own), strict=True)
    known, is_saved, pointer_time = _of_first_rank(runner.work_dir)
    num_ranks = get_data_parallel_info()[1]
    if known is None or not set(known.agents) & set(agents):
        state.launch = Launch(sorted(set(agents)), processes[0], num_ranks, pointer_time)
        return
    state.launch = replace(known, agents=sorted({*known.agents, *agents}), first_rank=processes[0])
    if known.first_rank == processes[0]:
        return  # the same processes train once more in this work dir
    if is_saved:
        how = 'the run goes on from its newest checkpoint'
        runner._resume = 'auto'
        state.resume_request = replace(state.resume_request, enabled=True, path='auto')
    else:
        how = 'no checkpoint was saved yet, so the run begins as before'
    runner.logger.warning(f'The ranks were started again: {how}.')
    if num_ranks != known.num_ranks:
        keep_samples(runner, known.num_ranks)


def note_launch(runner: Runner) -> None:
    """Write what a further start needs, when the training begins."""
    if runner.state.launch is not None and is_main_process():
        with atomic_write(Path(runner.work_dir, NOTE), 'w') as file:
            json.dump(asdict(runner.state.launch), file)


def _of_first_rank(work_dir: str) -> tuple[Launch | None, bool, int | None]:
    """What rank 0 finds: the latest launch, whether it has saved, and the time of the pointer."""
    found: list[Any] = [(None, False, None)]
    if is_main_process():
        launch, pointer_time = _latest(work_dir), _pointer_time(work_dir)
        is_saved = launch is not None and pointer_time not in (None, launch.pointer_time)
        found = [(launch, is_saved, pointer_time)]
    if get_world_size() > 1:
        broadcast_object_list(found)
    launch, is_saved, pointer_time = found[0]
    return launch, is_saved, pointer_time


def _latest(work_dir: str) -> Launch | None:
    try:
        return Launch(**json.loads(Path(work_dir, NOTE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # none, or a file of something else
        return None


def _pointer_time(work_dir: str) -> int | None:
    try:
        return Path(work_dir, LAST_CHECKPOINT).stat().st_mtime_ns
    except FileNotFoundError:
        return None
