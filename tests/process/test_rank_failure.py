"""A rank that fails stops all ranks, each with that rank's traceback."""

import os
import re
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist

from mmengine.process.failure import RankFailedError, stop_together
from mmengine.testing._internal.distributed import run_distributed
from mmengine.testing._internal.forked_python import PythonProcess


def _fail_in_the_dataset() -> None:
    raise ValueError('sample 7 is broken')


def _work_in_python() -> None:
    until = time.monotonic() + 250
    while time.monotonic() < until:
        sum(range(1000))


def _swallow_and_work() -> None:
    """A loop as in user code that retries whatever fails."""
    until = time.monotonic() + 250
    while time.monotonic() < until:
        try:
            _work_in_python()
        except Exception:
            continue


def _wait_in_a_collective() -> None:
    torch_dist.all_reduce(torch.zeros(1))


def _outcome(work) -> tuple[str, str, float]:
    start = time.monotonic()
    try:
        with stop_together():
            work()
    except BaseException as error:
        return type(error).__name__, str(error), time.monotonic() - start
    return 'nothing', '', time.monotonic() - start


def _one_fails(rank, world_size, failing, other):
    return _outcome(_fail_in_the_dataset if rank == failing else other)


@pytest.mark.distributed
@pytest.mark.parametrize('failing', [0, 1])
@pytest.mark.parametrize('other', [_work_in_python, _swallow_and_work])
def test_a_rank_at_work_in_python_stops_within_seconds(failing, other):
    outcomes = run_distributed(_one_fails, 2, failing, other)
    assert outcomes[failing][:2] == ('ValueError', 'sample 7 is broken')
    kind, text, seconds = outcomes[1 - failing]
    assert kind == 'RankFailedError'
    assert f'Rank {failing} failed:\nTraceback' in text
    assert 'in _fail_in_the_dataset' in text
    assert 'ValueError: sample 7 is broken' in text
    assert seconds < 120


@pytest.mark.distributed
def test_a_rank_in_a_collective_stops_when_the_other_has_gone():
    # Here the rank that fails goes by leaving the group, as its process would by its end.
    outcomes = run_distributed(_one_fails, 2, 1, _wait_in_a_collective)
    kind, text, seconds = outcomes[0]
    assert kind == 'RankFailedError'
    assert 'Rank 1 failed:' in text
    assert 'ValueError: sample 7 is broken' in text
    assert seconds < 120


def _several_blocks(rank, world_size):
    outcomes = [_outcome(lambda: None)]
    outcomes.append(_outcome(_fail_in_the_dataset if rank == 0 else _work_in_python))
    torch_dist.barrier()
    outcomes.append(_outcome(lambda: time.sleep(1.2)))

    def leave() -> None:
        if rank == 1:
            sys.exit(0)
        time.sleep(1.2)

    outcomes.append(_outcome(leave))
    torch_dist.barrier()
    outcomes.append(_outcome(_interrupted if rank == 0 else _work_in_python))
    return [kind for kind, _, _ in outcomes]


def _interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.distributed
def test_a_failure_ends_its_own_block_only_and_an_orderly_exit_is_none():
    one, two = run_distributed(_several_blocks, 2)
    assert one == ['nothing', 'ValueError', 'nothing', 'nothing', 'KeyboardInterrupt']
    assert two == ['nothing', 'RankFailedError', 'nothing', 'SystemExit', 'RankFailedError']


def test_one_process_raises_its_own_error():
    with pytest.raises(ValueError, match='sample 7'), stop_together():
        _fail_in_the_dataset()


def test_the_error_is_a_runtime_error():
    assert issubclass(RankFailedError, RuntimeError)


_SCRIPT = """
import sys, time
import torch, torch.distributed as dist
from mmengine.process.failure import stop_together
rank = int(sys.argv[1])
dist.init_process_group('gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2)
with stop_together():
    if rank == 1:
        raise ValueError('sample 7 is broken')
    dist.all_reduce(torch.zeros(1))
"""


@pytest.mark.distributed
def test_real_processes_end_with_exit_code_1_and_the_traceback(tmp_path):
    root = Path(__file__).parents[2]
    environ = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    outputs = [tmp_path / f'errors_{rank}.txt' for rank in (0, 1)]
    processes = [
        PythonProcess(['-c', _SCRIPT, str(rank), str(tmp_path / 'rendezvous')], output, env=environ)
        for rank, output in enumerate(outputs)
    ]
    for process in processes:
        process.wait(300)
    errors = [output.read_text() for output in outputs]
    assert [process.returncode for process in processes] == [1, 1]
    assert 'Rank 1 failed:' in errors[0]
    assert all('ValueError: sample 7 is broken' in text for text in errors)


def _one_does_not_come(rank, world_size, log_dir):
    group = torch_dist.new_group(timeout=timedelta(seconds=2))
    try:
        with stop_together(log_dir):
            if rank == 1:
                _work_in_python()
            _meet(group)
    except BaseException as error:
        return type(error).__name__, str(error)
    return 'nothing', ''


def _meet(group):
    torch_dist.all_reduce(torch.zeros(1), group=group)


@pytest.mark.distributed
def test_a_timeout_names_the_collective_and_the_rank_that_did_not_come(tmp_path):
    outcomes = run_distributed(_one_does_not_come, 2, str(tmp_path))
    assert outcomes[0][0] == 'RuntimeError'
    assert outcomes[1][0] == 'RankFailedError'
    assert 'in _meet' in outcomes[1][1]
    said = (tmp_path / 'timeout_rank0.txt').read_text()
    place = r'all_reduce, called by _meet \(tests/process/test_rank_failure\.py:\d+\)'
    assert re.search(f'timed out: {place}, waits for rank 1, which did not come', said)
    assert 'rank 1: is at work in ' in said
    assert ', in _meet\n' in said
    assert 'in _work_in_python' in (tmp_path / 'timeout_rank1.txt').read_text()
