"""The process that a run lives in: launcher, limits, clock, seeds."""

import io
import multiprocessing
import os
import random
import time

import numpy as np
import pytest
import torch

from mmengine.process import env as _env
from mmengine.process.env import (
    check_launcher,
    describe_environment,
    setup_process,
    synced_timestamp,
)
from mmengine.process.seed import rng_state, set_random_seed, set_rng_state
from mmengine.testing._internal.distributed import run_distributed

resource = pytest.importorskip('resource')


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


@pytest.mark.parametrize('launcher', ['none', 'pytorch', 'slurm', 'mpi'])
def test_a_known_launcher_is_taken(launcher):
    assert check_launcher(launcher) == launcher


def test_an_unknown_launcher_is_refused():
    with pytest.raises(ValueError, match=r"one of none, pytorch, slurm, mpi; got 'torchrun'"):
        check_launcher('torchrun')


def test_no_launcher_is_worked_out_from_the_environment(monkeypatch):
    for name in ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    assert check_launcher(None) == 'none'
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert check_launcher(None) == 'pytorch'


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_allowed(limits):
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    setup_process('none', resource_limit=300)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
    setup_process('none', resource_limit=hard + 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_the_limit_of_open_files_is_never_lowered(limits):
    setup_process('none', resource_limit=1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def test_cudnn_may_time_its_kernels(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)
    setup_process('none')
    assert not torch.backends.cudnn.benchmark
    setup_process('none', cudnn_benchmark=True)
    assert torch.backends.cudnn.benchmark


def test_workers_are_started_as_told():
    before = multiprocessing.get_start_method(allow_none=True)
    try:
        with pytest.warns(UserWarning, match='spawn'):
            setup_process('none', mp_cfg={'mp_start_method': 'spawn'})
        assert multiprocessing.get_start_method() == 'spawn'
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_a_timestamp_is_the_local_time_of_the_moment(monkeypatch):
    monkeypatch.setattr(_env, '_latest_moment', 0)
    moment = time.mktime((2031, 5, 6, 7, 8, 9, 0, 0, -1)) + 0.7
    assert synced_timestamp(moment) == '20310506_070809'


def test_two_runs_of_one_second_get_two_timestamps(monkeypatch):
    monkeypatch.setattr(_env, '_latest_moment', 0)
    moment = time.mktime((2031, 5, 6, 7, 8, 59, 0, 0, -1))
    stamps = [synced_timestamp(moment + step / 4) for step in range(3)]
    assert stamps == ['20310506_070859', '20310506_070900', '20310506_070901']


def test_the_environment_is_listed_with_the_settings_of_the_run():
    text = describe_environment({'seed': 3, 'Distributed launcher': 'none'})
    assert 'System environment:\n    sys.platform: ' in text
    assert 'Runtime environment:\n    seed: 3\n    Distributed launcher: none' in text


def test_a_seed_fixes_every_generator():
    assert set_random_seed(5) == 5
    first = _draw()
    set_random_seed(5)
    assert _draw() == first
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert _draw() == first


def test_without_a_seed_one_is_drawn():
    seeds = {set_random_seed() for _ in range(3)}
    assert len(seeds) == 3


def test_deterministic_kernels_are_asked_for_and_benchmarks_given_up(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    set_random_seed(1, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert 'switches cudnn_benchmark off' in capsys.readouterr().out


def test_the_state_of_the_generators_brings_their_numbers_back():
    set_random_seed(7)
    random.gauss(0, 1)
    np.random.randn()
    state = rng_state()
    numbers = (_draw(), random.gauss(0, 1), np.random.randn())
    file = io.BytesIO()
    torch.save(state, file)
    set_random_seed(8)
    file.seek(0)
    set_rng_state(torch.load(file, weights_only=True))
    assert (_draw(), random.gauss(0, 1), np.random.randn()) == numbers


def _on_a_rank(rank, world_size):
    setup_process('pytorch', dist_cfg={'backend': 'nccl', 'timeout': 40})
    backend = torch.distributed.get_backend()
    stamp = synced_timestamp(1000.0 + 5 * rank)
    drawn = set_random_seed()
    numbers = {}
    for differ in (False, True):
        seed = set_random_seed(3, diff_rank_seed=differ)
        numbers[differ] = (seed, _draw())
    setup_process('pytorch', dist_cfg={'backend': 'gloo'})  # a second time changes nothing
    return backend, stamp, drawn, numbers, os.environ['OMP_NUM_THREADS']


@pytest.mark.distributed
def test_ranks_share_clock_and_seed():
    one, two = run_distributed(_on_a_rank, 2, backend=None)
    assert one[0] == 'gloo'  # there is no accelerator for nccl
    assert one[1] == two[1] == time.strftime('%Y%m%d_%H%M%S', time.localtime(1000.0))
    assert one[2] == two[2]
    assert one[3][False] == two[3][False]
    assert one[3][True][0] == two[3][True][0] == 3
    torch.manual_seed(4)
    assert two[3][True][1][2] == torch.rand(()).item()
    assert one[3][True] == (3, one[3][False][1])
