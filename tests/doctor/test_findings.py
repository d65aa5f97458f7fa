"""What the checks of the doctor say about what they find."""

import time
from pathlib import Path

import pytest
import torch

from mmengine.doctor import _disk, _limits
from mmengine.doctor._devices import memory_finding, product_finding
from mmengine.doctor._disk import (
    check_disk,
    clock_finding,
    kind_of,
    nearest_folder,
    space_finding,
    write_finding,
)
from mmengine.doctor._finding import bytes_text
from mmengine.doctor._limits import (
    check_limits,
    cores_finding,
    files_finding,
    memory_of,
    quota_of,
    shared_finding,
)
from mmengine.doctor._software import check_software, cuda_finding, unmet

CPU = torch.device('cpu')


def test_versions_that_do_not_fit_are_named() -> None:
    installed = {'torch': '2.13.0+cpu', 'numpy': '2.4.6', 'torchvision': '0.20', 'rich': '15.0'}
    needed_by = {
        'torchvision': ['torch==2.5.0', 'numpy', 'pillow!=8.3,>=5.3'],
        'fits': ['torch==2.13.0', 'numpy<3; python_version > "3"', 'numpy<1; extra == "old"'],
        'other': ['rich<1'],
        'mmengine': ['torch>=2.6', 'rich', 'xxhash', 'libcst; extra == "migrate"'],
        'ancient': ['numpy (not a requirement'],
    }
    assert unmet(installed, needed_by) == [
        'torchvision 0.20 needs torch==2.5.0, 2.13.0+cpu is installed',
        'xxhash is not installed',
    ]


@pytest.mark.parametrize(
    ('built_for', 'is_available', 'has_driver', 'status'),
    [
        ('12.8', True, True, 'ok'),
        (None, False, False, 'ok'),
        (None, False, True, 'warn'),
        ('12.8', False, True, 'fail'),
    ],
)
def test_cuda(built_for: str | None, is_available: bool, has_driver: bool, status: str) -> None:
    assert cuda_finding(built_for, is_available, has_driver).status == status


def test_software_here_is_looked_at() -> None:
    found = {finding.name: finding for finding in check_software()}
    assert found['numpy in torch'].status == 'ok'
    assert torch.__version__.partition('+')[0] in found['versions'].found or (
        found['versions'].status == 'fail'
    )


def test_a_right_product_is_ok_and_a_wrong_one_fails() -> None:
    assert product_finding(CPU, 64).status in ('ok', 'warn')  # a busy machine may be slow
    wrong = product_finding(CPU, 64, lambda left, right: left @ right + 1e-3)
    assert (wrong.status, 'wrong' in wrong.found) == ('fail', True)


def test_a_device_that_cannot_be_used_fails() -> None:
    def broken(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        raise RuntimeError('CUDA error: an illegal memory access was encountered\nmore lines')

    found = product_finding(CPU, 8, broken)
    assert (found.status, found.found[:10]) == ('fail', 'CUDA error')


def test_memory_that_others_hold_is_a_warning() -> None:
    assert memory_finding(CPU, free=30, total=40).status == 'ok'
    assert memory_finding(CPU, free=10, total=40).status == 'warn'


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    folder = tmp_path / 'runs' / 'one'
    assert nearest_folder(folder) == tmp_path
    found = {finding.name: finding for finding in check_disk(folder)}
    assert set(found) == {'work dir', 'space', 'write', 'read', 'rename', 'clock'}
    assert found['rename'].status == 'ok'
    assert str(tmp_path) in found['work dir'].found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_access_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_disk.os, 'access', lambda *_: False)
    assert [finding.status for finding in check_disk(tmp_path)] == ['fail']


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='there is no /proc')
def test_a_file_system_that_takes_no_files_fails() -> None:
    found = list(check_disk(Path('/proc/runs')))
    assert found[-1].status == 'fail'
    assert found[-1].found.startswith('/proc cannot be written to: ')
    assert '--work-dir' in found[-1].advice


def test_limits_of_disks() -> None:
    assert space_finding(free=int(4e9), total=int(1e12)).status == 'warn'
    assert space_finding(free=int(6e9), total=int(1e12)).status == 'ok'
    assert space_finding(free=int(4e9), total=int(1e10)).status == 'ok'  # a small, empty disk
    assert write_finding(written=2e9, sync_s=0.001).status == 'ok'
    assert write_finding(written=2e7, sync_s=0.001).status == 'warn'
    assert 'async_save' in write_finding(written=2e9, sync_s=0.5).advice
    assert clock_finding(-0.01).status == 'ok'
    assert clock_finding(-60).found == 'the disk is 60.0 s behind'


def test_the_kind_of_a_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / 'mounts'
    mounts.write_text(
        'none / overlay rw 0 0\nhost:/x /data nfs4 rw 0 0\n/dev/a /data/my\\040disk ext4 rw 0 0\n'
    )
    assert kind_of(Path('/data/my disk/runs'), mounts) == 'ext4'
    assert kind_of(Path('/data/runs'), mounts) == 'nfs4'
    assert kind_of(Path('/home'), mounts) == 'overlay'
    assert kind_of(Path('/home'), tmp_path / 'none') == ''


def test_limits_of_the_system() -> None:
    assert shared_finding(free=6.4e7, total=6.4e7).status == 'warn'
    assert '--shm-size' in shared_finding(free=6.4e7, total=6.4e7).advice
    # Large, but full: a larger one would fill up too.
    assert 'End the processes whose files fill it' in shared_finding(free=1e8, total=3e10).advice
    assert shared_finding(free=8e9, total=8e9).status == 'ok'
    assert files_finding(1024, 1048576).status == 'ok'  # a run raises it
    assert files_finding(1024, 1024).status == 'warn'
    assert files_finding(-1, -1).found == 'no limit, can be raised to no limit'


def test_threads_are_compared_with_the_cores_of_the_container() -> None:
    assert cores_finding(cores=8, quota=None, threads=8, omp=None).status == 'ok'
    found = cores_finding(cores=64, quota=4.0, threads=64, omp='64')
    assert (found.status, found.advice[:23]) == ('warn', 'Set OMP_NUM_THREADS=4: ')
    assert cores_finding(cores=4, quota=0.5, threads=1, omp='1').status == 'ok'


def test_limits_of_control_groups_are_read(tmp_path: Path) -> None:
    assert quota_of(tmp_path) is None
    (tmp_path / 'cpu.max').write_text('max 100000\n')
    assert quota_of(tmp_path) is None
    (tmp_path / 'cpu.max').write_text('150000 100000\n')
    assert quota_of(tmp_path) == 1.5
    old = tmp_path / 'old'
    (old / 'cpu').mkdir(parents=True)
    (old / 'cpu' / 'cpu.cfs_quota_us').write_text('-1\n')
    (old / 'cpu' / 'cpu.cfs_period_us').write_text('100000\n')
    assert quota_of(old) is None
    (old / 'cpu' / 'cpu.cfs_quota_us').write_text('200000\n')
    assert quota_of(old) == 2.0


def test_memory_is_that_of_the_container_if_it_has_less(tmp_path: Path) -> None:
    machine = tmp_path / 'meminfo'
    machine.write_text('MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:  400 kB\nHuge: 0\n')
    assert memory_of(machine, tmp_path) == (409600, 1024000)
    (tmp_path / 'memory.max').write_text('500000\n')
    (tmp_path / 'memory.current').write_text('300000\n')
    (tmp_path / 'memory.stat').write_text('anon 100000\ninactive_file 150000\n')
    assert memory_of(machine, tmp_path) == (350000, 500000)
    (tmp_path / 'memory.max').write_text('max\n')
    assert memory_of(machine, tmp_path) == (409600, 1024000)
    assert memory_of(tmp_path / 'none', tmp_path) is None


def test_limits_here_are_looked_at() -> None:
    names = [finding.name for finding in check_limits()]
    assert 'threads' in names
    assert _limits.usable_cores() >= 1


@pytest.mark.parametrize(
    ('number', 'text'), [(0, '0 B'), (999, '999 B'), (64e6, '64 MB'), (2.5e12, '2.5 TB')]
)
def test_bytes(number: float, text: str) -> None:
    assert bytes_text(number) == text


def test_a_clock_that_was_just_read_agrees(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in check_disk(tmp_path)}
    assert abs(_disk._modified(tmp_path / 'now') - time.time()) < 3600
    assert found['clock'].name == 'clock'
