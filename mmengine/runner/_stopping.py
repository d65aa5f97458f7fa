"""Where the loops stop before their end: on request, and for ``stop_training``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from mmengine.dataset._worker_process import ended_by_a_request
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.logging._run_end import stops_for
from mmengine.process._stop_requests import EvaluationCut, StopRequests
from mmengine.runner._even_batches import check_even_batches
from mmengine.runner._within_training import unchanged_training
from mmengine.utils._stop_file import STOP_FILE, take_stop_file

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def stays_ended(loop: Any, unit: str) -> bool:
    """Whether the resumed run of ``loop`` had ended, and is not to go on; logs so.

    Args:
        loop: A train loop.
        unit: 'epoch' or 'iter', in which its length is given.
    """
    runner, state = loop.runner, loop.runner.state
    if state.resumed_at is None or state.resumed_at[0] != loop.iter or loop.owes_validation:
        return False
    done, name = getattr(loop, unit), f'max_{unit}s'
    length = getattr(loop, name)
    again = state.resume_request.again
    if done >= length:
        way_on = f'A greater {name} continues it.'
    elif state.ended is None:
        return False
    elif again or length > state.ended.get(name, length):
        state.is_reopened = True
        return False
    else:
        way_on = f'resume=dict(again=True) or a greater {name} continues it.'
    how = 'early' if done < length else 'with its last one'
    units = 'epochs' if unit == 'epoch' else 'iterations'
    runner.logger.warning(
        f'The run had ended {how}, after {done} of {length} {units}: nothing is trained. {way_on}'
    )
    return True


def watched_by(loop: Any) -> StopRequests:
    """The requests to stop the stage of ``loop``, which looks for them from now on."""
    stops: StopRequests = loop.runner.state.stops
    stops.watch(loop._position)
    return stops


def is_over_after_epoch(loop: Any, stops: StopRequests) -> bool:
    """Whether an epoch-based training goes on to its next epoch. All ranks call it."""
    if stops.is_due(loop.iter):
        return True
    if get_world_size() > 1:
        flag = torch.tensor(int(loop.stop_training))
        all_reduce(flag, op='max')
        loop.stop_training = bool(flag)
    return bool(loop.stop_training)


def is_over_after_iter(loop: Any, stops: StopRequests) -> bool:
    """Whether an iteration-based training goes on to its next iteration.

    Called where there may be a reason to end. A rank with ``stop_training`` goes on until the
    iteration on which the ranks agree; if all of them have it, that is the present one.
    """
    if loop.stop_training:
        if get_world_size() == 1:
            return True
        stops.end_training('stop_training')
    if not stops.reached(loop.iter):
        return False
    if not stops.interrupts:
        loop.stop_training = True
    return True


def with_new_workers(loop: Any, batches: Iterator[Any]) -> Iterator[Any]:
    """``batches`` of ``loop``, by new workers if a request to stop has ended the present ones.

    A scheduler may send its signal to all processes of a job. The ranks stop at a batch on which
    they agree, and it has to be loaded.
    """
    if not getattr(loop.dataloader, 'num_workers', 0):
        return batches
    return _from_living_workers(loop, batches)


def _from_living_workers(loop: Any, batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            if not ended_by_a_request(error, loop.runner.state.stops):
                raise
            loop.dataloader._iterator = None  # persistent workers
            batches = loop._continued_batches()
            continue
        yield batch


def evaluate(loop: Any, evaluation: Any) -> bool:
    """Run a validation within a training; whether it ran to its end.

    It does not begin, or ends before its last batch, if the run is to stop.
    """
    stops: StopRequests = loop.runner.state.stops
    if stops.is_due(loop.iter):
        return False
    check_even_batches(loop.runner, evaluation)
    stops.begin_phase()
    try:
        with unchanged_training(evaluation, is_within=True):
            run_cuttable(evaluation, stops)
    except EvaluationCut:
        return False
    stops.begin_phase(loop._position)
    return True


def run_cuttable(evaluation: Any, stops: StopRequests) -> Any:
    """Run a loop that may be cut.

    An evaluation that a hook starts on its own is never cut: nobody would expect it there.

    Raises:
        EvaluationCut: If the run stops before the last batch.
    """
    evaluation._stops = stops
    try:
        return evaluation.run()
    finally:
        evaluation._stops = NO_REQUESTS


def evaluate_alone(runner: Runner, evaluation: Any) -> Any:
    """Run the loop of ``runner.val()`` or ``runner.test()``; no metrics if it is cut.

    It is not cut within another stage, or if its class has a custom ``run``, which does not look.
    """
    stops = runner.state.stops
    check_even_batches(runner, evaluation)
    if stops.is_watched or not getattr(evaluation, 'is_cuttable', False):
        with unchanged_training(evaluation):
            return evaluation.run()
    stops.watch(None)
    try:
        return run_cuttable(evaluation, stops)
    except EvaluationCut:
        return {}


def report(runner: Runner) -> None:
    """Log why a training stops before its end, and how it goes on."""
    stops = runner.state.stops
    if stops.interrupts and stops.request is not None:
        runner.logger.warning(stops_for(stops.request.reason, runner.iter, runner.max_iters))


def clear_stop_file(runner: Runner) -> None:
    """Remove a stop file that is older than this start, or the run would end at its first batch."""
    if is_main_process() and take_stop_file(runner.work_dir) is not None:
        runner.logger.warning(
            f'Removed the file {STOP_FILE!r} in the work dir: it was there before this start.'
        )


NO_REQUESTS = StopRequests()
