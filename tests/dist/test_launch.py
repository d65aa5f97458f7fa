"""What each launcher says, and that processes really join by it."""

import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist

from mmengine import dist
from mmengine.dist._launch import (
    _as_timedelta,
    _first_host,
    _rank_info_from_mpi,
    _rank_info_from_slurm,
    _rank_info_from_torchrun,
    _RankInfo,
)
from mmengine.testing._internal.distributed import free_port, run_distributed
from mmengine.testing._internal.forked_python import run_python

LAUNCHER_VARIABLES = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_LOCAL_RANK')


@pytest.mark.parametrize(
    ('variable', 'launcher'),
    list(zip(LAUNCHER_VARIABLES, ('pytorch', 'slurm', 'mpi'), strict=True)) + [('RANK', 'none')],
)
def test_the_launcher_is_told_by_its_variable(variable, launcher, monkeypatch):
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, '2')
    assert dist.infer_launcher() == launcher


def test_torchrun_places():
    env = {'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1'}
    assert _rank_info_from_torchrun(env) == _RankInfo(3, 4, 1, '127.0.0.1', 29500)
    env |= {'MASTER_ADDR': 'node1', 'MASTER_PORT': '1234'}
    assert _rank_info_from_torchrun(env) == _RankInfo(3, 4, 1, 'node1', 1234)


SLURM = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'n[7-8]'}


@pytest.mark.parametrize(
    ('extra', 'port', 'expected'),
    [
        ({}, None, _RankInfo(3, 4, 1, 'n7', 29500)),
        ({'MASTER_PORT': '1234'}, None, _RankInfo(3, 4, 1, 'n7', 1234)),
        ({'MASTER_PORT': '1234'}, 55, _RankInfo(3, 4, 1, 'n7', 55)),
        ({'MASTER_ADDR': '10.0.0.1'}, None, _RankInfo(3, 4, 1, '10.0.0.1', 29500)),
        # 20000 + (24001 + 997 * 1) % 12000
        ({'SLURM_JOB_ID': '24001', 'SLURM_STEP_ID': '1'}, None, _RankInfo(3, 4, 1, 'n7', 20998)),
    ],
    ids=['plain', 'port by environment', 'port by argument', 'address', 'port by job'],
)
def test_slurm_places(extra, port, expected):
    assert _rank_info_from_slurm(SLURM | extra, port) == expected


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('node1', 'node1'),
        ('node1,node2', 'node1'),
        ('gpu[03-05,9],cpu1', 'gpu03'),
        ('gpu[7,9]', 'gpu7'),
        ('rack[1-2]n[04-08]', 'rack1n04'),
        ('host-10-0-0-1,host-10-0-0-2', 'host-10-0-0-1'),
        ('a[1-2].example.org', 'a1.example.org'),
    ],
)
def test_the_first_host_of_slurms_short_form(nodes, first):
    assert _first_host(nodes) == first


def test_mpi_places():
    env = {'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '2'}
    env |= {'OMPI_COMM_WORLD_LOCAL_RANK': '1', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}
    assert _rank_info_from_mpi(env) == _RankInfo(1, 2, 1, '127.0.0.1', 29500)
    env |= {'MASTER_ADDR': 'node1', 'MASTER_PORT': '1234'}
    assert _rank_info_from_mpi(env) == _RankInfo(1, 2, 1, 'node1', 1234)
    intel = {'PMI_RANK': '1', 'PMI_SIZE': '2', 'MPI_LOCALRANKID': '0', 'MASTER_ADDR': 'node1'}
    assert _rank_info_from_mpi(intel) == _RankInfo(1, 2, 0, 'node1', 29500)


def test_mpi_over_several_machines_needs_the_address():
    env = {'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '4'}
    env |= {'OMPI_COMM_WORLD_LOCAL_RANK': '1', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}
    with pytest.raises(KeyError, match='MASTER_ADDR'):
        _rank_info_from_mpi(env)


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        (
            lambda: _rank_info_from_torchrun({'RANK': '0'}),
            'WORLD_SIZE is not set. Start .* torchrun',
        ),
        (lambda: _rank_info_from_slurm({}, None), 'SLURM_PROCID is not set. Start .* srun'),
        (lambda: _rank_info_from_mpi({}), 'OMPI_COMM_WORLD_RANK is not set. Start .* mpirun'),
        (lambda: _rank_info_from_slurm({'SLURM_PROCID': '0'}, None), 'SLURM_NODELIST'),
    ],
    ids=['torchrun', 'srun', 'mpirun', 'node list'],
)
def test_a_missing_variable_is_named_with_the_command_that_sets_it(place, message):
    with pytest.raises(KeyError, match=message):
        place()


def test_a_variable_that_is_no_number_is_rejected():
    with pytest.raises(ValueError, match="RANK must be a whole number, got 'first'"):
        _rank_info_from_torchrun({'RANK': 'first'})


def test_an_unknown_launcher_names_the_near_one():
    with pytest.raises(ValueError, match="Did you mean 'slurm'"):
        dist.init_dist('slrum')


@pytest.mark.parametrize(
    ('timeout', 'error'), [('60', TypeError), (True, TypeError), (0, ValueError)]
)
def test_timeouts_are_seconds_above_0(timeout, error):
    with pytest.raises(error, match='timeout'):
        _as_timedelta(timeout)


def test_timeouts_may_be_timedeltas():
    assert _as_timedelta(90) == _as_timedelta(datetime.timedelta(minutes=1.5))


def _join_by(rank, world_size, launcher, env, kwargs):
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', *env):
        os.environ.pop(name, None)
    os.environ.update({name: value.format(rank=rank) for name, value in env.items()})
    dist.init_dist(launcher, backend='gloo', **kwargs)
    ranks = dist.all_gather_object(dist.get_rank())
    exported = [os.environ[name] for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR')]
    torch_dist.destroy_process_group()
    return ranks, exported


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('launcher', 'env'),
    [
        ('pytorch', {'RANK': '{rank}', 'LOCAL_RANK': '{rank}', 'WORLD_SIZE': '2'}),
        (
            'slurm',
            {
                'SLURM_PROCID': '{rank}',
                'SLURM_NTASKS': '2',
                'SLURM_LOCALID': '{rank}',
                'SLURM_NODELIST': '127.0.0.1',
            },
        ),
        (
            'mpi',
            {
                'OMPI_COMM_WORLD_RANK': '{rank}',
                'OMPI_COMM_WORLD_SIZE': '2',
                'OMPI_COMM_WORLD_LOCAL_RANK': '{rank}',
                'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
            },
        ),
    ],
    ids=['pytorch', 'slurm', 'mpi'],
)
def test_two_processes_join_by_their_launcher(launcher, env):
    results = run_distributed(_join_by, 2, launcher, env, {'timeout': 120}, backend=None)
    assert results == [([0, 1], [str(rank), str(rank), '2', '127.0.0.1']) for rank in (0, 1)]


def _wait_for_nobody(rank, world_size, folder):
    dist.init_dist('pytorch', backend='gloo', timeout=10)
    done = Path(folder) / 'done'
    if rank == 1:
        # Rank 1 stays away from the barrier that rank 0 waits in.
        while not done.exists():
            time.sleep(0.1)
        return ''
    try:
        dist.barrier()
    except RuntimeError as error:
        return str(error)
    finally:
        done.touch()


@pytest.mark.distributed
def test_the_timeout_ends_a_wait_for_a_rank_that_does_not_come(tmp_path):
    assert 'imed out' in run_distributed(_wait_for_nobody, 2, str(tmp_path), backend=None)[0]


SCRIPT = """
import multiprocessing
import torch
from mmengine import dist

if __name__ == '__main__':
    multiprocessing.set_start_method('spawn')
    dist.init_dist('pytorch', backend='gloo')
    total = torch.tensor(dist.get_rank() + 1)
    dist.all_reduce(total)
    if dist.is_main_process():
        loader = torch.utils.data.DataLoader(list(range(4)), batch_size=2, num_workers=1)
        batches = [batch.tolist() for batch in loader]
        print('total', int(total), batches, flush=True)
    dist.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.mark.distributed
def test_torchrun_starts_a_script_whose_workers_are_spawned(tmp_path):
    script = tmp_path / 'train.py'
    script.write_text(SCRIPT)
    root = os.path.dirname(os.path.dirname(os.path.dirname(dist.__file__)))
    done = run_python(
        ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', str(script)],
        env=os.environ | {'PYTHONPATH': root, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # 1 + 2
    assert 'total 3 [[0, 1], [2, 3]]' in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_a_backend_without_its_device_tells_what_to_choose(monkeypatch):
    for name, value in {'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '1'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '29500')
    with pytest.raises(RuntimeError, match=r"'nccl' needs a cuda device.*'gloo'"):
        dist.init_dist('pytorch')


@pytest.mark.parametrize(
    ('init_backend', 'error', 'message'),
    [('deepspeed', ImportError, 'pip install deepspeed'), ('toch', ValueError, "mean 'torch'")],
)
def test_other_libraries_are_imported_when_asked_for(init_backend, error, message, monkeypatch):
    monkeypatch.setitem(sys.modules, 'deepspeed', None)
    for name, value in {'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '1'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '29500')
    with pytest.raises(error, match=message):
        dist.init_dist('pytorch', backend='gloo', init_backend=init_backend)


EXIT_SCRIPT = """
import atexit, glob, os
import torch
from mmengine import dist

def tell_threads(when):
    names = [open(path).read() for path in glob.glob('/proc/self/task/*/comm')]
    path = f'{os.environ["FOLDER"]}/{when}_{os.environ["RANK"]}'
    open(path, 'w').write(str(sum('gloo_runloop' in name for name in names)))

def main():
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    model(torch.ones(1, 1)).sum().backward()
    model.itself = [model]  # as hooks and loops refer to a runner and it to them
    tell_threads('within')
    if 'fails' in os.environ['ENDING']:
        raise RuntimeError('on purpose')
    return model if 'keeps' in os.environ['ENDING'] else None

atexit.register(tell_threads, 'after')
dist.init_dist('pytorch', backend='gloo')
model = main()
"""


@pytest.mark.parametrize('ending', ['returns', 'keeps the model', 'fails'])
@pytest.mark.distributed
@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='reads threads from /proc')
def test_no_thread_of_gloo_is_left_when_the_interpreter_shuts_down(tmp_path, ending):
    # A thread that is late with the tensors of the last operation would end the process by SIGABRT.
    script = tmp_path / 'train.py'
    script.write_text(EXIT_SCRIPT)
    root = os.path.dirname(os.path.dirname(os.path.dirname(dist.__file__)))
    environment = os.environ | {
        'PYTHONPATH': root, 'OMP_NUM_THREADS': '1', 'FOLDER': str(tmp_path), 'ENDING': ending,
        'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port()), 'WORLD_SIZE': '2',
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env=environment | {'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    errors = [rank.communicate(timeout=300)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [int(ending == 'fails')] * 2, errors
    for rank in (0, 1):
        assert int((tmp_path / f'within_{rank}').read_text()) > 0
        assert int((tmp_path / f'after_{rank}').read_text()) == 0
