"""Processes for tests: their results, and their failures in all shapes."""

import os
import re
import signal
import sys
import time

import pytest
import torch
import torch.distributed as torch_dist

from mmengine.config import Config
from mmengine.config._reading.defined import module_name
from mmengine.testing._internal.distributed import run_distributed
from mmengine.testing._internal.start_method import _is_worth_preloading

pytestmark = pytest.mark.distributed


def _sum_of_ranks(rank, world_size, offset):
    value = torch.tensor([float(rank + offset)])
    torch_dist.all_reduce(value)
    return rank, world_size, value


def _facts(rank, world_size):
    names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'ONLY_FOR_THIS_TEST')
    facts = [os.environ.get(name) for name in names]
    return facts, os.getcwd(), torch.get_num_threads(), torch_dist.is_initialized()


def _second_raises(rank, world_size):
    if rank == 1:
        raise ValueError('this one broke')
    torch_dist.barrier()


def _second_dies(rank, world_size):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch_dist.barrier()


def _first_hangs(rank, world_size):
    if rank == 0:
        time.sleep(1000)


def _returns_a_lambda(rank, world_size):
    return lambda: None


def test_results_come_back_in_rank_order():
    (rank_0, world, value_0), (rank_1, _, value_1) = run_distributed(_sum_of_ranks, 2, 10)
    assert (rank_0, rank_1, world) == (0, 1, 2)
    # 10 + 11
    assert value_0.item() == value_1.item() == 21


def test_children_find_what_torchrun_would_set(monkeypatch, tmp_path):
    monkeypatch.setenv('ONLY_FOR_THIS_TEST', 'yes')
    monkeypatch.chdir(tmp_path)
    for rank, (facts, cwd, threads, joined) in enumerate(run_distributed(_facts, 2)):
        assert facts == [str(rank), str(rank), '2', '127.0.0.1', 'yes']
        assert cwd == str(tmp_path)
        assert threads == 1
        assert joined


def test_without_a_backend_no_group_is_joined():
    assert [facts[3] for facts in run_distributed(_facts, 2, backend=None)] == [False, False]


def test_one_failure_ends_all_and_shows_its_traceback():
    # Rank 0 waits in a barrier: if it were not ended, its timeout would be the error.
    with pytest.raises(RuntimeError, match=r'Rank 1 failed(?s:.*)_second_raises(?s:.*)broke'):
        run_distributed(_second_raises, 2)


def test_a_process_that_dies_is_named_with_its_exit_code():
    with pytest.raises(RuntimeError, match=r'Rank 1 failed(?s:.*)exit code -9'):
        run_distributed(_second_dies, 2)


def test_a_hanging_process_is_ended_and_shows_where_it_hangs():
    hang = r'Ranks \[0\] were not done(?s:.*)in _first_hangs'
    # The time counts from the call: a busy machine may need more of it to get to the hang.
    for timeout_s in (2, 8, 60):
        with pytest.raises(RuntimeError) as error:
            run_distributed(_first_hangs, 2, timeout_s=timeout_s)
        if re.search(hang, str(error.value)):
            return
    pytest.fail(str(error.value))


def test_a_result_that_cannot_be_pickled_is_a_failure():
    with pytest.raises(RuntimeError, match=r'Rank \d failed(?s:.*)pickle'):
        run_distributed(_returns_a_lambda, 2)


def test_a_function_that_cannot_be_imported_is_rejected():
    with pytest.raises(TypeError, match='top level'):
        run_distributed(lambda rank, world_size: None)


def test_the_server_of_children_does_not_look_for_configs_of_this_process(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('def double(x):\n    return 2 * x\n')
    Config.fromfile(config)
    name = module_name(config)
    assert name in sys.modules
    assert not _is_worth_preloading(name)
    assert _is_worth_preloading('mmengine.config')
    del sys.modules[name]
