"""What the watchdog of a run looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmengine.dataset._loading_record import LoadingRecord, samples_being_loaded
from mmengine.process.watchdog import Watched, watched
from mmengine.utils._quantities import counted

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


@contextmanager
def watched_stage(runner: Runner, name: str) -> Iterator[None]:
    """Let the watchdog of ``runner``, if it has one, watch its stage ``name`` in this context."""
    if runner.watchdog is None:
        yield
        return
    state = runner.state

    def progress() -> tuple[bool, Any]:
        # The counters of the loops. A step does nothing for the watchdog.
        phase, batches = state.stops.progress
        return batches > 0, (phase, batches, getattr(state.position, 'iter', None))

    def place() -> str:
        iteration, batch = getattr(state.position, 'iter', 0), state.stops.batch
        done = f' and {counted(batch, "batch")} of an evaluation' if batch else ''
        return f'{name} after {counted(iteration, "iteration")}{done}'

    run = Watched(progress, place, samples_being_loaded, runner.logger.warning, runner.log_dir)
    before, LoadingRecord.takes_stacks = LoadingRecord.takes_stacks, True
    try:
        with watched(runner.watchdog, run):
            yield
    finally:
        LoadingRecord.takes_stacks = before
