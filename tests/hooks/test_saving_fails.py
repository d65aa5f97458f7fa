"""A disk that is full: what is said, what stays, and how a training goes on."""

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine._checkpoint import files
from mmengine._checkpoint._save_error import CheckpointSaveError
from mmengine._checkpoint._verify import fault_of
from mmengine.runner import Runner, save_checkpoint

SMALL = 512 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    if not hasattr(os, 'geteuid') or os.geteuid() != 0 or shutil.which('mount') is None:
        pytest.skip('only root can mount a disk')
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={SMALL}', 'tmpfs', str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f'this system mounts no disk: {mounted.stderr.decode()}')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def _no_space(*args: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FullDisk:
    """While it is on, torch.save leaves a part of the file and has no space for the rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        real = torch.save

        def save(checkpoint: Any, file: Any) -> None:
            if self.is_full and not hasattr(file, 'size'):  # not the counter of the message
                file.write(b'part')
                _no_space()
            real(checkpoint, file)

        monkeypatch.setattr(torch, 'save', save)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> _FullDisk:
    return _FullDisk(monkeypatch)


def _files(folder: Any) -> list[str]:
    return sorted(
        path.name
        for path in Path(folder).iterdir()
        if path.is_file() and path.suffix != '.py'  # the config
    )


def test_the_error_has_path_bytes_needed_and_bytes_free(small_disk: Path) -> None:
    content = {'weight': torch.zeros(SMALL // 2)}  # four bytes each: two times the disk
    save_checkpoint(content, small_disk.parent / 'whole.pth')
    needed = (small_disk.parent / 'whole.pth').stat().st_size
    free = shutil.disk_usage(small_disk).free
    path = small_disk / 'big.pth'
    with pytest.raises(CheckpointSaveError) as caught:
        save_checkpoint(content, path)
    assert caught.value.errno == errno.ENOSPC
    # The archive has the name of the file in it, and so a few bytes more or less.
    assert f'{path}: the disk is full: the checkpoint needs ' in str(caught.value)
    said = int(str(caught.value).split('needs ')[1].split(' bytes')[0].replace(',', ''))
    assert abs(said - needed) < 1024
    assert f'{free:,} are free in {small_disk}' in str(caught.value)
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_is_told_wherever_it_shows(tmp_path, monkeypatch, disk) -> None:
    disk.is_full = True
    with pytest.raises(CheckpointSaveError, match='the disk is full: the checkpoint needs'):
        save_checkpoint({'a': torch.zeros(3)}, tmp_path / 'a.pth')
    disk.is_full = False
    monkeypatch.setattr(files.os, 'fsync', _no_space)
    with pytest.raises(CheckpointSaveError, match='the disk is full: the checkpoint needs'):
        save_checkpoint({'a': torch.zeros(3)}, tmp_path / 'a.pth')
    assert list(tmp_path.iterdir()) == []


def test_another_error_stays_what_it_is(tmp_path, monkeypatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EIO, 'broken')

    monkeypatch.setattr(files.os, 'fsync', refuse)
    with pytest.raises(OSError, match='broken') as caught:
        save_checkpoint({'a': torch.zeros(3)}, tmp_path / 'a.pth')
    assert not isinstance(caught.value, CheckpointSaveError)


def _run(make_run: Any, disk: Any, full: set[int], epochs: int = 4, **hook: Any) -> Runner:
    """A training whose disk is full at the end of some epochs."""
    from mmengine.hooks import Hook

    class Fill(Hook):
        priority = 'NORMAL'

        def after_train_epoch(self, runner: Runner) -> None:
            disk.is_full = runner.epoch + 1 in full

        def after_train_iter(self, runner: Runner, **kwargs: Any) -> None:
            for thread in threading.enumerate():  # what an asynchronous save writes is decided
                if thread.name == 'checkpoint writer':
                    thread.join()

    checkpoint = {'type': 'CheckpointHook', 'interval': 1, **hook}
    return make_run([Fill()], epochs=epochs, default_hooks={'checkpoint': checkpoint})


def test_by_default_a_run_that_cannot_save_ends(make_run, disk) -> None:
    runner = _run(make_run, disk, {2})
    with pytest.raises(CheckpointSaveError):
        runner.train()
    assert runner.iter == 8
    assert _files(runner.work_dir) == ['checkpoints.jsonl', 'epoch_1.pth', 'last_checkpoint']
    assert fault_of(Path(runner.work_dir, 'epoch_1.pth')) is None


@pytest.mark.parametrize('is_async', [False, True])
def test_warn_goes_on_with_the_earlier_checkpoints(make_run, disk, is_async, capsys) -> None:
    runner = _run(
        make_run, disk, {2, 3}, max_keep_ckpts=1, on_save_error='warn', async_save=is_async
    )
    runner.logger.setLevel('WARNING')
    seen: list[Any] = []
    original = runner.train_loop.run_epoch

    def watched() -> None:
        original()
        hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'CheckpointHook')
        hook._queue.wait()
        seen.append([name for name in _files(runner.work_dir) if name.endswith('.pth')])

    runner.train_loop.run_epoch = watched
    runner.train()
    assert seen == [['epoch_1.pth'], ['epoch_1.pth'], ['epoch_1.pth'], ['epoch_4.pth']]
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('epoch_4.pth')
    text = capsys.readouterr().out
    assert text.count('the run goes on (on_save_error)') == 2
    assert 'epoch_2.pth: the disk is full' in text
    hub = runner.message_hub
    assert (hub.get_info('keep_ckpt_ids'), hub.get_info('last_ckpt')[-11:]) == ([4], 'epoch_4.pth')


@pytest.mark.parametrize('is_async', [False, True])
def test_a_run_that_goes_on_resumes_from_the_last_file_that_is_whole(
    make_run, disk, is_async
) -> None:
    runner = _run(make_run, disk, {3, 4}, on_save_error='warn', async_save=is_async)
    runner.train()
    assert [name for name in _files(runner.work_dir) if name.endswith('.pth')] == [
        'epoch_1.pth', 'epoch_2.pth'
    ]  # fmt: skip
    assert runner.message_hub.get_info('last_ckpt').endswith('epoch_2.pth')
    disk.is_full = False
    resumed = make_run(epochs=4, resume=True)
    resumed.load_or_resume()
    assert resumed.epoch == 2


@pytest.mark.parametrize('is_async', [False, True])
def test_the_best_that_could_not_be_written_is_not_remembered(make_run, disk, is_async, accs):
    """Epoch 2 has a better value than 1 and cannot be saved, so 3, which is worse, is the best."""
    from mmengine.hooks import Hook

    class Fill(Hook):
        def before_train_epoch(self, runner: Runner) -> None:
            for thread in threading.enumerate():
                if thread.name == 'checkpoint writer':
                    thread.join()
            disk.is_full = runner.epoch == 1

    runner = make_run(
        [Fill()],
        epochs=3,
        scores=accs(0.1, 0.9, 0.5),
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook', 'save_best': 'acc', 'on_save_error': 'warn',
                'async_save': is_async,
            }
        },
    )  # fmt: skip
    runner.train()
    assert [name for name in _files(runner.work_dir) if name.startswith('best')] == [
        'best_acc_epoch_3.pth', 'best_acc_epoch_3.pth.after_val'
    ]  # fmt: skip
    assert runner.message_hub.get_info('best_score') == 0.5


def test_a_small_disk_keeps_training_and_its_files(make_run, small_disk) -> None:
    """A real disk: a file of another program leaves no space for the checkpoint of epoch 2."""
    from mmengine.hooks import Hook

    class Fill(Hook):
        def before_train_epoch(self, runner: Runner) -> None:
            other = small_disk / 'other'
            if runner.epoch == 1:
                with pytest.raises(OSError):
                    with other.open('wb') as file:
                        file.write(bytes(2 * SMALL))
            elif other.exists():
                other.unlink()

    hook = {
        'type': 'CheckpointHook', 'interval': 1, 'out_dir': str(small_disk),
        'on_save_error': 'warn',
    }  # fmt: skip
    runner = make_run([Fill()], epochs=3, default_hooks={'checkpoint': hook})
    runner.train()
    folder = small_disk / 'run'
    assert _files(folder) == ['checkpoints.jsonl', 'epoch_1.pth', 'epoch_3.pth']
    assert all(fault_of(folder / f'epoch_{epoch}.pth') is None for epoch in (1, 3))


def test_errors_that_are_not_of_the_disk_are_never_a_warning(make_run) -> None:
    from mmengine.hooks import Hook

    class Wrong(Hook):
        def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
            raise ZeroDivisionError

    hook = {'type': 'CheckpointHook', 'interval': 1, 'on_save_error': 'warn'}
    with pytest.raises(ZeroDivisionError):
        make_run([Wrong()], default_hooks={'checkpoint': hook}).train()


def test_an_unknown_policy_is_refused(make_run) -> None:
    with pytest.raises(ValueError, match="on_save_error must be 'raise' or 'warn', got 'skip'"):
        make_run(default_hooks={'checkpoint': {'type': 'CheckpointHook', 'on_save_error': 'skip'}})
